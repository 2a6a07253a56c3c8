"""What a policy is applied to: the report of a model, and what is known of it against a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rmtaudit.report.comparison import Comparison, LayerComparison
    from rmtaudit.report.layer import LayerResult
    from rmtaudit.report.model import Report

ClaimWord = Literal["consistent", "inconsistent", "undecided"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimResult:
    """The answer to a claim: a reason for the whole, and the tensors that contradict it or are undecided."""

    answer: ClaimWord
    reason: str = ""
    looked_at: int = 0
    tensors: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One model with everything that rules may ask for.

    Attributes
    ----------
    report
        Of the model.
    baseline
        The report of the baseline; ``None`` where there is none.
    comparison
        Of the weights of both; ``None`` where they are not at hand.
    claims
        The answer to each claim of the policy.
    has_baseline, has_weights
        Whether a baseline was given, and whether the weights of both are at hand.
    """

    report: Report
    baseline: Report | None = None
    comparison: Comparison | None = None
    claims: Mapping[str, ClaimResult] = field(default_factory=dict)
    has_baseline: bool = False
    has_weights: bool = False
    pairs: Mapping[str, LayerComparison] = field(init=False)
    names: Mapping[str, LayerResult] = field(init=False)

    def __post_init__(self) -> None:
        rows = () if self.comparison is None else self.comparison.layers
        object.__setattr__(self, "pairs", {row.candidate: row for row in rows})
        layers = () if self.baseline is None else self.baseline.layers
        object.__setattr__(self, "names", {layer.name: layer for layer in layers})

    def base_layer(self, name: str) -> LayerResult | None:
        """Return the row of the baseline's report for a layer, by its pair or by its name."""
        pair = self.pairs.get(name)
        return self.names.get(name if pair is None else pair.name)
