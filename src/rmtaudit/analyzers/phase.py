"""``phase``: which of the phases of training a layer's spectrum is in, why, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
from rmtaudit.matrices.tensors import smallest_normal

if TYPE_CHECKING:
    from rmtaudit.kernels.phases.classify import PhaseStatistics, PhaseVerdict

UNDECIDED = "undecided"
_MARTIN = "Martin, Mahoney 2021"
_MP = "Marchenko, Pastur 1967"
_CLAUSET = "Clauset, Shalizi, Newman 2009"
_PLAIN = frozenset({"random-like", "bleeding-out", "bulk+spikes"})
"""Phases that rest on a bulk of noise of one variance."""
_NO_BULK = "the lower half of the spectrum is 0, so there is no bulk"
_NO_TAIL = "no tail has two distinct values"


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
            name="phase",
            description=(
                "One of the 5+1 phases, 'none' where none of them describes the spectrum, or 'undecided'."
            ),
            reference=f"{_MARTIN}, section 4",
            summarised=False,
        ),
        Metric(
            name="phase_confidence",
            description=(
                "Confidence in phase_nearest: its stability under sampling error, choice "
                "of scales, and across training runs."
            ),
            reference="parametric bootstrap of the statistics, trained networks; docs/analyzers/phase.md",
        ),
        Metric(
            name="phase_nearest",
            description="The phase that the statistics indicate, regardless of the confidence.",
            reference=f"{_MARTIN}, section 4",
            summarised=False,
        ),
        Metric(
            name="phase_runner_up",
            description="The most frequent other phase among the draws.",
            reference="parametric bootstrap of the statistics; docs/analyzers/phase.md",
            summarised=False,
        ),
        Metric(
            name="phase_null",
            description=(
                "Whether a layer without a plain bulk has structure beyond noise whose "
                "rows, columns or entries differ in variance."
            ),
            reference="random signs: Schott 2005; Landa, Zhang, Kluger 2022",
            summarised=False,
        ),
        Metric(
            name="phase_zero_share",
            description=(
                "Share of eigenvalues that are zero within the stored precision, or "
                "negligible compared with the bulk."
            ),
            reference=f"{_MARTIN}, section 4.6",
        ),
        Metric(
            name="phase_bulk_p_value",
            description=(
                "p-value: probability that a bulk of noise, without spikes, is as far "
                "from the Marchenko-Pastur law."
            ),
            reference=f"{_MP}; simulated table",
            summarised=False,
        ),
        Metric(
            name="phase_spikes",
            unit="count",
            description=(
                "Number of eigenvalues above the bulk; not a count of signals where "
                "phase_bulk_p_value is small."
            ),
            reference="Johnstone 2001",
            summarised=False,
        ),
        Metric(
            name="phase_gap",
            description=(
                "Largest gap below an eigenvalue above the bulk, in units of the upper edge of the bulk."
            ),
            reference=f"{_MARTIN}, section 4.3",
            summarised=False,
        ),
        Metric(
            name="phase_tail_alpha",
            description=(
                "Exponent of the power law of the tail: alpha of the analyzer powerlaw "
                "with its default options."
            ),
            reference=f"{_CLAUSET}, equation 3.1",
            summarised=False,
        ),
        Metric(
            name="phase_tail_share",
            description="Share of eigenvalues in that tail.",
            reference=_CLAUSET,
            summarised=False,
        ),
        Metric(
            name="phase_tail_misfit",
            description=(
                "Distance between the tail and its power law, times the square root of "
                "the size of the tail; below 0.7 for power laws."
            ),
            reference=f"{_CLAUSET}, equation 3.9",
            summarised=False,
        ),
        Metric(
            name="phase_tail_reach_p_value",
            description=(
                "Probability that a sample of that power law reaches no further than the "
                "tail; near 0, the tail is cut off."
            ),
            reference="Fisher, Tippett 1928",
            summarised=False,
        ),
    )
    needs = frozenset({"spectrum", "matrix"})
    Options = PhaseOptions

    def analyze(self, given: LayerInput) -> Mapping[str, MetricValue | Scalar]:
        """Tell the phase of one matrix; small ones and layers that pool several have none."""
        # here and not above: the list of analyzers is printed without loading torch
        from rmtaudit.kernels.phases.classify import phase_confidence, phase_statistics
        from rmtaudit.kernels.spectra.scale import numerical_rank
        from rmtaudit.matrices.layers import LayerKind

        spectrum = given.spectrum
        values = spectrum.eigenvalues
        if spectrum.parts:
            return self.each_metric(pooled(len(spectrum.parts)))
        if given.layer.kind is LayerKind.ADAPTER:
            return self.each_metric(ADAPTER_CORE)
        if not values.max() > 0:
            return self.each_metric(ZERO_MATRIX)
        least = self.options.least_side
        if len(values) < least:
            return self.each_metric(
                skipped(f"{len(values)} eigenvalues, fewer than the {least} of least_side")
            )
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
        judged = self._judged(given, verdict)
        return self._verdict(judged) | _statistics(statistics)

    def _judged(self, given: LayerInput, verdict: PhaseVerdict) -> _Judged:
        """Compare a matrix, where its phase does not rest on a noise bulk, with noise of uneven scale."""
        from rmtaudit.analyzers.equalised import equalised, known_signs
        from rmtaudit.kernels.phases.classify import AGREEMENT, phase_confidence, phase_statistics
        from rmtaudit.kernels.phases.null import Null, null_test

        if verdict.phase in _PLAIN:
            plain = skipped("the bulk is noise of one variance, so no other noise model is needed")
            return _Judged(verdict, verdict.confidence * AGREEMENT[verdict.phase], plain)
        matrix = equalised(given)
        test = null_test(
            given.matrices[0],
            generator=given.generator("phase signs"),
            even=matrix,
            known=known_signs(given),
        )
        if matrix is not None:
            matrix.release()
        null = MetricValue(value=str(test.null))
        if test.null is Null.ORTHOGONAL and verdict.phase != "rank-collapse":
            return _Judged(replace(verdict, phase="none"), AGREEMENT["none"], null)
        if test.eigenvalues is None or min(test.rows, test.cols) < self.options.least_side:
            known = verdict.phase in ("none", "rank-collapse")
            return _Judged(verdict, verdict.confidence * AGREEMENT[verdict.phase] if known else 0.0, null)
        even = phase_confidence(
            test.eigenvalues,
            test.rows,
            test.cols,
            phase_statistics(test.eigenvalues, test.rows, test.cols, rank=len(test.eigenvalues)),
            generator=given.generator("phase"),
            draws=self.options.draws,
        )
        if test.null is Null.NOISE:
            # the signs are random: the open question is whether the evened bulk is that of noise
            share = dict(even.shares).get("random-like", 0.0)
            return _Judged(replace(verdict, phase="random-like"), share * AGREEMENT["random-like"], null)
        share = 1.0 if verdict.phase == "rank-collapse" else dict(even.shares).get(verdict.phase, 0.0)
        shares = verdict.shares if share >= verdict.confidence else (*even.shares, *verdict.shares)
        return _Judged(
            replace(verdict, shares=shares), verdict.confidence * share * AGREEMENT[verdict.phase], null
        )

    def _verdict(self, judged: _Judged) -> dict[str, MetricValue | Scalar]:
        verdict, share = judged.verdict, judged.confidence
        sure = share >= self.options.least_confidence
        others = [phase for phase, _ in verdict.shares if phase != verdict.phase]
        return {
            "phase": verdict.phase if sure else UNDECIDED,
            "phase_confidence": MetricValue(
                value=share, se=math.sqrt(share * (1 - share) / self.options.draws)
            ),
            "phase_nearest": verdict.phase,
            "phase_runner_up": others[0] if others else skipped("every draw gave the same phase"),
            "phase_null": judged.null,
        }


@dataclass(frozen=True, slots=True)
class _Judged:
    """The phase, how sure it is, and the null that the matrix was compared with."""

    verdict: PhaseVerdict
    confidence: float
    null: MetricValue


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
        "phase_tail_alpha": MetricValue(value=tail.alpha, se=tail.sigma),
        "phase_tail_share": statistics.tail_share,
        "phase_tail_misfit": statistics.tail_misfit,
        "phase_tail_reach_p_value": statistics.tail_reach_p_value,
    }
