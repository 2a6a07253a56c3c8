"""An analyzer for rmtaudit: how much of a layer's energy lies in its top eigenvalues."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rmtaudit.plugins import (
    Analysis,
    Analyzer,
    FindingKind,
    LayerInput,
    Metric,
    MetricValue,
    Observation,
    Scalar,
    skipped,
)

DOMINATED = FindingKind(
    code="TS-001",
    title="few directions hold the energy",
    fact="warning",
    meaning="Almost all of the layer's energy lies in a few directions; the others hardly count.",
    test="The share of the top eigenvalues of the Gram matrix is above the option `most`.",
    limits="Says nothing of why. Embeddings of small vocabularies look like this by design.",
    action="Compare with the layer of the same name in a model that is known to be good.",
)
"""Without a `calibration`, rmtaudit never makes more of it than a warning."""


@dataclass(frozen=True, slots=True)
class Options:
    """How many eigenvalues count as top ones, and the share above which that is a finding."""

    top: int = 5
    most: float = 0.9

    def __post_init__(self) -> None:
        if self.top < 1 or not 0 < self.most <= 1:
            raise ValueError(f"top is at least 1, and most a share, not {self.top} and {self.most}")


class TopShare(Analyzer):
    """The share of the largest eigenvalues in the sum of all."""

    name = "top_share"
    metrics = (
        Metric(
            name="top_share",
            unit="",
            better=None,
            description="Share of the top eigenvalues in the sum of all.",
            reference="Elementary.",
        ),
    )
    findings = (DOMINATED,)
    Options = Options

    def analyze(self, given: LayerInput) -> Mapping[str, MetricValue | Scalar] | Analysis:
        """Return the share, and the finding where it is above the limit."""
        eigenvalues, top = given.spectrum.eigenvalues, self.options.top
        total = float(eigenvalues.sum())
        if not total:
            return {"top_share": skipped("the matrix is zero")}
        share = float(eigenvalues[-top:].sum()) / total
        seen: tuple[Observation, ...] = ()
        if share > self.options.most and len(eigenvalues) > 2 * top:
            message = f"The top {top} of {len(eigenvalues)} eigenvalues hold {share:.1%} of the energy."
            evidence = {"top": top, "share": share}
            seen = (Observation(code=DOMINATED.code, message=message, evidence=evidence),)
        return Analysis({"top_share": share}, seen)
