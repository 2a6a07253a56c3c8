"""Operators of ONNX and ONNX Runtime that take quantised weights, and where their scales are.

Sources: ``docs/Operators.md`` of ONNX 1.23, ``docs/ContribOperators.md`` of ONNX Runtime 1.32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from rmtaudit.checkpoints.graphs.claims import Claim, belongings, none
from rmtaudit.checkpoints.graphs.expressions import (
    Dequantised,
    Expression,
    Reshaped,
    leaf_of,
)
from rmtaudit.checkpoints.graphs.gates import equal_parts
from rmtaudit.checkpoints.graphs.model import Node, Scope
from rmtaudit.checkpoints.onnx.blocks import gather_blocks, matmul_nbits
from rmtaudit.checkpoints.onnx.codes import Annotations, Quantised
from rmtaudit.checkpoints.onnx.operators import (
    GATES,
    MS,
    finished,
    gates_behind,
    kernel_role,
    matrix_axes,
    query_key_value,
    recurrent_role,
)
from rmtaudit.checkpoints.onnx.trace import OnnxTrace
from rmtaudit.matrices.tensors import Role, Use

Claims = Iterator[Claim]


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
        yield from handler(Quantised(trace, scope, annotations), node)


def _dense(q: Quantised, node: Node, places: tuple[int, int, int], scheme: str) -> Claims:
    """Yield the claim on ``B`` of ``A @ B``, whose scale and zero point are inputs: one, or one a column."""
    codes, scale, zero = places
    value = q.codes(node.input(codes))
    if value is None or len(value.shape) < 2:
        return
    flipped = bool(node.integer("transB", 0))
    axes = matrix_axes(value.shape, "OI" if flipped else "IO")
    if axes:
        role = Role(use=Use.DENSE, axes=axes)
        side = axes.index("O")
        yield from q.claim(value, node.input(scale), node.input(zero), side, role=role, scheme=scheme)


def _qlinear_matmul(q: Quantised, node: Node) -> Claims:
    yield from _dense(q, node, (3, 4, 5), "QLinearMatMul")
    value = q.codes(node.input(0))
    if value is not None and len(value.shape) == 2:
        role = Role(use=Use.DENSE, axes="OI")
        yield from q.claim(value, node.input(1), node.input(2), 0, role=role, scheme="QLinearMatMul")


def _qgemm(q: Quantised, node: Node) -> Claims:
    yield from _dense(q, node, (3, 4, 5), "QGemm")
    yield from none(q.value(node.input(6)), "bias")


def _dynamic_matmul(q: Quantised, node: Node) -> Claims:
    yield from _dense(q, node, (1, 2, 3), "DynamicQuantizeMatMul")
    yield from none(q.value(node.input(4)), "bias")


def _matmul_to_float(q: Quantised, node: Node) -> Claims:
    yield from _dense(q, node, (1, 3, 5), "MatMulIntegerToFloat")
    yield from none(q.value(node.input(6)), "bias")


def _matmul_integer(q: Quantised, node: Node) -> Claims:
    value = q.codes(node.input(1))
    if value is not None and len(value.shape) >= 2:
        axes = matrix_axes(value.shape, "IO")
        if axes:
            side = axes.index("O")
            names = gates_behind(q.scope, node) if len(axes) == 2 else ()
            use = Use.RECURRENT if names else Use.DENSE
            role = Role(use=use, axes=axes, parts=equal_parts(names, value.shape[side]))
            yield from q.searched(value, node, node.input(3), side, role)


def _conv_integer(q: Quantised, node: Node) -> Claims:
    value = q.codes(node.input(1))
    role = None if value is None else kernel_role(value)
    if value is not None and role is not None:
        yield from q.searched(value, node, node.input(3), 0, role)


def _qlinear_conv(q: Quantised, node: Node) -> Claims:
    value = q.codes(node.input(3))
    role = None if value is None else kernel_role(value)
    if role is not None:
        yield from q.claim(value, node.input(4), node.input(5), 0, role=role, scheme="QLinearConv")
    yield from none(q.value(node.input(8)), "bias")


def _lstm(q: Quantised, node: Node) -> Claims:
    """Gates stored ``(directions, inputs, outputs)``; a scale a direction, or one a direction and output."""
    for codes, scale, zero in ((1, 8, 9), (2, 10, 11)):
        value = q.codes(node.input(codes))
        if value is None or len(value.shape) != 3:
            continue
        directions, _, outputs = value.shape
        role = recurrent_role(value, "IO", GATES["LSTM"])
        scales = [
            None if part is None else _of_directions(part, directions, outputs)
            for part in (
                q.trace.scale(q.scope, node.input(scale)),
                q.trace.scale(q.scope, node.input(zero)) if node.input(zero) else None,
            )
        ]
        name = leaf_of(value).constant.name
        if scales[0] is None or (node.input(zero) and scales[1] is None):
            yield Claim(expression=value, role=role, unknown=(name, "DynamicQuantizeLSTM"))
            yield from belongings(q.value(node.input(each)) for each in (scale, zero))
        else:
            made = Dequantised(codes=value, scale=scales[0], zero=scales[1])
            yield from finished(made, role, f"{leaf_of(value).constant.dtype} (DynamicQuantizeLSTM)")
    yield from none(q.value(node.input(3)), "bias")


def _of_directions(part: Expression, directions: int, outputs: int) -> Expression | None:
    """Return a scale or zero point that broadcasts over ``(directions, inputs, outputs)``."""
    count = math.prod(part.shape)
    if count == 1:
        return part
    if count == directions:
        return Reshaped(part, (directions, 1, 1))
    return Reshaped(part, (directions, 1, outputs)) if count == directions * outputs else None


def _attention(q: Quantised, node: Node) -> Claims:
    value = q.codes(node.input(1))
    if value is not None and len(value.shape) == 2:
        parts = query_key_value(node.integers("qkv_hidden_sizes"), value.shape[1])
        role = Role(use=Use.ATTENTION, axes="IO", parts=parts)
        yield from q.claim(value, node.input(4), node.input(7), 1, role=role, scheme="QAttention")
    yield from none(q.value(node.input(2)), "bias")


def _embed_layer_norm(q: Quantised, node: Node) -> Claims:
    for codes, scale, zero in ((2, 8, 13), (3, 9, 14), (4, 10, 15)):
        value = q.codes(node.input(codes))
        if value is not None and len(value.shape) == 2:
            role = Role(use=Use.EMBEDDING, axes="OI")
            yield from q.claim(
                value, node.input(scale), node.input(zero), 0, role=role, scheme="QEmbedLayerNormalization"
            )


def _gather(q: Quantised, node: Node) -> Claims:
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
                    value,
                    consumer.input(1),
                    consumer.input(2),
                    0,
                    role=role,
                    scheme="DequantizeLinear after Gather",
                )
                return
        if consumer.op == "Cast":
            yield from q.searched(value, node, "", 0, role)
            return


def _unread(use: Use, axes: dict[int, str]) -> Callable[[Quantised, Node], Claims]:
    """Return the handler of an operator whose codes are named and not read."""

    def handle(q: Quantised, node: Node) -> Claims:
        for index, name in enumerate(node.inputs):
            value = q.codes(name)
            if value is not None and index in axes:
                role = Role(use=use, axes=axes[index])
                yield Claim(expression=value, role=role, unknown=(leaf_of(value).constant.name, node.op))
            else:
                yield from belongings([q.value(name)])

    return handle


Handler = Callable[[Quantised, Node], Claims]

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
    f"{MS}GatherBlockQuantized": gather_blocks,
    f"{MS}MatMulNBits": matmul_nbits,
    f"{MS}MatMulBnb4": _unread(Use.DENSE, {1: "OI"}),
    f"{MS}MatMulFpQ4": _unread(Use.DENSE, {1: "OI"}),
    f"{MS}QMoE": _unread(Use.DENSE, {2: "EOI", 5: "EOI", 8: "EOI"}),
    f"{MS}QLinearConv": _qlinear_conv,
}
