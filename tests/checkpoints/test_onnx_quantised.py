"""Quantised ONNX models: the weights that their operators compute with, and nothing else.

The oracles are the reference implementation of the ``onnx`` package, the formulas that ONNX Runtime documents
for its operators, and the values of ``golden/quantised``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.checkpoints.graphs import expressions
from rmtaudit.matrices.plan import plan_layers
from rmtaudit.matrices.tensors import TensorSpec, Use

onnx = pytest.importorskip("onnx")
helper, numpy_helper = onnx.helper, onnx.numpy_helper

FLOAT = 1
MS = "com.microsoft"

Save = Callable[..., Path]
Array = np.ndarray[Any, Any]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Return a function that writes a model of some operators and initialisers, and returns its path."""

    def build(nodes: Sequence[Any], values: dict[str, Any]) -> Path:
        tensors = [
            value if isinstance(value, onnx.TensorProto) else numpy_helper.from_array(np.asarray(value), key)
            for key, value in values.items()
        ]
        ends = [helper.make_tensor_value_info(name, FLOAT, None) for name in "xy"]
        graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid(MS, 1)]
        path = tmp_path / "model.onnx"
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
        return path

    return build


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def codes(*shape: int, low: int = -128, high: int = 128, dtype: str = "int8") -> Array:
    return random(sum(shape)).integers(low, high, shape).astype(dtype)


def scales(*shape: int) -> Array:
    return (random(1).random(shape) + 0.1).astype(np.float32)


def narrow(name: str, values: Array, dtype: str) -> Any:
    kind = {"int4": 22, "uint4": 21, "fp8": 17}[dtype]
    return helper.make_tensor(name, kind, values.shape, values.flatten().tolist())


def made(name: str, values: Array, dtype: str) -> Any:
    return values.astype(dtype) if dtype in {"int8", "uint8"} else narrow(name, values, dtype)


def weight(path: Path) -> tuple[TensorSpec, torch.Tensor]:
    """Return the only dequantised tensor of a model; everything else must be no weight."""
    with open_checkpoint(path) as checkpoint:
        (spec,) = (each for each in checkpoint.tensors if each.encoding is not None)
        plan = plan_layers(checkpoint.tensors)
        assert {layer.tensor for layer in plan.layers} == {spec.name}
        return spec, checkpoint.read(spec.name)


QDQ: dict[str, tuple[str, tuple[int, ...], tuple[int, ...], dict[str, int]]] = {
    "one scale": ("int8", (6, 4), (), {}),
    "one scale, unsigned": ("uint8", (6, 4), (), {}),
    "a scale a row": ("int8", (6, 4), (6,), {"axis": 0}),
    "a scale a column": ("int8", (6, 4), (4,), {"axis": 1}),
    "a scale a column, from the end": ("uint8", (6, 4), (4,), {"axis": -1}),
    "blocks of rows": ("int8", (6, 4), (3, 4), {"axis": 0, "block_size": 2}),
    "blocks of columns": ("uint8", (6, 4), (6, 2), {"axis": 1, "block_size": 2}),
    "a ragged block": ("int8", (5, 4), (3, 4), {"axis": 0, "block_size": 2}),
    "int4": ("int4", (6, 4), (6,), {"axis": 0}),
    "uint4 in blocks": ("uint4", (6, 4), (2, 4), {"axis": 0, "block_size": 3}),
    "an odd number of int4": ("int4", (3, 3), (), {}),
    "fp8": ("fp8", (6, 4), (4,), {"axis": 1}),
}


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("case", QDQ)
def test_dequantize_linear(case: str, zero: bool, save: Save) -> None:
    dtype, shape, grid, attributes = QDQ[case]
    if dtype == "fp8" and zero:
        pytest.skip("8-bit floats have no zero point")
    low, high = {"int8": (-128, 128), "uint8": (0, 256), "int4": (-8, 8), "uint4": (0, 16), "fp8": (-9, 9)}[
        dtype
    ]
    values = codes(*shape, low=low, high=high, dtype="float32" if dtype == "fp8" else "int16")
    offsets = codes(*grid, low=max(low, -3), high=4, dtype="int16")
    stored = {"q": made("q", values, dtype), "s": scales(*grid), "z": made("z", offsets, dtype)}
    inputs = ["q", "s", "z"] if zero else ["q", "s"]
    node = helper.make_node("DequantizeLinear", inputs, ["w"], **attributes)
    path = save([node, helper.make_node("MatMul", ["x", "w"], ["y"])], stored)
    spec, read = weight(path)
    assert (spec.name, spec.shape, spec.dtype) == ("q", shape, "float32")
    assert spec.role is not None
    assert (spec.role.use, spec.role.axes) == (Use.DENSE, "IO")
    side = attributes.get("axis", 1) % 2
    spread = stored["s"]
    spread_zero = offsets.astype(np.float32) if zero else np.zeros(grid, np.float32)
    if "block_size" in attributes:
        spread, spread_zero = (
            np.repeat(each, attributes["block_size"], side).take(range(shape[side]), side)
            for each in (spread, spread_zero)
        )
    elif grid:
        sides = [1, 1]
        sides[side] = -1
        spread, spread_zero = spread.reshape(sides), spread_zero.reshape(sides)
    expected = ((values - spread_zero) * spread).astype(np.float32)
    assert np.array_equal(read.numpy(), expected)
    assert spec.encoding is not None
    stored_bits = {"int4": 4, "uint4": 4}.get(dtype, 8)
    bits = stored_bits + (32 + stored_bits * zero) * spread_size(grid) / values.size
    assert spec.encoding.bits == pytest.approx(bits)


def spread_size(grid: tuple[int, ...]) -> int:
    return int(np.prod(grid, dtype=int))


@pytest.mark.parametrize("op", ["DequantizeLinear", "blocks"])
def test_the_reference_implementation_agrees(op: str, save: Save) -> None:
    from onnx.reference import ReferenceEvaluator

    grid, extra = ((3, 4), {"axis": 0, "block_size": 2}) if op == "blocks" else ((6,), {"axis": 0})
    stored = {"q": codes(6, 4), "s": scales(*grid), "z": codes(*grid)}
    path = save([helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], **extra)], stored)
    (expected,) = ReferenceEvaluator(str(path)).run(None, {"x": np.zeros(1, np.float32)})
    _, read = weight(path)
    assert np.array_equal(read.numpy(), expected)


INTEGER: dict[str, tuple[list[Any], dict[str, Array], Any]] = {
    "QLinearMatMul": (
        [helper.make_node("QLinearMatMul", ["x", "xs", "xz", "q", "s", "z", "ys", "yz"], ["y"])],
        {"q": codes(5, 3), "s": scales(3), "z": codes(3, low=-3, high=3)},
        lambda v: (v["q"] - v["z"].astype("f")) * v["s"],
    ),
    "QLinearConv": (
        [helper.make_node("QLinearConv", ["x", "xs", "xz", "q", "s", "z", "ys", "yz"], ["y"])],
        {"q": codes(4, 3, 2, 2), "s": scales(4), "z": codes(4, low=-3, high=3)},
        lambda v: (v["q"] - v["z"].astype("f").reshape(-1, 1, 1, 1)) * v["s"].reshape(-1, 1, 1, 1),
    ),
    "QGemm": (
        [helper.make_node("QGemm", ["x", "xs", "xz", "q", "s", "z"], ["y"], transB=1, domain=MS)],
        {"q": codes(5, 3), "s": scales(5), "z": codes(5, low=-3, high=3)},
        lambda v: (v["q"] - v["z"].astype("f")[:, None]) * v["s"][:, None],
    ),
    "MatMulInteger": (
        [
            helper.make_node("MatMulInteger", ["x", "q", "xz", "z"], ["i"]),
            helper.make_node("Cast", ["i"], ["f"], to=FLOAT),
            helper.make_node("Mul", ["xs_now", "s"], ["both"]),
            helper.make_node("Mul", ["f", "both"], ["y"]),
        ],
        {"q": codes(5, 3), "s": scales(), "z": codes(low=-3, high=3)},
        lambda v: (v["q"] - v["z"].astype("f")) * v["s"],
    ),
    "MatMulInteger, a scale a column": (
        [
            helper.make_node("MatMulInteger", ["x", "q", "xz", "z"], ["i"]),
            helper.make_node("Cast", ["i"], ["f"], to=FLOAT),
            helper.make_node("Mul", ["f", "xs_now"], ["g"]),
            helper.make_node("Mul", ["g", "s"], ["y"]),
        ],
        {"q": codes(5, 3), "s": scales(3), "z": codes(3, low=-3, high=3)},
        lambda v: (v["q"] - v["z"].astype("f")) * v["s"],
    ),
    "ConvInteger": (
        [
            helper.make_node("ConvInteger", ["x", "q", "xz", "z"], ["i"]),
            helper.make_node("Cast", ["i"], ["f"], to=FLOAT),
            helper.make_node("Mul", ["xs_now", "s"], ["both"]),
            helper.make_node("Mul", ["f", "both"], ["y"]),
        ],
        {"q": codes(4, 3, 2, 2), "s": scales(), "z": codes(low=-3, high=3)},
        lambda v: (v["q"] - v["z"].astype("f")) * v["s"],
    ),
    "DynamicQuantizeMatMul": (
        [helper.make_node("DynamicQuantizeMatMul", ["x", "q", "s", "z"], ["y"], domain=MS)],
        {"q": codes(5, 3), "s": scales(3), "z": codes(3, low=-3, high=3)},
        lambda v: (v["q"] - v["z"].astype("f")) * v["s"],
    ),
    "MatMulIntegerToFloat": (
        [helper.make_node("MatMulIntegerToFloat", ["x", "q", "xs", "s", "xz", "z"], ["y"], domain=MS)],
        {"q": codes(5, 3), "s": scales(3), "z": codes(3, low=-3, high=3)},
        lambda v: (v["q"] - v["z"].astype("f")) * v["s"],
    ),
    "QAttention": (
        [helper.make_node("QAttention", ["x", "q", "b", "xs", "s", "m", "xz", "z"], ["y"], domain=MS)],
        {"q": codes(4, 12), "s": scales(), "z": codes(low=-3, high=3)},
        lambda v: (v["q"] - v["z"].astype("f")) * v["s"],
    ),
    "Gather before DequantizeLinear": (
        [
            helper.make_node("Gather", ["q", "x"], ["r"]),
            helper.make_node("DequantizeLinear", ["r", "s", "z"], ["y"]),
        ],
        {"q": codes(9, 4, low=0, high=256, dtype="uint8"), "s": scales(), "z": np.array(7, np.uint8)},
        lambda v: (v["q"] - v["z"].astype("f")) * v["s"],
    ),
    "Cast, Sub and Mul": (
        [
            helper.make_node("Cast", ["q"], ["c"], to=FLOAT),
            helper.make_node("Sub", ["c", "z"], ["d"]),
            helper.make_node("Mul", ["d", "s"], ["w"]),
            helper.make_node("MatMul", ["x", "w"], ["y"]),
        ],
        {"q": codes(5, 3), "s": scales(1, 3), "z": scales(3)},
        lambda v: (v["q"] - v["z"]) * v["s"],
    ),
    "Cast and Div": (
        [
            helper.make_node("Cast", ["q"], ["c"], to=FLOAT),
            helper.make_node("Div", ["c", "s"], ["w"]),
            helper.make_node("MatMul", ["x", "w"], ["y"]),
        ],
        {"q": codes(5, 3), "s": scales(5, 1)},
        lambda v: v["q"] / v["s"],
    ),
}
INPUTS = {"xs": np.float32(0.5), "xz": np.uint8(3), "ys": np.float32(2), "yz": np.uint8(1)}


@pytest.mark.parametrize("case", INTEGER)
def test_operators_on_integers(case: str, save: Save) -> None:
    nodes, stored, formula = INTEGER[case]
    used = {name for node in nodes for name in node.input}
    values = {**stored, **{key: value for key, value in INPUTS.items() if key in used}}
    spec, read = weight(save(nodes, values))
    expected = formula(stored).astype(np.float32)
    assert np.array_equal(read.numpy(), expected)
    assert spec.encoding is not None
    assert spec.encoding.parts[:2] == ("q", "s")
    assert spec.encoding.dtype == str(stored["q"].dtype)


def test_a_dynamic_lstm_has_a_scale_a_direction(save: Save) -> None:
    hidden = 3
    stored = {
        "W_quantized": codes(2, 5, 4 * hidden), "W_scale": scales(2), "W_zero_point": codes(2),
        "R_quantized": codes(2, hidden, 4 * hidden), "R_scale": scales(2, 12), "R_zero_point": codes(2, 12),
    }  # fmt: skip
    node = helper.make_node(
        "DynamicQuantizeLSTM",
        [
            "x",
            "W_quantized",
            "R_quantized",
            "",
            "",
            "",
            "",
            "",
            "W_scale",
            "W_zero_point",
            "R_scale",
            "R_zero_point",
        ],
        ["y"],
        hidden_size=hidden,
        domain=MS,
    )
    with open_checkpoint(save([node], stored)) as checkpoint:
        for name, sides in (("W", (2, 1, 1)), ("R", (2, 1, 12))):
            zero, scale = (
                stored[f"{name}_{part}"].astype("f").reshape(sides) for part in ("zero_point", "scale")
            )
            assert np.array_equal(checkpoint.read(name).numpy(), (stored[f"{name}_quantized"] - zero) * scale)
        layers = plan_layers(checkpoint.tensors).layers
    assert [layer.shape for layer in layers] == [(hidden, 5)] * 8 + [(hidden, hidden)] * 8


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("zero", ["none", "packed", "numbers"])
@pytest.mark.parametrize("inputs", [32, 28])
def test_matmul_nbits(bits: int, zero: str, inputs: int, save: Save) -> None:
    outputs, block, blocks = 5, 16, 2
    whole = random().integers(0, 1 << bits, (outputs, blocks * block))
    offsets = random(2).integers(0, 1 << bits, (outputs, blocks))
    stored: dict[str, Any] = {
        "q": pack(whole.reshape(outputs, blocks, block), bits),
        "s": scales(outputs, blocks),
    }
    if zero == "packed":
        stored["z"] = pack(offsets, bits)
    elif zero == "numbers":
        stored["z"] = offsets.astype(np.float32)
    else:
        offsets = np.full((outputs, blocks), 1 << bits - 1)
    node = helper.make_node(
        "MatMulNBits", ["x", *stored], ["y"], domain=MS, K=inputs, N=outputs, bits=bits, block_size=block
    )
    spec, read = weight(save([node], stored))
    expected = (whole - np.repeat(offsets, block, 1)) * np.repeat(stored["s"], block, 1)
    assert spec.shape == (outputs, inputs)
    assert spec.role is not None
    assert spec.role.axes == "OI"
    assert np.array_equal(read.numpy(), expected[:, :inputs].astype(np.float32))


def pack(values: Array, bits: int) -> Array:
    """Return codes as a stream of bits along the last side, the low bits first."""
    stream = (values[..., None] >> np.arange(bits) & 1).reshape(*values.shape[:-1], -1)
    return np.packbits(stream.astype(np.uint8), axis=-1, bitorder="little")


@pytest.mark.parametrize("bits", [4, 8])
def test_an_embedding_in_blocks(bits: int, save: Save) -> None:
    whole = random().integers(0, 1 << bits, (6, 32))
    stored = {"q": pack(whole, bits), "s": scales(6, 2)}
    node = helper.make_node(
        "GatherBlockQuantized", ["q", "x", "s"], ["y"], domain=MS, bits=bits, block_size=16, quantize_axis=1
    )
    spec, read = weight(save([node], stored))
    assert spec.role is not None
    assert spec.role.use is Use.EMBEDDING
    expected = (whole - (1 << bits - 1)) * np.repeat(stored["s"], 16, 1)
    assert np.array_equal(read.numpy(), expected.astype(np.float32))


UNKNOWN = {
    "no scale": [helper.make_node("MatMulInteger", ["x", "q"], ["y"])],
    "two scales": [
        helper.make_node("MatMulInteger", ["x", "q"], ["i"]),
        helper.make_node("Mul", ["i", "s"], ["j"]),
        helper.make_node("Mul", ["j", "t"], ["y"]),
    ],
    "a product of codes": [helper.make_node("MatMul", ["x", "q"], ["y"])],
    "scales that do not fit": [helper.make_node("QLinearMatMul", ["x", "u", "z", "q", "t", "z"], ["y"])],
    "MatMulBnb4": [helper.make_node("MatMulBnb4", ["x", "q", "s"], ["y"], domain=MS)],
    "three bits": [
        helper.make_node("MatMulNBits", ["x", "q", "s"], ["y"], domain=MS, K=8, N=4, bits=3, block_size=16)
    ],
    "reordered groups": [
        helper.make_node(
            "MatMulNBits", ["x", "q", "s", "", "t"], ["y"], domain=MS, K=16, N=4, bits=4, block_size=16
        )
    ],
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_what_is_not_understood_is_never_a_layer(case: str, save: Save) -> None:
    stored = {
        "q": codes(4, 8, dtype="uint8"),
        "s": scales(4),
        "t": scales(4, 9),
        "u": scales(),
        "z": np.uint8(1),
    }
    used = {name for node in UNKNOWN[case] for name in node.input}
    with open_checkpoint(save(UNKNOWN[case], {k: v for k, v in stored.items() if k in used})) as checkpoint:
        plan = plan_layers(checkpoint.tensors)
        assert not plan.layers
        reason = next(skip.reason for skip in plan.skipped if skip.spec.name == "q")
    assert reason.startswith("quantised (unknown: q")


GOLDEN = {"onnx_matmulnbits": "w_Q4", "onnx_matmulnbits_zp": "w_Q4", "onnx_qdq_int4_block": "w_q"}


def golden(folder: Path) -> tuple[str, Array, Array]:
    """Return the name of the weight, the values that are read, and those that are expected."""
    expected = np.load(folder / "expected.npz")["weight"]
    spec, read = weight(folder / "model.onnx")
    return spec.name, read.numpy() if read.shape == expected.shape else read.numpy().T, expected


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_values(name: str, shared: Callable[..., Path]) -> None:
    label, values, expected = golden(shared("golden", "quantised", name))
    assert label == GOLDEN[name]
    assert np.array_equal(values, expected)


_plain = expressions._unpacked


def _high_first(packed: torch.Tensor, bits: int, size: int) -> torch.Tensor:
    del bits
    return torch.stack([packed >> 4, packed & 15], -1).flatten(-2)[..., :size]


def _one_more(packed: torch.Tensor, bits: int, size: int) -> torch.Tensor:
    return _plain(packed, bits, size) + 1


@pytest.mark.parametrize(
    ("name", "swapped"),
    [
        ("onnx_matmulnbits", _high_first),
        ("onnx_matmulnbits", _one_more),
        ("onnx_matmulnbits_zp", _high_first),
    ],
)
def test_another_convention_is_noticed(
    name: str,
    swapped: Callable[..., torch.Tensor],
    shared: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = shared("golden", "quantised", name)
    monkeypatch.setattr(expressions, "_unpacked", swapped)
    _, values, expected = golden(folder)
    assert not np.array_equal(values, expected)


def test_another_axis_is_noticed(shared: Callable[..., Path], tmp_path: Path) -> None:
    folder = shared("golden", "quantised", "onnx_qdq_int4_block")
    expected = np.load(folder / "expected.npz")["weight"]
    model = onnx.load(folder / "model.onnx")
    scale = next(each for each in model.graph.initializer if each.name == "w_s")
    scale.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scale)[::-1].copy(), "w_s"))
    onnx.save(model, tmp_path / "m.onnx")
    spec, read = weight(tmp_path / "m.onnx")
    assert spec.encoding is not None
    assert read.shape == expected.shape
    assert not np.array_equal(read.numpy(), expected)


def test_an_int8_model_of_onnx_runtime(shared: Callable[..., Path]) -> None:
    """Every weight of the model is dequantised; names are those before it was quantised."""
    path = shared("models", "tashkeel", "bilstm.int8.onnx")
    model = onnx.load(path)
    stored = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    with open_checkpoint(path) as checkpoint:
        encoded = {spec.name: spec for spec in checkpoint.tensors if spec.encoding is not None}
        for name in encoded:
            scale, zero = (stored[f"{name}_{part}"].astype("f") for part in ("scale", "zero_point"))
            sides = (-1, 1, 1) if scale.shape == (2,) else ()
            expected = (stored[f"{name}_quantized"] - zero.reshape(sides)) * scale.reshape(sides)
            assert np.array_equal(checkpoint.read(name).numpy(), expected)
        plan = plan_layers(checkpoint.tensors)
    assert set(encoded) == {name.removesuffix("_quantized") for name in stored if name.endswith("_quantized")}
    assert sum(layer.parameters for layer in plan.layers) == sum(
        spec.parameters for spec in encoded.values() if min(spec.shape) > 1
    )
