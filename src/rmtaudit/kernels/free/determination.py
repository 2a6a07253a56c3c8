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
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

import numpy as np
import torch

from rmtaudit.kernels.free.bands import band_of
from rmtaudit.kernels.free.compressed import CompressedLaw
from rmtaudit.kernels.free.empirical import Transform, empirical_transform
from rmtaudit.kernels.free.fluctuations import Real, Whitened
from rmtaudit.kernels.free.parent import ParentSystem, parent_system, whitened_block

USUAL = 2.0
"""The assumption ``c`` that needs no word where the data leave a margin."""
MILDER = (1.75, 1.5, 1.25)
"""Assumptions that are tried where the data reject the usual one or leave no margin: compact laws with thin
ends, such as Beta(2, 2), are blocks of a matrix 1.5 times as large but not of one twice as large."""
LEAST_SMOOTH = 100
"""Smallest block that an assumption of smoothness answers for: of trained layers seen in 64 rows or
fewer, 4 of 7 such answers were wrong (``benchmarks/adversaries.py --kinds layer --seeds 33``); of blocks
of 128 rows and more of all families 1 of 53."""
SMOOTHER = (4.0, 16.0, 64.0)
"""Assumptions that are tried where the usual one is not rejected but leaves a wide band."""
WIDEST = 0.10
"""The width of the band up to which the block determines the distribution function under an assumption."""
NARROW = 0.05
"""The width up to which no assumption is named. With 0.10, 1 of 38 such answers on fresh seeds of adversaries
was off by more than 5 %: an arcsine law seen in 128 of 512 rows."""
REJECTED = 0.05
"""A convention: the level of the test."""
POOREST = 2.0
"""``χ²`` per datum up to which a law explains a block: the p-value only compares classes of laws. It is 44 of
the nine-output neural tangent kernel, which is not free, even without an assumption.
"""
_MOST_POINTS = 320
"""Of the transform, the highest: one spectrum of 1024 has about so many."""
_BOOTSTRAPS, _ENOUGH = 60, 8
"""Bootstraps of a p-value, and exceedances after which no more are drawn (Besag, Clifford 1991)."""
_NOT_REJECTED = 3
"""Exceedances among the bootstraps from which on the p-value is above 0.05."""
_FACTORS = (1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 100.0)
"""A convention: factors tried for the largest that would be determined, each up to half as large again."""


class Outcome(Enum):
    """What a block says of a larger matrix."""

    DETERMINED = "determined"
    IF_SMOOTH = "determined if smooth"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
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
        A law in the middle of the band, or in that of the strongest assumption that the data do not reject.
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
        """Whether the data do not reject the class, and a law of it explains them at all."""
        return self.p_value > REJECTED and self.chi_square <= POOREST * self.n_data

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
        What was found for each assumption, in the order in which they were tried; the last is the one that
        the verdict rests on.
    positive
        Whether the larger matrix is taken for positive semidefinite.
    largest_factor
        Where the outcome is a refusal: the largest factor, of those tried, that would be ``DETERMINED``;
        ``None`` if there is none.
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
    spectra: torch.Tensor,
    factor: float,
    *,
    positive: bool | None = None,
    search: bool = True,
    seed: int = 0,
) -> Determination:
    """Return what blocks determine of the spectrum of a matrix ``factor`` times as large.

    Parameters
    ----------
    spectra
        Shape ``(n,)`` or ``(R, n)``, float64: eigenvalues of blocks of the same size, without outliers.
    factor
        ``N/n``, above 1.
    positive
        Whether the larger matrix is positive semidefinite; ``None``: where the block is, and a positive
        semidefinite matrix of that size explains it as well as any other does.
    search
        Whether to search for the largest factor that would be answered, where this one is not.
    seed
        Of the bootstraps.

    Raises
    ------
    ValueError
        As :func:`rmtaudit.kernels.free.empirical.empirical_transform`.
    ArithmeticError
        If no law of the block could be computed.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import free
    >>> X = torch.randn(40, 120, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> determination = free.determine(torch.linalg.eigvalsh(X @ X.T / 120), 100.0)
    >>> determination.outcome is free.Outcome.REFUSED  # forty say little of four thousand
    True
    """
    given = empirical_transform(spectra).highest(_MOST_POINTS)
    if positive is None:
        positive = _stays_positive(given, factor, seed)
    problem = _Problem(given, whitened_block(given, factor, positive=positive), factor, positive, seed)
    usual = problem.level(USUAL)
    # a law with a gap or a few atoms is outside of both classes, and data reject the smoother one first
    with_margin = usual.answers and problem.accepts(SMOOTHER[0])
    if with_margin and usual.width <= NARROW:
        return Determination(Outcome.DETERMINED, (usual,), positive)
    if with_margin:
        tried: tuple[Level, ...] = (usual,)
    else:
        tried = _smoother(problem, usual) if usual.fits and not usual.answers else _milder(problem, usual)
    if tried[-1].answers and given.size >= LEAST_SMOOTH:
        return Determination(Outcome.IF_SMOOTH, tried, positive)
    return Determination(Outcome.REFUSED, tried, positive, _largest(problem) if search else None)


class _Problem(NamedTuple):
    """A block, its independent directions, and what is asked of it."""

    given: Transform
    white: Whitened
    factor: float
    positive: bool
    seed: int

    def system(self, share: float) -> ParentSystem:
        """Return the least-squares problem under an assumption; 1 is none."""
        return parent_system(self.given, self.white, share * self.factor, positive=self.positive)

    def accepts(self, share: float) -> bool:
        """Return whether the data do not reject an assumption."""
        system = self.system(share)
        return _not_rejected(self.system(1.0), system, system.solve()[0], self.seed)

    def level(self, share: float) -> Level:
        """Return what the block says under an assumption."""
        system = self.system(share)
        masses, chi_square = system.solve()
        p_value = _p_value(self.system(1.0), system, masses, self.seed)
        band = band_of(system, masses, share, math.sqrt(self.factor))
        scale = self.given.scale
        return Level(
            share=share,
            chi_square=chi_square,
            n_data=self.white.n_data,
            p_value=p_value,
            width=band.width,
            central=CompressedLaw(band.central, share, scale),
            extremes=tuple(CompressedLaw(one, share, scale) for one in band.extremes),
        )


def _smoother(problem: _Problem, usual: Level) -> tuple[Level, ...]:
    """Return the usual level and stronger assumptions, up to the first that answers or is rejected."""
    tried = [usual]
    for share in SMOOTHER:
        tried.append(problem.level(share))
        if tried[-1].answers or not tried[-1].fits:
            break  # a smoother class is part of this one, and is rejected too
    return tuple(tried)


def _milder(problem: _Problem, usual: Level) -> tuple[Level, ...]:
    """Return the usual level and milder ones, last the mildest that answers, with the law of the strongest.

    Here the data reject the usual assumption or leave no margin, so that no answer may hang on it alone: the
    milder the assumption, the more laws its band holds. The law in the middle of the strongest one's band is
    still the smoothest.
    """
    tried, strongest = [usual], usual if usual.answers else None
    for share in MILDER:
        if strongest is None and not problem.accepts(share):
            continue
        level = problem.level(share)
        if not level.answers and tried[-1] is not usual:
            break
        tried.append(level)
        if not level.answers:
            break
        strongest = strongest or level
    if strongest is not None:
        tried[-1] = replace(tried[-1], central=strongest.central)
    return tuple(tried)


def _stays_positive(given: Transform, factor: float, seed: int) -> bool:
    if not float(given.values.min()) >= 0:
        return False
    white = whitened_block(given, factor, positive=False)
    either, positive = (parent_system(given, white, factor, positive=sign) for sign in (False, True))
    return _not_rejected(either, positive, positive.solve()[0], seed)


def _rises(free: ParentSystem, system: ParentSystem, masses: Real, seed: int) -> Iterator[bool]:
    """Yield for each linear Gaussian bootstrap whether ``χ²`` rises as much as it does for the data.

    The law that fits best leaves residuals; without them, both systems have the data that it implies.
    """
    residual = system.data - system.whole @ masses
    rise = float(residual @ residual) - free.solve()[1]
    rng = np.random.default_rng(seed)
    for _ in range(_BOOTSTRAPS):
        noise = rng.standard_normal(len(residual)) - residual
        yield system.solve(system.data + noise)[1] - free.solve(free.data + noise)[1] >= rise


def _p_value(free: ParentSystem, system: ParentSystem, masses: Real, seed: int) -> float:
    """Return the p-value of the rise of ``χ²`` over that without the assumption of a system."""
    larger = 0
    for count, exceeds in enumerate(_rises(free, system, masses, seed), 1):
        larger += exceeds
        if larger == _ENOUGH:
            return larger / count
    return (1 + larger) / (1 + _BOOTSTRAPS)


def _not_rejected(free: ParentSystem, system: ParentSystem, masses: Real, seed: int) -> bool:
    """Return whether the p-value is above 0.05, from as few bootstraps as settle that."""
    larger = 0
    for exceeds in _rises(free, system, masses, seed):
        larger += exceeds
        if larger == _NOT_REJECTED:
            return True
    return False


def _largest(problem: _Problem) -> float | None:
    """Return the largest factor below the one asked for that would be determined."""
    low, largest = [one for one in _FACTORS if one < 0.95 * problem.factor], None
    while low:
        middle = low[(len(low) - 1) // 2]
        white = whitened_block(problem.given, middle, positive=problem.positive)
        nearer = problem._replace(white=white, factor=middle)
        usual = nearer.level(USUAL)
        if usual.answers and usual.width <= NARROW and nearer.accepts(SMOOTHER[0]):
            largest, low = middle, [one for one in low if one > middle]
        else:
            low = [one for one in low if one < middle]
    return largest
