"""How a value comes of the constants of a graph: reordered, cut, joined, dequantised.

Only operators that make nothing larger are followed, so an expression never takes more memory than the
constants that it is made of (as float32).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from rmtaudit.checkpoints.graphs.model import Constant

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    Read = Callable[[Constant], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A constant as it is stored."""

    constant: Constant

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes."""
        return self.constant.shape


@dataclass(frozen=True, slots=True)
class Transposed:
    """The sides of ``of`` in the order of ``order``."""

    of: Expression
    order: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes."""
        return tuple(self.of.shape[side] for side in self.order)


@dataclass(frozen=True, slots=True)
class Reshaped:
    """The elements of ``of`` in the same order, with other sides."""

    of: Expression
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pieces:
    """Ranges of one side of ``of``, one after the other; no two of them overlap."""

    of: Expression
    side: int
    ranges: tuple[tuple[int, int], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes."""
        length = sum(stop - start for start, stop in self.ranges)
        return (*self.of.shape[: self.side], length, *self.of.shape[self.side + 1 :])


@dataclass(frozen=True, slots=True, kw_only=True)
class Dequantised:
    """``(codes - zero) * scale``.

    Attributes
    ----------
    codes, scale, zero
        Expressions; no zero is zero.
    side
        The side along which ``scale`` and ``zero``, vectors, run; ``None`` where they have one element, or
        are broadcast as they are (from the last side).
    block
        Number of codes along ``side`` that share a scale; 0 where the scale is no grid of blocks.
    dtype
        Of the values (torch's name).
    divides
        Whether the codes are divided by the scale.
    by_arithmetic
        Whether casts, differences and products do it, rather than one operator.
    """

    codes: Expression
    scale: Expression | None = None
    zero: Expression | None = None
    side: int | None = None
    block: int = 0
    dtype: str = "float32"
    divides: bool = False
    by_arithmetic: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes."""
        return self.codes.shape


@dataclass(frozen=True, slots=True)
class Unpacked:
    """Codes of a few bits that lie along the last side of bytes, low bits first.

    ``codes`` has a shape ``(…, bytes)``; the value ``(…, size)``, each code of ``bits`` bits: 2, 4 or 8. What
    is left of the last byte is ignored.
    """

    codes: Expression
    bits: int
    size: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes."""
        return (*self.codes.shape[:-1], self.size)


Expression = Leaf | Transposed | Reshaped | Pieces | Dequantised | Unpacked


def leaf_of(expression: Expression) -> Leaf:
    """Return the constant that holds the numbers or the codes, behind views and scales."""
    while not isinstance(expression, Leaf):
        expression = expression.codes if isinstance(expression, Dequantised | Unpacked) else expression.of
    return expression


def companions(expression: Expression) -> tuple[Constant, ...]:
    """Return the constants of scales and zero points, in this order."""
    found: list[Constant] = []
    while not isinstance(expression, Leaf):
        if isinstance(expression, Dequantised):
            for part in (expression.scale, expression.zero):
                if part is not None:
                    found.append(leaf_of(part).constant)
        expression = expression.codes if isinstance(expression, Dequantised | Unpacked) else expression.of
    return tuple(found)


def is_view(expression: Expression) -> bool:
    """Whether nothing is computed: the values are those of one constant."""
    while not isinstance(expression, Leaf):
        if isinstance(expression, Dequantised | Unpacked):
            return False
        expression = expression.of
    return True


def joined(parts: list[Expression], side: int) -> Expression | None:
    """Return the concatenation of pieces of one and the same value; ``None`` for anything else."""
    bases = [part.of if isinstance(part, Pieces) and part.side == side else part for part in parts]
    if not bases or any(base is not bases[0] for base in bases) or not 0 <= side < len(bases[0].shape):
        return None
    ranges: list[tuple[int, int]] = []
    for part, base in zip(parts, bases, strict=True):
        ranges.extend(
            part.ranges if part is not base and isinstance(part, Pieces) else [(0, base.shape[side])]
        )
    ordered = sorted(ranges)
    if any(first[1] > second[0] for first, second in pairwise(ordered)):
        return None
    return Pieces(bases[0], side, tuple(ranges))


def evaluated(expression: Expression, read: Read) -> torch.Tensor:
    """Return the values of an expression.

    Parameters
    ----------
    expression
        What to compute.
    read
        Returns the values of a constant; codes of fewer than 8 bits as ``int8`` or ``uint8``.

    Returns
    -------
    Tensor
        Of the shape of the expression, not always contiguous.
    """
    import torch

    if isinstance(expression, Leaf):
        return read(expression.constant)
    if isinstance(expression, Dequantised):
        return _dequantised(expression, read)
    if isinstance(expression, Unpacked):
        return _unpacked(evaluated(expression.codes, read), expression.bits, expression.size)
    inner = evaluated(expression.of, read)
    if isinstance(expression, Transposed):
        return inner.permute(expression.order)
    if isinstance(expression, Reshaped):
        return inner.reshape(expression.shape)
    pieces = [inner.narrow(expression.side, start, stop - start) for start, stop in expression.ranges]
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, expression.side)


def _dequantised(expression: Dequantised, read: Read) -> torch.Tensor:
    import torch

    # In float32: a difference of codes of 16 bits and its product with a scale are rounded once, as by the
    # libraries; codes of 32 bits are differences in float64.
    codes = evaluated(expression.codes, read)
    wide = codes.dtype in {torch.int32, torch.int64, torch.float64}
    values = codes.to(torch.float64 if wide else torch.float32)
    if expression.zero is not None:
        zero = evaluated(expression.zero, read).to(values.dtype)
        values = values - _spread(zero, values.shape, expression)
    if expression.scale is not None:
        scale = _spread(evaluated(expression.scale, read).to(values.dtype), values.shape, expression)
        values = values / scale if expression.divides else values * scale
    return values.to(getattr(torch, expression.dtype))


def _spread(operand: torch.Tensor, shape: tuple[int, ...], expression: Dequantised) -> torch.Tensor:
    """Return scales or zero points so that they broadcast over the codes."""
    if operand.numel() == 1:
        return operand.reshape(())
    side = expression.side
    if side is None:
        return operand
    if expression.block:
        return operand.repeat_interleave(expression.block, side).narrow(side, 0, shape[side])
    sides = [1] * len(shape)
    sides[side] = -1
    return operand.reshape(sides)


def _unpacked(packed: torch.Tensor, bits: int, size: int) -> torch.Tensor:
    """Return codes of 2, 4 or 8 bits, the low bits of a byte first."""
    import torch

    shifts = torch.arange(0, 8, bits, dtype=torch.uint8)
    codes = (packed.view(torch.uint8).unsqueeze(-1) >> shifts) & ((1 << bits) - 1)
    return codes.flatten(-2).narrow(-1, 0, size)


def fits(scale: tuple[int, ...], codes: tuple[int, ...], side: int | None, block: int) -> bool:
    """Whether scales of a shape serve codes of a shape."""
    if math.prod(scale) == 1:
        return True
    if side is None:
        if len(scale) > len(codes):
            return False
        return all(s in (1, c) for s, c in zip(reversed(scale), reversed(codes), strict=False))
    if not 0 <= side < len(codes):
        return False
    if block:
        expected = list(codes)
        expected[side] = -(-codes[side] // block)
        return scale == tuple(expected)
    return math.prod(scale) == codes[side]
