"""What the operators of OpenVINO take as weights, and in which order of sides."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rmtaudit.checkpoints.openvino.ir import Operator
from rmtaudit.matrices.tensors import Role, Use

_KERNEL = {1: "W", 2: "HW", 3: "DHW"}
_RECURRENT = {
    "LSTMSequence": (4, 5), "LSTMCell": (3, 4), "GRUSequence": (3, 4), "GRUCell": (2, 3),
    "RNNSequence": (3, 4), "RNNCell": (2, 3),
}  # fmt: skip
"""Inputs of the recurrent operators that are weights; a bias follows them."""

_VECTORS = {"Add": "bias", "Multiply": "scale", "Subtract": "shift", "Divide": "scale", "PRelu": "slopes"}
_GATES = {"LSTM": ("f", "i", "c", "o"), "GRU": ("z", "r", "h"), "RNN": ("h",)}
"""Gates in stored order (OpenVINO operation set, LSTMSequence-5 and GRUSequence-5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """A role, and the shape that the values are presented in."""

    role: Role
    shape: tuple[int, ...]


def weight_inputs(operator: Operator) -> tuple[int, ...]:
    """Return the inputs of an operator that weights come in by."""
    kind = operator.type
    if kind in _RECURRENT:
        return _RECURRENT[kind]
    if kind in {"Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData"}:
        return (1,)
    if kind == "Gather":
        return (0,)
    return (1, 0) if kind == "MatMul" else ()


def other_inputs(operator: Operator) -> dict[int, str]:
    """Return what inputs of an operator are that are no weights: biases, initial states."""
    if operator.type not in _RECURRENT:
        reason = _VECTORS.get(operator.type)
        return dict.fromkeys(range(len(operator.inputs)), reason) if reason else {}
    first, last = _RECURRENT[operator.type]
    return dict.fromkeys(range(1, first), "initial state") | {last + 1: "bias"}


def present(operator: Operator, index: int, shape: tuple[int, ...]) -> Presented | None:
    """Return how the weight of an input is presented; ``None`` for a shape that makes no sense."""
    kind, rank = operator.type, len(shape)
    if kind == "MatMul":
        return _of_matmul(operator, index, shape)
    if kind == "Gather":
        role = Role(use=Use.EMBEDDING, axes="OI")
        return Presented(role=role, shape=shape) if rank == 2 else None
    if kind in _RECURRENT:
        return _of_recurrent(operator, shape)
    grouped, backward = kind.startswith("Group"), kind.endswith("BackpropData")
    if grouped:
        if rank < 4:
            return None
        shape = (shape[0] * shape[1], *shape[2:])
    kernel = _KERNEL.get(len(shape) - 2)
    if kernel is None:
        return None
    role = Role(use=Use.CONVOLUTION, axes=f"{'IO' if backward else 'OI'}{kernel}")
    return Presented(role=role, shape=shape)


def _of_matmul(operator: Operator, index: int, shape: tuple[int, ...]) -> Presented | None:
    transposed = operator.data.get("transpose_b" if index else "transpose_a", "false").lower() in {
        "true",
        "1",
    }
    outputs_first = transposed if index else not transposed
    while len(shape) > 3 and shape[0] == 1:
        shape = shape[1:]
    axes = {2: "", 3: "E" if shape[0] > 1 else "1"}.get(len(shape))
    if axes is None:
        return None
    role = Role(use=Use.DENSE, axes=axes + ("OI" if outputs_first else "IO"))
    return Presented(role=role, shape=shape)


def _of_recurrent(operator: Operator, shape: tuple[int, ...]) -> Presented | None:
    gates = _GATES[operator.type.removesuffix("Sequence").removesuffix("Cell")]
    sequence = operator.type.endswith("Sequence")
    if len(shape) != 2 + sequence:
        return None
    directions = shape[0] if sequence else 1
    units, rest = divmod(shape[-2], len(gates))
    if rest or not 1 <= directions <= 2:
        return None
    parts = [
        (gate if directions == 1 else f"{'forward' if way == 0 else 'backward'}-{gate}", units)
        for way in range(directions)
        for gate in gates
    ]
    spans = tuple((label, i * units, (i + 1) * units) for i, (label, units) in enumerate(parts))
    role = Role(use=Use.RECURRENT, axes="OI", parts=spans if len(spans) > 1 else ())
    return Presented(role=role, shape=(math.prod(shape[:-1]), shape[-1]))
