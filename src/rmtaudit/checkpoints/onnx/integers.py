"""Operators of ONNX and ONNX Runtime that take quantised weights, and where their scales are.

Sources: ``docs/Operators.md`` of ONNX 1.23, ``docs/ContribOperators.md`` of ONNX Runtime 1.32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

from rmtaudit.checkpoints.graphs.claims import Claim, belongings, none
from rmtaudit.checkpoints.graphs.expressions import (
    Dequantised,
    Expression,
    Leaf,
    Pieces,
    Reshaped,
    Unpacked,
    is_view,
    leaf_of,
)
from rmtaudit.checkpoints.graphs.gates import equal_parts
from rmtaudit.checkpoints.graphs.model import Constant, Node, Scope
from rmtaudit.checkpoints.graphs.places import Numbers
from rmtaudit.checkpoints.onnx.operators import (
    GATES,
    MS,
    convolution,
    finished,
    gates_behind,
    matrix_axes,
    query_key_value,
    recurrent,
)
from rmtaudit.checkpoints.onnx.trace import OnnxTrace
from rmtaudit.matrices.tensors import FLOATING, Role, Use

Claims = Iterator[Claim]
Annotations = dict[str, tuple[str, str]]

_CODES = frozenset({"int8", "uint8", "int16", "uint16", "int4", "uint4", "int2", "uint2"})
_LONGEST_SEARCH = 6  # operators between an integer product and its scale


def claims_of_integers(trace: OnnxTrace, scope: Scope, node: Node, annotations: Annotations) -> Claims:
    """Yield what an operator does with quantised inputs that come of constants alone.

    Parameters
    ----------
    trace, scope, node
        The operator and its graph.
    annotations
        Names of scale and zero point that the file states for a tensor.
    """
    handler = _HANDLERS.get(node.op)
    if handler is not None:
        yield from handler(_Quantised(trace, scope, annotations), node)


class _Quantised:
    """Codes of one graph, and where their scales may be."""

    def __init__(self, trace: OnnxTrace, scope: Scope, annotations: Annotations) -> None:
        self.trace = trace
        self.scope = scope
        self._annotations = annotations

    def value(self, name: str) -> Expression | None:
        return self.trace.value(self.scope, name)

    def codes(self, name: str) -> Expression | None:
        """Return a value that is made of stored codes and nothing else."""
        value = self.value(name)
        if value is None or not is_view(value) or leaf_of(value).constant.dtype not in _CODES:
            return None
        return value

    def claim(
        self,
        codes: Expression | None,
        scale: str,
        zero: str,
        side: int,
        role: Role,
        scheme: str,
    ) -> Iterable[Claim]:
        """Yield the claim on codes whose scale is an input of the operator."""
        if codes is None:
            return
        made = self.trace.dequantised(
            codes,
            self.trace.scale(self.scope, scale),
            self.trace.scale(self.scope, zero) if zero else None,
            side,
        )
        if made is None:
            yield Claim(expression=codes, role=role, unknown=(leaf_of(codes).constant.name, scheme))
            yield from belongings(self.value(each) for each in (scale, zero))
        else:
            yield from finished(made, role, f"{leaf_of(codes).constant.dtype} ({scheme})")

    def searched(self, codes: Expression, node: Node, zero: str, side: int, role: Role) -> Iterable[Claim]:
        """Yield the claim on codes whose scale multiplies the product, somewhere behind the operator."""
        name = leaf_of(codes).constant.name
        zero_point = self.trace.scale(self.scope, zero) if zero else None
        scheme = f"{leaf_of(codes).constant.dtype} ({node.op})"
        for scale in self._scales(node, name):
            vector = [length for length in scale.shape if length > 1]
            if len(vector) < 2:
                flat = Reshaped(scale, tuple(vector))
                made = self.trace.dequantised(codes, flat, zero_point, side)
                if made is not None:
                    yield from finished(made, role, scheme)
                    return
        yield Claim(expression=codes, role=role, unknown=(name, node.op))
        yield from belongings([zero_point])

    def _scales(self, node: Node, name: str) -> Iterator[Expression]:
        """Yield candidates: stated for the tensor, named after it, and the only constant that multiplies."""
        stated = self._annotations.get(name, ("", ""))[0]
        stem = name.removesuffix("_quantized").removesuffix("_q")
        behind = list(self._factors(node.outputs[0] if node.outputs else "", _LONGEST_SEARCH))
        names = {leaf_of(each).constant.name for each in behind}
        for candidate in dict.fromkeys((stated, f"{stem}_scale", f"{name}_scale")):
            scale = self.trace.scale(self.scope, candidate)
            if (
                scale is not None
                and leaf_of(scale).constant.dtype in FLOATING
                and (stated or candidate in names)
            ):
                yield scale
        if len(behind) == 1:
            yield behind[0]

    def _factors(self, value: str, left: int) -> Iterator[Expression]:
        """Yield the floating constants that multiply a value, as the operators after it do."""
        consumer = self.scope.only_consumer(value) if left and value else None
        if consumer is None:
            return
        node, index = consumer
        if node.op == "Mul":
            yield from self._constants(node.input(1 - index), left)
        if node.op in {"Mul", "Cast", "Identity", "Reshape", "Transpose"} and node.outputs:
            yield from self._factors(node.outputs[0], left - 1)

    def _constants(self, value: str, left: int) -> Iterator[Expression]:
        expression = self.trace.scale(self.scope, value)
        if expression is not None:
            if leaf_of(expression).constant.dtype in FLOATING:
                yield expression
            return
        place = self.scope.lookup(value) if left and value else None
        if (
            place is not None
            and isinstance(place[1], Node)
            and place[1].op == "Mul"
            and place[0] is self.scope
        ):
            for name in place[1].inputs[:2]:
                yield from self._constants(name, left - 1)


def _dense(q: _Quantised, node: Node, codes: int, scale: int, zero: int, scheme: str) -> Claims:
    """``A @ B`` with inputs for the scale and the zero point of ``B``: one, or one a column."""
    value = q.codes(node.input(codes))
    if value is None or len(value.shape) < 2:
        return
    flipped = bool(node.integer("transB", 0))
    axes = matrix_axes(value.shape, "OI" if flipped else "IO")
    if axes:
        role = Role(use=Use.DENSE, axes=axes)
        side = axes.index("O")
        yield from q.claim(value, node.input(scale), node.input(zero), side, role, scheme)


def _qlinear_matmul(q: _Quantised, node: Node) -> Claims:
    yield from _dense(q, node, 3, 4, 5, "QLinearMatMul")
    value = q.codes(node.input(0))
    if value is not None and len(value.shape) == 2:
        role = Role(use=Use.DENSE, axes="OI")
        yield from q.claim(value, node.input(1), node.input(2), 0, role, "QLinearMatMul")


def _qgemm(q: _Quantised, node: Node) -> Claims:
    yield from _dense(q, node, 3, 4, 5, "QGemm")
    yield from none(q.value(node.input(6)), "bias")


def _dynamic_matmul(q: _Quantised, node: Node) -> Claims:
    yield from _dense(q, node, 1, 2, 3, "DynamicQuantizeMatMul")
    yield from none(q.value(node.input(4)), "bias")


def _matmul_to_float(q: _Quantised, node: Node) -> Claims:
    yield from _dense(q, node, 1, 3, 5, "MatMulIntegerToFloat")
    yield from none(q.value(node.input(6)), "bias")


def _matmul_integer(q: _Quantised, node: Node) -> Claims:
    value = q.codes(node.input(1))
    if value is not None and len(value.shape) >= 2:
        axes = matrix_axes(value.shape, "IO")
        if axes:
            side = axes.index("O")
            names = gates_behind(q.scope, node) if len(axes) == 2 else ()
            use = Use.RECURRENT if names else Use.DENSE
            role = Role(use=use, axes=axes, parts=equal_parts(names, value.shape[side]))
            yield from q.searched(value, node, node.input(3), side, role)


def _conv_integer(q: _Quantised, node: Node) -> Claims:
    value = q.codes(node.input(1))
    for claim in convolution(value):
        if value is not None:
            yield from q.searched(value, node, node.input(3), 0, claim.role)


def _qlinear_conv(q: _Quantised, node: Node) -> Claims:
    value = q.codes(node.input(3))
    for claim in convolution(value):
        yield from q.claim(value, node.input(4), node.input(5), 0, claim.role, "QLinearConv")
    yield from none(q.value(node.input(8)), "bias")


def _lstm(q: _Quantised, node: Node) -> Claims:
    """Gates stored ``(directions, inputs, outputs)``; a scale a direction, or one a direction and output."""
    for codes, scale, zero in ((1, 8, 9), (2, 10, 11)):
        value = q.codes(node.input(codes))
        if value is None or len(value.shape) != 3:
            continue
        directions, _, outputs = value.shape
        (plain,) = recurrent(value, "IO", GATES["LSTM"])
        scales = [
            None if part is None else _of_directions(part, directions, outputs)
            for part in (
                q.trace.scale(q.scope, node.input(scale)),
                q.trace.scale(q.scope, node.input(zero)) if node.input(zero) else None,
            )
        ]
        name = leaf_of(value).constant.name
        if scales[0] is None or (node.input(zero) and scales[1] is None):
            yield Claim(expression=value, role=plain.role, unknown=(name, "DynamicQuantizeLSTM"))
            yield from belongings(q.value(node.input(each)) for each in (scale, zero))
        else:
            made = Dequantised(value, scales[0], scales[1], None, 0, "float32")
            yield from finished(made, plain.role, f"{leaf_of(value).constant.dtype} (DynamicQuantizeLSTM)")
    yield from none(q.value(node.input(3)), "bias")


def _of_directions(part: Expression, directions: int, outputs: int) -> Expression | None:
    """Return a scale or zero point that broadcasts over ``(directions, inputs, outputs)``."""
    count = math.prod(part.shape)
    if count == 1:
        return part
    if count == directions:
        return Reshaped(part, (directions, 1, 1))
    return Reshaped(part, (directions, 1, outputs)) if count == directions * outputs else None


def _attention(q: _Quantised, node: Node) -> Claims:
    value = q.codes(node.input(1))
    if value is not None and len(value.shape) == 2:
        parts = query_key_value(node.integers("qkv_hidden_sizes"), value.shape[1])
        role = Role(use=Use.ATTENTION, axes="IO", parts=parts)
        yield from q.claim(value, node.input(4), node.input(7), 1, role, "QAttention")
    yield from none(q.value(node.input(2)), "bias")


def _embed_layer_norm(q: _Quantised, node: Node) -> Claims:
    for codes, scale, zero in ((2, 8, 13), (3, 9, 14), (4, 10, 15)):
        value = q.codes(node.input(codes))
        if value is not None and len(value.shape) == 2:
            role = Role(use=Use.EMBEDDING, axes="OI")
            yield from q.claim(
                value, node.input(scale), node.input(zero), 0, role, "QEmbedLayerNormalization"
            )


def _gather(q: _Quantised, node: Node) -> Claims:
    """Rows of codes are looked up first, and dequantised after: the scale serves the whole table."""
    value = q.codes(node.input(0))
    if value is None or len(value.shape) != 2 or node.integer("axis", 0) not in {0, -2} or not node.outputs:
        return
    consumers = q.scope.consumers(node.outputs[0])
    role = Role(use=Use.EMBEDDING, axes="OI")
    for consumer, index in consumers:
        if consumer.op.endswith("DequantizeLinear") and index == 0:
            scale = q.trace.scale(q.scope, consumer.input(1))
            if scale is not None and math.prod(scale.shape) == 1:
                yield from q.claim(
                    value, consumer.input(1), consumer.input(2), 0, role, "DequantizeLinear after Gather"
                )
                return
        if consumer.op == "Cast":
            yield from q.searched(value, node, "", 0, role)
            return


def _gather_blocks(q: _Quantised, node: Node) -> Claims:
    """``GatherBlockQuantized``: an embedding of 4 or 8 bits, a scale for each block of one axis."""
    value = q.codes(node.input(0))
    if value is None or len(value.shape) != 2:
        return
    constant = leaf_of(value).constant
    role = Role(use=Use.EMBEDDING, axes="OI")
    bits = node.integer("bits", 4)
    zero = q.trace.scale(q.scope, node.input(3)) if node.input(3) else None
    scale = q.trace.scale(q.scope, node.input(2))
    side = node.integer("quantize_axis", 1) % 2
    block = node.integer("block_size", 128)
    if constant.dtype == "uint8" and side == 1 and bits in {4, 8} and scale is not None and is_view(value):
        # Bytes hold codes with an offset of half their range where there is no zero point.
        size = value.shape[1] * 8 // bits
        codes: Expression = Unpacked(value, bits, size)
        groups = -(-size // max(1, block))
        if zero is None:
            zero = _number(1 << (bits - 1))
        elif bits == 4:
            zero = Unpacked(zero, 4, groups) if len(zero.shape) == 2 else None
        fits = block > 0 and scale.shape == (value.shape[0], groups) and zero is not None
        if fits:
            yield Claim(
                expression=Dequantised(codes, scale, zero, 1, block, "float32"),
                role=role,
                scheme=f"{bits} bits (GatherBlockQuantized)",
            )
            return
    elif constant.dtype in {"int4", "uint4", "int8"}:
        made = q.trace.dequantised(value, scale, zero, side, block)
        if made is not None:
            yield from finished(made, role, f"{constant.dtype} (GatherBlockQuantized)")
            return
    yield Claim(expression=value, role=role, unknown=(constant.name, "GatherBlockQuantized"))
    yield from belongings(q.value(node.input(each)) for each in (2, 3))


def _matmul_nbits(q: _Quantised, node: Node) -> Claims:
    """``MatMulNBits``: ``(N, blocks, bytes)`` low bits first, a scale a block of ``K``, offset 2^(bits-1)."""
    value = q.codes(node.input(1))
    if value is None:
        return
    outputs, inputs = node.integer("N", 0), node.integer("K", 0)
    bits, block = node.integer("bits", 4), node.integer("block_size", 0)
    role = Role(use=Use.DENSE, axes="OI")
    name = leaf_of(value).constant.name
    scale = q.trace.scale(q.scope, node.input(2))
    zero = q.trace.scale(q.scope, node.input(3)) if node.input(3) else None
    blocks = -(-inputs // block) if block > 0 else 0
    packed = block * bits // 8
    sound = (
        2 <= bits <= 8
        and outputs > 0
        and inputs > 0
        and leaf_of(value).constant.dtype == "uint8"
        and math.prod(value.shape) == outputs * blocks * packed
        and scale is not None
        and math.prod(scale.shape) == outputs * blocks
        and not node.input(4)
    )
    if sound and scale is not None:
        zero = _zero_of_blocks(zero, bits, outputs, blocks) if node.input(3) else _number(1 << (bits - 1))
        if zero is not None:
            codes = Reshaped(
                Unpacked(Reshaped(value, (outputs, blocks, packed)), bits, block), (outputs, blocks * block)
            )
            made = Dequantised(
                _first_columns(codes, inputs),
                Reshaped(scale, (outputs, blocks)),
                zero,
                1,
                block,
                leaf_of(scale).constant.dtype,
            )
            yield Claim(expression=made, role=role, scheme=f"{bits} bits (MatMulNBits)")
            yield from none(q.value(node.input(5)), "bias")
            return
    yield Claim(expression=value, role=role, unknown=(name, "MatMulNBits"))
    yield from belongings(q.value(node.input(each)) for each in (2, 3, 4, 5))


def _zero_of_blocks(zero: Expression | None, bits: int, outputs: int, blocks: int) -> Expression | None:
    """Return zero points ``(N, blocks)``: packed as the codes are, or stored as numbers."""
    if zero is None:
        return None
    count = math.prod(zero.shape)
    if leaf_of(zero).constant.dtype != "uint8":
        return Reshaped(zero, (outputs, blocks)) if count == outputs * blocks else None
    row = -(-blocks * bits // 8)
    return Unpacked(Reshaped(zero, (outputs, row)), bits, blocks) if count == outputs * row else None


def _first_columns(codes: Expression, columns: int) -> Expression:
    return codes if codes.shape[1] == columns else Pieces(codes, 1, ((0, columns),))


def _number(value: int) -> Leaf:
    """Return a zero point that an operator implies."""
    return Leaf(Constant(name="", shape=(), dtype="int64", place=Numbers((value,))))


def _unread(use: Use, axes: dict[int, str]) -> Callable[[_Quantised, Node], Claims]:
    """Return the handler of an operator whose codes are named and not read."""

    def handle(q: _Quantised, node: Node) -> Claims:
        for index, name in enumerate(node.inputs):
            value = q.codes(name)
            if value is not None and index in axes:
                role = Role(use=use, axes=axes[index])
                yield Claim(expression=value, role=role, unknown=(leaf_of(value).constant.name, node.op))
            else:
                yield from belongings([q.value(name)])

    return handle


Handler = Callable[[_Quantised, Node], Claims]

_HANDLERS: dict[str, Handler] = {
    "QLinearMatMul": _qlinear_matmul,
    "QLinearConv": _qlinear_conv,
    "MatMulInteger": _matmul_integer,
    "ConvInteger": _conv_integer,
    "Gather": _gather,
    f"{MS}QGemm": _qgemm,
    f"{MS}DynamicQuantizeMatMul": _dynamic_matmul,
    f"{MS}MatMulIntegerToFloat": _matmul_to_float,
    f"{MS}DynamicQuantizeLSTM": _lstm,
    f"{MS}QAttention": _attention,
    f"{MS}QEmbedLayerNormalization": _embed_layer_norm,
    f"{MS}GatherBlockQuantized": _gather_blocks,
    f"{MS}MatMulNBits": _matmul_nbits,
    f"{MS}MatMulBnb4": _unread(Use.DENSE, {1: "OI"}),
    f"{MS}MatMulFpQ4": _unread(Use.DENSE, {1: "OI"}),
    f"{MS}QMoE": _unread(Use.DENSE, {2: "EOI", 5: "EOI", 8: "EOI"}),
    f"{MS}QLinearConv": _qlinear_conv,
}
