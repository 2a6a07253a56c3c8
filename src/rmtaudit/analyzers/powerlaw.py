"""``powerlaw``: how heavy the tail of a layer's spectrum is, and how well that is known."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from rmtaudit.analyzers.base import (
    ZERO_MATRIX,
    Analysis,
    Analyzer,
    LayerInput,
    Metric,
    MetricValue,
    Observation,
    Scalar,
    failed,
    skipped,
)
from rmtaudit.kernels.spectra.accuracy import Accuracy

if TYPE_CHECKING:
    import torch

    from rmtaudit.kernels.powerlaw.fit import PowerLawFit
    from rmtaudit.kernels.powerlaw.interval import ExponentInterval

_CLAUSET = "Clauset, Shalizi, Newman 2009"
_STABILITY = ("alpha_low", "alpha_high")
_BOOTSTRAP = ("p_value",)
_FEW = 20
"""Resolved eigenvalues below which alpha means little: even if all of them are the tail, ``alpha - 1`` has a
relative error of more than 22 % (``1/sqrt(20)``)."""


@dataclass(frozen=True, slots=True)
class PowerLawOptions:
    """Options of :class:`PowerLaw`.

    Attributes
    ----------
    bootstrap
        Replicas of each bootstrap (goodness of fit, and the interval of ``xmin``); 0 for none.
    stability
        Whether to report the range of ``alpha`` over the nearly best ``xmin``.
    min_tail
        Least number of eigenvalues in a tail, at least 2. A tail of 8 gives ``alpha - 1`` to 35 %
        (``1/sqrt(8)``); a shorter one says little about an exponent. Spectra with fewer resolved eigenvalues
        are skipped.
    confidence
        Coverage that the intervals aim at.
    """

    bootstrap: int = 0
    stability: bool = True
    min_tail: int = 8
    confidence: float = 0.9

    def __post_init__(self) -> None:
        if self.bootstrap < 0 or self.bootstrap == 1:
            raise ValueError(f"bootstrap must be 0 or at least 2, not {self.bootstrap}")
        if self.min_tail < 2:
            raise ValueError(f"min_tail must be at least 2, not {self.min_tail}")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence must lie between 0 and 1, not {self.confidence}")


class PowerLaw(Analyzer):
    """Power-law fit of the resolved eigenvalues: exponent, start of the tail, distance, and their errors."""

    name = "powerlaw"
    metrics = (
        Metric(
            name="alpha",
            description=(
                "Exponent of the power law fitted to the tail of the eigenvalues; its interval includes "
                "the uncertainty in xmin."
            ),
            reference=f"{_CLAUSET}, equation 3.1",
        ),
        Metric(
            name="alpha_unstable",
            description="Whether another tail, with a clearly different exponent, fits as well.",
            reference=f"{_CLAUSET}, equation 3.9",
            summarised=False,
        ),
        Metric(
            name="alpha_low",
            description=(
                "Smallest exponent over the values of xmin that fit as well, that is, "
                "within 0.01 in distance."
            ),
            reference=f"{_CLAUSET}, equation 3.9",
        ),
        Metric(
            name="alpha_high",
            description=(
                "Largest exponent over the values of xmin that fit as well, that is, within 0.01 in distance."
            ),
            reference=f"{_CLAUSET}, equation 3.9",
        ),
        Metric(
            name="xmin",
            unit="w²",
            description=(
                "Eigenvalue at which the tail starts: the one that minimises the "
                "distance between tail and power law."
            ),
            reference=f"{_CLAUSET}, section 3.3",
            summarised=False,
        ),
        Metric(
            name="ks_distance",
            description="Kolmogorov-Smirnov distance between the tail and the fitted power law.",
            reference=f"{_CLAUSET}, equation 3.9",
        ),
        Metric(
            name="tail_size",
            unit="count",
            description="Number of eigenvalues in the tail.",
            reference=_CLAUSET,
        ),
        Metric(
            name="sigma",
            description="Standard error of alpha if xmin were known.",
            reference=f"{_CLAUSET}, equation 3.2",
        ),
        Metric(
            name="alpha_weighted",
            unit="log10 w²",
            description="alpha times log10 of the largest eigenvalue; changes with the unit of the weights.",
            reference="Martin, Peng, Mahoney 2021, weighted alpha",
        ),
        Metric(
            name="p_value",
            description=(
                "p-value: share of samples from the fitted power law that are as far "
                "from a power law. A small value rejects the power law."
            ),
            reference=f"{_CLAUSET}, section 4.1",
        ),
    )
    accuracy = Accuracy.LARGE
    Options = PowerLawOptions

    def active_metrics(self) -> tuple[Metric, ...]:
        """Return the metrics that these options ask for."""
        absent = (() if self.options.stability else _STABILITY) + (
            () if self.options.bootstrap else _BOOTSTRAP
        )
        return tuple(metric for metric in self.metrics if metric.name not in absent)

    def analyze(self, given: LayerInput) -> Analysis:
        """Fit the resolved eigenvalues; without a fit, every metric has the same reason."""
        # here and not above: the list of analyzers is printed without loading numpy
        from rmtaudit.kernels.powerlaw.fit import NoFit, fit_power_law
        from rmtaudit.kernels.powerlaw.interval import exponent_interval

        options = self.options
        values = given.spectrum.resolved
        if not given.spectrum.eigenvalues.max() > 0:
            return Analysis(self.each_metric(ZERO_MATRIX))
        if len(values) < options.min_tail:
            reason = (
                f"{len(values)} resolved eigenvalues, fewer than the minimum of {options.min_tail} in a tail"
            )
            return Analysis(self.each_metric(skipped(reason)))
        if float(values[-1] - values[0]) <= 2 * given.spectrum.error_bound:
            return Analysis(self.each_metric(failed("all eigenvalues are equal within their resolution")))
        fit = fit_power_law(values, min_tail=options.min_tail, stability=options.stability)
        if isinstance(fit, NoFit):
            return Analysis(self.each_metric(failed(fit.reason)))
        interval = exponent_interval(values, min_tail=options.min_tail, confidence=options.confidence)
        if interval is None:  # the fit has a tail with two different values, so the interval has one
            raise AssertionError("a fitted tail has no interval")
        error = _standard_error(interval)
        metrics: dict[str, MetricValue | Scalar] = {
            "alpha": MetricValue(value=fit.alpha, se=error, ci=(interval.low, interval.high)),
            "alpha_unstable": bool(interval.rivals),
            "xmin": fit.xmin,
            "ks_distance": fit.ks_distance,
            "tail_size": fit.tail_size,
            "sigma": fit.sigma,
            "alpha_weighted": _alpha_weighted(fit.alpha, error, values),
        }
        if fit.alpha_low is not None and fit.alpha_high is not None:
            metrics |= {"alpha_low": fit.alpha_low, "alpha_high": fit.alpha_high}
        if options.bootstrap:
            metrics |= self._bootstrap(fit, values, given.generator("powerlaw bootstrap"))
        caution = f"an alpha fitted to {len(values)} eigenvalues means little" if len(values) < _FEW else ""
        return Analysis(metrics, tuple(_observations(fit, interval)), remark=caution)

    def _bootstrap(
        self, fit: PowerLawFit, values: torch.Tensor, generator: torch.Generator
    ) -> dict[str, MetricValue]:
        from rmtaudit.kernels.powerlaw.bootstrap import bootstrap_power_law
        from rmtaudit.kernels.powerlaw.fit import NoFit

        options = self.options
        bootstrap = bootstrap_power_law(
            values, fit, replicas=options.bootstrap, generator=generator, confidence=options.confidence
        )
        if isinstance(bootstrap, NoFit):
            return {"p_value": failed(bootstrap.reason)}
        return {
            "xmin": MetricValue(value=fit.xmin, ci=bootstrap.xmin_ci),
            "p_value": MetricValue(value=bootstrap.p_value, se=bootstrap.p_value_se),
        }


def _standard_error(interval: ExponentInterval) -> float:
    """Return the standard deviation of the normal law whose central interval is as wide."""
    z = NormalDist().inv_cdf((1 + interval.confidence) / 2)
    return (interval.high - interval.low) / (2 * z)


def _alpha_weighted(alpha: float, error: float, values: torch.Tensor) -> MetricValue:
    weight = math.log10(float(values[-1]))
    return MetricValue(value=alpha * weight, se=error * abs(weight))


def _observations(fit: PowerLawFit, interval: ExponentInterval) -> Iterator[Observation]:
    if not interval.rivals:
        return
    rival = interval.rivals[0]
    yield Observation(
        code="RA-PL-001",
        message=f"The exponent alpha is unstable: the {fit.tail_size} largest eigenvalues give "
        f"{fit.alpha:.3g}, and the {rival.tail_size} largest, which fit as well, give {rival.alpha:.3g}.",
        evidence={
            "alpha": fit.alpha,
            "tail_size": fit.tail_size,
            "ks_distance": fit.ks_distance,
            "rivals": [
                {"alpha": each.alpha, "tail_size": each.tail_size, "ks_distance": each.ks_distance}
                for each in interval.rivals
            ],
        },
    )
