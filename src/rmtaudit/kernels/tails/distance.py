"""Kolmogorov-Smirnov distances of the five laws: a winner is the best of five, and may still fit badly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.interpolate import CubicHermiteSpline
from scipy.special import log_ndtr

from rmtaudit.kernels.tails.laws import Law, LawFit

if TYPE_CHECKING:
    from numpy.typing import NDArray

_GRID = 8192  # intervals of Simpson's rule: the error of the distribution function is under 1e-9


def ks_distances(laws: Sequence[LawFit], tail: NDArray[np.float64], xmin: float) -> dict[Law, float]:
    """Return the distance of each law from the tail, the supremum over both sides of every step.

    Parameters
    ----------
    laws, tail, xmin
        As :func:`~rmtaudit.kernels.tails.laws.fit_laws` returned them and was given them.
    """
    v = np.sort(np.log1p((tail - xmin) / xmin))
    steps = np.arange(v.size + 1) / v.size
    distances: dict[Law, float] = {}
    for fit in laws:
        below = -np.expm1(log_survival(fit, v, xmin))
        distances[fit.law] = float(max((steps[1:] - below).max(), (below - steps[:-1]).max()))
    return distances


def log_survival(fit: LawFit, v: NDArray[np.float64], xmin: float) -> NDArray[np.float64]:
    """Return ``log P(X > xmin e^v)`` given ``X >= xmin``; ``v`` of shape ``(n,)``, ascending, ``>= 0``."""
    of = {name: parameter.value for name, parameter in fit.parameters.items()}
    if fit.law == "power_law" or fit.degenerate:
        return -(of["alpha"] - 1) * v
    with np.errstate(over="ignore"):
        if fit.law == "exponential":
            return -of["rate"] * xmin * np.expm1(v)
        if fit.law == "stretched_exponential":
            return -of["strength"] * np.expm1(of["beta"] * v)
    if fit.law == "lognormal":
        start = (math.log(xmin) - of["mu"]) / of["sigma"]
        result: NDArray[np.float64] = log_ndtr(-start - v / of["sigma"]) - log_ndtr(-start)
        return result
    return _cut_off(of["alpha"], of["rate"] * xmin, v)


def _cut_off(alpha: float, rate: float, v: NDArray[np.float64]) -> NDArray[np.float64]:
    """Integrate the density of ``v`` from the right."""
    # beyond the last value the density ends within 40 nats of its cut-off or of its power law
    end = float(v[-1]) + math.log1p(40 / (rate * math.exp(min(float(v[-1]), 700.0)) + 1e-12))
    grid = np.linspace(0.0, end, 2 * _GRID + 1)
    with np.errstate(over="ignore"):
        exponent = (1 - alpha) * grid - rate * np.expm1(grid)
    density = np.exp(exponent - exponent.max())
    pieces = (density[:-2:2] + 4 * density[1::2] + density[2::2]) * (end / (6 * _GRID))
    right = np.append(np.cumsum(pieces[::-1])[::-1], 0.0)
    between = CubicHermiteSpline(grid[::2], right, -density[::2])
    with np.errstate(divide="ignore"):
        result: NDArray[np.float64] = np.log(np.maximum(between(v), 0.0) / right[0])
    return result
