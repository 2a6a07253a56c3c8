"""Which matrix is looked at next, and how long that will take."""

from __future__ import annotations

from collections.abc import Sequence

_FLOPS_A_SECOND = 2e9
"""A slow core: what the first look at a matrix is expected to take is rather too much than too little."""
_OVERHEAD = 0.02
"""Seconds for what does not depend on the size."""
_FASTEST = 0.2
"""However fast a small matrix is: a larger one may not fit a cache."""
_CAUTION = 1.5
"""The next look at a matrix is expected to take that many times the longer of the last two; where there was
none, that of another one, in proportion to the work."""


class Schedule:
    """Shares the time for looking at matrices equally among them.

    The next matrix is the one for which the time spent so far and the expected time of another look are
    least together (fair queueing). Matrices of one size take turns; one that takes ten times as long is
    looked at a tenth as often, and holds up no other.

    Parameters
    ----------
    shapes
        Of the matrices.
    updates
        Whether the update of a matrix is looked at as well, which costs another spectrum.
    slowness
        How many times longer than expected a look takes on this machine.

    Attributes
    ----------
    upcoming
        The place of the next matrix; ``None`` where there is none.
    seconds
        How long the look at it is expected to take.
    """

    def __init__(self, shapes: Sequence[tuple[int, int]], *, updates: bool, slowness: float = 1.0) -> None:
        self._slowness = slowness
        self._work = [_work(*shape, spectra=2 if updates else 1) for shape in shapes]
        self._spent = [0.0] * len(shapes)
        self._last: list[tuple[float, ...]] = [()] * len(shapes)
        self._reference: tuple[float, float] | None = None
        self.upcoming: int | None = None
        self.seconds = 0.0
        self._choose()

    def _choose(self) -> None:
        if self._spent:
            expected = [self._expected(index) for index in range(len(self._spent))]
            self.upcoming = min(range(len(expected)), key=lambda index: self._spent[index] + expected[index])
            self.seconds = expected[self.upcoming]

    def _expected(self, index: int) -> float:
        if self._last[index]:
            return _CAUTION * max(self._last[index])
        if self._reference is None:
            return _CAUTION * self._slowness * _seconds(self._work[index])
        work, seconds = self._reference
        return _CAUTION * seconds * max(1.0, self._work[index] / work)

    def observed(self, index: int, seconds: float) -> None:
        """Record how long a look at a matrix took."""
        self._spent[index] += seconds
        self._last[index] = (*self._last[index], seconds)[-2:]
        self._reference = self._work[index], seconds
        self._choose()

    @property
    def never(self) -> tuple[int, ...]:
        """Places of the matrices that were never looked at."""
        return tuple(index for index, last in enumerate(self._last) if not last)


def slowness(rows: int, cols: int, seconds: float, *, updates: bool) -> float:
    """Return how many times longer than expected a look at a matrix of this shape took, at least 1/5."""
    return max(_FASTEST, seconds / _seconds(_work(rows, cols, spectra=2 if updates else 1)))


def _seconds(work: float) -> float:
    return _OVERHEAD + work / _FLOPS_A_SECOND


def _work(rows: int, cols: int, *, spectra: int) -> float:
    """Return the floating point operations of Gram matrices and eigenvalues, roughly."""
    small, large = sorted((rows, cols))
    return spectra * (2.0 * small**2 * large + 4.0 * small**3)
