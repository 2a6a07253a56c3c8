"""Equal weights are equal layers whatever the graph that holds them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.matrices.plan import plan_layers

Matrices = dict[str, tuple[str, torch.Tensor]]


def matrices(path: Path) -> Matrices:
    """Return kind and matrix of each layer by its name."""
    made: Matrices = {}
    with open_checkpoint(path) as checkpoint:
        for layer in plan_layers(checkpoint.tensors, config=checkpoint.config).layers:
            if layer.band is None:
                stored = checkpoint.read(layer.tensor)
            else:
                stored = checkpoint.read_band(layer.tensor, *layer.band)
            (matrix,) = layer.build((stored,))
            made[layer.name] = (layer.kind.value, matrix)
    return made


def row_scale(matrix: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Return the factor of each row that fits best, and what it leaves, relative."""
    factor = (matrix * other).sum(1) / (other * other).sum(1)
    return factor, float((matrix - factor[:, None] * other).norm() / matrix.norm())


def test_ultraface_as_onnx_is_ultraface_as_pth(shared: Callable[..., Path]) -> None:
    """The exporter left the batch norms alone: names, kinds, shapes and values are the same."""
    torch_file = matrices(shared("models", "ultraface", "RFB-320.pth"))
    graph = matrices(shared("models", "ultraface", "RFB-320.onnx"))
    assert len(torch_file) == 52
    for name, (kind, matrix) in torch_file.items():
        assert graph[name][0] == kind
        assert torch.equal(graph[name][1], matrix)
    # The graph adds the boxes that its last operator decodes to: no weights, but a table that is added.
    assert {tuple(graph[name][1].shape) for name in graph.keys() - torch_file.keys()} == {(4420, 2)}


def test_ultraface_as_tflite_has_its_batch_norms_folded(shared: Callable[..., Path]) -> None:
    """18 kernels without a batch norm behind them are the same; of 34 each row has a factor."""
    graph = matrices(shared("models", "ultraface", "RFB-320.onnx"))
    lite = matrices(shared("models", "ultraface", "RFB-320.tflite"))
    assert len(lite) == 52
    same, found = 0, set()
    for kind, matrix in lite.values():
        left = {
            name: row_scale(matrix, other)
            for name, (its_kind, other) in graph.items()
            if its_kind == kind and other.shape == matrix.shape
        }
        name = min(left, key=lambda each: left[each][1])
        factor, rest = left[name]
        assert rest < 2**-22
        found.add(name)
        other = graph[name][1]
        if torch.equal(matrix, other):
            same += 1
            one, two = (torch.linalg.svdvals(each.double()) for each in (matrix, other))
            assert torch.equal(one, two)
        else:
            assert "headers" not in name
            assert factor.abs().max() / factor.abs().min() > 1.05
    assert len(found) == 52
    assert same == 18


def test_an_int8_model_is_within_half_a_step_of_its_floats(shared: Callable[..., Path]) -> None:
    """Codes times scales are the weights to half a scale, which any other order of sides would break."""
    floats = matrices(shared("models", "mlperf_tiny", "resnet8_float.tflite"))
    codes = matrices(shared("models", "mlperf_tiny", "resnet8_int8.tflite"))
    assert floats.keys() == codes.keys()
    for name, (kind, matrix) in floats.items():
        assert codes[name][0] == kind
        step = matrix.abs().amax(1, keepdim=True) / 127
        if name == "model/dense/MatMul":  # one scale for the whole matrix
            step = matrix.abs().max() / 127
        assert ((codes[name][1] - matrix).abs() <= 0.501 * step).all()


def test_dtln_in_two_containers(shared: Callable[..., Path]) -> None:
    """The second half of DTLN as ONNX and as TensorFlow Lite with 8 bits: the same gates and kernels.

    The eight bits are all that differs: 1 in 127 of the largest number, of which a matrix has few.
    """
    graph = matrices(shared("models", "dtln", "model_2.onnx"))
    lite = matrices(shared("models", "dtln", "model_quant_2.tflite"))
    assert len(graph) == len(lite) == 19
    nearest = []
    for _, matrix in lite.values():
        left = {
            name: float((matrix - other).norm() / other.norm())
            for name, (_, other) in graph.items()
            if other.shape == matrix.shape
        }
        nearest.append(min(left, key=lambda name: left[name]))
        assert left[nearest[-1]] < 0.06, left
    assert len(set(nearest)) == 19


def test_external_data_makes_no_difference(shared: Callable[..., Path]) -> None:
    inside = matrices(shared("models", "dtln", "model_1.onnx"))
    outside = matrices(shared("models", "derived", "onnx_external", "model_1.onnx"))
    assert inside.keys() == outside.keys()
    assert all(torch.equal(inside[name][1], outside[name][1]) for name in inside)


def test_resnet8_as_keras_and_as_tflite(shared: Callable[..., Path]) -> None:
    """The converter folds batch norms: kernels before one have a factor a row, the others are the same."""
    keras = matrices(shared("models", "mlperf_tiny", "resnet8.h5"))
    lite = matrices(shared("models", "mlperf_tiny", "resnet8_float.tflite"))
    assert len(keras) == len(lite) == 10
    found, same = set(), 0
    for kind, matrix in lite.values():
        left = {
            name: row_scale(matrix, other)[1]
            for name, (its_kind, other) in keras.items()
            if its_kind == kind and other.shape == matrix.shape
        }
        name = min(left, key=lambda each: left[each])
        assert left[name] < 2**-22
        found.add(name)
        same += torch.equal(matrix, keras[name][1])
    assert len(found) == 10
    assert same == 3
