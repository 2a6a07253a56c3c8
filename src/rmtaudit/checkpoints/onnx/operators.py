"""What the operators of ONNX, and those that ONNX Runtime adds, do with their inputs.

Sources: ``docs/Operators.md`` of ONNX 1.23; ``docs/ContribOperators.md`` of ONNX Runtime 1.32 (domain
``com.microsoft``). What is quantised is in :mod:`~rmtaudit.checkpoints.onnx.integers`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from rmtaudit.checkpoints.graphs.claims import Claim, none
from rmtaudit.checkpoints.graphs.expressions import Dequantised, Expression, leaf_of
from rmtaudit.checkpoints.graphs.gates import Cell, equal_parts, gate_names
from rmtaudit.checkpoints.graphs.model import Node, Scope
from rmtaudit.checkpoints.onnx.trace import FOLLOWED, OnnxTrace
from rmtaudit.matrices.tensors import FLOATING, Role, Use

Claims = Iterator[Claim]
MS = "com.microsoft::"

GATES = {"LSTM": ("i", "o", "f", "g"), "GRU": ("z", "r", "n"), "RNN": ()}
"""Names of the gates in ONNX's order (``iofc``, ``zrh``), as PyTorch calls them."""

_KERNELS = {1: "W", 2: "HW", 3: "DHW"}

_CELL = Cell(
    passing=frozenset({"Add", "Cast", "Identity", "Reshape", "Mul"}),
    adding=frozenset({"Add", "Cast", "Identity", "Squeeze"}),
    split=frozenset({"Split"}),
    sigmoid=frozenset({"Sigmoid", "HardSigmoid"}),
    tanh=frozenset({"Tanh"}),
)

_SCALED = frozenset({"DequantizeLinear", "QuantizeLinear", f"{MS}DequantizeLinear", f"{MS}QuantizeLinear"})
"""Operators whose second and third input are a scale and a zero point."""

_NONE = {
    "BatchNormalization": {1: "scale", 2: "shift", 3: "running mean", 4: "running variance"},
    "InstanceNormalization": {1: "scale", 2: "shift"},
    "LayerNormalization": {1: "scale", 2: "shift"},
    "GroupNormalization": {1: "scale", 2: "shift"},
    "RMSNormalization": {1: "scale"},
    "SimplifiedLayerNormalization": {1: "scale"},
    f"{MS}SimplifiedLayerNormalization": {1: "scale"},
    f"{MS}SkipLayerNormalization": {2: "scale", 3: "shift", 4: "bias"},
    f"{MS}SkipSimplifiedLayerNormalization": {2: "scale", 3: "bias"},
    f"{MS}EmbedLayerNormalization": {5: "scale", 6: "shift"},
    f"{MS}BiasGelu": {1: "bias"},
    f"{MS}FastGelu": {1: "bias"},
    f"{MS}BiasAdd": {1: "bias"},
    "PRelu": {1: "slope of PRelu"},
    f"{MS}RotaryEmbedding": {2: "table of cosines", 3: "table of sines"},
    "RotaryEmbedding": {1: "table of cosines", 2: "table of sines"},
    f"{MS}GroupQueryAttention": {7: "table of cosines", 8: "table of sines"},
}


def claims_of(trace: OnnxTrace, scope: Scope, node: Node) -> Claims:
    """Yield what an operator does with those of its inputs that come of constants alone."""
    for index, reason in _NONE.get(node.op, {}).items():
        yield from none(trace.value(scope, node.input(index)), reason)
    if node.op in _SCALED:
        for index in (1, 2):
            yield from none(trace.value(scope, node.input(index)), "scale or zero point", parameter=False)
    handler = _HANDLERS.get(node.op)
    if handler is not None:
        yield from handler(trace, scope, node)
    for output in node.outputs[:1] if node.op in FOLLOWED else ():
        value = trace.value(scope, output)
        if isinstance(value, Dequantised) and value.scale is not None:
            yield Claim(expression=value, role=None, scheme=_scheme(value))


def weight(
    expression: Expression | None, use: Use, axes: str, parts: tuple[tuple[str, int, int], ...] = ()
) -> Iterable[Claim]:
    """Yield the claim on a weight: nothing where it does not come of constants, or has other sides."""
    if expression is None or len(expression.shape) != len(axes):
        return
    yield from finished(expression, Role(use=use, axes=axes, parts=parts))


def finished(expression: Expression, role: Role, scheme: str = "") -> Iterable[Claim]:
    """Yield a claim on stored numbers, or on codes; these need a scale."""
    codes = leaf_of(expression).constant
    core = expression
    while not isinstance(core, Dequantised) and hasattr(core, "of"):
        core = core.of
    scaled = isinstance(core, Dequantised) and core.scale is not None
    if codes.dtype in FLOATING and not codes.dtype.startswith("float8"):
        yield Claim(expression=expression, role=role, scheme=scheme)
    elif scaled:
        yield Claim(expression=expression, role=role, scheme=scheme or _scheme(expression))
    else:
        yield Claim(expression=expression, role=role, unknown=(codes.name,))


def _scheme(expression: Expression) -> str:
    while not isinstance(expression, Dequantised) and hasattr(expression, "of"):
        expression = expression.of
    by_arithmetic = isinstance(expression, Dequantised) and expression.by_arithmetic
    return f"{leaf_of(expression).constant.dtype} ({'Cast and Mul' if by_arithmetic else 'DequantizeLinear'})"


def matrix_axes(shape: tuple[int, ...], last: str) -> str:
    """Return the axes of a batch of matrices whose last two sides are ``last``; ``""`` for a grid of them."""
    batch = shape[:-2]
    if sum(side > 1 for side in batch) > 1:
        return ""
    return "".join("E" if side > 1 else "1" for side in batch) + last


def gates_behind(scope: Scope, node: Node) -> tuple[str, ...]:
    """Return the names of the gates that share the outputs of a product; none where it is no such one."""
    return gate_names(scope, node.outputs[0], _CELL) if node.outputs else ()


def _matmul(trace: OnnxTrace, scope: Scope, node: Node) -> Claims:
    for index, last in ((1, "IO"), (0, "OI")):
        value = trace.value(scope, node.input(index))
        if value is None:
            continue
        if len(value.shape) < 2:
            yield from none(value, "vector that MatMul takes")
            continue
        flipped = node.integer("transB" if index else "transA", 0)
        axes = matrix_axes(value.shape, last[::-1] if flipped else last)
        if axes:
            parts = gates_behind(scope, node) if index and len(axes) == 2 else ()
            use = Use.RECURRENT if parts else Use.DENSE
            yield from weight(value, use, axes, equal_parts(parts, value.shape[axes.index("O")]))


def _gemm(trace: OnnxTrace, scope: Scope, node: Node) -> Claims:
    yield from _matmul(trace, scope, node)
    yield from none(trace.value(scope, node.input(2)), "bias")


def _convolution(trace: OnnxTrace, scope: Scope, node: Node) -> Claims:
    kernel = trace.value(scope, node.input(1))
    role = None if kernel is None else kernel_role(kernel, transposed=node.op == "ConvTranspose")
    if kernel is not None and role is not None:
        yield from finished(kernel, role)
    yield from none(trace.value(scope, node.input(2)), "bias")


def kernel_role(kernel: Expression, *, transposed: bool = False) -> Role | None:
    """Return the role of a kernel: outputs, inputs, positions; inputs first where it is transposed."""
    letters = _KERNELS.get(len(kernel.shape) - 2)
    if letters is None:
        return None
    return Role(use=Use.CONVOLUTION, axes=("IO" if transposed else "OI") + letters)


def _recurrent(trace: OnnxTrace, scope: Scope, node: Node) -> Claims:
    names = GATES[node.op]
    for index in (1, 2):
        value = trace.value(scope, node.input(index))
        if value is not None and len(value.shape) == 3:
            yield from finished(value, recurrent_role(value, "OI", names))
    yield from none(trace.value(scope, node.input(3)), "bias")
    yield from none(trace.value(scope, node.input(7)), "peephole weights, a vector a gate")
    for index in (5, 6):
        yield from none(trace.value(scope, node.input(index)), "initial state")


def recurrent_role(value: Expression, matrix: str, names: tuple[str, ...]) -> Role:
    """Return the role of the gates of one or two directions, ``matrix`` the sides of each."""
    axes = ("E" if value.shape[0] > 1 else "1") + matrix
    return Role(use=Use.RECURRENT, axes=axes, parts=equal_parts(names, value.shape[axes.index("O")]))


def _gather(trace: OnnxTrace, scope: Scope, node: Node) -> Claims:
    value = trace.value(scope, node.input(0))
    if value is None or len(value.shape) != 2 or node.integer("axis", 0) not in {0, -2}:
        return
    constant = leaf_of(value).constant
    if isinstance(value, Dequantised) or constant.dtype in FLOATING:
        yield from weight(value, Use.EMBEDDING, "OI")


def _embed_layer_norm(trace: OnnxTrace, scope: Scope, node: Node) -> Claims:
    for index in (2, 3, 4):
        yield from weight(trace.value(scope, node.input(index)), Use.EMBEDDING, "OI")


def _attention(trace: OnnxTrace, scope: Scope, node: Node) -> Claims:
    value = trace.value(scope, node.input(1))
    if value is not None and len(value.shape) == 2:
        sizes = node.integers("qkv_hidden_sizes")
        yield from weight(value, Use.ATTENTION, "IO", query_key_value(sizes, value.shape[1]))
    yield from none(trace.value(scope, node.input(2)), "bias")


def query_key_value(sizes: tuple[int, ...] | None, outputs: int) -> tuple[tuple[str, int, int], ...]:
    """Return the parts of fused projections: of stated sizes, or a third each."""
    if sizes is None or len(sizes) != 3 or sum(sizes) != outputs or min(sizes) < 1:
        return equal_parts(("q", "k", "v"), outputs)
    q, k, _ = sizes
    return (("q", 0, q), ("k", q, q + k), ("v", q + k, outputs))


def _experts(trace: OnnxTrace, scope: Scope, node: Node) -> Claims:
    for index in (2, 4, 6):
        yield from weight(trace.value(scope, node.input(index)), Use.DENSE, "EOI")
    for index in (3, 5, 7):
        yield from none(trace.value(scope, node.input(index)), "bias")


def _elementwise(trace: OnnxTrace, scope: Scope, node: Node) -> Claims:
    """Yield claims on vectors, and on tables that scale: a table that is added may be one of positions."""
    for index in (0, 1):
        value = trace.value(scope, node.input(index))
        if value is None:
            continue
        if sum(side > 1 for side in value.shape) < 2:
            yield from none(value, "vector or number of an elementwise operator")
        elif node.op != "Add" and trace.varies(scope, node.input(1 - index)):
            yield from none(value, "table that scales, element by element")


Handler = Callable[[OnnxTrace, Scope, Node], Claims]

_HANDLERS: dict[str, Handler] = {
    "MatMul": _matmul,
    f"{MS}FusedMatMul": _matmul,
    f"{MS}GemmFastGelu": _gemm,
    "Gemm": _gemm,
    f"{MS}FusedGemm": _gemm,
    "Conv": _convolution,
    f"{MS}FusedConv": _convolution,
    f"{MS}NhwcFusedConv": _convolution,
    "ConvTranspose": _convolution,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
    "Gather": _gather,
    f"{MS}EmbedLayerNormalization": _embed_layer_norm,
    f"{MS}Attention": _attention,
    f"{MS}MoE": _experts,
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min"), _elementwise),
}
