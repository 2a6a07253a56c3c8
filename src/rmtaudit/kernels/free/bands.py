"""The band of the distribution function over all laws that fit a block: the laws that reach its limits."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from rmtaudit.kernels.free.compressed import CompressedLaw, distribution, gradient
from rmtaudit.kernels.free.fluctuations import Real
from rmtaudit.kernels.free.parent import ParentLaw, ParentSystem, least_squares

FORGIVEN = 0.02
"""Shifts of so many standard deviations of the target are not counted in a width."""
_SHARE = 0.1
"""Nor more than this of the distance between deciles: of a spectrum over decades, half of the eigenvalues lie
within hundredths of a standard deviation."""
_RISE = 2.71
"""Of ``χ²``: the 90 % quantile of one degree of freedom."""
_LEVELS, _EVEN = (0.01, 0.04, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.96, 0.99), 4
"""A convention: levels at which a band is measured, and evenly spread points added to them."""
_TURNS = 3
"""A convention: steps along the gradient towards each extreme law. The best one on the way is kept, so that
fewer steps can only make a band too narrow."""
_SEARCHES, _NEAR = 16, (0.93, 1.0)
"""A convention: trials of the weight of a pull, and the part of the allowed rise that is near enough to
it."""


class Band(NamedTuple):
    """The largest width of a band, the mean of the laws that reach its limits, and these laws."""

    width: float
    central: ParentLaw
    extremes: tuple[ParentLaw, ...]


def band_of(system: ParentSystem, masses: Real, share: float, spread: float) -> Band:
    """Return the band of laws whose ``χ²`` is within 2.71 of the least.

    The distribution function is not linear in the parent's law, so each extreme is approached by steps along
    its gradient; the best one on the way is kept, since a step may overshoot.

    Parameters
    ----------
    system
        Of the parents that are ``share`` times as large as the target.
    masses
        Shape ``(K,)``: the solution of the system.
    share
        ``c``, at least 1.
    spread
        Standard deviation of the target, in units of that of the block.
    """
    places = system.places
    shift = FORGIVEN * spread
    x = _points(system.law(masses), share, shift)
    forgiven = np.minimum(shift, _SHARE * _decile_gaps(system.law(masses), share, x))
    at = np.concatenate([x + forgiven, x - forgiven])
    signs = np.repeat([-1.0, 1.0], len(x))
    current = np.tile(masses / masses.sum(), (len(at), 1))
    best, reached = current.copy(), distribution(places, current, share, at)
    strengths = np.ones(len(at))
    for turn in range(_TURNS if share > 1 else 1):
        slopes = gradient(places, current, share, at)
        for index, (sign, slope) in enumerate(zip(signs, slopes, strict=True)):
            start = strengths[index - 1] if not turn and index else strengths[index]
            current[index], strengths[index] = _pulled(system, masses, sign * slope, start)
        current /= current.sum(1, keepdims=True)
        values = distribution(places, current, share, at)
        better = signs * values > signs * reached
        best[better], reached[better] = current[better], values[better]
    width = float((reached[signs > 0] - reached[signs < 0]).max())
    return Band(max(0.0, width), system.law(best.mean(0)), tuple(system.law(one) for one in best))


def _points(law: ParentLaw, share: float, shift: float) -> Real:
    """Return quantiles of a law, evenly spread points, and both sides of places where quantiles crowd."""
    if share > 1:
        x = CompressedLaw(law, share, 1.0).ppf(torch.tensor(_LEVELS, dtype=torch.float64)).numpy()
    else:
        x = law.places[np.searchsorted(np.cumsum(law.masses), _LEVELS).clip(max=len(law.places) - 1)]
    crowded = x[1:][np.diff(x) < shift]
    even = np.linspace(x[0], x[-1], _EVEN + 2)[1:-1]
    every = np.sort(np.concatenate([x, even, crowded - 2 * shift, crowded + 2 * shift]))
    kept = np.concatenate([[True], np.diff(every) > shift / 2])
    return np.asarray(every[kept], dtype=np.float64)


def _decile_gaps(law: ParentLaw, share: float, x: Real) -> Real:
    """Return the distances between the deciles of a law that lie on both sides of ``x``, shape ``(M,)``."""
    if share > 1:
        deciles = CompressedLaw(law, share, 1.0).ppf(torch.linspace(0.05, 0.95, 10).double()).numpy()
    else:
        levels = np.linspace(0.05, 0.95, 10)
        deciles = law.places[np.searchsorted(np.cumsum(law.masses), levels).clip(max=len(law.places) - 1)]
    right = np.searchsorted(deciles, x).clip(1, len(deciles) - 1)
    gaps: Real = deciles[right] - deciles[right - 1]
    return gaps


def _pulled(system: ParentSystem, masses: Real, towards: Real, strength: float) -> tuple[Real, float]:
    """Return the masses furthest in a direction whose ``χ²`` rises by 2.71 at most, and the pull it took.

    One further row asks for a value that cannot be reached; its weight decides how far ``χ²`` rises.
    """
    least = float(((system.rows @ masses - system.target) ** 2).sum())
    goal = float(towards @ masses) + 4.0
    below: tuple[float, float, Real] | None = None
    above: tuple[float, float, Real] | None = None
    for _ in range(_SEARCHES):
        rows = np.vstack([system.rows, strength * towards])
        moved = least_squares(rows, np.append(system.target, strength * goal))
        rise = float(((system.rows @ moved - system.target) ** 2).sum()) - least
        if rise <= _RISE:
            below = strength, rise, moved
            if rise >= _NEAR[0] * _RISE:
                break
        else:
            above = strength, rise, moved
        if below is not None and above is not None:
            share = 0.5
            if below[1] > 1e-3:
                share = math.log(0.97 * _RISE / below[1]) / math.log(above[1] / below[1])
            share = min(max(share, 0.1), 0.9)
            strength = below[0] * (above[0] / below[0]) ** share
        elif above is not None:
            strength /= max(2.0, math.sqrt(above[1] / _RISE))
        else:
            strength *= min(10.0, max(1.3, math.sqrt(_RISE / max(rise, 1e-3))))
            if strength > 1e4:
                break
    if below is None:
        return masses, 1.0
    return below[2], below[0]
