"""The simplex search of Nelder and Mead in one dimension, step for step as ``scipy.optimize.fmin`` takes it.

A least-squares scale is refined with it to the digits of a peer that uses ``fmin``: its result depends on
the steps as long as its tolerances are loose. Importing ``scipy.optimize`` costs more than hundreds of fits.
"""

from __future__ import annotations

import math
from collections.abc import Callable

_STEP = 0.05  # the second point, relative to the first; absolute at 0
_STEP_AT_ZERO = 0.00025


def minimise_scalar(
    function: Callable[[float], float], start: float, *, tolerance: float = 1e-4, steps: int = 200
) -> float:
    """Return where ``function`` is least, searched from ``start``.

    Parameters
    ----------
    function
        Real function of one number. It need not be continuous.
    start
        First point; the second is 5 % further from 0.
    tolerance
        The search ends when both points, and both values, are at most this far apart.
    steps
        Largest number of iterations, and of evaluations.

    Notes
    -----
    Equivalent to ``scipy.optimize.fmin(function, start, xtol=tolerance, ftol=tolerance, maxiter=steps,
    maxfun=steps)``. Reflection 1, expansion 2, contraction and shrinking 1/2.
    """
    calls = 0

    def value(point: float) -> float:
        nonlocal calls
        calls += 1
        return function(point)

    good = start
    poor = start * (1 + _STEP) if start else _STEP_AT_ZERO
    at_good, at_poor = value(good), value(poor)
    good, at_good, poor, at_poor = _ordered(good, at_good, poor, at_poor)
    for _ in range(1, steps):
        if calls >= steps or (abs(poor - good) <= tolerance and abs(at_good - at_poor) <= tolerance):
            break
        reflected = 2 * good - poor
        at_reflected = value(reflected)
        if at_reflected < at_good:
            expanded = 3 * good - 2 * poor
            at_expanded = value(expanded)
            if at_expanded < at_reflected:
                poor, at_poor = expanded, at_expanded
            else:
                poor, at_poor = reflected, at_reflected
        else:
            outside = at_reflected < at_poor
            contracted = 1.5 * good - 0.5 * poor if outside else 0.5 * good + 0.5 * poor
            at_contracted = value(contracted)
            limit = at_reflected if outside else at_poor
            # scipy takes an outside point that is as good as the reflected one, an inside one only if better
            if at_contracted < limit or (outside and at_contracted == limit):
                poor, at_poor = contracted, at_contracted
            else:
                poor = good + 0.5 * (poor - good)
                at_poor = value(poor)
        good, at_good, poor, at_poor = _ordered(good, at_good, poor, at_poor)
    return good


def _ordered(good: float, at_good: float, poor: float, at_poor: float) -> tuple[float, float, float, float]:
    """Return the point of the lower value first; equal ones keep their order, NaN comes last."""
    if at_poor < at_good or (math.isnan(at_good) and not math.isnan(at_poor)):
        return poor, at_poor, good, at_good
    return good, at_good, poor, at_poor
