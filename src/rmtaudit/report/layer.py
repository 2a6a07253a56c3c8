"""The parts of a report on one layer: its row, its metrics and its findings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from rmtaudit.finding_kind import Severity
from rmtaudit.matrices.skips import SkipReason
from rmtaudit.report.plain import Count, Number
from rmtaudit.report.verdict import UNJUDGED, UNREAD, Verdict

Status = Literal["ok", "skipped", "failed"]
NonNegative = Annotated[int, Meta(ge=0)] | Annotated[float, Meta(ge=0)]
Words = Annotated[str, Meta(min_length=1)]
SkipName = Annotated[
    str | None,
    Meta(description="Name of the reason; null where nothing was skipped. Later versions may add names."),
]
IntegrityVerdict = Annotated[
    Verdict,
    Meta(
        description=("Verdict on damage: `ok`, `warning`, `damaged`, or `unjudged` where nothing was read.")
    ),
]
SignalVerdict = Annotated[
    Verdict, Meta(description=("Verdict on learning: `structured`, `noise-like`, `initial`, `constant` …."))
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
    dtype: Annotated[Words, Meta(description="Data type of the codes.")]
    block: Annotated[
        tuple[Count, Count] | None,
        Meta(
            description=(
                "Rows and columns that share a scale; null where one scale applies to the whole tensor."
            )
        ),
    ]
    bits: Annotated[NonNegative, Meta(description="Bits per weight, including scales and zero points.")]


class LayerResult(Part, frozen=True, kw_only=True):
    """One row: a layer that was analysed, or a weight tensor that was not and why."""

    name: Annotated[str, Meta(description=("Name of the tensor; tensor#part where it holds several layers."))]
    tensor: str
    kind: str
    view: Annotated[str, Meta(description="How the tensor was turned into a matrix.")]
    shape: Annotated[
        tuple[Count, ...],
        Meta(description="Rows and columns of each matrix; sizes as stored where there is none."),
    ]
    dtype: str
    matrices: Count
    parameters: Count
    bytes: Annotated[
        Count | None, Meta(description="Approximate size in the file, in bytes; null where unknown.")
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
        Meta(
            description=(
                "How a quantised weight is stored; the numbers of the layer are those of the decoded weight."
            )
        ),
    ] = None

    def __repr__(self) -> str:
        from rmtaudit.report.glance import layer_text

        return layer_text(self)

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
