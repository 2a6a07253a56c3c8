"""``null_alpha``: ``alpha`` on noise of the same shape, and how much of it hangs on a few eigenvalues."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
from rmtaudit.kernels.spectra.accuracy import Accuracy

_CLAUSET = "Clauset, Shalizi, Newman 2009"
_LEAST_SIDE = 16
_MIN_TAIL = 8
_DROPS = (1, 2, 3)
_FARMS = ("alpha_farms", "alpha_farms_null")


@dataclass(frozen=True, slots=True)
class NullAlphaOptions:
    """Options of :class:`NullAlpha`.

    Attributes
    ----------
    farms
        Whether to add the exponent of windows of one aspect ratio.
    farms_side, farms_aspect
        Shorter side of a window, at least 8, and its aspect ratio, at least 1.
    """

    farms: bool = False
    farms_side: int = 100
    farms_aspect: int = 2

    def __post_init__(self) -> None:
        if self.farms_side < _MIN_TAIL:
            raise ValueError(f"farms_side must be at least {_MIN_TAIL}, not {self.farms_side}")
        if self.farms_aspect < 1:
            raise ValueError(f"farms_aspect must be at least 1, not {self.farms_aspect}")


class NullAlpha(Analyzer):
    """The exponent of noise of the layer's shape, and the exponent without the largest eigenvalues."""

    name = "null_alpha"
    metrics = (
        Metric(
            name="alpha_null",
            description="Median alpha of Gaussian noise of the same shape, with the interval that holds 90 "
            "% of layers.",
            reference="Marchenko, Pastur 1967; simulated table",
        ),
        Metric(
            name="vs_noise",
            description="alpha divided by alpha_null: near 1, alpha is that of noise of this shape.",
            reference="Marchenko, Pastur 1967; simulated table",
        ),
        Metric(
            name="alpha_null_p_value",
            description=(
                "Share of noise layers whose alpha is as small or smaller; at least "
                "0.01, the limit of the table."
            ),
            reference="simulated table",
            summarised=False,
        ),
        Metric(
            name="alpha_null_ratio",
            better="lower",
            description=(
                "alpha - 1 divided by the same for noise of this shape, which makes "
                "layers of different shapes comparable."
            ),
            reference="Marchenko, Pastur 1967; simulated table",
        ),
        *(
            Metric(
                name=f"alpha_drop_{count}",
                description=f"alpha without the largest {count} eigenvalue{'s' if count > 1 else ''}.",
                reference=_CLAUSET,
                summarised=False,
            )
            for count in _DROPS
        ),
        Metric(
            name="alpha_drop_shift",
            description="Largest change of alpha when one to three of the largest eigenvalues are left out.",
            reference=_CLAUSET,
        ),
        Metric(
            name="alpha_farms",
            better="lower",
            description="Hill exponent of submatrices with a fixed aspect ratio.",
            reference="Hu et al. 2025",
        ),
        Metric(
            name="alpha_farms_null",
            description="The Hill exponent of submatrices of noise.",
            reference="Hu et al. 2025; Marchenko, Pastur 1967",
        ),
    )
    needs = frozenset({"spectrum", "matrix"})
    accuracy = Accuracy.LARGE
    Options = NullAlphaOptions

    def active_metrics(self) -> tuple[Metric, ...]:
        """Return the metrics that these options ask for."""
        return tuple(metric for metric in self.metrics if self.options.farms or metric.name not in _FARMS)

    def analyze(self, given: LayerInput) -> Mapping[str, MetricValue | Scalar]:
        """Fit the resolved eigenvalues, whole and without the largest, as ``powerlaw`` does by default."""
        # here and not above: the list of analyzers is printed without loading numpy
        from rmtaudit.kernels.noise.table import alpha_null
        from rmtaudit.kernels.powerlaw.fit import NoFit, fit_power_law

        refusal = self._refusal(given)
        if refusal is not None:
            return self.each_metric(refusal)
        values = given.spectrum.resolved
        fit = fit_power_law(values, min_tail=_MIN_TAIL, stability=False)
        if isinstance(fit, NoFit):
            return self.each_metric(failed(fit.reason))
        rows, cols = given.layer.shape
        null = alpha_null(fit.alpha, rows, cols)
        metrics: dict[str, MetricValue | Scalar] = {
            "alpha_null": MetricValue(value=null.median, ci=(null.low, null.high)),
            "vs_noise": fit.alpha / null.median,
            "alpha_null_p_value": null.p_value,
            "alpha_null_ratio": (fit.alpha - 1) / (null.median - 1),
        }
        shifts = []
        for count in _DROPS:
            less = fit_power_law(values[:-count], min_tail=_MIN_TAIL, stability=False)
            if isinstance(less, NoFit):
                metrics[f"alpha_drop_{count}"] = failed(less.reason)
            else:
                metrics[f"alpha_drop_{count}"] = less.alpha
                shifts.append(abs(less.alpha - fit.alpha))
        metrics["alpha_drop_shift"] = (
            max(shifts) if shifts else failed("no power law can be fitted without the largest eigenvalues")
        )
        return metrics | (self._farms(given) if self.options.farms else {})

    def _refusal(self, given: LayerInput) -> MetricValue | None:
        from rmtaudit.matrices.layers import LayerKind

        if given.layer.kind is LayerKind.ADAPTER:
            return ADAPTER_CORE
        if len(given.matrices) != 1:
            return pooled(len(given.matrices))
        if not given.spectrum.eigenvalues.max() > 0:
            return ZERO_MATRIX
        if min(given.layer.shape) < _LEAST_SIDE:
            return skipped(
                f"the smaller side is {min(given.layer.shape)}, below the table's minimum of {_LEAST_SIDE}"
            )
        if len(given.spectrum.resolved) < _LEAST_SIDE:
            return skipped(f"{len(given.spectrum.resolved)} resolved eigenvalues, fewer than {_LEAST_SIDE}")
        return None

    def _farms(self, given: LayerInput) -> dict[str, MetricValue | Scalar]:
        from rmtaudit.kernels.farms import farms_alpha

        options = self.options
        try:
            farms = farms_alpha(given.matrices[0], side=options.farms_side, aspect=options.farms_aspect)
        except ValueError as error:
            return dict.fromkeys(_FARMS, skipped(str(error)))
        except ArithmeticError as error:
            return dict.fromkeys(_FARMS, failed(str(error)))
        return {"alpha_farms": farms.alpha, "alpha_farms_null": farms.alpha_null}
