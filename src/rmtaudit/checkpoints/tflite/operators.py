"""What the operators of TensorFlow Lite do with constants.

Sources: ``tensorflow/lite/schema/schema.fbs`` and the kernels under ``tensorflow/lite/kernels`` (2.20).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from rmtaudit.checkpoints.graphs.claims import Claim, none
from rmtaudit.checkpoints.graphs.expressions import (
    Dequantised,
    Expression,
    Leaf,
    Reshaped,
    Transposed,
    leaf_of,
)
from rmtaudit.checkpoints.graphs.gates import Cell, equal_parts, gate_names
from rmtaudit.checkpoints.graphs.model import Constant, Node, Scope
from rmtaudit.checkpoints.graphs.trace import Trace
from rmtaudit.matrices.tensors import FLOATING, Role, Use

Claims = Iterator[Claim]

OPERATORS = {
    0: "ADD", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D", 6: "DEQUANTIZE", 7: "EMBEDDING_LOOKUP",
    9: "FULLY_CONNECTED", 14: "LOGISTIC", 16: "LSTM", 18: "MUL", 22: "RESHAPE", 24: "RNN", 27: "SVDF",
    28: "TANH", 33: "EMBEDDING_LOOKUP_SPARSE", 35: "UNIDIRECTIONAL_SEQUENCE_RNN", 36: "GATHER",
    39: "TRANSPOSE", 41: "SUB", 42: "DIV", 43: "SQUEEZE", 44: "UNIDIRECTIONAL_SEQUENCE_LSTM",
    46: "BIDIRECTIONAL_SEQUENCE_RNN", 49: "SPLIT", 52: "BIDIRECTIONAL_SEQUENCE_LSTM", 53: "CAST",
    54: "PRELU", 55: "MAXIMUM", 57: "MINIMUM", 67: "TRANSPOSE_CONV", 70: "EXPAND_DIMS", 78: "POW",
    102: "SPLIT_V", 114: "QUANTIZE", 126: "BATCH_MATMUL", 132: "CONV_3D", 141: "CONV_3D_TRANSPOSE",
}  # fmt: skip
"""Names of the operators that are looked at, by ``BuiltinOperator``."""

_CELL = Cell(
    passing=frozenset({"ADD", "RESHAPE", "CAST", "DEQUANTIZE"}),
    adding=frozenset({"ADD", "SQUEEZE", "RESHAPE"}),
    split=frozenset({"SPLIT", "SPLIT_V"}),
    sigmoid=frozenset({"LOGISTIC"}),
    tanh=frozenset({"TANH"}),
)

_SAME = frozenset({"DEQUANTIZE", "QUANTIZE", "CAST"})
_RESHAPES = frozenset({"RESHAPE", "SQUEEZE", "EXPAND_DIMS"})

_WEIGHTS: dict[str, dict[int, tuple[Use, str]]] = {
    "CONV_2D": {1: (Use.CONVOLUTION, "OHWI")},
    "DEPTHWISE_CONV_2D": {1: (Use.CONVOLUTION, "1HWO")},
    "TRANSPOSE_CONV": {1: (Use.CONVOLUTION, "OHWI")},
    "CONV_3D": {1: (Use.CONVOLUTION, "DHWIO")},
    "CONV_3D_TRANSPOSE": {1: (Use.CONVOLUTION, "DHWOI")},
    "EMBEDDING_LOOKUP": {1: (Use.EMBEDDING, "OI")},
    "EMBEDDING_LOOKUP_SPARSE": {4: (Use.EMBEDDING, "OI")},
    "SVDF": {1: (Use.DENSE, "OI"), 2: (Use.DENSE, "OI")},
    "RNN": dict.fromkeys((1, 2), (Use.RECURRENT, "OI")),
    "UNIDIRECTIONAL_SEQUENCE_RNN": dict.fromkeys((1, 2), (Use.RECURRENT, "OI")),
    "BIDIRECTIONAL_SEQUENCE_RNN": dict.fromkeys((1, 2, 5, 6, 10, 11), (Use.RECURRENT, "OI")),
    "LSTM": dict.fromkeys((*range(1, 9), 16), (Use.RECURRENT, "OI")),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": dict.fromkeys((*range(1, 9), 16), (Use.RECURRENT, "OI")),
    "BIDIRECTIONAL_SEQUENCE_LSTM": dict.fromkeys(
        (*range(1, 9), 16, *range(18, 26), 33, *range(40, 48)), (Use.RECURRENT, "OI")
    ),
}
"""The inputs that are weights, with the order of their sides; a gate is a matrix of its own."""

_BIASES: dict[str, tuple[int, ...]] = {
    "FULLY_CONNECTED": (2,),
    "CONV_2D": (2,),
    "DEPTHWISE_CONV_2D": (2,),
    "TRANSPOSE_CONV": (3,),
    "CONV_3D": (2,),
    "CONV_3D_TRANSPOSE": (3,),
    "SVDF": (3,),
    "RNN": (3,),
    "UNIDIRECTIONAL_SEQUENCE_RNN": (3,),
    "BIDIRECTIONAL_SEQUENCE_RNN": (3, 7),
    "LSTM": (12, 13, 14, 15, 17),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (12, 13, 14, 15, 17),
    "BIDIRECTIONAL_SEQUENCE_LSTM": (12, 13, 14, 15, 17, 29, 30, 31, 32, 34),
}


class TFLiteTrace(Trace):
    """Follows the operators of TensorFlow Lite; codes come with the scales of their tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.quantised: dict[Constant, Dequantised] = {}

    def leaf(self, constant: Constant) -> Expression:
        """Return the values of a constant: dequantised where it is quantised."""
        return self.quantised.get(constant) or self.plain(constant)

    def _made(self, scope: Scope, node: Node, index: int) -> Expression | None:
        inner = self.value(scope, node.input(0))
        if inner is None or index:
            return None
        if node.op in _SAME:
            return inner
        if node.op == "TRANSPOSE":
            order = self.integers(scope, node.input(1))
            good = order is not None and sorted(order) == list(range(len(inner.shape)))
            return Transposed(inner, order) if order is not None and good else None
        shape = node.integers("shape")
        if node.op in _RESHAPES and shape is not None and min(shape, default=0) >= 0:
            return Reshaped(inner, shape) if math.prod(shape) == math.prod(inner.shape) else None
        return None


def is_quantised(constant: Constant) -> str:
    """Return the name of the scheme of a tensor with scales."""
    return f"{constant.dtype} (TensorFlow Lite)"


def claims_of(trace: Trace, scope: Scope, node: Node) -> Claims:
    """Yield what an operator does with those of its inputs that come of constants alone."""
    for index in _BIASES.get(node.op, ()):
        yield from none(trace.value(scope, node.input(index)), "bias")
    for index, (use, axes) in _WEIGHTS.get(node.op, {}).items():
        yield from _weight(trace.value(scope, node.input(index)), Role(use=use, axes=axes))
    if node.op == "FULLY_CONNECTED":
        yield from _fully_connected(trace, scope, node)
    elif node.op == "BATCH_MATMUL":
        yield from _matmul(trace, scope, node)
    elif node.op == "GATHER":
        if node.integer("axis", 0) == 0:
            yield from _weight(trace.value(scope, node.input(0)), Role(use=Use.EMBEDDING, axes="OI"))
    elif node.op == "PRELU":
        yield from none(trace.value(scope, node.input(1)), "slope of PRELU")
    elif node.op in {"ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "POW"}:
        for index in (0, 1):
            value = trace.value(scope, node.input(index))
            if value is not None and sum(side > 1 for side in value.shape) < 2:
                yield from none(value, "vector or number of an elementwise operator")


def _weight(value: Expression | None, role: Role, unknown: tuple[str, ...] = ()) -> Claims:
    if value is None or len(value.shape) != len(role.axes):
        return
    constant = leaf_of(value).constant
    core = value
    while not isinstance(core, Leaf | Dequantised) and hasattr(core, "of"):
        core = core.of
    if unknown or (isinstance(core, Leaf) and constant.dtype not in FLOATING):
        yield Claim(expression=value, role=role, unknown=(constant.name, *unknown))
    else:
        yield Claim(expression=value, role=role, scheme=is_quantised(constant))


def _fully_connected(trace: Trace, scope: Scope, node: Node) -> Claims:
    value = trace.value(scope, node.input(1))
    if value is None or len(value.shape) != 2:
        return
    names = gate_names(scope, node.outputs[0], _CELL) if node.outputs else ()
    use = Use.RECURRENT if names else Use.DENSE
    shuffled = ("shuffled weights",) if node.integer("weights_format", 0) else ()
    yield from _weight(value, Role(use=use, axes="OI", parts=equal_parts(names, value.shape[0])), shuffled)


def _matmul(trace: Trace, scope: Scope, node: Node) -> Claims:
    for index, last, flag in ((1, "IO", "adj_y"), (0, "OI", "adj_x")):
        value = trace.value(scope, node.input(index))
        if value is None or len(value.shape) < 2 or sum(side > 1 for side in value.shape[:-2]) > 1:
            continue
        matrix = last[::-1] if node.integer(flag, 0) else last
        batch = "".join("E" if side > 1 else "1" for side in value.shape[:-2])
        yield from _weight(value, Role(use=Use.DENSE, axes=batch + matrix))
