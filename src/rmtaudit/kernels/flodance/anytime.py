"""Grow a matrix until its log-determinant at a larger size is known well enough, then stop."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import TYPE_CHECKING

import torch

from rmtaudit.kernels.flodance.predict import Extrapolation, Status, extrapolate
from rmtaudit.kernels.flodance.series import MinorSeries

if TYPE_CHECKING:
    from collections.abc import Iterable

GROWTH = 1.19  # Four looks per doubling: each costs about as much as a few hundred rows at n = 2000.
CONFIRMATIONS = 2


@unique
class Stop(Enum):
    """Why growing ended."""

    TOLERANCE = "the interval is within the tolerance"
    COMPLETE = "the size asked was reached: the value is exact"
    EXHAUSTED = "there are no more minors"
    ROUNDING_FLOOR = "the rounding floor was reached: growing further makes it worse"


@dataclass(frozen=True, slots=True)
class Anytime:
    """How far a matrix was grown and what is known of the size asked.

    Attributes
    ----------
    extrapolation
        The last one made.
    stop
        Why growing ended.
    looks
        Every extrapolation on the way, with the last.
    """

    extrapolation: Extrapolation
    stop: Stop
    looks: tuple[Extrapolation, ...]


def extrapolate_until(
    pieces: Iterable[torch.Tensor],
    size: int,
    tolerance: float,
    *,
    outputs: int = 1,
    confidence: float = 0.95,
) -> Anytime:
    """Take leading minors until the interval of ``log det K_size`` is within ``tolerance``, then stop.

    ``pieces`` are only drawn while more is needed, so that what makes them (a factorisation that grows, block
    row by block row: :func:`~rmtaudit.kernels.flodance.growing.grow_minors`) does no work in vain.

    Looking often and stopping at the first narrow interval would choose intervals that are narrow by chance:
    two looks in a row must agree, and looks are a factor of 1.19 apart.

    Parameters
    ----------
    pieces
        Each of shape ``(k,)``: log-determinants of the next ``k`` leading minors, by rows.
    size
        Points of the matrix asked.
    tolerance
        Half-width that is good enough, in nats per dimension.
    outputs
        Rows of a point.
    confidence
        Coverage of the interval.

    Raises
    ------
    ValueError
        If there is no whole point in ``pieces``, or an argument makes no sense.
    """
    if not tolerance > 0:
        raise ValueError(f"a tolerance is positive, not {tolerance}")
    minors = torch.empty(0, dtype=torch.float64)
    looks: list[Extrapolation] = []
    good, looked = 0, 0
    for piece in pieces:
        minors = torch.cat([minors, piece.to(torch.float64)])
        points = len(minors) // outputs
        if points < GROWTH * looked or not points:
            continue
        looked = points
        look = _look(minors, size, outputs, confidence)
        looks.append(look)
        if look.status is Status.KNOWN:
            return Anytime(look, Stop.COMPLETE, tuple(looks))
        if look.status is Status.ROUNDING_FLOOR:
            return Anytime(look, Stop.ROUNDING_FLOOR, tuple(looks))
        width = look.half_width_per_dimension
        good = good + 1 if width is not None and width <= tolerance else 0
        if good == CONFIRMATIONS:
            return Anytime(look, Stop.TOLERANCE, tuple(looks))
    if len(minors) < outputs:
        raise ValueError("the pieces hold no whole point")
    if len(minors) // outputs > looked:
        looks.append(_look(minors, size, outputs, confidence))
    last = looks[-1]
    ends = {Status.KNOWN: Stop.COMPLETE, Status.ROUNDING_FLOOR: Stop.ROUNDING_FLOOR}
    return Anytime(last, ends.get(last.status, Stop.EXHAUSTED), tuple(looks))


def _look(minors: torch.Tensor, size: int, outputs: int, confidence: float) -> Extrapolation:
    return extrapolate(MinorSeries.from_minors(minors, outputs=outputs), size, confidence=confidence)
