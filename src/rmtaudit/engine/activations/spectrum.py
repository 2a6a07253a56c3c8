"""The covariance of activations: its spectrum, and that of the population behind it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from rmtaudit.engine.activations.moments import Covariance, Moments
from rmtaudit.engine.activations.numbers import Number, NumberStatus, jackknifed, without
from rmtaudit.engine.activations.settings import MOST_FEATURES
from rmtaudit.kernels.equivalents.inversion import (
    PopulationEstimate,
    corrected_log_mean,
    estimate_population,
)
from rmtaudit.kernels.equivalents.population import Population
from rmtaudit.kernels.equivalents.sample_law import SampleLaw
from rmtaudit.kernels.htmp.estimate import fit_joint
from rmtaudit.kernels.powerlaw.fit import NoFit, fit_power_law
from rmtaudit.kernels.powerlaw.interval import exponent_interval

_FEW = 20
"""Eigenvalues below which an exponent means little, as of the spectra of weights."""
_SIDE = 32
"""Eigenvalues from which the fit of kappa was calibrated, as of the spectra of weights."""
_MIN_TAIL = 8
"""Eigenvalues of a tail at least, as of the spectra of weights."""
_ROUNDINGS = 2.0
"""An entry is rounded by at most half of epsilon times its size: four times that, for what the layers before
add up."""
_UNEVEN = 0.15
"""Excess of the spread of lengths that is worth a remark. Without a correction for scales, intervals of the
log-determinant cover 9 of 10 at an excess of 0.05, 7 at 0.2 and 5 at 0.4."""
_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spectra:
    """The spectra of a site.

    Attributes
    ----------
    whole
        Of all samples.
    parts
        Without each group.
    rank
        Dimension of the space in which the rows vary, or ``features`` where samples are too few to tell.
    floor
        Eigenvalue at and below which only rounding is seen.
    """

    whole: Covariance
    parts: tuple[Covariance, ...]
    rank: int
    floor: float

    @property
    def ratio(self) -> float:
        """Dimensions a degree of freedom."""
        return self.rank / self.whole.degrees

    @property
    def rank_known(self) -> bool:
        """Whether the rank is below the samples, and the same where a group is left out."""
        if self.rank > self.whole.degrees:
            return False
        smallest = [each.eigenvalues[-min(self.rank, each.degrees)] for each in self.parts]
        return all(float(value) > self.floor for value in smallest)

    def padded(self, covariance: Covariance) -> torch.Tensor:
        """Return all ``rank`` eigenvalues of a covariance, with zeros where samples are fewer."""
        values = covariance.eigenvalues[-min(self.rank, covariance.degrees) :]
        return torch.cat([values.new_zeros(self.rank - len(values)), values])


def spectra_of(moments: Moments, epsilon: float) -> Spectra:
    """Return the spectra of the rows of a site.

    ``epsilon`` is that of the arithmetic of the network: what rounding makes is no dimension.
    """
    whole, *parts = moments.covariances()
    values = whole.eigenvalues
    rounding = moments.mean_square * (_ROUNDINGS * epsilon) ** 2
    floor = max(len(values) * 2.0**-52 * float(values[-1]), rounding)
    resolved = int((values > floor).sum())
    rank = moments.features if resolved == whole.degrees < moments.features else resolved
    return Spectra(whole=whole, parts=tuple(parts), rank=rank, floor=floor)


def spectrum_facts(spectra: Spectra) -> tuple[dict[str, Any], dict[str, Number]]:
    """Return what is known of a spectrum, as JSON values, and its numbers."""
    values = spectra.padded(spectra.whole)
    naive_rank, naive_log = _entropy_rank(values), _log_determinant(values)
    numbers = {
        "log_determinant": _corrected_log_determinant(spectra, naive_log),
        "participation_ratio": _participation(spectra),
        "alpha": _alpha(values),
        "kappa": _kappa(spectra, values),
    }
    facts: dict[str, Any] = {
        "quantiles": dict(
            zip(
                map(str, _QUANTILES),
                torch.quantile(values, torch.tensor(_QUANTILES, dtype=torch.float64)).tolist(),
                strict=True,
            )
        ),
        "population": None,
        "law": None,
    }
    if spectra.ratio > MOST_FEATURES:
        needed = math.ceil(spectra.rank / MOST_FEATURES) + 1
        numbers["effective_rank"] = without(
            NumberStatus.FEW_SAMPLES, f"needs {needed:,} samples", naive=naive_rank
        )
        return facts, numbers
    try:
        estimate = _population(spectra, spectra.whole)
        ranks = [_population(spectra, each).effective_rank for each in spectra.parts]
    except ArithmeticError as error:
        numbers["effective_rank"] = without(NumberStatus.FAILED, str(error), naive=naive_rank)
        return facts, numbers
    numbers["effective_rank"] = jackknifed(estimate.effective_rank, ranks, naive=naive_rank)
    facts["population"] = {
        "values": estimate.population.values.tolist(),
        "weights": estimate.population.weights.tolist(),
        "residual": estimate.residual,
    }
    facts["law"] = (
        _law(estimate.population, spectra.ratio, values)
        if spectra.whole.scales is None
        else {"ratio": spectra.ratio, "status": "skipped", "reason": "rows have scales of their own"}
    )
    return facts, numbers


def length_facts(
    rows: torch.Tensor, scales: torch.Tensor | None, participation: float | None
) -> dict[str, Any]:
    """Return how much the lengths of rows differ, as JSON values.

    ``spread`` is the squared coefficient of variation of ``‖x - mean‖²``, and ``normal`` that of normal rows,
    ``2 tr Σ²/(tr Σ)²``. ``uneven`` says that rows differ much more. ``scales`` is the squared coefficient of
    variation of the squared scales that rank and log-determinant are corrected for, 0 without.
    """
    corrected = 0.0 if scales is None else float(scales.var())
    lengths = (rows - rows.mean(0)).square().sum(1)
    spread = float(lengths.var() / lengths.mean() ** 2)
    if participation is None or not participation > 0:
        return {"spread": spread, "normal": None, "uneven": None, "scales": corrected}
    normal = 2 / participation
    uneven = spread - normal > max(_UNEVEN, normal / 2)
    return {"spread": spread, "normal": normal, "uneven": uneven, "scales": corrected}


def _population(spectra: Spectra, covariance: Covariance) -> PopulationEstimate:
    return estimate_population(spectra.padded(covariance), covariance.degrees, scales=covariance.scales)


def _law(population: Population, ratio: float, values: torch.Tensor) -> dict[str, Any]:
    """Return the generalised Marchenko-Pastur law of a population, and its distance to the eigenvalues."""
    law = SampleLaw(population, ratio)
    try:
        bands = law.bands
        distance = _distance(law, values)
    except ArithmeticError as error:
        return {"ratio": ratio, "status": "failed", "reason": str(error)}
    return {
        "ratio": ratio,
        "status": "ok",
        "reason": "",
        "zeros": law.zeros,
        "bands": [{"low": each.low, "high": each.high, "mass": each.mass} for each in bands],
        "ks_distance": distance,
    }


def _distance(law: SampleLaw, values: torch.Tensor) -> float:
    count = len(values)
    above = values[values > 0]
    share = law.cdf(above)
    steps = torch.arange(count - len(above), count + 1, dtype=torch.float64) / count
    return float(torch.maximum((steps[1:] - share).abs(), (steps[:-1] - share).abs()).max())


def _entropy_rank(values: torch.Tensor) -> float:
    shares = values[values > 0] / values.sum()
    return math.exp(-float((shares * shares.log()).sum()))


def _log_determinant(values: torch.Tensor) -> float | None:
    return float(values.log().sum()) if bool((values > 0).all()) else None


def _corrected_log_determinant(spectra: Spectra, naive: float | None) -> Number:
    fewest = min(each.degrees for each in spectra.parts)
    if fewest <= spectra.rank:
        needed = math.ceil((spectra.rank + 2) * spectra.whole.degrees / fewest) + 1
        return without(NumberStatus.FEW_SAMPLES, f"needs {needed:,} samples", naive=naive)
    if not spectra.rank_known:
        return without(
            NumberStatus.FAILED, "some directions vary only within the samples of one group", naive=naive
        )
    values = [
        spectra.rank * corrected_log_mean(spectra.padded(each), each.degrees, scales=each.scales)[0]
        for each in (spectra.whole, *spectra.parts)
    ]
    return jackknifed(values[0], values[1:], naive=naive)


def _participation(spectra: Spectra) -> Number:
    """Return ``(tr Σ)²/tr Σ²`` by estimates of both that have no bias, whatever the law of the rows."""
    values = [_participation_ratio(each) for each in (spectra.whole, *spectra.parts)]
    plain = spectra.whole.eigenvalues
    naive = float(plain.sum() ** 2 / plain.square().sum())
    if not all(math.isfinite(each) for each in values):
        return without(NumberStatus.FAILED, "the estimate of tr Σ² is not positive", naive=naive)
    return jackknifed(values[0], values[1:], naive=naive)


def _participation_ratio(covariance: Covariance) -> float:
    """Return the ratio of the estimates of Himeno and Yamada (J. Multivariate Anal. 130, 2014)."""
    trace = float(covariance.eigenvalues.sum())
    square = float(covariance.eigenvalues.square().sum())
    n = covariance.degrees + 1
    fourth = n**2 / (n - 1) * covariance.mean_fourth
    second = (n - 1) * (n - 2) * square + trace**2 - fourth
    first = 2 * square + (n**2 - 3 * n + 1) * trace**2 - fourth
    return first / second if second > 0 else math.inf


def _alpha(values: torch.Tensor) -> Number:
    above = values[values > 0]
    if len(above) < _FEW:
        return without(NumberStatus.SKIPPED, f"{len(above)} eigenvalues, fewer than {_FEW}")
    fit = fit_power_law(above, min_tail=_MIN_TAIL)
    interval = exponent_interval(above, min_tail=_MIN_TAIL)
    if isinstance(fit, NoFit) or interval is None:
        return without(NumberStatus.FAILED, fit.reason if isinstance(fit, NoFit) else "no tail")
    return Number(value=fit.alpha, interval=(interval.low, interval.high))


def _kappa(spectra: Spectra, values: torch.Tensor) -> Number:
    above = values[-min(spectra.rank, spectra.whole.degrees) :]
    if len(above) < _SIDE:
        return without(NumberStatus.SKIPPED, f"{len(above)} eigenvalues, fewer than {_SIDE}")
    try:
        fit = fit_joint(above / above[-1], spectra.whole.degrees, spectra.rank)
    except (ArithmeticError, ValueError) as error:
        return without(NumberStatus.FAILED, str(error))
    return Number(value=fit.kappa, se=fit.se)
