"""The second opinion on a power law of whole numbers."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from rmtaudit.engine.verify.checks import Check, check

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vector = NDArray[np.float64]

MOST_DISCRETE_STARTS = 512
"""Samples of more different values are not searched again: each start takes a fit of its own."""
_STEP, _CLOSE = 1e-4, 1e-8
"""Of alpha - 1: distance of three likelihoods, whose parabola then peaks 3e-9 too high; the last move."""
_ROUNDS = 50


def discrete_checks(
    owner: str, values: Vector, *, alpha: float, xmin: float, size: int, distance: float, min_tail: int
) -> Iterator[Check]:
    """Yield the checks of a power law ``alpha``, ``xmin`` that was fitted to whole numbers ``values >= 1``.

    The exponent is where the likelihood of the ``powerlaw`` package, with ``discrete=True``, is greatest. Its
    own optimiser is not taken: it stops at the resolution of its search. Its likelihood is constant where the
    sum up to ``xmin`` leaves nothing of the normalisation in floats (steep laws, large starts); the exponent
    is then from SciPy's zeta function. The distance is from the survival function of that, and the least one
    over every possible start. Only the size of the tail is checked where neither has an exponent.
    """
    values = np.sort(values)
    tail = values[values >= xmin]
    yield check(owner, "tail_size", "numpy", size, len(tail))
    theirs, library = _peak(tail, xmin, alpha), "powerlaw"
    if theirs is None:
        theirs, library = _exponent(tail), "scipy"
    if theirs is None:
        return
    yield check(owner, "alpha", library, alpha, theirs)
    there = _distance(tail, theirs)
    least = min(there, _least_distance(values, min_tail))
    yield check(owner, "ks_distance", "scipy", distance, least)


def _peak(tail: Vector, xmin: float, near: float) -> float | None:
    """Return the exponent of the greatest likelihood, by Newton's method on parabolas, if there is one."""
    import powerlaw

    def likelihood(alpha: float) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            law = powerlaw.Power_Law(xmin=xmin, discrete=True, parameters=[alpha])
            return float(np.sum(law.loglikelihoods(tail)))

    at = near
    for _ in range(_ROUNDS):
        step = _STEP * (at - 1)
        left, here, right = (likelihood(at + move) for move in (-step, 0.0, step))
        bend = 2 * here - left - right
        if not bend > 0:
            return None
        moved = at + step * float(np.clip((right - left) / (2 * bend), -1e3, 1e3))
        moved = max(moved, 1 + (at - 1) / 2)
        if abs(moved - at) < _CLOSE * (at - 1):
            return moved
        at = moved
    return None


def _distance(tail: Vector, alpha: float) -> float:
    """Return the greatest difference of the shares at and above every value, and above it."""
    from scipy.special import zeta

    values, counts = np.unique(tail, return_counts=True)
    share = np.cumsum(counts[::-1])[::-1] / len(tail)
    whole = zeta(alpha, values[0])
    here, above = zeta(alpha, values) / whole, zeta(alpha, values + 1) / whole
    return float(max(np.abs(here - share).max(), np.abs(above - np.append(share[1:], 0.0)).max()))


def _least_distance(values: Vector, min_tail: int) -> float:
    """Return the least distance over all starts; infinite where there are too many to try them all."""
    starts = np.unique(values)
    best = float("inf")
    if len(starts) > MOST_DISCRETE_STARTS:
        return best
    for start in starts[:-1]:
        tail = values[values >= start]
        if len(tail) < min_tail:
            break
        exponent = _exponent(tail)
        if exponent is not None:
            best = min(best, _distance(tail, exponent))
    return best


def _exponent(tail: Vector) -> float | None:
    """Return the exponent at which the mean logarithm is that of the law; ``None`` above 1000."""
    from scipy.optimize import brentq
    from scipy.special import zeta

    start, mean = float(tail[0]), float(np.log(tail / tail[0]).mean())

    def excess(rate: float) -> float:
        step = 1e-5 * min(rate, 1.0)
        # x^-alpha/zeta(alpha, x0) in units of x0: zeta alone leaves the range of floats
        low, high = (
            np.log(zeta(1 + rate + move, start)) + (1 + rate + move) * np.log(start) for move in (-step, step)
        )
        return float((high - low) / (2 * step) + mean)

    with np.errstate(all="ignore"):
        most = min(1000.0, 600 / max(np.log(start), 1.0))
        if not (excess(1e-4) < 0 < excess(most)):
            return None
        return 1 + float(brentq(excess, 1e-4, most, xtol=1e-10))
