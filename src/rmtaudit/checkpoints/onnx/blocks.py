"""Weights of a few bits in blocks: ``MatMulNBits`` and ``GatherBlockQuantized`` of ONNX Runtime.

Source: ``docs/ContribOperators.md`` of ONNX Runtime 1.32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

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
from rmtaudit.checkpoints.graphs.model import Constant, Node
from rmtaudit.checkpoints.graphs.places import Numbers
from rmtaudit.checkpoints.onnx.codes import Quantised
from rmtaudit.checkpoints.onnx.operators import finished
from rmtaudit.matrices.tensors import Role, Use

Claims = Iterator[Claim]

_BITS = frozenset({2, 4, 8})
"""Bits of ``MatMulNBits`` for which ONNX Runtime 1.32 has a kernel to compare with."""


def gather_blocks(q: Quantised, node: Node) -> Claims:
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
                expression=Dequantised(codes=codes, scale=scale, zero=zero, side=1, block=block),
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


def matmul_nbits(q: Quantised, node: Node) -> Claims:
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
        bits in _BITS
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
                codes=_first_columns(codes, inputs),
                scale=Reshaped(scale, (outputs, blocks)),
                zero=zero,
                side=1,
                block=block,
                dtype=leaf_of(scale).constant.dtype,
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
