"""Flipped bits: entries that one bit of the exponent made enormous."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from rmtaudit.kernels.forensics.samples import strided

_TOP_BIT = {"float64": 1024, "float32": 128, "bfloat16": 128, "float16": 16}
"""By how many powers of two the highest bit of the exponent multiplies."""

_MOST = 0.01
"""Largest share of the entries that may be flipped: the others say what size is ordinary."""

_LEAST_IN_HALF = 3
"""Entries needed in float16, where 2^16 is little: any value a few thousand times too large may be a
flipped one."""

_SMALLER = 2.0**-20
_TYPICAL = 1 / 16
"""Least ratio of the median size of the restored entries to that of all: bits flip in entries of any size. Of
three normal entries the median falls below it with a probability of 0.3 %."""

_SAMPLE = 4096


@dataclass(frozen=True, slots=True)
class FlippedBits:
    """Entries whose highest exponent bit was flipped from 0 to 1.

    Attributes
    ----------
    positions, values
        Row, column and value of each, by position.
    restored
        What the values are with the bit flipped back.
    power
        A flip multiplies by ``2^power``.
    """

    positions: tuple[tuple[int, int], ...]
    values: tuple[float, ...]
    restored: tuple[float, ...]
    power: int


def flipped_bits(matrix: torch.Tensor, largest: float, stored: str) -> FlippedBits | None:
    """Return the entries that a flip of the highest exponent bit made enormous, or ``None``.

    That bit is 0 in every entry below 2, and flipping it multiplies by ``2^128`` in float32 and bfloat16
    (``2^16`` in float16, ``2^1024`` in float64). Every entry of at least the square root of that, times
    the median size, must fall within the range of the other entries (not above their largest, and at least
    ``2^-20`` of it) once the bit is flipped back; no training makes a few entries that large among others
    that are not. In float16, where a factor of ``2^16`` is less extreme, there must be at least 3 such
    entries, not all in one row or column, and their median size with the bit flipped back must be at least
    1/16 of the median of all. Flips of other bits shrink an entry, or multiply it by 2, 4 or 16, and are not
    told from weights.

    Parameters
    ----------
    matrix
        Shape ``(rows, cols)``, float32 or float64, finite.
    largest
        Largest absolute entry.
    stored
        The dtype that the entries were stored in (torch's name), or were last rounded to.
    """
    power = _TOP_BIT.get(stored)
    if power is None or largest < 2:
        return None
    sample = strided(matrix, _SAMPLE).abs()
    ordinary_size = float(sample[sample > 0].double().median()) if bool(sample.any()) else 0.0
    threshold = max(2.0, math.ldexp(ordinary_size, power // 2))
    if ordinary_size == 0 or largest < threshold:
        return None
    size = matrix.abs().double()
    flipped = size >= threshold
    count = int(torch.count_nonzero(flipped))
    if count > _MOST * matrix.numel() or (power == _TOP_BIT["float16"] and count < _LEAST_IN_HALF):
        return None
    restored = matrix[flipped].double() * 2.0**-power
    ordinary = float(size[~flipped].max())
    back = restored.abs()
    if float(back.max()) > ordinary or float(back.min()) < _SMALLER * ordinary:
        return None
    places = flipped.nonzero()
    in_half = power == _TOP_BIT["float16"]
    in_one_line = bool((places == places[0]).all(0).any())
    if in_half and (in_one_line or float(back.median()) < _TYPICAL * ordinary_size):
        return None
    return FlippedBits(
        positions=tuple((int(row), int(column)) for row, column in places),
        values=tuple(float(value) for value in matrix[flipped]),
        restored=tuple(float(value) for value in restored),
        power=power,
    )
