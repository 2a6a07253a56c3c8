"""A report as a document of strict JSON, and back.

The document is the published one (``schema.json``); every other format is rendered from what it holds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from rmtaudit.report.model import (
    SCHEMA_NAME,
    SCHEMA_VERSION,
    Coverage,
    FailedSubject,
    Finding,
    LayerResult,
    MetricResult,
    Report,
    SummaryValue,
)

Result = Report | FailedSubject


def report_to_dict(report: Report) -> dict[str, Any]:
    """Return the document of a report: plain dicts, lists and scalars, keys in the published order.

    Raises ``ValueError`` for a float that is not finite and ``TypeError`` for a value that JSON has no form
    for, naming its place: both are faults of whoever built the report.
    """
    document = {
        "schema": schema_header(),
        "tool": report.tool,
        "subject": report.subject,
        "metrics": report.metrics,
        "coverage": _coverage(report.coverage),
        "layers": [layer_to_dict(layer) for layer in report.layers],
        "summary": {name: _summary(value) for name, value in report.summary.items()},
        "verdict": report.verdict,
        "findings": [_finding(finding) for finding in report.findings],
        "complete": report.complete,
        "error": report.error,
        "timings": report.timings,
    }
    if report.verification is not None:
        document["verification"] = report.verification
    return {key: _plain(value, key) for key, value in document.items()}


def results_to_dict(results: Sequence[Result]) -> dict[str, Any]:
    """Return the document of one subject, or ``{"schema", "reports": […]}`` of several.

    A subject that could not be scanned has ``{"schema", "subject": {"path"}, "error": {…}}`` in its place.
    """
    documents = [report_to_dict(item) if isinstance(item, Report) else _failed(item) for item in results]
    return documents[0] if len(documents) == 1 else {"schema": schema_header(), "reports": documents}


def dumps(document: Mapping[str, Any]) -> str:
    """Return the document as text: ASCII only, two spaces of indent, one line end at the end.

    ASCII, because a tensor's name may hold what a terminal obeys. Equal documents give equal bytes.
    """
    return json.dumps(document, allow_nan=False, ensure_ascii=True, indent=2) + "\n"


def schema_header() -> dict[str, str]:
    """Return the name and the version of the schema, as every document carries them."""
    return {"name": SCHEMA_NAME, "version": SCHEMA_VERSION}


def layer_to_dict(layer: LayerResult) -> dict[str, Any]:
    """Return one row of ``layers``."""
    return {
        "name": layer.name,
        "tensor": layer.tensor,
        "kind": str(layer.kind),
        "view": layer.view,
        "shape": list(layer.shape),
        "dtype": layer.dtype,
        "matrices": layer.matrices,
        "parameters": layer.parameters,
        "status": layer.status,
        "reason": layer.reason,
        "verdict": layer.verdict,
        "spectrum": _plain(layer.spectrum, f"{layer.name}: spectrum"),
        "metrics": {
            name: _plain(_metric(value), f"{layer.name}: {name}") for name, value in layer.metrics.items()
        },
        "findings": [_finding(finding) for finding in layer.findings],
    }


def report_from_dict(document: object) -> Report:
    """Return the report of a document of one subject; the inverse of :func:`report_to_dict`.

    Raises ``CorruptError``: RA-RP-002 not a report of rmtaudit, RA-RP-003 another version of the schema,
    RA-RP-004 a field that is missing or of the wrong type (named by its path).
    """
    from rmtaudit.report.parsing import parse_report

    return parse_report(document)


def loads(text: str | bytes) -> tuple[Result, ...]:
    """Return the subjects of a document's text, in order.

    Raises ``CorruptError``: RA-RP-001 where the text is no strict JSON, and as :func:`report_from_dict`.
    """
    from rmtaudit.report.parsing import parse_text

    return parse_text(text)


def _metric(value: MetricResult) -> dict[str, Any]:
    return {
        "value": value.value,
        "se": value.se,
        "ci": value.ci,
        "status": value.status,
        "reason": value.reason,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "severity": finding.severity,
        "message": finding.message,
        "evidence": _plain(finding.evidence, f"{finding.code}: evidence"),
    }


def _coverage(coverage: Coverage) -> dict[str, Any]:
    return {
        "tensors": coverage.tensors,
        "parameters": coverage.parameters,
        "weight_parameters": coverage.weight_parameters,
        "parameters_analyzed": coverage.parameters_analyzed,
        "fraction": coverage.fraction,
        "skipped": [
            {"name": item.name, "shape": list(item.shape), "dtype": item.dtype, "reason": item.reason}
            for item in coverage.skipped
        ],
    }


def _summary(value: SummaryValue) -> dict[str, Any]:
    return {
        "value": value.value,
        "median": value.median,
        "n": value.n,
        "n_failed": value.n_failed,
        "n_skipped": value.n_skipped,
    }


def _failed(subject: FailedSubject) -> dict[str, Any]:
    return {
        "schema": schema_header(),
        "subject": {"path": subject.path},
        "error": {"code": subject.code, "message": subject.message, "hint": subject.hint},
    }


def _plain(value: Any, where: str) -> Any:
    """Return ``value`` as JSON takes it; subclasses (``StrEnum``, NumPy's float64) become their base."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where} is {value!r}: a report holds finite numbers only")
        return float(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    raise TypeError(f"{where} is a {type(value).__name__}: a report holds plain values only")
