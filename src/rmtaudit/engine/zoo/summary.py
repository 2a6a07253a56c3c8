"""What a zoo says of a model: the summary of its report, and the entry of the document."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from rmtaudit.engine.zoo.subjects import ZooSubject
from rmtaudit.report.model import Report
from rmtaudit.report.plain import plain
from rmtaudit.report.zoo import ModelError, ModelMetric, ZooModel

_TWO_SIDED = 1.959963984540054
"""Quantile of the normal law for an interval of 95 %."""


def summary_of(report: Report) -> dict[str, Any]:
    """Return the summary of a report: plain values, which the index of the store keeps."""
    analysed = [layer for layer in report.layers if layer.status == "ok"]
    findings = Counter(each.code for each in report.findings if each.severity != "info")
    summary: dict[str, Any] = plain(
        {
            "preset": report.tool["preset"],
            "status": "ok" if analysed else "inconclusive",
            "digest": report.subject["digest"],
            "format": report.subject["format"],
            "parameters": report.subject["parameters"],
            "bytes": report.subject.get("bytes"),
            "dtypes": report.subject["dtypes"],
            "layers": len(analysed),
            "coverage": report.coverage.fraction,
            "integrity": report.integrity,
            "signal": report.signal,
            "findings": dict(sorted(findings.items())),
            "metrics": {name: _metric(report, name) for name in report.summary},
        }
    )
    return summary


def _metric(report: Report, name: str) -> ModelMetric:
    known = report.summary[name]
    results = [
        layer.metrics[name] for layer in report.layers if layer.status == "ok" and name in layer.metrics
    ]
    errors = [result.se for result in results if result.status == "ok"]
    se: float | None = None
    if errors and known.value is not None and all(error is not None for error in errors):
        se = math.sqrt(math.fsum(float(error) ** 2 for error in errors if error is not None)) / len(errors)
    ci = None
    if se is not None and known.value is not None:
        ci = (known.value - _TWO_SIDED * se, known.value + _TWO_SIDED * se)
    return ModelMetric(
        value=known.value,
        median=known.median,
        se=se,
        ci=ci,
        n=known.n,
        n_failed=known.n_failed,
        n_skipped=known.n_skipped,
    )


def audited(subject: ZooSubject, summary: Mapping[str, Any], record: str) -> ZooModel:
    """Return the entry of a model that was audited."""
    known = {key: value for key, value in summary.items() if key != "preset"}
    entry = {"name": subject.name, "path": subject.path, "family": subject.family, "error": None, **known}
    return msgspec.convert({**entry, "record": record, "quality": plain(dict(subject.quality))}, ZooModel)


def not_audited(subject: ZooSubject, error: ModelError) -> ZooModel:
    """Return the entry of a model that could not be audited."""
    return ZooModel(
        name=subject.name,
        path=subject.path,
        family=subject.family,
        status="failed",
        error=error,
        record=None,
        digest=None,
        format=None,
        parameters=None,
        bytes=None,
        dtypes={},
        layers=None,
        coverage=None,
        integrity=None,
        signal=None,
        findings={},
        metrics={},
        quality=subject.quality,
    )
