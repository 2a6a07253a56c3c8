"""The whole method: a spectrum, a factor, and what may honestly be said about the larger matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from rmtaudit.kernels.free.cumulants import cumulant_laws
from rmtaudit.kernels.free.evolution import EvolvedLaw, evolve
from rmtaudit.kernels.free.fit import LevyFit, fit_levy
from rmtaudit.kernels.free.validation import Choice, Freeness, choose, free_block
from rmtaudit.kernels.free.validation import freeness as test_freeness

REJECTED = 2.0
"""A χ² per datum above this rejects the class: sampled laws of the class reached 1.5."""
_AS_GOOD = 1.1
_POOR = 0.15
_LAST = tuple(2.0**power for power in (8, 7, 6, 5, 4, 3.5, 3, 2.5, 2, 1.75, 1.5, 1.25, 1, 0.75, 0.5, 0.25))
_REPLICAS = 10
_T_QUANTILE = 1.833  # Student, 9 degrees of freedom, 95 %
_MOST_SPIKES, _NEIGHBOURS = 32, 10


@dataclass(frozen=True, slots=True)
class Decompression:
    """A predicted spectrum with its tests.

    Attributes
    ----------
    verdict
        ``decompressible``, ``baseline as good`` or ``not decompressible``.
    reason
        Why, in a clause; empty for ``decompressible``.
    law
        The prediction: that of the fit, or of two free cumulants where the verdict refuses the fit.
    fit
        The fit, whatever the verdict.
    choice
        Nested validation; ``None`` for fewer than 128 eigenvalues.
    last_factor
        How far the law can be decompressed at all: infinite for most.
    spikes
        Outliers of the block taken out before the fit, and where the law puts each in the large matrix.
    freeness
        The test on the matrix, where one was given.
    replicas
        Refits to parametric replicas of the block, or to each sample given: what the bands are from.
    """

    verdict: str
    reason: str
    law: EvolvedLaw
    fit: LevyFit
    choice: Choice | None
    last_factor: float
    spikes: tuple[tuple[float, float], ...]
    freeness: Freeness | None
    replicas: tuple[EvolvedLaw, ...]
    pooled: bool

    def quantiles(self, count: int) -> torch.Tensor:
        """Return ``count`` predicted eigenvalues, ascending, without spikes; the mean over samples."""
        if self.pooled:
            return torch.stack([law.quantiles(count) for law in self.replicas]).mean(0)
        return self.law.quantiles(count)

    def band(self, levels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the 90 % band of the quantiles at ``levels``; of infinite width without replicas."""
        centre = self.law.ppf(levels)
        if len(self.replicas) < 2:
            return torch.full_like(centre, -math.inf), torch.full_like(centre, math.inf)
        drawn = torch.stack([law.ppf(levels) for law in self.replicas])
        half = _T_QUANTILE * drawn.std(0)
        if self.pooled:
            centre, half = drawn.mean(0), half / math.sqrt(len(drawn))
        return centre - half, centre + half


def decompress_spectrum(
    spectra: torch.Tensor,
    factor: float,
    *,
    generator: torch.Generator,
    matrix: torch.Tensor | None = None,
    replicas: int = _REPLICAS,
) -> Decompression:
    """Predict the spectrum of a matrix ``factor`` times as large from principal blocks, with no setting.

    Parameters
    ----------
    spectra
        Shape ``(n,)``, or ``(R, n)`` for several random blocks, float64.
    factor
        ``N/n``, above 1.
    generator
        Source of validation and bands.
    matrix
        Shape ``(n, n)``: the block itself, for the test of freeness; without it that is not tested.
    replicas
        Parametric replicas behind the bands of a single block; 0 for no bands.

    Raises
    ------
    ValueError
        As of :func:`rmtaudit.kernels.free.fit.fit_levy`; for a factor not above 1.
    """
    if not factor > 1:
        raise ValueError(f"the factor must be above 1, not {factor}")
    rows = spectra.double().reshape(-1, spectra.shape[-1]).sort(-1).values
    bulk, outliers = take_spikes(rows)
    fit = _class_of(bulk)
    last = math.inf if fit.measure.index == 0 else 1 / fit.measure.index
    index = fit.measure.index if factor < last else 0.0
    choice = choose(bulk[0], positive=fit.positive, index=index, generator=generator)
    slack = choice.slack if choice else 8.0
    fit = fit_levy(bulk, positive=fit.positive, slacks=(slack,), index=index)[0]
    test = None if matrix is None else test_freeness(matrix, generator)
    verdict, reason = _verdict(fit, choice, last, factor, test)
    simple = cumulant_laws(bulk)[2]
    measure = simple if verdict == "not decompressible" else fit.measure
    law = evolve(measure, factor)
    drawn = _replicas(bulk, fit, slack, factor, replicas, generator, refused=measure is simple)
    spikes = tuple((value, _carried(bulk, value, factor)) for value in outliers)
    pooled = len(bulk) > 1 and bool(drawn)
    return Decompression(verdict, reason, law, fit, choice, last, spikes, test, drawn, pooled)


def take_spikes(rows: torch.Tensor) -> tuple[torch.Tensor, tuple[float, ...]]:
    """Return spectra without outliers, and those of the first: beyond a gap wider than what follows.

    The gap after the last outlier exceeds the span of the ten next eigenvalues; at a soft edge that ratio is
    0.15 on average. Only the upper end is searched: that is where layers and kernels have them.
    """
    first = rows[0]
    n = len(first)
    most = min(_MOST_SPIKES, n // 20)
    count = 0
    for index in range(1, most + 1):
        top, below = first[n - index], first[n - index - 1]
        if float(top - below) > float(below - first[n - index - 1 - _NEIGHBOURS]):
            count = index
    if not count:
        return rows, ()
    return rows[:, : n - count], tuple(first[n - count :].tolist())


def _class_of(bulk: torch.Tensor) -> LevyFit:
    """Return a fit of the class that the data allow: positive if that costs nothing, ended if need be."""
    both = fit_levy(bulk, positive=False)[0]
    if float(bulk.min()) >= 0:
        positive = fit_levy(bulk, positive=True)[0]
        if positive.chi_square <= max(REJECTED, 1.2 * both.chi_square) and _covers(positive, bulk):
            both = positive
    if both.chi_square <= REJECTED:
        return both
    for end in _LAST:
        ended = fit_levy(bulk, positive=False, index=1 / end)[0]
        if ended.chi_square <= REJECTED:
            return ended
    return both


def _covers(fit: LevyFit, bulk: torch.Tensor) -> bool:
    return abs(fit.measure.variance / float(bulk.var(correction=0)) - 1) < 0.02


def _verdict(
    fit: LevyFit, choice: Choice | None, last: float, factor: float, test: Freeness | None
) -> tuple[str, str]:
    refused = "not decompressible"
    if factor >= last:
        return refused, f"the law can be decompressed by less than {last:.3g}, and {factor:.4g} was asked for"
    if fit.chi_square > REJECTED:
        return (
            refused,
            f"χ² is {fit.chi_square:.2g} per datum: no law that can be decompressed fits the block",
        )
    if test is not None and not test.free:
        return refused, (
            f"the matrix is not free of its coordinates: nested blocks differ by KS {test.distance:.2%} "
            f"(chance {test.noise:.2%}), and the diagonal holds {test.diagonal_share:.1%} of the variance"
        )
    if choice is None:
        return refused, "fewer than 128 eigenvalues are too few for validation"
    if choice.score > _POOR:
        return refused, f"validation on a quarter of the block misses by {choice.score:.0%} of the spread"
    order, best = min(choice.baselines.items(), key=lambda pair: (pair[1], pair[0]))
    if best <= _AS_GOOD * choice.score:
        return "baseline as good", f"{order} free cumulants predict the block from its quarter as well"
    return "decompressible", ""


def _replicas(
    bulk: torch.Tensor,
    fit: LevyFit,
    slack: float,
    factor: float,
    count: int,
    generator: torch.Generator,
    *,
    refused: bool,
) -> tuple[EvolvedLaw, ...]:
    if refused:
        return ()
    measure = fit.measure
    if len(bulk) > 1:
        spectra = list(bulk)
    else:
        n = bulk.shape[-1]
        # a block of a free matrix with the fitted law, twice as large
        large = round(n * min(2.0, factor))
        parent = evolve(measure, large / n).quantiles(large)
        spectra = [free_block(parent, n, generator) for _ in range(count)]
    return tuple(
        evolve(
            fit_levy(spectrum, positive=fit.positive, slacks=(slack,), index=measure.index)[0].measure,
            factor,
            1500,
        )
        for spectrum in spectra
    )


def _carried(bulk: torch.Tensor, value: float, factor: float) -> float:
    """Return where a delocalised outlier of the block goes: along its real characteristic."""
    transform = float((1 / (bulk[0] - value)).mean())
    return value - (factor - 1) / transform
