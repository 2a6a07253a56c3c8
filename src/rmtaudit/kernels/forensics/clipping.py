"""Entries that were clipped: many hold exactly the largest value."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rmtaudit.kernels.forensics.survey import Survey, survey

LEAST_TIES = 4
"""Entries that hold an extreme value from which it counts as a bound."""

_TIMES = 4
_BELOW = 5


@dataclass(frozen=True, slots=True)
class Clipping:
    """Bounds that the entries were clipped at.

    Attributes
    ----------
    low, high
        The bounds, in weight units; ``None`` where there is none on that side.
    clipped
        Number of entries that hold a bound.
    """

    low: float | None
    high: float | None
    clipped: int


def clipping(matrix: torch.Tensor, known: Survey | None = None) -> Clipping | None:
    """Return the bounds that the entries were clipped at, or ``None``.

    A largest (smallest) value is a bound if at least 4 entries hold it, and at least 4 times as many as
    hold any of the five values next to it: the largest of entries that are not clipped are all different,
    or equally often repeated by the rounding of their format.

    Parameters
    ----------
    matrix
        Shape ``(rows, cols)``, real floating dtype, finite, not constant.
    known
        The survey of the matrix, where there is one already.
    """
    known = known or survey(matrix)
    low, high = known.low, known.high
    below, above = _ties(known, low), _ties(known, high)
    if not below and not above:
        return None
    return Clipping(low if below else None, high if above else None, below + above)


def _ties(known: Survey, bound: float) -> int:
    """Return how many entries hold the bound, if they are enough."""
    ties = known.count(bound)
    if ties < LEAST_TIES or bound == 0:
        return 0
    rest = known.lines[known.lines != bound]
    for _ in range(_BELOW):
        if rest.numel() == 0:
            return 0
        next_one = rest.max() if bound > 0 else rest.min()
        others = rest != next_one
        if _TIMES * (rest.numel() - int(torch.count_nonzero(others))) > ties:
            return 0
        rest = rest[others]
    return ties
