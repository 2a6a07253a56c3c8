"""The comparison of two checkpoints: the classes that its document is written and described by.

A field of a class is a key of the document ``rmtaudit.comparison``, in the same order.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from rmtaudit.report.frame import data_frame
from rmtaudit.report.layer import MetricResult, Part
from rmtaudit.report.plain import Count, Number, plain

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_NAME = "rmtaudit.comparison"
Share = Annotated[float, Meta(ge=0, le=1)]
Interval = tuple[Number, Number]


class ComparisonHeader(Part, frozen=True):
    """The schema that the document follows."""

    name: Literal["rmtaudit.comparison"]
    version: Literal["1.0"]


COMPARISON_HEADER = ComparisonHeader(name="rmtaudit.comparison", version="1.0")


class ComparisonTool(Part, frozen=True):
    """What made the document."""

    version: str
    options: Mapping[str, Any]
    seed: int


class ComparedSubject(Part, frozen=True):
    """One of the two checkpoints."""

    path: str
    format: str
    tensors: Count
    parameters: Count


class DiagnosisResult(Part, frozen=True):
    """What happened to one tensor: the first explanation that holds, and its numbers."""

    kind: Annotated[str, Meta(description="See docs/diagnoses.md. Later versions may add kinds.")]
    sentence: str
    numbers: Annotated[Mapping[str, Any], Meta(description="They depend on the kind.")]


class ChangeResult(Part, frozen=True):
    """How large the change is, against the base."""

    relative_frobenius: Annotated[
        Number, Meta(description="Norm of the difference divided by the norm of the base.")
    ]
    relative_spectral: Annotated[
        Number | None,
        Meta(
            description=(
                "Largest singular value of the difference divided by that of the base; null for a vector."
            )
        ),
    ]


class DistortionResult(Part, frozen=True):
    """The share of the base's resolvable signal that survives; null with the reason where there is none."""

    value: Share | None
    ci: Interval | None
    directions: Annotated[Count, Meta(description="Number of directions of the base that were followed.")]
    more: Annotated[
        bool, Meta(description=("Whether the base has further directions that stand out from noise."))
    ]
    survived: Annotated[
        Count, Meta(description=("Number of those that are still resolvable in the candidate."))
    ]
    angles: Annotated[Sequence[Number], Meta(description="Principal angles in degrees, largest first.")]
    reason: str


class MetricChange(Part, frozen=True):
    """One metric of the base and of the candidate, and its change with a 95 % interval where there is one."""

    base: MetricResult
    candidate: MetricResult
    change: Number | None
    ci: Interval | None


class LayerComparison(Part, frozen=True, kw_only=True):
    """One pair of tensors."""

    name: Annotated[
        str, Meta(description=("Name in the base; tensor#part where the tensor holds several layers."))
    ]
    candidate: Annotated[str, Meta(description="Name in the candidate.")]
    kind: Annotated[
        str | None, Meta(description=("Kind of the layer; null for a tensor that is not a weight matrix."))
    ]
    shape: tuple[Count, Count]
    parameters: Count
    dtypes: Annotated[tuple[str, str], Meta(description="Stored dtypes, or schemes, of the two.")]
    match: Literal["name", "suffix", "role", "shape", "content"]
    layout: Literal["same", "transposed", "split", "fused"]
    status: Literal["ok", "skipped", "failed"]
    reason: str
    diagnosis: DiagnosisResult | None
    change: ChangeResult | None
    distortion: DistortionResult | None
    metrics: Mapping[str, MetricChange]


class Unmatched(Part, frozen=True):
    """A tensor that nothing corresponds to."""

    name: str
    shape: tuple[Count, Count]
    weight: Annotated[bool, Meta(description="Whether it is a weight matrix.")]


class ComparisonCoverage(Part, frozen=True):
    """How much of the two was compared."""

    pairs: Count
    compared: Count
    parameters_base: Count
    parameters_candidate: Count
    parameters_compared: Count
    fraction: Annotated[Share, Meta(description="Share of the base's parameters.")]
    only_base: Sequence[Unmatched]
    only_candidate: Sequence[Unmatched]


class ComparisonSummary(Part, frozen=True):
    """The whole in one sentence, and what does not fit it."""

    sentence: str
    kinds: Annotated[Mapping[str, Count], Meta(description="Number of pairs with each diagnosis.")]
    exceptions: Annotated[
        Sequence[str], Meta(description="Number of layers that the sentence does not describe.")
    ]
    distortion: Annotated[
        Share | None, Meta(description="Mean over the weight matrices, weighted by parameters.")
    ]
    distortion_ci: Interval | None


class Comparison(Part, frozen=True, kw_only=True):
    """What happened between a base and a candidate.

    ``relation`` and ``claim`` are null where they were not asked for.
    """

    schema: ComparisonHeader
    tool: ComparisonTool
    base: ComparedSubject
    candidate: ComparedSubject
    summary: ComparisonSummary
    coverage: ComparisonCoverage
    relation: Mapping[str, Any] | None
    claim: Mapping[str, Any] | None
    layers: Sequence[LayerComparison]
    notes: Sequence[str]

    def to_dict(self) -> dict[str, Any]:
        """Return the document: plain values, keys in published order.

        Raises
        ------
        ValueError
            If a number is not finite.
        """
        document: dict[str, Any] = plain(self)
        return document

    def to_json(self) -> str:
        """Return the document as strict JSON."""
        from rmtaudit.report.document import dumps

        return dumps(self.to_dict())

    def to_markdown(self) -> str:
        """Return the summary and the layers that changed, as GitHub's Markdown."""
        from rmtaudit.report.comparison_text import markdown

        return markdown(self)

    def to_html(self) -> str:
        """Return one self-contained page: the summary, what changed along the depth, and every pair."""
        from rmtaudit.report.page.comparison import comparison_page

        return comparison_page(self)

    def to_pandas(self) -> pd.DataFrame:
        """Return one row a pair, with the numbers of the change and of every metric.

        Raises
        ------
        UsageError
            RA-US-301: pandas is not installed.
        """
        names = list(dict.fromkeys(name for layer in self.layers for name in layer.metrics))
        columns = [*_COLUMNS, *(f"{name}{part}" for name in names for part in ("_base", "_candidate"))]
        return data_frame([_row(layer, names) for layer in self.layers], columns)

    def __repr__(self) -> str:
        from rmtaudit.report.comparison_text import plain_text

        return plain_text(self)

    def _repr_html_(self) -> str:
        from rmtaudit.report.comparison_text import HEADS, cells, changed

        rows = "".join(
            f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells(layer))}</tr>"
            for layer in changed(self)
        )
        head = "".join(f"<th>{html.escape(each)}</th>" for each in HEADS)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if rows else ""
        return f"<p>{html.escape(self.summary.sentence)}</p>{table}"


_COLUMNS = (
    "name", "candidate", "kind", "rows", "columns", "parameters", "match", "layout", "status", "diagnosis",
    "relative_frobenius", "relative_spectral", "distortion", "distortion_low", "distortion_high", "survived",
    "directions",
)  # fmt: skip


def _row(layer: LayerComparison, names: Sequence[str]) -> list[Any]:
    change, kept = layer.change, layer.distortion
    interval = (None, None) if kept is None or kept.ci is None else kept.ci
    values = [layer.metrics.get(name) for name in names]
    return [
        layer.name,
        layer.candidate,
        layer.kind,
        *layer.shape,
        layer.parameters,
        layer.match,
        layer.layout,
        layer.status,
        None if layer.diagnosis is None else layer.diagnosis.kind,
        None if change is None else change.relative_frobenius,
        None if change is None else change.relative_spectral,
        None if kept is None else kept.value,
        *interval,
        None if kept is None else kept.survived,
        None if kept is None else kept.directions,
        *(
            None if value is None else side
            for value in values
            for side in ((None, None) if value is None else (value.base.value, value.candidate.value))
        ),
    ]


def comparison_schema() -> dict[str, Any]:
    """Return the published JSON Schema (2020-12) of a comparison."""
    (reference,), parts = msgspec.json.schema_components([Comparison], ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:rmtaudit:comparison:1.0",
        "title": "Comparison of two checkpoints by rmtaudit",
        **reference,
        "$defs": msgspec.json.decode(msgspec.json.encode(parts)),
    }
