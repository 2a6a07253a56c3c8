"""Conventions of formats against the programs that define them, where these are installed.

    pip install onnxruntime coremltools
    pytest -W ignore tests/checkpoints/test_second_sources.py

Warnings are those of coremltools. Neither is needed to read a file, so that the tests are skipped without
them. The numbers of the last run are in docs/formats/onnx.md and docs/formats/coreml.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.matrices.plan import plan_layers

MICROSOFT = "com.microsoft"
INPUTS, OUTPUTS = 12, 9
GENERATOR = np.random.default_rng(0)
CODES = GENERATOR.integers(-128, 128, (INPUTS, OUTPUTS)).astype(np.int8)
SCALES = {
    "tensor": (np.float32(0.013), np.int8(3)),
    "column": (
        GENERATOR.uniform(0.01, 0.03, OUTPUTS).astype(np.float32),
        GENERATOR.integers(-5, 5, OUTPUTS).astype(np.int8),
    ),
}
QUANTISED = helper.make_node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"])
PRODUCTS = {
    "DynamicQuantizeMatMul": [
        helper.make_node("DynamicQuantizeMatMul", ["x", "q", "s", "z"], ["y"], domain=MICROSOFT)
    ],
    "DynamicQuantizeLinear and MatMulInteger": [
        QUANTISED,
        helper.make_node("MatMulInteger", ["xq", "q", "xz", "z"], ["i"]),
        helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["xs", "s"], ["m"]),
        helper.make_node("Mul", ["f", "m"], ["y"]),
    ],
    "MatMulIntegerToFloat": [
        QUANTISED,
        helper.make_node("MatMulIntegerToFloat", ["xq", "q", "xs", "s", "xz", "z"], ["y"], domain=MICROSOFT),
    ],
}


def matrices(path: Path) -> dict[str, torch.Tensor]:
    """Return the matrix of every layer by the name of its part, or of itself."""
    made = {}
    with open_checkpoint(path) as checkpoint:
        for layer in plan_layers(checkpoint.tensors).layers:
            if layer.band is None:
                stored = tuple(checkpoint.read(name) for name in layer.tensors)
            else:
                stored = tuple(checkpoint.read_band(name, *layer.band) for name in layer.tensors)
            made[layer.name.rpartition("#")[2]] = layer.build(stored)[0].double()
    return made


def computed(path: Path, nodes: list[Any], constants: dict[str, Any], given: np.ndarray) -> torch.Tensor:
    """Write a model of one output and return what ONNX Runtime computes."""
    runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    kind = helper.np_dtype_to_tensor_dtype(given.dtype)
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", kind, given.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = 8
    onnx.save(model, path)
    (result,) = runtime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": given})
    return torch.from_numpy(result).double()


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("operator", PRODUCTS)
def test_products_of_integers(operator: str, scale: str, tmp_path: Path) -> None:
    """The identity, which 8 bits hold exactly, times the codes is the weight that they stand for."""
    factors, zeros = SCALES[scale]
    constants = {"q": CODES, "s": factors, "z": zeros}
    identity = np.eye(INPUTS, dtype=np.float32)
    path = tmp_path / "model.onnx"
    expected = computed(path, PRODUCTS[operator], constants, identity).T
    (weight,) = matrices(path).values()
    torch.testing.assert_close(weight, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("codes_below", "inputs_below"), [(60, 256), (128, 128)])
@pytest.mark.parametrize("scale", ["tensor", "column"])
def test_the_projections_of_attention(
    scale: str, codes_below: int, inputs_below: int, tmp_path: Path
) -> None:
    """Codes or inputs of 7 bits: kernels without VNNI saturate sums of two products of 8 bits.

    Sums of two products of inputs below 128 and codes of 8 bits fit into 16 bits on every processor.
    """
    heads, side, length = 4, 16, 6
    codes = GENERATOR.integers(-codes_below, codes_below, (side, 3 * side)).astype(np.int8)
    factors = np.float32(0.004) if scale == "tensor" else GENERATOR.uniform(2e-3, 5e-3, 3 * side)
    zeros = np.int8(5) if scale == "tensor" else np.zeros(3 * side, np.int8)
    bias = GENERATOR.normal(0, 0.1, 3 * side).astype(np.float32)
    given = GENERATOR.integers(0, inputs_below, (1, length, side)).astype(np.uint8)
    node = helper.make_node(
        "QAttention", ["x", "w", "b", "xs", "ws", "", "xz", "wz"], ["y"], domain=MICROSOFT, num_heads=heads
    )
    constants = {
        "w": codes, "b": bias, "xs": np.float32(0.02), "ws": np.asarray(factors, np.float32),
        "xz": np.uint8(120), "wz": zeros,
    }  # fmt: skip
    path = tmp_path / "model.onnx"
    expected = computed(path, [node], constants, given)[0]
    inputs = (torch.from_numpy(given[0].astype(np.float64)) - 120) * float(np.float32(0.02))
    parts = matrices(path)
    offsets = dict(zip("qkv", torch.from_numpy(bias).double().split(side), strict=True))
    query, key, value = (
        (inputs @ parts[part].T + offsets[part]).reshape(length, heads, -1).transpose(0, 1) for part in "qkv"
    )
    attention = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(attention.transpose(0, 1).reshape(length, side), expected, rtol=0, atol=1e-5)


class _Outputs(torch.nn.Module):
    """The outputs of a recurrent module without its last state."""

    def __init__(self, module: torch.nn.LSTM) -> None:
        super().__init__()
        self.module = module

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.module(given)[0]
        return outputs


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_gates_of_core_ml(bidirectional: bool, tmp_path: Path) -> None:
    """Each gate of a converted LSTM is that of PyTorch; Core ML calls the candidate z, PyTorch g."""
    coremltools = pytest.importorskip("coremltools", reason="coremltools is not installed")
    module = torch.nn.LSTM(20, 16, batch_first=True, bidirectional=bidirectional).eval()
    given = torch.randn(1, 5, 20)
    model = coremltools.convert(
        torch.jit.trace(_Outputs(module).eval(), given),
        inputs=[coremltools.TensorType(shape=given.shape)],
        convert_to="mlprogram",
        minimum_deployment_target=coremltools.target.iOS15,
        compute_precision=coremltools.precision.FLOAT32,
        skip_model_load=True,
    )
    path = tmp_path / "lstm.mlpackage"
    model.save(str(path))
    gates = {
        (name, gate): rows
        for name, weight in module.state_dict().items()
        if name.startswith("weight")
        for gate, rows in zip("ifzo", weight.chunk(4), strict=True)
    }
    met = set()
    with open_checkpoint(path) as checkpoint:
        for layer in plan_layers(checkpoint.tensors).layers:
            assert layer.band is not None
            (matrix,) = layer.build((checkpoint.read_band(layer.tensor, *layer.band),))
            (place,) = (
                place
                for place, rows in gates.items()
                if rows.shape == matrix.shape and torch.equal(rows, matrix)
            )
            assert place[1] == layer.name.rpartition("#")[2]
            met.add(place)
    assert met == set(gates)
