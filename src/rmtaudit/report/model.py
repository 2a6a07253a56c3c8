"""The result of a scan: one object, everything else is rendered from it.

``to_dict`` gives the document of the published schema ``rmtaudit.report`` 1.0 (``report/schema.json``):
strict JSON, fixed key order, equal bytes for equal input, options and device kind outside ``timings``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_NAME = "rmtaudit.report"
SCHEMA_VERSION = "1.0"


@dataclass(frozen=True, slots=True)
class MetricResult:
    """One metric of one layer, as in the report: finite, or ``None`` with a status and a reason."""

    value: float | int | str | bool | None
    se: float | None = None
    ci: tuple[float, float] | None = None
    status: str = "ok"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found: what, how bad, and the evidence."""

    code: str
    severity: str
    message: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LayerResult:
    """One row: a layer that was analysed, or a weight tensor that was not and why."""

    name: str
    tensor: str
    kind: str
    view: str
    shape: tuple[int, ...]
    dtype: str
    matrices: int
    parameters: int
    status: str
    reason: str = ""
    verdict: str = "unjudged"
    spectrum: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, MetricResult] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class SkippedTensor:
    """A tensor that no row of ``layers`` analyses."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    reason: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """What was looked at, and what was not."""

    tensors: int
    parameters: int
    weight_parameters: int
    parameters_analyzed: int
    skipped: tuple[SkippedTensor, ...]

    @property
    def fraction(self) -> float:
        """Share of all parameters that a row with status ``ok`` saw; 0 for an empty checkpoint."""
        return self.parameters_analyzed / self.parameters if self.parameters else 0.0


@dataclass(frozen=True, slots=True)
class SummaryValue:
    """Mean of a metric over the layers that have it."""

    value: float | None
    median: float | None
    n: int
    n_failed: int
    n_skipped: int


@dataclass(frozen=True, slots=True)
class Report:
    """The result of one scan of one subject."""

    tool: Mapping[str, Any]
    """``version, preset, analyzers, options, conv, solver, device, seed, sort, columns``."""
    subject: Mapping[str, Any]
    """``path, format, digest, parameters, dtypes, warnings``."""
    coverage: Coverage
    layers: tuple[LayerResult, ...]
    summary: Mapping[str, SummaryValue]
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What is known of each metric: ``{name: {analyzer, unit, better, description, reference}}``."""
    verdict: str = "unjudged"
    findings: tuple[Finding, ...] = ()
    """Those of the layers, grouped by cause: ``evidence`` has the ``codes`` and the ``layers`` of each."""
    complete: bool = True
    """False for a scan that was stopped: ``coverage.skipped`` lists what was not reached."""
    error: Mapping[str, str] | None = None
    """What stopped it, if that was an error: ``code, message, hint, where``."""
    timings: Mapping[str, float] = field(default_factory=dict)
    verification: Mapping[str, Any] | None = None
    """A second opinion on a few layers, where it was asked for: ``outcome, seed, largest, checks …``."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document of schema ``rmtaudit.report`` 1.0."""
        from rmtaudit.report.document import report_to_dict

        return report_to_dict(self)

    def to_pandas(self) -> pd.DataFrame:
        """Return one row a layer: identity columns, then one column a metric (its value)."""
        from rmtaudit.report.frame import report_to_pandas

        return report_to_pandas(self)


@dataclass(frozen=True, slots=True)
class FailedSubject:
    """A subject that could not be scanned, in the place of its report among several."""

    path: str
    code: str
    message: str
    hint: str = ""
