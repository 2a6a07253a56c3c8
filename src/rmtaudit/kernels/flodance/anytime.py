"""Grow a matrix until its log-determinant at a larger size is known well enough, then stop."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, unique
from typing import TYPE_CHECKING

import torch

from rmtaudit.kernels.flodance.predict import Extrapolation, extrapolate
from rmtaudit.kernels.flodance.series import MinorSeries
from rmtaudit.kernels.flodance.status import Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rmtaudit.kernels.flodance.order import OrderTest

GROWTH = 1.19  # Four looks per doubling: each costs about as much as a few hundred rows at n = 2000.


@unique
class Stop(Enum):
    """Why growing ended."""

    TOLERANCE = "the interval is within the tolerance"
    COMPLETE = "the requested size was reached: the value is exact"
    EXHAUSTED = "there are no more minors"
    ORDER = "the points do not come in random order: growing further does not help"
    ROUNDING_FLOOR = "the rounding floor was reached: growing further makes the result worse"


@dataclass(frozen=True, slots=True)
class Anytime:
    """How far a matrix was grown and what is known of the size asked.

    Attributes
    ----------
    extrapolation
        The last one made; at ``Stop.TOLERANCE`` with the interval that holds those of the last two.
    stop
        Why growing ended.
    looks
        Every extrapolation on the way, each with its own interval.
    """

    extrapolation: Extrapolation
    stop: Stop
    looks: tuple[Extrapolation, ...]


class Watch:
    """Looks at the leading minors of a matrix that grows, and says when to stop.

    Looking often and stopping at the first narrow interval would choose intervals that are narrow by chance.
    So looks are a factor of 1.19 apart, and the interval that must be within the tolerance, and is returned,
    is the one that holds those of two looks in a row.

    Parameters
    ----------
    size, tolerance, outputs, confidence, order
        As of :func:`extrapolate_until`; without a tolerance only the last look counts.

    Attributes
    ----------
    looks
        Every extrapolation on the way, each with its own interval.
    """

    def __init__(
        self,
        size: int,
        tolerance: float | None,
        *,
        outputs: int = 1,
        confidence: float = 0.95,
        order: OrderTest | None = None,
    ) -> None:
        if tolerance is not None and not tolerance > 0:
            raise ValueError(f"a tolerance must be positive, not {tolerance}")
        self.looks: list[Extrapolation] = []
        self._size, self._tolerance, self._outputs, self._confidence = size, tolerance, outputs, confidence
        self._order = order
        self._looked = 0

    def look(self, minors: torch.Tensor) -> Anytime | None:
        """Return the answer, if ``minors`` (of all rows so far) are enough; else ``None``."""
        points = len(minors) // self._outputs
        if self._tolerance is None or points < GROWTH * self._looked or not points:
            return None
        last = self._take(minors, points)
        if last.status in _ENDS:
            return Anytime(last, _ENDS[last.status], tuple(self.looks))
        both = _hull(self.looks[-2:])
        if both is not None and (both.half_width_per_dimension or 0.0) <= self._tolerance:
            return Anytime(both, Stop.TOLERANCE, tuple(self.looks))
        return None

    def end(self, minors: torch.Tensor) -> Anytime:
        """Return the answer when there are no more minors; ``ValueError`` if there is no whole point."""
        points = len(minors) // self._outputs
        if not points:
            raise ValueError("the pieces do not contain a complete point")
        last = self.looks[-1] if points == self._looked else self._take(minors, points)
        return Anytime(last, _ENDS.get(last.status, Stop.EXHAUSTED), tuple(self.looks))

    def _take(self, minors: torch.Tensor, points: int) -> Extrapolation:
        self._looked = points
        series = MinorSeries.from_minors(minors, outputs=self._outputs)
        self.looks.append(extrapolate(series, self._size, confidence=self._confidence, order=self._order))
        return self.looks[-1]


_ENDS = {
    Status.KNOWN: Stop.COMPLETE,
    Status.ORDER: Stop.ORDER,
    Status.ROUNDING_FLOOR: Stop.ROUNDING_FLOOR,
}


def extrapolate_until(
    pieces: Iterable[torch.Tensor],
    size: int,
    tolerance: float,
    *,
    outputs: int = 1,
    confidence: float = 0.95,
    order: OrderTest | None = None,
) -> Anytime:
    """Take leading minors until the interval of ``log det K_size`` is within ``tolerance``, then stop.

    ``pieces`` are only drawn while more is needed, so that what makes them (a factorisation that grows, block
    row by block row: :func:`~rmtaudit.kernels.flodance.growing.grow_minors`) does no work in vain. When to
    look, and when to stop, is the business of :class:`Watch`.

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
    order
        The test of the order of the points, as of :func:`~rmtaudit.kernels.flodance.predict.extrapolate`.

    Raises
    ------
    ValueError
        If there is no whole point in ``pieces``, or an argument makes no sense.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import flodance
    >>> sizes = torch.arange(1, 401, dtype=torch.float64)
    >>> noise = 0.05 * torch.randn(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> minors = (1 - 0.2 * sizes.log() + noise).cumsum(0)
    >>> answer = flodance.extrapolate_until(minors.split(50), 800, tolerance=0.1)
    >>> answer.extrapolation.last_size < 400  # the rest was never asked for
    True
    """
    watch = Watch(size, tolerance, outputs=outputs, confidence=confidence, order=order)
    minors = torch.empty(0, dtype=torch.float64)
    for piece in pieces:
        minors = torch.cat([minors, piece.cpu().to(torch.float64)])
        enough = watch.look(minors)
        if enough is not None:
            return enough
    return watch.end(minors)


def _hull(looks: list[Extrapolation]) -> Extrapolation | None:
    """Return the last of two looks with the interval that holds both; ``None`` unless both have one."""
    lows = [look.low for look in looks if look.low is not None]
    highs = [look.high for look in looks if look.high is not None]
    if len(lows) < 2 or len(highs) < 2:
        return None
    return replace(looks[-1], low=min(lows), high=max(highs))
