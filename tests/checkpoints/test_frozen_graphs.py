"""Frozen TensorFlow graphs: constants, and what the operators that take them say of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.checkpoints.contract import ReaderContract
from rmtaudit.checkpoints.tensorflow.reader import FrozenGraphReader
from rmtaudit.errors import NotACheckpointError
from rmtaudit.matrices.plan import plan_layers
from rmtaudit.matrices.tensors import Use


def _load(name: str) -> Any:
    path = Path(__file__).parents[1] / "fuzz" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fuzz = _load("fuzz_tensorflow")
chunk, number, node = fuzz.chunk, fuzz.number, fuzz.node

Array = np.ndarray[Any, Any]
KINDS = {"float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int64": 9, "float16": 19}


def normal(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def constant(name: str, values: Any) -> bytes:
    array = np.asarray(values)
    made: bytes = fuzz.constant(name, fuzz.tensor(array.shape, KINDS[array.dtype.name], array.tobytes()))
    return made


def write(folder: Path, *parts: bytes) -> Path:
    path = folder / "graph.pb"
    path.write_bytes(b"".join(parts))
    return path


class TestContract(ReaderContract):
    """The contract of every reader, on constants that nothing takes."""

    reader = FrozenGraphReader()
    dtypes = ("float32", "float64", "float16", "bfloat16")

    def write(self, folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
        kinds = {**KINDS, "bfloat16": 14}
        parts = []
        for name, tensor in tensors.items():
            kind = kinds[str(tensor.dtype).removeprefix("torch.")]
            content = tensor.contiguous().view(torch.uint8).numpy().tobytes()
            parts.append(fuzz.constant(name, fuzz.tensor(tensor.shape, kind, content)))
        return write(folder, *parts)


ROLES: dict[str, tuple[str, int, bytes, Array, Use, str]] = {
    "MatMul": ("MatMul", 1, b"", normal(5, 3), Use.DENSE, "IO"),
    "MatMul, transposed": ("MatMul", 1, fuzz.flag("transpose_b", True), normal(5, 3), Use.DENSE, "OI"),
    "MatMul, weight first": ("MatMul", 0, b"", normal(5, 3), Use.DENSE, "OI"),
    "BatchMatMulV2": ("BatchMatMulV2", 1, fuzz.flag("adj_y", True), normal(2, 5, 3), Use.DENSE, "EOI"),
    "Conv2D": ("Conv2D", 1, b"", normal(2, 2, 3, 4), Use.CONVOLUTION, "HWIO"),
    "Conv3D": ("Conv3D", 1, b"", normal(2, 2, 2, 3, 4), Use.CONVOLUTION, "DHWIO"),
    "Conv2DBackpropInput": ("Conv2DBackpropInput", 1, b"", normal(2, 2, 3, 4), Use.CONVOLUTION, "HWOI"),
    "DepthwiseConv2dNative": ("DepthwiseConv2dNative", 1, b"", normal(2, 2, 3, 4), Use.CONVOLUTION, "HWIM"),
    "GatherV2": ("GatherV2", 0, b"", normal(5, 3), Use.EMBEDDING, "OI"),
    "BlockLSTM": ("BlockLSTM", 4, b"", normal(5, 8), Use.RECURRENT, "IO"),
    "GRUBlockCell": ("GRUBlockCell", 2, b"", normal(5, 4), Use.RECURRENT, "IO"),
}


@pytest.mark.parametrize("case", ROLES)
def test_the_operator_says_what_a_weight_is(case: str, tmp_path: Path) -> None:
    op, place, attributes, values, use, axes = ROLES[case]
    inputs = [*["x"] * place, "w/read:0", "^x"]
    path = write(
        tmp_path,
        node("x", "Placeholder"),
        constant("w", values),
        node("w/read", "Identity", ["w"]),
        node("y", op, inputs, attributes),
    )
    with open_checkpoint(path) as checkpoint:
        (spec,) = checkpoint.tensors
        assert spec.role is not None
        assert (spec.role.use, spec.role.axes) == (use, axes)
        assert np.array_equal(checkpoint.read("w").numpy(), values)


@pytest.mark.parametrize(
    ("count", "behind", "gates"),
    [
        (4, ["Sigmoid", "Tanh", "Sigmoid", "Sigmoid"], "igfo"),
        (4, ["Sigmoid", "Sigmoid", "Tanh", "Sigmoid"], "ifgo"),
        (2, ["Sigmoid", "Sigmoid"], "rz"),
    ],
)
def test_gates_of_cells(count: int, behind: list[str], gates: str, tmp_path: Path) -> None:
    values = normal(5, 8)
    path = write(
        tmp_path,
        constant("kernel", values),
        node("enter", "Enter", ["kernel"]),
        node("p", "MatMul", ["x", "enter"]),
        constant("bias", normal(8)),
        node("b", "BiasAdd", ["p", "bias"]),
        constant("axis", np.int32(1)),
        node("s", "Split", ["axis", "b"], fuzz.attribute("num_split", number(3, count))),
        *(node(f"a{i}", op, [f"s:{i}" if i else "s"]) for i, op in enumerate(behind)),
    )
    with open_checkpoint(path) as checkpoint:
        layers = plan_layers(checkpoint.tensors).layers
        made = torch.cat([layer.build((checkpoint.read("kernel"),))[0] for layer in layers])
    assert [layer.name for layer in layers] == [f"kernel#{gate}" for gate in gates]
    assert np.array_equal(made.numpy(), values.T)


def test_few_values_stand_for_many(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        fuzz.constant("ones", fuzz.tensor([4], rest=chunk(5, np.float32(1).tobytes()))),
        fuzz.constant("ramp", fuzz.tensor([4], rest=chunk(5, np.array([1, 2], np.float32).tobytes()))),
        fuzz.constant("zeros", fuzz.tensor([2, 2])),
        fuzz.constant("many", fuzz.tensor([1 << 20, 1 << 20], rest=chunk(5, np.float32(1).tobytes()))),
        fuzz.constant("half", fuzz.tensor([2], 19, rest=chunk(13, b"\x80\x78"))),
    )
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.read("ones").tolist() == [1.0] * 4
        assert checkpoint.read("ramp").tolist() == [1.0, 2.0, 2.0, 2.0]
        assert checkpoint.read("zeros").tolist() == [[0.0, 0.0]] * 2
        assert checkpoint.read("half").tolist() == [1.0, 1.0]
        unreadable = {spec.name: spec.unreadable for spec in checkpoint.tensors if spec.unreadable}
    assert unreadable == {"many": f"one value stands for {1 << 40} elements"}


def test_codes_are_never_a_layer(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        fuzz.constant("q", fuzz.tensor([4, 4], fuzz.QUINT8, bytes(range(16)))),
        constant("least", np.float32(-1)),
        constant("most", np.float32(1)),
        node("d", "Dequantize", ["q", "least", "most"]),
        node("y", "MatMul", ["x", "d"]),
    )
    with open_checkpoint(path) as checkpoint:
        plan = plan_layers(checkpoint.tensors)
    assert not plan.layers
    assert plan.skipped[0].reason == "quantised (unknown: q, Dequantize)"


def test_functions_of_the_library_are_listed(tmp_path: Path) -> None:
    values = normal(4, 3)
    body = [constant("w", values)[2:], node("m", "MatMul", ["a", "w:output:0"])[2:]]
    function = chunk(1, chunk(1, chunk(1, "f")) + b"".join(chunk(3, each) for each in body))
    path = write(tmp_path, constant("w", values + 1), node("y", "MatMul", ["x", "w"]), chunk(2, function))
    with open_checkpoint(path) as checkpoint:
        assert [layer.name for layer in plan_layers(checkpoint.tensors).layers] == ["w", "w (graph 1)"]
        assert np.array_equal(checkpoint.read("w (graph 1)").numpy(), values)


def test_a_graph_that_is_not_frozen_says_so(tmp_path: Path) -> None:
    path = write(
        tmp_path, node("v", "VariableV2"), constant("w", normal(3, 3)), node("y", "MatMul", ["x", "w"])
    )
    with open_checkpoint(path) as checkpoint:
        assert "1 variables have no values" in checkpoint.warnings[0]


@pytest.mark.parametrize(
    ("data", "code", "hint"),
    [
        (number(1, 1) + chunk(2, chunk(1, chunk(4, "serve")) + chunk(2, b"")), "RA-IN-178", "tf2onnx"),
        (b'node {\n  name: "x"\n  op: "Placeholder"\n}\n', "RA-IN-179", "as_text=False"),
    ],
)
def test_relatives_are_named(data: bytes, code: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(NotACheckpointError) as refused:
        open_checkpoint(write(tmp_path, data))
    assert refused.value.code == code
    assert hint in refused.value.hint


FILES = ("DNN", "CNN", "Basic_LSTM", "LSTM", "GRU", "CRNN", "DS_CNN")


@pytest.mark.parametrize("name", [f"{stem}_{size}" for stem in FILES for size in "SML"])
def test_keyword_spotting_graphs(name: str, shared: Callable[..., Path]) -> None:
    path = shared("models", "ml_kws", f"{name}.pb")
    with open_checkpoint(path) as checkpoint:
        plan = plan_layers(checkpoint.tensors)
        weights = [s for s in checkpoint.tensors if len(s.shape) > 1 and s.dtype == "float32"]
        assert all(spec.role is not None and spec.role.use is not Use.NONE for spec in weights)
    assert sum(layer.parameters for layer in plan.layers) == sum(spec.parameters for spec in weights)
    parts = {layer.name.partition("#")[2] for layer in plan.layers} - {""}
    assert parts == ({"i", "g", "f", "o"} if "LSTM" in name else {"r", "z"} if "R" in name[:3] else set())


def test_a_network_of_three_dimensions(shared: Callable[..., Path]) -> None:
    with open_checkpoint(shared("models", "deepbrain3d", "graph.pb")) as checkpoint:
        layers = {layer.name: layer for layer in plan_layers(checkpoint.tensors).layers}
        kernel = checkpoint.read("conv3d_1/kernel").numpy()
        (matrix,) = layers["conv3d_1/kernel"].build((torch.from_numpy(kernel),))
    assert np.array_equal(matrix.numpy(), kernel.transpose(4, 3, 0, 1, 2).reshape(8, -1))
    assert layers["conv3d_transpose_1/kernel"].shape == (16, 32 * 27)
    assert len(layers) == 12
