"""What the operators of TensorFlow do with constants.

Source: the documentation of ``tf.raw_ops`` (TensorFlow 2.20).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

from rmtaudit.checkpoints.graphs.claims import Claim, none
from rmtaudit.checkpoints.graphs.expressions import Expression, Pieces, Reshaped, Transposed, leaf_of
from rmtaudit.checkpoints.graphs.gates import Cell, equal_parts, gate_names
from rmtaudit.checkpoints.graphs.model import Node, Scope
from rmtaudit.checkpoints.graphs.trace import Trace
from rmtaudit.matrices.tensors import FLOATING, Role, Use

Claims = Iterator[Claim]

_SAME = frozenset(
    {"Identity", "Enter", "Cast", "StopGradient", "Snapshot", "PreventGradient", "ReadVariableOp",
     "FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxArgs", "FakeQuantWithMinMaxVarsPerChannel", "RefEnter",
     "CheckNumerics"}
)  # fmt: skip

_CELL = Cell(
    passing=frozenset({"Add", "AddV2", "BiasAdd", "Identity", "Reshape"}),
    adding=frozenset({"Add", "AddV2", "Identity"}),
    split=frozenset({"Split", "SplitV"}),
    sigmoid=frozenset({"Sigmoid"}),
    tanh=frozenset({"Tanh"}),
)

_KERNELS = {
    "Conv1D": "WIO",
    "Conv2D": "HWIO",
    "_FusedConv2D": "HWIO",
    "Conv3D": "DHWIO",
    "DepthwiseConv2dNative": "HWIM",
    "_FusedDepthwiseConv2dNative": "HWIM",
    "Conv2DBackpropInput": "HWOI",
    "Conv3DBackpropInput": "DHWOI",
    "Conv3DBackpropInputV2": "DHWOI",
}
"""The sides of the kernel, input 1. A transposed convolution is the gradient of one: its sides swap."""

_BATCH_NORM = {1: "scale", 2: "shift", 3: "running mean", 4: "running variance"}
_NONE = {
    "BiasAdd": {1: "bias"},
    "_FusedConv2D": {2: "bias"},
    "_FusedMatMul": {2: "bias"},
    "FusedBatchNorm": _BATCH_NORM,
    "FusedBatchNormV2": _BATCH_NORM,
    "FusedBatchNormV3": _BATCH_NORM,
    "BatchNormWithGlobalNormalization": {
        1: "running mean",
        2: "running variance",
        3: "shift",
        4: "scale",
    },
    "LSTMBlockCell": {4: "peephole weights", 5: "peephole weights", 6: "peephole weights", 7: "bias"},
    "BlockLSTM": {5: "peephole weights", 6: "peephole weights", 7: "peephole weights", 8: "bias"},
    "BlockLSTMV2": {5: "peephole weights", 6: "peephole weights", 7: "peephole weights", 8: "bias"},
    "GRUBlockCell": {4: "bias", 5: "bias"},
}

_RECURRENT: dict[str, dict[int, tuple[str, ...]]] = {
    "LSTMBlockCell": {3: ("i", "g", "f", "o")},
    "BlockLSTM": {4: ("i", "g", "f", "o")},
    "BlockLSTMV2": {4: ("i", "f", "g", "o")},
    "GRUBlockCell": {2: ("r", "z"), 3: ()},
}
"""Kernels ``(inputs + hidden, gates * hidden)`` of fused cells, and their gates (PyTorch's names)."""

_PRODUCTS = ("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "SparseMatMul", "_FusedMatMul")
_QUANTISED = frozenset({"QuantizedMatMul", "QuantizedConv2D", "QuantizedDepthwiseConv2D", "Dequantize"})


class TensorFlowTrace(Trace):
    """Follows the operators of TensorFlow."""

    def _made(self, scope: Scope, node: Node, index: int) -> Expression | None:
        value = node.input(1 if node.op == "Split" else 0)
        inner = self.value(scope, value)
        if inner is None or (index and not node.op.startswith("Split")):
            return None
        if node.op in _SAME:
            return inner
        if node.op == "Transpose":
            order = self.integers(scope, node.input(1))
            good = order is not None and sorted(order) == list(range(len(inner.shape)))
            return Transposed(inner, order) if order is not None and good else None
        if node.op == "Split":
            return self._split(scope, node, index, inner)
        shape = self._shape(scope, node, inner.shape)
        return None if shape is None or math.prod(shape) != math.prod(inner.shape) else Reshaped(inner, shape)

    def _shape(self, scope: Scope, node: Node, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        if node.op == "ExpandDims":
            axis = self.integers(scope, node.input(1))
            if axis is None or len(axis) != 1 or not -len(shape) - 1 <= axis[0] <= len(shape):
                return None
            at = axis[0] if axis[0] >= 0 else axis[0] + len(shape) + 1
            return (*shape[:at], 1, *shape[at:])
        if node.op == "Squeeze":
            return tuple(side for side in shape if side != 1)
        if node.op == "Reshape":
            wanted = self.integers(scope, node.input(1))
            if wanted is None or any(side < -1 for side in wanted):
                return None
            rest = math.prod(side for side in wanted if side != -1)
            if wanted.count(-1) == 1 and rest > 0:
                return tuple(math.prod(shape) // rest if side == -1 else side for side in wanted)
            return wanted
        return None

    def _split(self, scope: Scope, node: Node, index: int, inner: Expression) -> Expression | None:
        axis = self.integers(scope, node.input(0))
        count = node.integer("num_split", 0)
        if axis is None or len(axis) != 1 or not -len(inner.shape) <= axis[0] < len(inner.shape) or count < 1:
            return None
        side = axis[0] % len(inner.shape)
        size, rest = divmod(inner.shape[side], count)
        return None if rest or index >= count else Pieces(inner, side, ((index * size, (index + 1) * size),))


def claims_of(trace: Trace, scope: Scope, node: Node) -> Claims:
    """Yield what an operator does with those of its inputs that come of constants alone."""
    op = node.op
    for index, reason in _NONE.get(op, {}).items():
        yield from none(trace.value(scope, node.input(index)), reason)
    if op in _KERNELS:
        yield from _weight(trace.value(scope, node.input(1)), Use.CONVOLUTION, _KERNELS[op])
    elif op in _RECURRENT:
        for index, names in _RECURRENT[op].items():
            value = trace.value(scope, node.input(index))
            if value is not None and len(value.shape) == 2:
                yield from _weight(value, Use.RECURRENT, "IO", equal_parts(names, value.shape[1]))
    elif op in _QUANTISED:
        for name in node.inputs:
            value = trace.value(scope, name)
            if (
                value is not None
                and len(value.shape) > 1
                and leaf_of(value).constant.dtype in {"int8", "uint8"}
            ):
                role = Role(use=Use.DENSE, axes="OI" if len(value.shape) == 2 else "")
                yield Claim(expression=value, role=role, unknown=(leaf_of(value).constant.name, op))
    else:
        handler = _HANDLERS.get(op)
        if handler is not None:
            yield from handler(trace, scope, node)


def _weight(
    value: Expression | None, use: Use, axes: str, parts: tuple[tuple[str, int, int], ...] = ()
) -> Iterable[Claim]:
    if value is None or len(value.shape) != len(axes):
        return
    constant = leaf_of(value).constant
    role = Role(use=use, axes=axes, parts=parts)
    if constant.dtype in FLOATING and not constant.dtype.startswith("float8"):
        yield Claim(expression=value, role=role)
    else:
        yield Claim(expression=value, role=role, unknown=(constant.name,))


def _matmul(trace: Trace, scope: Scope, node: Node) -> Claims:
    for index, last, flags in ((1, "IO", ("transpose_b", "adj_y")), (0, "OI", ("transpose_a", "adj_x"))):
        value = trace.value(scope, node.input(index))
        if value is None or len(value.shape) < 2:
            continue
        flipped = any(node.integer(flag, 0) for flag in flags)
        batch = value.shape[:-2]
        if sum(side > 1 for side in batch) > 1:
            continue
        matrix = last[::-1] if flipped else last
        axes = "".join("E" if side > 1 else "1" for side in batch) + matrix
        names = gate_names(scope, node.outputs[0], _CELL) if index and "E" not in axes else ()
        use = Use.RECURRENT if names else Use.DENSE
        yield from _weight(value, use, axes, equal_parts(names, value.shape[axes.index("O")]))


def _gather(trace: Trace, scope: Scope, node: Node) -> Claims:
    axis = trace.integers(scope, node.input(2)) if node.input(2) else (0,)
    if axis in {(0,), None}:
        yield from _weight(trace.value(scope, node.input(0)), Use.EMBEDDING, "OI")


def _added(trace: Trace, scope: Scope, node: Node) -> Claims:
    for index in (0, 1):
        value = trace.value(scope, node.input(index))
        if value is not None and sum(side > 1 for side in value.shape) < 2:
            yield from none(value, "vector or number of an elementwise operator")


Handler = Callable[[Trace, Scope, Node], Claims]

_HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(_PRODUCTS, _matmul),
    **dict.fromkeys(("Gather", "GatherV2", "ResourceGather"), _gather),
    **dict.fromkeys(("Add", "AddV2", "Sub", "Mul", "RealDiv", "Div", "Maximum", "Minimum", "Pow"), _added),
}
