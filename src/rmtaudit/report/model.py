"""The report of a scan: the one set of classes that its document is read, written and described by.

A field of a class is a key of the document, in the same order. Its type is what the reader accepts and what
the published JSON Schema says (:mod:`rmtaudit.report.schema`). Every key is always written but
``verification``, which only some reports have; the other defaults are for reports of earlier versions, which
lack the key (:mod:`rmtaudit.report.upgrade`). The parts that later versions may extend are typed
dictionaries, and keep the keys that this version does not know; all other parts are closed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta, Struct

from rmtaudit.finding_kind import Severity
from rmtaudit.matrices.skips import SkipReason
from rmtaudit.report.frame import data_frame
from rmtaudit.report.plain import Count, Number, plain
from rmtaudit.report.provenance import Subject, Tool
from rmtaudit.report.second_opinion import Verification
from rmtaudit.report.verdict import UNJUDGED, UNREAD, Verdict

if TYPE_CHECKING:
    import pandas as pd

Status = Literal["ok", "skipped", "failed"]
Better = Literal["higher", "lower"]
Detail = Literal["full", "summary"]
NonNegative = Annotated[int, Meta(ge=0)] | Annotated[float, Meta(ge=0)]
Words = Annotated[str, Meta(min_length=1)]
SkipName = Annotated[
    str | None,
    Meta(description="Name of the reason; null where nothing was skipped. Later versions may add names."),
]
IntegrityVerdict = Annotated[
    Verdict,
    Meta(description="About damage: `ok`, `warning`, `damaged`, or `unjudged` where nothing was read."),
]
SignalVerdict = Annotated[
    Verdict, Meta(description="About learning: `structured`, `noise-like`, `initial`, `constant` ….")
]
JointText = Annotated[
    str, Meta(description="Deprecated: `integrity` where that is `damaged`, else `signal`, as a text.")
]
Judgement = Annotated[Verdict, Meta(description="Deprecated: the value that `verdict` is the text of.")]

IDENTITY = (
    "name", "tensor", "kind", "view", "shape", "dtype", "matrices", "parameters", "status", "reason",
    "integrity", "signal", "verdict", "findings",
)  # fmt: skip
"""The columns that a layer has in a table before those of its metrics."""

_VALUE_OR_REASON = Meta(
    extra_json_schema={
        "if": {"properties": {"status": {"const": "ok"}}},
        "then": {"properties": {"value": {"not": {"type": "null"}}, "reason": {"const": ""}}},
        "else": {"properties": {"value": {"type": "null"}, "reason": {"minLength": 1}}},
    }
)
"""What :class:`MetricResult` checks, in the words of JSON Schema."""


class Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the document that has these keys and no others."""


class SchemaHeader(Part, frozen=True):
    """The schema that the document follows."""

    name: Literal["rmtaudit.report"]
    version: Literal["1.0", "1.1"]


HEADER = SchemaHeader(name="rmtaudit.report", version="1.1")
"""What is written. 1.1 adds keys to 1.0; a report of 1.0 is read as one of 1.1 that lacks them."""


class MetricResult(Part, frozen=True):
    """A value with its uncertainty; or null with the status and the reason. All numbers are finite."""

    value: int | float | str | bool | None
    se: Number | None
    ci: tuple[Number, Number] | None
    status: Status
    reason: str

    def __post_init__(self) -> None:
        if (self.value is None) == (self.status == "ok") or bool(self.reason) == (self.status == "ok"):
            raise ValueError(
                "Expected a value and no reason where the status is `ok`, else null and a reason"
            )


class Finding(Part, frozen=True):
    """One thing that was found: what, how severe, and the evidence."""

    code: str
    severity: Severity
    message: str
    evidence: Mapping[str, Any]


class LayerFinding(Part, frozen=True, kw_only=True):
    """A finding of a layer, as the report lists them all."""

    code: str
    severity: Severity
    layer: Annotated[str | None, Meta(description="Name of the layer.")] = None
    message: str
    evidence: Mapping[str, Any]


class StoredEncoding(Part, frozen=True):
    """How a quantised weight lies in the file."""

    scheme: Words
    dtype: Annotated[Words, Meta(description="Of the codes.")]
    block: Annotated[
        tuple[Count, Count] | None,
        Meta(description="Rows and columns that share a scale; null where one serves the whole tensor."),
    ]
    bits: Annotated[NonNegative, Meta(description="Bits a weight, scales and zero points included.")]


class LayerResult(Part, frozen=True, kw_only=True):
    """One row: a layer that was analysed, or a weight tensor that was not and why."""

    name: Annotated[str, Meta(description="Of the tensor; tensor#part where it holds several layers.")]
    tensor: str
    kind: str
    view: Annotated[str, Meta(description="Which matrix was made of the tensor.")]
    shape: Annotated[
        tuple[Count, ...],
        Meta(description="Rows and columns of each matrix; sizes as stored where there is none."),
    ]
    dtype: str
    matrices: Count
    parameters: Count
    bytes: Annotated[
        Count | None, Meta(description="About what these take in the file, in bytes; null where unknown.")
    ] = None
    status: Status
    reason: str
    skip: SkipName = None
    integrity: IntegrityVerdict = UNREAD
    signal: SignalVerdict = UNJUDGED
    verdict: JointText
    judgement: Judgement = UNJUDGED
    spectrum: Annotated[
        Mapping[str, Any],
        Meta(description="How the spectrum was computed. Later versions may add keys."),
    ]
    metrics: Mapping[str, Annotated[MetricResult, _VALUE_OR_REASON]]
    findings: tuple[Finding, ...]
    encoding: Annotated[
        StoredEncoding | None,
        Meta(description="How a quantised weight is stored; its numbers are of the weight it stands for."),
    ] = None

    @property
    def examined(self) -> bool:
        """Whether the values were looked at, whatever came of it."""
        return self.status == "ok" or self.skip in (SkipReason.CONSTANT, SkipReason.NONFINITE)

    def value(self, metric: str) -> float | int | str | bool | None:
        """Return the value of a metric; ``None`` where the layer has none."""
        return self.metrics[metric].value if metric in self.metrics else None

    def number(self, metric: str) -> float | None:
        """Return the value of a metric as a number; ``None`` where the layer has none."""
        value = self.value(metric)
        return None if value is None or isinstance(value, str) else float(value)

    def identity(self) -> list[Any]:
        """Return the values of :data:`IDENTITY`: a shape as ``384x1536``, findings as their codes."""
        codes = " ".join(finding.code for finding in self.findings)
        shape = "x".join(str(size) for size in self.shape)
        return [
            self.name, self.tensor, self.kind, self.view, shape, self.dtype, self.matrices, self.parameters,
            self.status, self.reason, self.integrity.text, self.signal.text, self.verdict, codes,
        ]  # fmt: skip


class SkippedTensor(Part, frozen=True, kw_only=True):
    """A tensor that no row of ``layers`` analyses."""

    name: str
    shape: tuple[Count, ...]
    dtype: str
    reason: Words
    skip: SkipName = None


class Coverage(Part, frozen=True):
    """What was analysed, and what was not."""

    tensors: Count
    parameters: Annotated[Count, Meta(description="Elements of all tensors, tied ones once.")]
    weight_parameters: Annotated[Count, Meta(description="Those in weight matrices, analysed or not.")]
    parameters_analyzed: Annotated[Count, Meta(description="Those in layers with status ok.")]
    fraction: Annotated[
        NonNegative, Meta(description="parameters_analyzed / parameters; 0 for an empty checkpoint.")
    ]
    skipped: tuple[SkippedTensor, ...]


class SummaryValue(Part, frozen=True):
    """A metric over the layers that have it."""

    value: Annotated[Number | None, Meta(description="Mean over the layers that have the metric.")]
    median: Number | None
    n: Count
    n_failed: Count
    n_skipped: Count


class MetricEntry(Part, frozen=True):
    """What is known of a metric."""

    analyzer: str
    unit: str
    better: Better | None
    description: str
    reference: str


class StoppedBy(Part, frozen=True):
    """The error that stopped a scan."""

    code: str
    message: str
    hint: str
    where: str


class Report(Part, frozen=True, kw_only=True):
    """The scan of one subject."""

    schema: SchemaHeader
    detail: Annotated[
        Detail, Meta(description="`summary`: the metrics of the table alone, no spectra and no evidence.")
    ] = "full"
    tool: Tool
    subject: Subject
    metrics: Annotated[
        Mapping[str, MetricEntry], Meta(description="The metrics of this scan, in column order.")
    ]
    coverage: Coverage
    layers: tuple[LayerResult, ...]
    summary: Mapping[str, SummaryValue]
    integrity: IntegrityVerdict = UNREAD
    signal: SignalVerdict = UNJUDGED
    verdict: JointText
    judgement: Judgement = UNJUDGED
    findings: Annotated[
        tuple[LayerFinding, ...],
        Meta(description="Those of all layers: errors first, then warnings, each in stored order."),
    ]
    causes: Annotated[
        tuple[Finding, ...],
        Meta(description="The same, one entry a cause: `evidence` has the `codes` and the `layers`."),
    ] = ()
    complete: Annotated[bool, Meta(description="False for a scan that was stopped.")]
    error: Annotated[StoppedBy | None, Meta(description="What stopped it, if that was an error.")]
    timings: Annotated[
        Mapping[str, NonNegative],
        Meta(description="Seconds, and the number of threads. The only part that differs between two runs."),
    ]
    verification: Verification | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the document: plain dicts, lists and scalars, keys in the published order.

        Raises ``ValueError`` for a float that is not finite and ``TypeError`` for a value that JSON has no
        form for, naming its place: both are faults of whoever built the report.
        """
        document: dict[str, Any] = plain(self)
        if self.verification is None:
            del document["verification"]
        return document

    def to_pandas(self) -> pd.DataFrame:
        """Return one row a layer, in the report's order: identity columns, then one column a metric.

        A metric without a value is ``None`` (``NaN`` in a column of numbers); names are as they are stored.
        Raises ``UsageError`` (RA-US-301) where pandas is not installed.
        """
        names = metric_names([self])
        rows = [[*layer.identity(), *map(layer.value, names)] for layer in self.layers]
        return data_frame(rows, [*IDENTITY, *names])


class FailedPath(Part, frozen=True):
    """The path of a subject that could not be scanned."""

    path: str


class FailedBy(Part, frozen=True):
    """Why a subject could not be scanned."""

    code: Annotated[str, Meta(pattern="^RA-")]
    message: str
    hint: str


class FailedSubject(Part, frozen=True):
    """A subject that could not be scanned, in its place among several."""

    schema: SchemaHeader
    subject: FailedPath
    error: FailedBy

    def to_dict(self) -> dict[str, Any]:
        """Return the document."""
        document: dict[str, Any] = plain(self)
        return document


Result = Report | FailedSubject
"""What came of one subject."""


def failed_subject(path: str, code: str, message: str, hint: str) -> FailedSubject:
    """Return the entry of a subject that could not be scanned."""
    return FailedSubject(
        schema=HEADER,
        subject=FailedPath(path=path),
        error=FailedBy(code=code, message=message, hint=hint),
    )


def metric_names(reports: Sequence[Report]) -> list[str]:
    """Return the metrics of the reports, each once, in the order of the catalogue, then of appearance."""
    names: dict[str, None] = {}
    for report in reports:
        names |= dict.fromkeys(report.metrics)
        for layer in report.layers:
            names |= dict.fromkeys(layer.metrics)
    return list(names)
