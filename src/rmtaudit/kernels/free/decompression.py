"""The whole method: a spectrum, a factor, and what may honestly be said about the larger matrix."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from scipy import special

from rmtaudit.kernels.free.cumulants import cumulant_laws
from rmtaudit.kernels.free.empirical import point_mass_at_zero
from rmtaudit.kernels.free.ended import fit_ended
from rmtaudit.kernels.free.evolution import EvolvedLaw, evolve
from rmtaudit.kernels.free.fit import REJECTED, LevyFit, fit_levy
from rmtaudit.kernels.free.forms import Form, find_form
from rmtaudit.kernels.free.identify import extreme_measures, fewest_atoms
from rmtaudit.kernels.free.replicas import CURVE, redrawn, refits, refits_of_form
from rmtaudit.kernels.free.validation import Choice, Freeness, choose, ks_distance
from rmtaudit.kernels.free.validation import freeness as test_freeness
from rmtaudit.kernels.free.verdict import SAMPLE, end_of, margin_of, refusal, simple_law

UNFIT = "not decompressible"
"""The verdict of a fit that predicts nothing."""
_NOTABLE = 0.05
"""A convention: the share of the eigenvalues that is left open from which the reason mentions it."""
_ROUGHER = 4.0
"""A convention: the second fit, whose difference to the first is in the intervals, is a quarter as smooth."""
_REPLICAS = 10
"""A convention: an interval from so few uses the quantile of Student."""
_NORMAL = float(special.ndtri(0.95))
"""Half the width of an interval of 90 %, in standard deviations."""
_MOST_SPIKES, _NEIGHBOURS = 32, 10
"""A convention: spikes taken out at most, and the neighbours whose gaps a spike has to exceed together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decompression:
    """A predicted spectrum with its tests.

    Attributes
    ----------
    verdict
        ``decompressible``, ``baseline as good`` or ``not decompressible``.
    reason
        Why, in a clause. Empty for ``decompressible``, unless the prediction is a law of few numbers or the
        block does not fix a part of the spectrum.
    law
        The prediction: that of the fit, or of two free cumulants where the fit is refused.
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
    rough
        The prediction of a fit a quarter as smooth: what smoothing does to the answer, in the bands.
    pooled
        Whether ``replicas`` are the samples given.
    baselines
        The laws of 2, 3 and 4 free cumulants at the same factor, where they exist.
    extremes
        The two laws at the same factor that differ most at the lower end and fit the block as well; none for
        the two-sided class and for blocks with zeros, where nothing is open.
    sparse
        The prediction of two or three atoms that fit as well: what smoothing blurs, in the bands.
    form
        The law of a few numbers that the fit is, where the block speaks for one; ``None`` for a smooth fit.
    smooth
        The prediction of the smooth fit beside that of a form, unless it is ruled out: what it says beyond
        its own noise is in the bands.
    smoothed
        Smooth fits to the replicas of a form, one each.
    simple
        How many free cumulants predict the block as well; ``None`` if none do.
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
    rough: EvolvedLaw | None
    pooled: bool
    baselines: Mapping[int, EvolvedLaw]
    extremes: tuple[EvolvedLaw, ...]
    sparse: EvolvedLaw | None
    form: Form | None
    smooth: EvolvedLaw | None
    smoothed: tuple[EvolvedLaw, ...]
    simple: int | None = None

    @property
    def alternatives(self) -> tuple[EvolvedLaw, ...]:
        """Laws whose distance from the prediction is what smoothing does to it: rougher, of a few atoms."""
        return tuple(law for law in (self.rough, self.sparse) if law is not None)

    @property
    def unresolved(self) -> float:
        """Share of the eigenvalues that the block does not fix: the distance (KS) between the extremes."""
        if not self.extremes:
            return 0.0
        high, low = (law.quantiles(SAMPLE) for law in self.extremes)
        return ks_distance(high, low)

    def quantiles(self, count: int) -> torch.Tensor:
        """Return ``count`` predicted eigenvalues, ascending, without spikes; the mean over samples."""
        if self.pooled:
            return torch.stack([law.quantiles(count) for law in self.replicas]).mean(0)
        return self.law.quantiles(count)

    def band(self, levels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the 90 % band of the quantiles at ``levels``; of infinite width without replicas."""
        _, low, high = self._interval(lambda law: law.ppf(levels))
        return low, high

    def interval(self, functional: Callable[[EvolvedLaw], float]) -> tuple[float, float, float]:
        """Return a number that is a function of the law, and its 90 % interval."""
        value, low, high = self._interval(lambda law: torch.tensor(functional(law), dtype=torch.float64))
        return float(value), float(low), float(high)

    def _interval(
        self, functional: Callable[[EvolvedLaw], torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        centre = functional(self.law)
        if len(self.replicas) < 2:
            return centre, torch.full_like(centre, -math.inf), torch.full_like(centre, math.inf)
        drawn = torch.stack([functional(law) for law in self.replicas])
        variance = drawn.var(0)
        # what smoothing does, estimated in up to three ways; the first is what a refit does to its own law
        smoothing = torch.zeros_like(centre) if self.pooled else (drawn.mean(0) - centre).abs()
        for law in self.alternatives:
            smoothing = torch.maximum(smoothing, (functional(law) - centre).abs())
        below = above = smoothing
        if self.smooth is not None:
            gaps = torch.stack([functional(law) for law in self.smoothed]) - drawn
            beyond = beyond_noise(functional(self.smooth) - centre, gaps)
            below, above = torch.maximum(smoothing, -beyond), torch.maximum(smoothing, beyond)
        if self.pooled:
            centre, variance = drawn.mean(0), variance / len(drawn)
        spread = _student(len(drawn) - 1) * variance.sqrt()
        low = centre - torch.hypot(spread, _NORMAL * below)
        high = centre + torch.hypot(spread, _NORMAL * above)
        for law in self.extremes:
            value = functional(law)
            low, high = torch.minimum(low, value), torch.maximum(high, value)
        return centre, low, high


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

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import free
    >>> generator = torch.Generator().manual_seed(0)
    >>> X = torch.randn(300, 900, generator=generator, dtype=torch.float64)
    >>> eigenvalues = torch.linalg.eigvalsh(X @ X.T / 900)
    >>> prediction = free.decompress_spectrum(eigenvalues, 2.0, generator=generator, replicas=0)
    >>> low, high = free.marchenko_pastur(ratio=2 / 3).edges
    >>> abs(float(prediction.quantiles(600)[-1]) - high) < 0.3
    True
    """
    if not factor > 1:
        raise ValueError(f"the factor must be above 1, not {factor}")
    rows = spectra.double().reshape(-1, spectra.shape[-1]).sort(-1).values
    bulk, outliers = take_spikes(rows)
    fit = _class_of(bulk)
    last = end_of(fit)
    margin = margin_of(fit, rows.shape[-1])
    index = fit.measure.index if factor * margin < last else 0.0
    choice = choose(bulk[0], positive=fit.positive, index=index, generator=generator)
    slack = choice.slack if choice else 8.0
    smooth = rougher = fit
    form = None
    if not fit.atoms:
        smooth, rougher = fit_levy(bulk, positive=fit.positive, slacks=(slack, slack / _ROUGHER), index=index)
        fit = smooth
        form = find_form(bulk, smooth) if smooth.chi_square <= REJECTED and last == math.inf else None
    if form is not None:
        fit = form.fit(smooth)
        last = end_of(fit)
        margin = margin_of(fit, rows.shape[-1])
    test = None if matrix is None else test_freeness(matrix, generator)
    baselines = {
        order: evolve(law, factor, CURVE)
        for order, law in cumulant_laws(bulk).items()
        if law.index * factor < 1
    }
    refused = refusal(fit, choice, last=last, margin=margin, factor=factor, test=test)
    spikes = tuple((value, _carried(bulk, value, factor)) for value in outliers)
    drawn: tuple[EvolvedLaw, ...] = ()
    smoothed: tuple[EvolvedLaw, ...] = ()
    rough = sparse = smooth_law = simple = None
    extremes = () if refused else _extremes(bulk, fit, factor)
    if refused:
        law = baselines[2]
        verdict, reason = UNFIT, refused
    else:
        law = evolve(fit.measure, factor)
        redrawing = redrawn(bulk, fit.measure, factor, replicas, generator)
        if form is not None:
            drawn, smoothed = refits_of_form(redrawing, form, smooth, factor)
            smooth_law = evolve(smooth.measure, factor, CURVE) if drawn and not form.alone else None
        else:
            drawn = refits(redrawing, fit, factor)
        if not fit.atoms:
            rough = evolve(rougher.measure, factor, CURVE)
            sparse = _sparse(bulk, fit, factor)
        simple = simple_law(law, choice, baselines, drawn)
        verdict, reason = "decompressible", ""
        if simple is not None:
            verdict = "baseline as good"
            reason = f"{simple} free cumulants predict the block from its quarter equally well"
        if form is not None:
            explained = f"a {form.name} law explains the block (p = {form.p_value:.2f})"
            reason = "; ".join(filter(None, (reason, explained)))
    result = Decompression(
        verdict=verdict,
        reason=reason,
        law=law,
        fit=fit,
        choice=choice,
        last_factor=last,
        spikes=spikes,
        freeness=test,
        replicas=drawn,
        rough=rough,
        pooled=len(bulk) > 1 and bool(drawn),
        baselines=baselines,
        extremes=extremes,
        sparse=sparse,
        form=form,
        smooth=smooth_law,
        smoothed=smoothed,
        simple=simple,
    )
    if result.unresolved > _NOTABLE:
        caveat = (
            f"laws that fit the block equally well put {result.unresolved:.0%} of the eigenvalues elsewhere, "
            "at the lower end"
        )
        result = dataclasses.replace(result, reason="; ".join(filter(None, (reason, caveat))))
    return result


def beyond_noise(distance: torch.Tensor, gaps: torch.Tensor) -> torch.Tensor:
    """Return how far above a first estimate a second is, or below, less what chance puts between them.

    Parameters
    ----------
    distance
        Any shape: the second less the first.
    gaps
        Shape ``(R, ...)``: the same of ``R`` replicas of data for which the first is right.
    """
    chance = _student(len(gaps) - 1) * gaps.std(0)
    away = distance - gaps.mean(0)
    return away.sign() * (away.abs() - chance).clamp(min=0)


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
    return fit_ended(bulk) or both


def _covers(fit: LevyFit, bulk: torch.Tensor) -> bool:
    return abs(fit.measure.variance / float(bulk.var(correction=0)) - 1) < 0.02


def _extremes(bulk: torch.Tensor, fit: LevyFit, factor: float) -> tuple[EvolvedLaw, ...]:
    if not fit.positive or point_mass_at_zero(bulk) > 0:
        return ()
    return tuple(evolve(measure, factor, CURVE) for measure in extreme_measures(bulk, fit.slack))


def _sparse(bulk: torch.Tensor, fit: LevyFit, factor: float) -> EvolvedLaw | None:
    measure = fewest_atoms(bulk, fit) if fit.measure.index == 0 else None
    return None if measure is None else evolve(measure, factor, CURVE)


def _student(degrees: int) -> float:
    return float(special.stdtrit(degrees, 0.95))


def _carried(bulk: torch.Tensor, value: float, factor: float) -> float:
    """Return where a delocalised outlier of the block goes: along its real characteristic."""
    transform = float((1 / (bulk[0] - value)).mean())
    return value - (factor - 1) / transform
