"""Equal values: what they do to laws of a tail, and the grid that the values of a sample lie on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rmtaudit.kernels.tails.support import Support

LEAST_DISTINCT = 6
"""Different values that a tail needs: with five laws of up to two parameters, fewer tell nothing apart."""
LEAST_ABOVE = 5
"""Values of a tail above its least one: fewer say nothing of the exponent."""

_FINE = 500.0  # steps from 0 beyond which a grid is as good as none: values are rounded to 0.1 % or finer
_TIED_SHARE = 0.1  # of the values of a continuous tail that repeat an earlier one
_TOLERANCE = 0.01  # of a step: by chance, that happens to n values with the probability 0.02^n
_DECIMALS = 7
"""Steps down to 1e-6 are tried: what six decimals round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tied:
    """Equal values that make a verdict on laws void.

    Attributes
    ----------
    kind
        ``"heap"``: one value holds so large a share that no continuous law is near. ``"repeated"``: many
        values are there several times. ``"top"``: the greatest value is there too often, as in clipped or
        censored data.
    value, count
        The value that is there most often, or the greatest one, and how often.
    distinct, size
        Different values and values in the tail.
    """

    kind: Literal["heap", "repeated", "top"]
    value: float
    count: int
    distinct: int
    size: int


def too_few_values(tail: NDArray[np.float64]) -> str:
    """Return why a tail, ascending, has too few different values; empty where it has enough."""
    distinct = np.unique(tail).size
    if distinct < LEAST_DISTINCT:
        return (
            f"only {distinct} distinct values among the {tail.size} of the tail: they do not "
            "distinguish the laws"
        )
    above = int(np.count_nonzero(tail > tail[0]))
    if above < LEAST_ABOVE:
        return (
            f"all but {above} of the {tail.size} values of the tail are equal: they do not "
            "distinguish the laws"
        )
    return ""


def tied(tail: NDArray[np.float64], support: Support) -> Tied | None:
    """Return why laws of a tail, ascending, cannot be judged; ``None`` where ties are no reason."""
    values, counts = np.unique(tail, return_counts=True)
    most = int(np.argmax(counts))
    top = int(counts[-1])
    if _clipped(values, counts, support):
        return Tied(kind="top", value=float(values[-1]), count=top, distinct=values.size, size=tail.size)
    if support == "discrete":
        return None
    # a law without ties is at least half the largest share away; distances of samples are about 0.5/sqrt(n)
    if counts[most] > 2 and counts[most] > math.sqrt(tail.size):
        return Tied(
            kind="heap",
            value=float(values[most]),
            count=int(counts[most]),
            distinct=values.size,
            size=tail.size,
        )
    if tail.size - values.size > _TIED_SHARE * tail.size and not _rounded(values):
        return Tied(
            kind="repeated",
            value=float(values[most]),
            count=int(counts[most]),
            distinct=values.size,
            size=tail.size,
        )
    return None


def grid_step(values: NDArray[np.float64]) -> float | None:
    """Return the step of the grid through 0 that positive values lie on, where some of them are equal.

    Whole numbers are on the grid of their greatest common divisor, equal or not. Else decimal steps and the
    least difference of two values are tried. ``None``: there is no such grid.
    """
    distinct = np.unique(values)
    if not distinct.size or not np.isfinite(distinct[-1]):
        return None
    whole = bool((distinct == np.floor(distinct)).all())
    if not whole and distinct.size == values.size:
        return None
    steps = [1.0] if whole else [10.0**-power for power in range(1, _DECIMALS)]
    if not whole and distinct.size > 1:
        steps.append(float(np.diff(distinct).min()))
    for step in steps:
        with np.errstate(over="ignore"):
            units = distinct / step
        if units[-1] > 2.0**40:
            continue
        near = np.rint(units)
        if near[0] >= 1 and bool((np.abs(units - near) <= np.minimum(_TOLERANCE, 1e-6 * near + 1e-9)).all()):
            return step * int(np.gcd.reduce(near.astype(np.int64)))
    return None


def is_fine(step: float, least: float) -> bool:
    """Whether a grid is as good as none for values from ``least`` on."""
    return least >= _FINE * step


def _rounded(values: NDArray[np.float64]) -> bool:
    step = grid_step(np.append(values, values[-1:]))
    return step is not None and is_fine(step, float(values[0]))


def _clipped(values: NDArray[np.float64], counts: NDArray[np.intp], support: Support) -> bool:
    """Whether the greatest value is there too often for any law whose density falls."""
    top = int(counts[-1])
    if support == "continuous":
        # two may be equal by rounding
        return top > 2 and top > 3 * float(np.mean(counts[:-1]))
    # counts per whole number just below, over a stretch that holds as many values
    held = np.cumsum(counts[:-1][::-1])
    stretch = int(np.searchsorted(held, top))
    if top < 5 or stretch >= held.size:
        return False
    width = float(values[-1] - values[-2 - stretch])
    expected = float(held[stretch]) / width
    # chance of as many from a Poisson law, by the bound of Chernoff
    return top > expected and top * math.log(top / expected) - top + expected > math.log(1e4)
