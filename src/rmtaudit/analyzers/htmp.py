"""``htmp``: kappa of the high-temperature Marchenko-Pastur law, and whether the law describes the layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmtaudit.analyzers.base import (
    ADAPTER_CORE,
    ZERO_MATRIX,
    Analyzer,
    LayerInput,
    Metric,
    MetricValue,
    Scalar,
    failed,
    pooled,
    skipped,
)
from rmtaudit.analyzers.kappa import Estimator, count_spikes, estimate, fit, needs_all, resolution_floor

if TYPE_CHECKING:
    import torch

    from rmtaudit.kernels.htmp.estimate import KappaFit


LEAST_SIDE = 32
"""Smaller side from which the table of the goodness of fit was checked."""
_HODGKINSON = "Hodgkinson, Wang, Mahoney 2025"
_NORMAL_95 = 1.959963984540054
_LAWS = ("htmp_best_law", "htmp_delta_bic")

_CLEAR = 10.0
"""Difference of BIC from which another law fits better: a convention."""
_ORTHOGONAL = 64 * 2.0**-24
"""Part of the relative spread of an orthogonal matrix's singular values that does not depend on the size."""
ACCEPTED, OUTDONE = "HTMP not rejected", "HTMP not rejected, another law fits better"
BULK_ONLY, REJECTED = "HTMP of the bulk alone", "HTMP rejected"


@dataclass(frozen=True, slots=True)
class HTMPOptions:
    """Options of :class:`HTMPFit`.

    Attributes
    ----------
    estimator
        Of kappa. ``joint``: exact maximum likelihood of all eigenvalues together. ``moment``: from their mean
        and variance, no eigenvalue need be resolved. ``marginal``: likelihood of each by itself. ``ks``:
        least Kolmogorov-Smirnov distance.
    bootstrap
        Spectra drawn for the p-values of the fit; 0 takes them from the simulated table, down to 0.005.
    compare
        Whether to fit six other laws and compare them by BIC.
    level
        HTMP is rejected where the p-value is below.
    """

    estimator: Estimator = "joint"
    bootstrap: int = 0
    compare: bool = True
    level: float = 0.01

    def __post_init__(self) -> None:
        if self.bootstrap < 0:
            raise ValueError(f"bootstrap must not be negative, but is {self.bootstrap}")
        if not 0 < self.level < 1:
            raise ValueError(f"level must lie between 0 and 1, not {self.level}")
        if 0 < self.bootstrap < 1 / self.level - 1:
            raise ValueError(f"{self.bootstrap} draws cannot reject at the level {self.level}")
        if self.bootstrap == 0 and self.level < 0.01:
            raise ValueError(f"the table cannot reject at the level {self.level}; request a bootstrap")


class HTMPFit(Analyzer):
    """kappa with its error, of the whole spectrum and of the bulk, and the goodness of fit."""

    name = "htmp"
    metrics = (
        Metric(
            name="kappa_full",
            description=(
                "Eigenvalue repulsion of the beta-Laguerre ensemble, fitted to all "
                "eigenvalues; N for Gaussian noise."
            ),
            reference=f"{_HODGKINSON}; Dumitriu, Edelman 2002",
        ),
        Metric(
            name="kappa_bulk",
            description="kappa fitted to the eigenvalues without those above the bulk.",
            reference=f"{_HODGKINSON}; Marchenko, Pastur 1967 for the edge",
        ),
        Metric(
            name="kappa_index",
            description=(
                "kappa_full divided by N: the Dyson index, 1 for real and 2 for complex Gaussian noise."
            ),
            reference=f"{_HODGKINSON}; Dumitriu, Edelman 2002",
        ),
        Metric(
            name="kappa_bulk_index",
            description="kappa_bulk divided by the number of eigenvalues in the bulk.",
            reference=f"{_HODGKINSON}; Dumitriu, Edelman 2002",
        ),
        Metric(
            name="kappa_method",
            description="How kappa_full was estimated: the estimator, how many eigenvalues were censored, "
            "any fallback.",
            reference="docs/analyzers/htmp.md",
            summarised=False,
        ),
        Metric(
            name="kappa_bulk_method",
            description="How kappa_bulk was estimated: the estimator, how many eigenvalues were "
            "censored, any fallback.",
            reference="docs/analyzers/htmp.md",
            summarised=False,
        ),
        Metric(
            name="kappa_spikes",
            unit="count",
            description=(
                "Number of eigenvalues left out for kappa_bulk; not a count of signals "
                "where the bulk is not noise."
            ),
            reference="Johnstone 2001",
            summarised=False,
        ),
        Metric(
            name="htmp_a",
            description=(
                "kappa_full/(2 gamma), gamma = N/M: the combination that remains "
                "identifiable if gamma is unknown."
            ),
            reference=_HODGKINSON,
            summarised=False,
        ),
        Metric(
            name="htmp_ks_distance",
            description=("Kolmogorov-Smirnov distance between all eigenvalues and the law of the joint fit."),
            reference=_HODGKINSON,
        ),
        Metric(
            name="htmp_p_value",
            description=(
                "p-value: probability that a spectrum drawn from that law is as far from its own fit."
            ),
            reference="parametric bootstrap; docs/analyzers/htmp.md",
            summarised=False,
        ),
        Metric(
            name="htmp_bulk_p_value",
            description="p-value of the fit to the bulk.",
            reference="parametric bootstrap; docs/analyzers/htmp.md",
            summarised=False,
        ),
        Metric(
            name="htmp_verdict",
            description=(
                f"'{ACCEPTED}', '{OUTDONE}', '{BULK_ONLY}', or '{REJECTED}': in that case "
                "kappa does not describe the spectrum."
            ),
            reference="docs/analyzers/htmp.md",
            summarised=False,
        ),
        Metric(
            name="htmp_best_law",
            description=(
                "The law with the lowest BIC among HTMP, inverse HTMP, gamma, inverse "
                "gamma, lognormal, MP, and MP with spikes."
            ),
            reference="Schwarz 1978, on the composite likelihood",
            summarised=False,
        ),
        Metric(
            name="htmp_delta_bic",
            description=(
                "BIC of HTMP minus the lowest BIC of the other laws: negative where HTMP fits best."
            ),
            reference="Schwarz 1978, on the composite likelihood",
            summarised=False,
        ),
    )
    Options = HTMPOptions

    def active_metrics(self) -> tuple[Metric, ...]:
        """Return the metrics that these options ask for."""
        return tuple(metric for metric in self.metrics if self.options.compare or metric.name not in _LAWS)

    def analyze(self, given: LayerInput) -> Mapping[str, MetricValue | Scalar]:
        """Fit one matrix; layers that pool several, adapters and small layers have none."""
        # here and not above: the list of analyzers is printed without loading torch
        from rmtaudit.matrices.layers import LayerKind

        spectrum = given.spectrum
        values, rows, cols = spectrum.eigenvalues, spectrum.rows, spectrum.cols
        if spectrum.parts:
            return self.each_metric(pooled(len(spectrum.parts)))
        if given.layer.kind is LayerKind.ADAPTER:
            return self.each_metric(ADAPTER_CORE)
        if not values.max() > 0:
            return self.each_metric(ZERO_MATRIX)
        if len(values) < LEAST_SIDE:
            return self.each_metric(
                skipped(f"the smaller side is {len(values)}, below the calibrated minimum of {LEAST_SIDE}")
            )
        floor = resolution_floor(given) / float(values.max())
        values = values / values.max()
        # the bound within which orthogonal matrices of any dtype and size, made in float32, stay
        spread = 8 * given.epsilon * (math.sqrt(rows) + math.sqrt(cols)) + _ORTHOGONAL
        if float(values.min()) >= 1 / (1 + spread) ** 2:
            return self.each_metric(
                failed("the eigenvalues are equal within the stored precision, so there is nothing to fit")
            )
        whole = self._part(values, rows, cols, given=given, floor=floor, purpose="htmp")
        metrics: dict[str, MetricValue | Scalar] = {
            **_multiples(whole.kappa, "kappa_full", "kappa_index"),
            "kappa_method": whole.method,
            "htmp_a": _scaled(whole.kappa, lambda fit: 1 / (2 * fit.gamma)),
            "htmp_ks_distance": whole.distance,
            "htmp_p_value": whole.p_value,
        }
        spikes = count_spikes(values, rows, cols)
        if isinstance(spikes, MetricValue):
            bulk = _Part(kappa=spikes, method=spikes, distance=spikes, p_value=spikes)
        elif not spikes:
            bulk = whole
        else:
            left = values[: len(values) - spikes]
            bulk = self._part(
                left, rows - spikes, cols - spikes, given=given, floor=floor, purpose="htmp bulk"
            )
        metrics |= {
            **_multiples(bulk.kappa, "kappa_bulk", "kappa_bulk_index"),
            "kappa_bulk_method": bulk.method,
            "kappa_spikes": spikes,
            "htmp_bulk_p_value": bulk.p_value,
        }
        laws = self._laws(values, given, whole) if self.options.compare else {}
        return metrics | laws | {"htmp_verdict": self._verdict(whole, bulk, laws)}

    def _part(
        self, values: torch.Tensor, rows: int, cols: int, given: LayerInput, floor: float, purpose: str
    ) -> _Part:
        """Fit all eigenvalues, or those of the bulk; the goodness of fit is always that of the joint fit."""
        from rmtaudit.kernels.htmp.goodness import bootstrap, distance, p_value

        joint = fit(values, rows, cols, "joint", floor)
        kappa, method = estimate(values, rows, cols, self.options.estimator, floor=floor, joint=joint)
        if isinstance(joint, MetricValue):
            return _Part(kappa=kappa, method=method, distance=joint, p_value=joint)
        try:
            ks = distance(values, joint)
            statistic = math.sqrt(joint.size) * ks
            if not self.options.bootstrap:
                table = MetricValue(value=p_value(statistic, joint.kappa))
                return _Part(
                    kappa=kappa, method=method, distance=MetricValue(value=ks), p_value=table, joint=joint
                )
            share, se = bootstrap(
                statistic,
                joint,
                draws=self.options.bootstrap,
                generator=given.generator(purpose),
                floor=floor / joint.mean if joint.censored else 0.0,
            )
        except (ArithmeticError, ValueError) as error:
            return _Part(
                kappa=kappa,
                method=method,
                distance=failed(str(error)),
                p_value=failed(str(error)),
                joint=joint,
            )
        return _Part(
            kappa=kappa,
            method=method,
            distance=MetricValue(value=ks),
            p_value=MetricValue(value=share, se=se),
            joint=joint,
        )

    def _laws(self, values: torch.Tensor, given: LayerInput, whole: _Part) -> dict[str, MetricValue | Scalar]:
        from rmtaudit.kernels.htmp.rivals import compare

        if whole.joint is None:
            return dict.fromkeys(_LAWS, whole.p_value)
        if whole.joint.censored:
            return dict.fromkeys(_LAWS, skipped(needs_all(whole.joint.censored)))
        try:
            candidates = compare(values, given.spectrum.rows, given.spectrum.cols, start=whole.joint.kappa)
        except (ArithmeticError, ValueError) as error:
            return dict.fromkeys(_LAWS, failed(str(error)))
        bic = {candidate.name: candidate.bic for candidate in candidates}
        others = min(value for name, value in bic.items() if name != "HTMP")
        return {"htmp_best_law": candidates[0].name, "htmp_delta_bic": bic["HTMP"] - others}

    def _verdict(self, whole: _Part, bulk: _Part, laws: Mapping[str, MetricValue | Scalar]) -> MetricValue:
        if whole.p_value.value is None:
            return whole.p_value
        level = self.options.level
        if float(whole.p_value.value) >= level:
            worse = laws.get("htmp_delta_bic", 0.0)
            better = isinstance(worse, float) and worse > _CLEAR
            return MetricValue(value=OUTDONE if better else ACCEPTED)
        if bulk is not whole and bulk.p_value.value is not None and float(bulk.p_value.value) >= level:
            return MetricValue(value=BULK_ONLY)
        return MetricValue(value=REJECTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """What is known of all eigenvalues, or of those of the bulk: the estimate, and how far the law is."""

    kappa: KappaFit | MetricValue
    method: MetricValue
    distance: MetricValue
    p_value: MetricValue
    joint: KappaFit | None = None


def _multiples(kappa: KappaFit | MetricValue, name: str, index: str) -> dict[str, MetricValue | Scalar]:
    return {name: _scaled(kappa, lambda _: 1.0), index: _scaled(kappa, lambda fit: 1 / fit.size)}


def _scaled(fit: KappaFit | MetricValue, factor: Callable[[KappaFit], float]) -> MetricValue:
    """Return a multiple of kappa; the interval is normal in its logarithm."""
    if isinstance(fit, MetricValue):
        return fit
    by = factor(fit)
    kappa = fit.kappa * by
    if fit.se is None or fit.log_se is None:
        return MetricValue(value=kappa)
    spread = math.exp(min(_NORMAL_95 * fit.log_se, 600.0))
    return MetricValue(value=kappa, se=fit.se * by, ci=(kappa / spread, kappa * spread))
