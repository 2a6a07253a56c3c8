"""``tails``: which laws the two ends of a layer's spectrum follow, where that can be decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rmtaudit.analyzers.base import ZERO_MATRIX, Analyzer, LayerInput, Metric, MetricValue, failed, skipped

if TYPE_CHECKING:
    import torch

    from rmtaudit.kernels.tails.bootstrap import TailBootstrap
    from rmtaudit.kernels.tails.tail import Tail

_CLAUSET = "Clauset, Shalizi, Newman 2009"
_HODGKINSON = "Hodgkinson, Wang, Mahoney 2025, inverse gamma law near zero"
_UPPER = ("upper_law", "upper_alpha", "upper_size", "cutoff_p_value")
_LOWER = ("lower_law", "lower_exponent", "lower_size")
_ZERO = ("zero_power", "zero_rate", "zero_gain", "zero_p_value")

Values = dict[str, MetricValue | float | int | str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TailsOptions:
    """Options of :class:`Tails`.

    Attributes
    ----------
    bootstrap
        Replicas of each bootstrap; 0 for none, or at least 100: with fewer, no law could be ruled out.
    min_tail
        Least number of eigenvalues in a tail, at least 2.
    level
        Maximum probability of rejecting the true law, were the eigenvalues independent.
    fraction
        Share of the lowest eigenvalues that the inverse gamma law is fitted to.
    confidence
        Coverage of the bootstrap's intervals.
    """

    bootstrap: int = 0
    min_tail: int = 8
    level: float = 0.05
    fraction: float = 0.05
    confidence: float = 0.9

    def __post_init__(self) -> None:
        if self.bootstrap != 0 and self.bootstrap < 100:
            raise ValueError(f"bootstrap must be 0 or at least 100, not {self.bootstrap}")
        if self.min_tail < 2:
            raise ValueError(f"min_tail must be at least 2, not {self.min_tail}")
        for name in ("level", "fraction", "confidence"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must lie between 0 and 1, not {getattr(self, name)}")


class Tails(Analyzer):
    """Five laws for each tail of the resolved eigenvalues, and the inverse gamma law near zero."""

    name = "tails"
    metrics = (
        Metric(
            name="upper_law",
            description=(
                "The law of the upper tail if each of the four other laws is rejected; "
                "'like LAW' if no law that contains it fits better; 'none fits' if each "
                "of the five is too far from the values; 'tied' if equal values prevent "
                "a verdict; otherwise 'undecided'."
            ),
            reference=f"{_CLAUSET}, section 5; Vuong 1989",
            summarised=False,
        ),
        Metric(
            name="upper_alpha",
            better="lower",
            description="Exponent of the power law of the upper tail.",
            reference=f"{_CLAUSET}, equation 3.1",
        ),
        Metric(
            name="upper_size",
            unit="count",
            description="Number of eigenvalues in the upper tail.",
            reference=_CLAUSET,
        ),
        Metric(
            name="cutoff_p_value",
            description=(
                "p-value of the improvement that an exponential cut-off brings over the "
                "power law of the upper tail. A small value means that there is a "
                "cut-off."
            ),
            reference=f"{_CLAUSET}, appendix C",
        ),
        Metric(
            name="lower_law",
            description=("Law of the reciprocals of the lower tail, with the same values as upper_law."),
            reference=f"{_CLAUSET}, section 5; Vuong 1989",
            summarised=False,
        ),
        Metric(
            name="lower_exponent",
            description=("Exponent of the share of eigenvalues below a small value, P(x < y) ~ y^exponent."),
            reference=f"{_CLAUSET}, equation 3.1, on the reciprocals",
        ),
        Metric(
            name="lower_size",
            unit="count",
            description="Number of eigenvalues in the lower tail.",
            reference=_CLAUSET,
        ),
        Metric(
            name="zero_power",
            description=(
                "Exponent of the inverse gamma law x^(-power) e^(-rate/x) of the lowest eigenvalues."
            ),
            reference=_HODGKINSON,
        ),
        Metric(
            name="zero_rate",
            unit="w²",
            description="Rate of the inverse gamma law x^(-power) e^(-rate/x) of the lowest eigenvalues.",
            reference=_HODGKINSON,
            summarised=False,
        ),
        Metric(
            name="zero_gain",
            unit="nats",
            description=(
                "Log-likelihood of the inverse gamma law minus that of a power law, for "
                "the lowest eigenvalues."
            ),
            reference=_HODGKINSON,
            summarised=False,
        ),
        Metric(
            name="zero_p_value",
            description="p-value: probability of such a gain if the law were a power law.",
            reference=_HODGKINSON,
        ),
    )
    Options = TailsOptions

    def analyze(self, given: LayerInput) -> Mapping[str, MetricValue | float | int | str]:
        """Fit both tails; without a fit, every metric of the tail has the same reason."""
        values = given.spectrum.resolved
        if not given.spectrum.eigenvalues.max() > 0:
            return self.each_metric(ZERO_MATRIX)
        least = self.options.min_tail
        if len(values) < least:
            reason = f"{len(values)} resolved eigenvalues, fewer than the minimum of {least} in a tail"
            return self.each_metric(skipped(reason))
        if float(values[-1] - values[0]) <= 2 * given.spectrum.error_bound:
            return self.each_metric(failed("all eigenvalues are equal within their resolution"))
        upper = self._side(given, values, "upper")
        if given.spectrum.unresolved:
            reason = f"{given.spectrum.unresolved} eigenvalues are not resolved, so the lower tail is unknown"
            return {**upper, **dict.fromkeys(_LOWER + _ZERO, skipped(reason))}
        return {**upper, **self._side(given, values, "lower"), **self._near_zero(values)}

    def _side(self, given: LayerInput, values: torch.Tensor, side: Literal["upper", "lower"]) -> Values:
        from rmtaudit.kernels.powerlaw.fit import NoFit
        from rmtaudit.kernels.tails.bootstrap import bootstrap_tail, calibrated
        from rmtaudit.kernels.tails.tail import fit_tail

        options = self.options
        names = _UPPER if side == "upper" else _LOWER
        tail = fit_tail(values, side, min_tail=options.min_tail, level=options.level, stability=False)
        if isinstance(tail, NoFit):
            return dict.fromkeys(names, failed(tail.reason))
        spread = None
        if options.bootstrap:
            bootstrap = bootstrap_tail(
                values,
                tail,
                replicas=options.bootstrap,
                generator=given.generator(f"tails {side}"),
                confidence=options.confidence,
            )
            if isinstance(bootstrap, NoFit):
                return dict.fromkeys(names, failed(bootstrap.reason))
            tail, spread = calibrated(tail, bootstrap), bootstrap
        fit = tail.power_law
        if side == "upper":
            return {
                "upper_law": _word(tail),
                "upper_alpha": _exponent(tail, spread, 0.0),
                "upper_size": fit.tail_size,
                "cutoff_p_value": tail.comparisons[0].p_value,
            }
        return {
            "lower_law": _word(tail),
            "lower_exponent": _exponent(tail, spread, -1.0),
            "lower_size": fit.tail_size,
        }

    def _near_zero(self, values: torch.Tensor) -> Values:
        from rmtaudit.kernels.powerlaw.fit import NoFit
        from rmtaudit.kernels.tails.near_zero import fit_near_zero

        fit = fit_near_zero(values, fraction=self.options.fraction, min_tail=self.options.min_tail)
        if isinstance(fit, NoFit):
            return dict.fromkeys(_ZERO, skipped(fit.reason))
        return {
            "zero_power": MetricValue(value=fit.power, se=fit.power_se),
            "zero_rate": MetricValue(value=fit.rate, se=fit.rate_se),
            "zero_gain": fit.gain,
            "zero_p_value": fit.p_value,
        }


def _exponent(tail: Tail, spread: TailBootstrap | None, shift: float) -> MetricValue:
    value = tail.power_law.alpha + shift
    if spread is None:
        return MetricValue(value=value, se=tail.power_law.sigma)
    low, high = spread.alpha_ci
    return MetricValue(value=value, se=spread.alpha_se, ci=(low + shift, high + shift))


def _word(tail: Tail) -> str:
    if tail.ties is not None:
        return "tied"
    if not tail.verdict.plausible:
        return "none fits"
    if tail.verdict.winner is not None:
        return tail.verdict.winner
    return f"like {tail.verdict.simplest}" if tail.verdict.simplest is not None else "undecided"
