"""TensorFlow Lite models: weights, the order of their sides, and how codes become numbers."""

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
from rmtaudit.checkpoints.tflite.reader import TFLiteReader
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


fuzz = _load("fuzz_tflite")

Array = np.ndarray[Any, Any]
KINDS = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "bool": 6, "int8": 9, "float64": 10}


def tensor(name: str, values: Array | None = None, **rest: Any) -> dict[str, Any]:
    if values is None:
        return {"name": name, "shape": [1, 1]}
    made = {
        "name": name,
        "shape": list(values.shape),
        "kind": KINDS[values.dtype.name],
        "data": values.tobytes(),
    }
    return {**made, **rest}


def normal(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def write(folder: Path, tensors: list[dict[str, Any]], operators: list[Any]) -> Path:
    path = folder / "model.tflite"
    path.write_bytes(fuzz.model(tensors, operators))
    return path


class TestContract(ReaderContract):
    """The contract of every reader, on tensors that no operator takes."""

    reader = TFLiteReader()
    dtypes = ("float32", "float16", "float64")

    def write(self, folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
        return write(folder, [tensor(name, value.numpy()) for name, value in tensors.items()], [])


ROLES = {
    "FULLY_CONNECTED": (9, 1, normal(5, 3), Use.DENSE, "OI"),
    "CONV_2D": (3, 1, normal(4, 2, 2, 3), Use.CONVOLUTION, "OHWI"),
    "DEPTHWISE_CONV_2D": (4, 1, normal(1, 2, 2, 6), Use.CONVOLUTION, "1HWO"),
    "TRANSPOSE_CONV": (67, 1, normal(4, 2, 2, 3), Use.CONVOLUTION, "OHWI"),
    "CONV_3D": (132, 1, normal(2, 2, 2, 3, 4), Use.CONVOLUTION, "DHWIO"),
    "EMBEDDING_LOOKUP": (7, 1, normal(5, 3), Use.EMBEDDING, "OI"),
    "GATHER": (36, 0, normal(5, 3), Use.EMBEDDING, "OI"),
    "BATCH_MATMUL": (126, 1, normal(2, 5, 3), Use.DENSE, "EIO"),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (44, 6, normal(5, 3), Use.RECURRENT, "OI"),
    "SVDF": (27, 2, normal(5, 3), Use.DENSE, "OI"),
}


@pytest.mark.parametrize("case", ROLES)
def test_the_operator_says_what_a_weight_is(case: str, tmp_path: Path) -> None:
    code, place, values, use, axes = ROLES[case]
    inputs = [-1] * place + [0]
    with open_checkpoint(
        write(tmp_path, [tensor("w", values), tensor("y")], [(code, inputs, [1])])
    ) as checkpoint:
        (spec,) = checkpoint.tensors
        assert spec.role is not None
        assert (spec.role.use, spec.role.axes) == (use, axes)
        assert np.array_equal(checkpoint.read("w").numpy(), values)
        assert np.array_equal(checkpoint.read_band("w", 0, 1).numpy(), values[:1])


QUANTISED: dict[str, tuple[Array, list[float], list[int], int]] = {
    "one scale": (np.arange(-6, 6, dtype=np.int8).reshape(3, 4), [0.5], [2], 0),
    "no zero point": (np.arange(-6, 6, dtype=np.int8).reshape(3, 4), [0.5], [], 0),
    "unsigned": (np.arange(244, 256, dtype=np.uint8).reshape(3, 4), [0.25], [128], 0),
    "a scale a row": (np.arange(-6, 6, dtype=np.int8).reshape(3, 4), [0.5, 1.5, 3.0], [0, -1, 2], 0),
    "a scale a column": (
        np.arange(-6, 6, dtype=np.int8).reshape(3, 4),
        [0.5, 1.5, 3.0, 7.0],
        [0, -1, 2, 5],
        1,
    ),
    "a zero point for all": (np.arange(-6, 6, dtype=np.int8).reshape(3, 4), [0.5, 1.5, 3.0], [3], 0),
}


@pytest.mark.parametrize("case", QUANTISED)
def test_codes_become_numbers(case: str, tmp_path: Path) -> None:
    codes, scale, zero, side = QUANTISED[case]
    weight = tensor("w", codes, quantisation=fuzz.quantisation(scale, zero, side))
    bias = tensor("b", np.array([2, 4, 6], np.int32), quantisation=fuzz.quantisation([0.5], [0]))
    path = write(tmp_path, [tensor("x"), weight, bias, tensor("y")], [(9, [0, 1, 2], [3])])
    sides = [1, 1]
    sides[side] = -1
    spread = np.array(scale, np.float32)
    offset = np.array(zero or [0], np.float32)
    spread, offset = (each.reshape(sides if each.size > 1 else ()) for each in (spread, offset))
    with open_checkpoint(path) as checkpoint:
        spec, added = checkpoint.tensors
        assert np.array_equal(checkpoint.read("w").numpy(), (codes - offset) * spread)
        assert np.array_equal(checkpoint.read("b").numpy(), [1.0, 2.0, 3.0])
        plan = plan_layers(checkpoint.tensors)
    assert spec.encoding is not None
    assert spec.encoding.dtype == codes.dtype.name
    assert spec.encoding.bits == 8 + 32 * len(scale) / 12 + 64 * len(zero) / 12
    assert added.role is not None
    assert added.role.use is Use.NONE
    assert [layer.tensor for layer in plan.layers] == ["w"]


def test_four_bits_lie_low_first(tmp_path: Path) -> None:
    weight = {"name": "w", "shape": [2, 3], "kind": fuzz.INT4, "data": b"\x21\xf3\x08"}
    weight["quantisation"] = fuzz.quantisation([2.0], [0])
    with open_checkpoint(
        write(tmp_path, [tensor("x"), weight, tensor("y")], [(9, [0, 1, -1], [2])])
    ) as checkpoint:
        assert checkpoint.read("w").tolist() == [[2.0, 4.0, 6.0], [-2.0, -16.0, 0.0]]


def test_halves_behind_dequantize_are_weights(tmp_path: Path) -> None:
    tensors = [tensor("x"), tensor("w", normal(3, 4).astype(np.float16)), tensor("full"), tensor("y")]
    path = write(tmp_path, tensors, [(6, [1], [2]), (9, [0, 2, -1], [3])])
    with open_checkpoint(path) as checkpoint:
        (layer,) = plan_layers(checkpoint.tensors).layers
    assert (layer.dtype, layer.shape) == ("float16", (3, 4))


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    codes = np.zeros((3, 4), np.int8)
    tensors = [
        tensor("sparse", normal(3, 4), sparse=True),
        tensor("custom", codes, quantisation=fuzz.quantisation([0.5], [0], details=1)),
        tensor("blocks", codes, quantisation=fuzz.quantisation([0.5], [0], details=2)),
        tensor("bare", codes),
    ]
    path = write(tmp_path, [*tensors, tensor("y")], [(9, [4, index, -1], [4]) for index in range(4)])
    with open_checkpoint(path) as checkpoint:
        reasons = {spec.name: spec.unreadable for spec in checkpoint.tensors}
        assert not plan_layers(checkpoint.tensors).layers
    assert reasons == {
        "sparse": "sparse tensor",
        "custom": "quantised (unknown: custom quantisation)",
        "blocks": "quantised (unknown: blockwise quantisation)",
        "bare": "quantised (unknown: bare)",
    }


def test_gates_that_are_written_out(tmp_path: Path) -> None:
    values = normal(8, 5)
    tensors = [tensor("x"), tensor("w", values), *(tensor(f"t{index}") for index in range(10))]
    operators = [
        (9, [0, 1, -1], [2]),
        (0, [2, 0], [3]),
        (49, [0, 3], [4, 5, 6, 7]),
        *((28 if index == 2 else 14, [4 + index], [8 + index]) for index in range(4)),
    ]
    with open_checkpoint(write(tmp_path, tensors, operators)) as checkpoint:
        layers = plan_layers(checkpoint.tensors).layers
    assert [layer.name for layer in layers] == ["w#i", "w#f", "w#g", "w#o"]


REAL = (
    "mlperf_tiny/ad01_int8",
    "mlperf_tiny/resnet8_float",
    "mlperf_tiny/resnet8_int8",
    "dtln/model_quant_2",
    "ultraface/RFB-320",
)


@pytest.mark.parametrize("name", REAL)
def test_real_models_hold_what_the_schema_package_reads(name: str, shared: Callable[..., Path]) -> None:
    tflite = pytest.importorskip("tflite")
    path = shared("models", f"{name}.tflite")
    model = tflite.Model.GetRootAsModel(path.read_bytes(), 0)
    dtypes = {0: np.float32, 2: np.int32, 9: np.int8}
    graph = model.Subgraphs(0)
    expected: list[Array] = []
    for index in range(graph.TensorsLength()):
        stored = graph.Tensors(index)
        buffer = model.Buffers(stored.Buffer())
        if not buffer.DataLength():
            continue
        shape = stored.ShapeAsNumpy() if stored.ShapeLength() else ()
        values = buffer.DataAsNumpy().view(dtypes[stored.Type()]).reshape(shape)
        facts = stored.Quantization()
        if facts is not None and facts.ScaleLength():
            sides = [1] * values.ndim
            sides[facts.QuantizedDimension()] = -1
            scale, zero = (
                each.astype(np.float32).reshape(sides if len(each) > 1 else ())
                for each in (facts.ScaleAsNumpy(), facts.ZeroPointAsNumpy())
            )
            values = ((values.astype(np.float64) - zero) * scale).astype(np.float32)
        expected.append(values)
    with open_checkpoint(path) as checkpoint:
        assert len(checkpoint.tensors) == len(expected)
        for spec, values in zip(checkpoint.tensors, expected, strict=True):
            assert np.array_equal(checkpoint.read(spec.name).numpy(), values), spec.name
        plan = plan_layers(checkpoint.tensors)
    weights = sum(values.size for values in expected if values.ndim > 1 and values.dtype == np.float32)
    assert sum(layer.parameters for layer in plan.layers) == weights
