"""``phase``: which of the phases of training a layer's spectrum is in, why, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmtaudit.analyzers.base import (
    Analyzer,
    LayerInput,
    Metric,
    MetricValue,
    Scalar,
    Status,
    failed,
    skipped,
)
from rmtaudit.matrices.tensors import smallest_normal

if TYPE_CHECKING:
    from rmtaudit.kernels.phases import PhaseStatistics, PhaseVerdict

UNDECIDED = "undecided"
_MARTIN = "Martin, Mahoney 2021"
_MP = "Marchenko, Pastur 1967"
_CLAUSET = "Clauset, Shalizi, Newman 2009"
_NO_BULK = "the lower half of the spectrum is 0: there is no bulk"
_NO_TAIL = "no tail has two different values"


@dataclass(frozen=True, slots=True)
class PhaseOptions:
    """Options of :class:`PhaseOfTraining`.

    Attributes
    ----------
    draws
        Draws behind the confidence, at least 1.
    least_confidence
        The phase is ``undecided`` below it.
    least_side
        Layers with a smaller side below it are skipped, at least 32. Below 128 more than a quarter of the
        matrices of known phase come out wrong or undecided.
    """

    draws: int = 400
    least_confidence: float = 0.6
    least_side: int = 128

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ValueError(f"draws must be at least 1, not {self.draws}")
        if not 0 <= self.least_confidence <= 1:
            raise ValueError(f"least_confidence must lie between 0 and 1, not {self.least_confidence}")
        if self.least_side < 32:
            raise ValueError(f"least_side must be at least 32, not {self.least_side}")


class PhaseOfTraining(Analyzer):
    """The phase, its confidence, the next likely one, and the statistics behind the choice."""

    name = "phase"
    metrics = (
        Metric(
            "phase",
            "",
            None,
            "One of the 5+1 phases; none, where none describes the spectrum; or undecided.",
            f"{_MARTIN}, section 4",
            summarised=False,
        ),
        Metric(
            "phase_confidence",
            "",
            None,
            "Share of draws, each statistic moved by its sampling error, that give phase_nearest.",
            "parametric bootstrap of the statistics; docs/analyzers/phase.md",
        ),
        Metric(
            "phase_nearest",
            "",
            None,
            "The phase by the statistics as they are, whatever the confidence.",
            f"{_MARTIN}, section 4",
            summarised=False,
        ),
        Metric(
            "phase_runner_up",
            "",
            None,
            "The most frequent other phase among the draws.",
            "parametric bootstrap of the statistics; docs/analyzers/phase.md",
            summarised=False,
        ),
        Metric(
            "phase_zero_share",
            "",
            None,
            "Share of eigenvalues that are zero to the stored precision, or next to zero beside the bulk.",
            f"{_MARTIN}, section 4.6",
        ),
        Metric(
            "phase_bulk_p_value",
            "",
            None,
            "Chance that the bulk of noise is as far from the Marchenko-Pastur law, spikes taken off.",
            f"{_MP}; simulated table",
            summarised=False,
        ),
        Metric(
            "phase_spikes",
            "count",
            None,
            "Eigenvalues above the bulk; no count of signals where phase_bulk_p_value is small.",
            "Johnstone 2001",
            summarised=False,
        ),
        Metric(
            "phase_gap",
            "",
            None,
            "Largest step up to an eigenvalue above the bulk, in upper edges of the bulk.",
            f"{_MARTIN}, section 4.3",
            summarised=False,
        ),
        Metric(
            "phase_tail_alpha",
            "",
            None,
            "Exponent of the power law of the tail, as alpha of powerlaw at its defaults.",
            f"{_CLAUSET}, equation 3.1",
            summarised=False,
        ),
        Metric(
            "phase_tail_share",
            "",
            None,
            "Share of eigenvalues in that tail.",
            _CLAUSET,
            summarised=False,
        ),
        Metric(
            "phase_tail_misfit",
            "",
            None,
            "Distance of the tail to its power law times the root of its size; under 0.7 for power laws.",
            f"{_CLAUSET}, equation 3.9",
            summarised=False,
        ),
        Metric(
            "phase_tail_reach_p_value",
            "",
            None,
            "Chance that a sample of that power law reaches no further; near 0 the tail is cut off.",
            "Fisher, Tippett 1928",
            summarised=False,
        ),
    )
    Options = PhaseOptions

    def analyze(self, given: LayerInput) -> Mapping[str, MetricValue | Scalar]:
        """Tell the phase of one matrix; small ones and layers that pool several have none."""
        # here and not above: the list of analyzers is printed without loading torch
        from rmtaudit.kernels.phases import phase_confidence, phase_statistics
        from rmtaudit.kernels.scale import numerical_rank

        spectrum = given.spectrum
        values = spectrum.eigenvalues
        if spectrum.parts:
            return self._none("skipped", f"the row pools {len(spectrum.parts)} matrices; scan them apart")
        if not values.max() > 0:
            return self._none("failed", "the matrix is zero")
        least = self.options.least_side
        if len(values) < least:
            return self._none("skipped", f"{len(values)} eigenvalues, fewer than the {least} of least_side")
        rank = numerical_rank(
            spectrum, epsilon=given.epsilon, smallest_normal=smallest_normal(given.layer.dtype)
        )
        statistics = phase_statistics(values, spectrum.rows, spectrum.cols, rank=rank)
        verdict = phase_confidence(
            values,
            spectrum.rows,
            spectrum.cols,
            statistics,
            generator=given.generator("phase"),
            draws=self.options.draws,
        )
        return self._verdict(verdict) | _statistics(statistics)

    def _verdict(self, verdict: PhaseVerdict) -> dict[str, MetricValue | Scalar]:
        sure = verdict.confidence >= self.options.least_confidence
        share = verdict.confidence
        others = [phase for phase, _ in verdict.shares if phase != verdict.phase]
        return {
            "phase": verdict.phase if sure else UNDECIDED,
            "phase_confidence": MetricValue(share, se=math.sqrt(share * (1 - share) / self.options.draws)),
            "phase_nearest": verdict.phase,
            "phase_runner_up": others[0] if others else skipped("every draw gave the same phase"),
        }

    def _none(self, status: Status, reason: str) -> dict[str, MetricValue | Scalar]:
        value = failed(reason) if status == "failed" else skipped(reason)
        return {metric.name: value for metric in self.metrics}


def _statistics(statistics: PhaseStatistics) -> dict[str, MetricValue | Scalar]:
    values: dict[str, MetricValue | Scalar] = {"phase_zero_share": statistics.zero_share}
    if statistics.bulk is None:
        values |= dict.fromkeys(("phase_bulk_p_value", "phase_spikes", "phase_gap"), failed(_NO_BULK))
    else:
        values |= {
            "phase_bulk_p_value": statistics.bulk_p_value,
            "phase_spikes": statistics.spikes,
            "phase_gap": statistics.gap,
        }
    tail = statistics.tail
    if tail is None:
        names = ("alpha", "share", "misfit", "reach_p_value")
        return values | {f"phase_tail_{name}": failed(_NO_TAIL) for name in names}
    return values | {
        "phase_tail_alpha": MetricValue(tail.alpha, se=tail.sigma),
        "phase_tail_share": statistics.tail_share,
        "phase_tail_misfit": statistics.tail_misfit,
        "phase_tail_reach_p_value": statistics.tail_reach_p_value,
    }
