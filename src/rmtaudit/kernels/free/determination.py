"""How far a block determines a larger matrix: bands over all laws that fit, and what has to be assumed.

That one law fits the block does not say that the block determines the law. Among all laws of the target
that fit, the distribution function has a largest and a smallest value at every point: that band is what the
block determines. It is wide without any assumption. The mildest one that helps is that the target is itself
a free block of a matrix ``c`` times as large: ``c = 2`` excludes little more than laws of a few atoms, and
larger ``c`` leave smoother laws only. Where no law of the class fits about as well as the best one without
an assumption, the class is rejected by the data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np
import torch

from rmtaudit.kernels.free.compressed import CompressedLaw, distribution, gradient
from rmtaudit.kernels.free.empirical import Transform, empirical_transform
from rmtaudit.kernels.free.fluctuations import Real, Whitened
from rmtaudit.kernels.free.parent import ParentLaw, ParentSystem, least_squares, parent_system, whitened_block

MILDEST = 2.0
SMOOTHER = (4.0, 16.0, 64.0)
"""Assumptions ``c`` that are tried in turn: up to the first, an answer needs no word about smoothness."""
WIDEST = 0.10
"""The width of the band up to which the block determines the distribution function."""
FORGIVEN = 0.02
"""Shifts of so many standard deviations of the target are not counted in a width."""
REJECTED = 0.05
_RISE = 2.71
"""Of ``χ²``: the 90 % quantile of one degree of freedom."""
_LEVELS, _EVEN = (0.01, 0.04, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.96, 0.99), 4
_MOST_POINTS = 320
"""Of the transform, the highest: one spectrum of 1024 has about so many."""
_BOOTSTRAPS, _ENOUGH = 60, 8
"""Bootstraps of a p-value, and exceedances after which no more are drawn (Besag, Clifford 1991)."""
_TURNS = 3
_SEARCHES, _NEAR = 16, (0.93, 1.0)
_FACTORS = (1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 100.0)


class Outcome(Enum):
    """What a block says of a larger matrix."""

    DETERMINED = "determined"
    IF_SMOOTH = "determined if smooth"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Level:
    """What a block says under one assumption.

    Attributes
    ----------
    share
        ``c``: the target is taken to be a free block of a matrix so many times as large.
    chi_square, n_data
        The least ``χ²`` of a law of this class, and the number of independent data.
    p_value
        The probability of so much a larger ``χ²`` than without an assumption, if a law of the class is true.
    width
        The largest width of the band of the distribution function, small shifts forgiven.
    central
        A law in the middle of the band.
    extremes
        The laws that reach the band's limits.
    """

    share: float
    chi_square: float
    n_data: int
    p_value: float
    width: float
    central: CompressedLaw
    extremes: tuple[CompressedLaw, ...]

    @property
    def fits(self) -> bool:
        """Whether the data do not reject the class."""
        return self.p_value > REJECTED

    @property
    def answers(self) -> bool:
        """Whether the class is not rejected and its band is narrow."""
        return self.fits and self.width <= WIDEST


@dataclass(frozen=True, slots=True)
class Determination:
    """How far a block determines a larger matrix.

    Attributes
    ----------
    outcome
        The verdict.
    levels
        What was found for each assumption, the mildest first; the last is the one that the verdict rests on.
    positive
        Whether the larger matrix is taken for positive semidefinite.
    largest_factor
        Where the outcome is a refusal: the largest factor that would be answered under the mildest
        assumption, of those tried; ``None`` if there is none.
    """

    outcome: Outcome
    levels: tuple[Level, ...]
    positive: bool
    largest_factor: float | None = None

    @property
    def level(self) -> Level:
        """The level that the verdict rests on."""
        return self.levels[-1]


def determine(
    spectra: torch.Tensor, factor: float, *, positive: bool | None = None, seed: int = 0
) -> Determination:
    """Return what blocks determine of the spectrum of a matrix ``factor`` times as large.

    Parameters
    ----------
    spectra
        Shape ``(n,)`` or ``(R, n)``, float64: eigenvalues of blocks of one size, without outliers.
    factor
        ``N/n``, above 1.
    positive
        Whether the larger matrix is positive semidefinite; ``None``: where the block is, and a positive
        semidefinite matrix of that size explains it as well as any other does.
    seed
        Of the bootstraps.

    Raises
    ------
    ValueError
        As :func:`rmtaudit.kernels.free.empirical.empirical_transform`.
    ArithmeticError
        If no law of the block could be computed.
    """
    given = empirical_transform(spectra).highest(_MOST_POINTS)
    white = whitened_block(given, factor, positive=bool(positive))
    if positive is None:
        positive = _stays_positive(given, white, factor, seed)
    levels: list[Level] = []
    for share in (MILDEST, *SMOOTHER):
        found = level_of(given, white, factor, share, positive=positive, seed=seed)
        levels.append(found)
        if found.answers and share > MILDEST:
            return Determination(Outcome.IF_SMOOTH, tuple(levels), positive)
        if found.answers and _with_margin(given, white, factor, positive=positive, seed=seed):
            return Determination(Outcome.DETERMINED, tuple(levels), positive)
        if found.answers or not found.fits:
            break  # a smoother class is part of this one, and is rejected too
    largest = _largest(given, factor, positive=positive, seed=seed)
    return Determination(Outcome.REFUSED, tuple(levels), positive, largest)


def _stays_positive(given: Transform, white: Whitened, factor: float, seed: int) -> bool:
    if not float(given.values.min()) >= 0:
        return False
    either, positive = (parent_system(given, white, factor, positive=sign) for sign in (False, True))
    return _p_value(either, positive, positive.solve()[0], seed) > REJECTED


def _with_margin(given: Transform, white: Whitened, factor: float, *, positive: bool, seed: int) -> bool:
    """Return whether laws twice as smooth as those of the mildest assumption are not rejected either.

    A law with a gap or a few atoms is outside of both classes. The data reject the smoother one first, and
    the answer under the milder one is wrong where they cannot reject it yet.
    """
    free = parent_system(given, white, factor, positive=positive)
    system = parent_system(given, white, SMOOTHER[0] * factor, positive=positive)
    return _p_value(free, system, system.solve()[0], seed) > REJECTED


def level_of(
    given: Transform, white: Whitened, factor: float, share: float, *, positive: bool, seed: int = 0
) -> Level:
    """Return what a block says under one assumption, with arguments as of :func:`determine`."""
    free = parent_system(given, white, factor, positive=positive)
    system = parent_system(given, white, share * factor, positive=positive)
    masses, chi_square = system.solve()
    p_value = _p_value(free, system, masses, seed)
    width, central, extremes = _band(system, masses, share, math.sqrt(factor))
    return Level(
        share,
        chi_square,
        white.n_data,
        p_value,
        width,
        CompressedLaw(central, share, given.scale),
        tuple(CompressedLaw(one, share, given.scale) for one in extremes),
    )


def _p_value(free: ParentSystem, system: ParentSystem, masses: Real, seed: int) -> float:
    """Return the p-value of the rise of ``χ²`` by linear Gaussian bootstraps.

    The law that fits best leaves residuals; without them, both systems have the data that it implies.
    """
    residual = system.data - system.whole @ masses
    rise = float(residual @ residual) - free.solve()[1]
    rng = np.random.default_rng(seed)
    larger = 0
    for count in range(1, _BOOTSTRAPS + 1):
        noise = rng.standard_normal(len(residual)) - residual
        drawn = system.solve(system.data + noise)[1] - free.solve(free.data + noise)[1]
        larger += drawn >= rise
        if larger == _ENOUGH:
            return larger / count
    return (1 + larger) / (1 + _BOOTSTRAPS)


def _band(
    system: ParentSystem, masses: Real, share: float, spread: float
) -> tuple[float, ParentLaw, tuple[ParentLaw, ...]]:
    """Return the largest width, the mean of the extreme laws, and these, two for each point.

    The distribution function is not linear in the parent's law, so each extreme is approached by steps along
    its gradient; the best one on the way is kept, since a step may overshoot.
    """
    places = system.places
    shift = FORGIVEN * spread
    x = _points(system.law(masses), share, shift)
    at = np.concatenate([x + shift, x - shift])
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
    return max(0.0, width), system.law(best.mean(0)), tuple(system.law(one) for one in best)


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


def _largest(given: Transform, factor: float, *, positive: bool, seed: int) -> float | None:
    """Return the largest factor below the one asked for that the mildest assumption answers."""
    low, found = [one for one in _FACTORS if one < 0.95 * factor], None
    while low:
        middle = low[(len(low) - 1) // 2]
        white = whitened_block(given, middle, positive=positive)
        level = level_of(given, white, middle, MILDEST, positive=positive, seed=seed)
        if level.answers and _with_margin(given, white, middle, positive=positive, seed=seed):
            found, low = middle, [one for one in low if one > middle]
        else:
            low = [one for one in low if one < middle]
    return found
