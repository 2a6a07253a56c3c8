"""The result of a gate: the classes that the document ``rmtaudit.gate`` is written and described by.

A field of a class is a key of the document, in the same order. Renderers take a :class:`GateDocument` and
need nothing else: neither the weights nor the report that was judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from rmtaudit.report.layer import Part, Words
from rmtaudit.report.plain import Count, Number, plain

Level = Literal["layer", "group", "model"]
CheckSeverity = Literal["error", "warning"]
CheckOutcome = Literal["passed", "failed", "inconclusive", "suppressed"]
GateOutcome = Literal["passed", "failed", "inconclusive", "unreadable"]
Share = Annotated[float, Meta(ge=0, le=1)]
Day = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$", description="ISO 8601.")]

EXIT_CODES: Mapping[GateOutcome, int] = MappingProxyType(
    {"passed": 0, "failed": 1, "unreadable": 2, "inconclusive": 3}
)
"""The exit code of each outcome."""

_WORST_FIRST: tuple[GateOutcome, ...] = ("unreadable", "failed", "inconclusive", "passed")


class GateHeader(Part, frozen=True):
    """The schema that the document follows."""

    name: Literal["rmtaudit.gate"]
    version: Literal["1.0"]


GATE_HEADER = GateHeader(name="rmtaudit.gate", version="1.0")


class GateTool(Part, frozen=True):
    """What made the document."""

    version: str


class GatePolicy(Part, frozen=True, kw_only=True):
    """The policy that was applied."""

    name: str
    version: str
    sha256: Annotated[str, Meta(description="Digest of the rules after `extends` was resolved.")]
    sources: Annotated[
        tuple[str, ...], Meta(description="Files and presets that it was read from, the base first.")
    ]


class GateBaseline(Part, frozen=True, kw_only=True):
    """The model that changes are measured against."""

    path: str
    digest: str | None
    format: str


class GateCoverage(Part, frozen=True, kw_only=True):
    """How much of a subject was analysed."""

    fraction: Annotated[Share, Meta(description="Share of the parameters that are in analysed layers.")]
    skipped: Annotated[Count, Meta(description="Number of weight tensors that were not analysed.")]


class GateError(Part, frozen=True, kw_only=True):
    """Why a subject could not be read."""

    code: Annotated[str, Meta(pattern="^RA-")]
    message: str
    hint: str


class GateMetric(Part, frozen=True, kw_only=True):
    """A number that describes a whole subject."""

    value: Number
    low: Annotated[Number | None, Meta(description="Lower end of its interval; null where none is known.")]
    high: Number | None
    unit: Annotated[str, Meta(description="Empty for a pure number.")]


class CheckEvidence(Part, frozen=True, kw_only=True):
    """One number or finding that decided a check."""

    layer: Annotated[str | None, Meta(description="Name as stored; null for the whole model.")]
    metric: str | None = None
    value: Number | str | bool | None = None
    low: Number | None = None
    high: Number | None = None
    baseline: Annotated[Number | str | None, Meta(description="The baseline's value.")] = None
    threshold: Annotated[Number | str | None, Meta(description="What the value is compared with.")] = None
    finding: Annotated[str | None, Meta(description="Code of the finding.")] = None


class Check(Part, frozen=True, kw_only=True):
    """One rule, applied to one target: what a JUnit test case is made of.

    ``rule`` and ``target`` together name it, uniquely in a subject and equally from run to run.
    """

    rule: Annotated[Words, Meta(description="Identifier of the rule in the policy.")]
    title: Annotated[Words, Meta(description="What is checked, as a sentence.")]
    why: Annotated[str, Meta(description="A sentence that justifies the rule.")]
    level: Level
    target: Annotated[
        str, Meta(description="Layer, or the glob, role or kind of a group; empty for the whole model.")
    ]
    severity: Annotated[
        CheckSeverity, Meta(description="A `warning` is for information and never fails the gate.")
    ]
    outcome: CheckOutcome
    message: Annotated[Words, Meta(description="The outcome, as a sentence.")]
    reason: Annotated[
        str,
        Meta(description=("Why it is `inconclusive`, or the reason for its suppression; otherwise empty.")),
    ] = ""
    evidence: Annotated[tuple[CheckEvidence, ...], Meta(description="The worst first.")] = ()
    evidence_left_out: Annotated[
        Count, Meta(description="Number of pieces of evidence beyond those listed.")
    ] = 0
    false_alarm_rate: Annotated[
        Share | None,
        Meta(description=("False alarms of the rule, measured on healthy models; null: not measured.")),
    ] = None


class Suppression(Part, frozen=True, kw_only=True):
    """An exception that the policy grants."""

    rule: str
    layer: Annotated[str | None, Meta(description="Pattern of layers; null: all layers of the rule.")]
    finding: Annotated[str | None, Meta(description="Code; null: all codes of the rule.")]
    reason: Words
    expires: Day
    expired: Annotated[bool, Meta(description="An expired suppression is not applied.")]
    used: Annotated[Count, Meta(description="Number of checks that it changed.")]


class LeftOut(Part, frozen=True, kw_only=True):
    """A rule that its `only_with` left out, because there was no baseline, or only a report of one."""

    rule: str
    title: str
    reason: str


class GateSubject(Part, frozen=True, kw_only=True):
    """What came of one checkpoint."""

    path: Annotated[str, Meta(description="Of the checkpoint, as its report states it.")]
    report: Annotated[
        str | None,
        Meta(description=("The saved report that was judged; null: the model was scanned in this run.")),
    ]
    format: str
    digest: str | None
    parameters: Count
    coverage: GateCoverage | None
    outcome: GateOutcome
    error: Annotated[GateError | None, Meta(description="Null unless `outcome` is `unreadable`.")]
    checks: tuple[Check, ...]
    metrics: Annotated[Mapping[str, GateMetric], Meta(description="A few metrics of the whole model.")]
    left_out: Annotated[
        tuple[LeftOut, ...],
        Meta(description=("Rules that need a baseline and were skipped because there is none.")),
    ] = ()

    def checks_of(self, outcome: CheckOutcome) -> tuple[Check, ...]:
        """Return the checks of an outcome, in order."""
        return tuple(check for check in self.checks if check.outcome == outcome)


class GateDocument(Part, frozen=True, kw_only=True):
    """A policy applied to checkpoints: the verdict, and everything that led to it."""

    schema: GateHeader
    tool: GateTool
    policy: GatePolicy
    baseline: GateBaseline | None
    day: Annotated[
        Day | None,
        Meta(description="The day that expiries were compared with; null where nothing is suppressed."),
    ]
    subjects: tuple[GateSubject, ...]
    outcome: GateOutcome
    exit_code: Annotated[int, Meta(ge=0, le=3)]
    suppressions: Annotated[
        tuple[Suppression, ...], Meta(description="Suppressions, including those that expired.")
    ]

    @property
    def passed(self) -> bool:
        """Whether every subject passed."""
        return self.outcome == "passed"

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


def outcome_of(checks: Iterable[Check]) -> GateOutcome:
    """Return what the checks of a subject make of it. Those of severity `warning` inform, and never count."""
    outcomes = {check.outcome for check in checks if check.severity == "error"}
    if "failed" in outcomes:
        return "failed"
    return "inconclusive" if "inconclusive" in outcomes else "passed"


def worst_outcome(outcomes: Iterable[GateOutcome]) -> GateOutcome:
    """Return the outcome of several subjects: the first of unreadable, failed, inconclusive, passed."""
    return min(outcomes, key=_WORST_FIRST.index, default="passed")


def gate_schema() -> dict[str, Any]:
    """Return the published JSON Schema (2020-12) of a gate's result."""
    (reference,), parts = msgspec.json.schema_components([GateDocument], ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:rmtaudit:gate:1.0",
        "title": "Result of a gate of rmtaudit",
        **reference,
        "$defs": msgspec.json.decode(msgspec.json.encode(parts)),
    }
