"""The compact form of a report, for large models: what its table shows, without what that rests on."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, get_args

from msgspec.structs import replace

from rmtaudit.errors import UsageError
from rmtaudit.names import display_name
from rmtaudit.report.model import Detail, LayerResult, Report

_WITH: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"alpha": ("alpha_low", "alpha_high", "alpha_unstable", "alpha_null", "alpha_null_ratio", "vs_noise")}
)
"""Metrics that a table shows together with another."""
_GROUPED = ("codes", "layers")


def with_detail(report: Report, detail: Detail) -> Report:
    """Return the report in a form; a summary stays one. Raises ``UsageError`` (RA-US-304) for others."""
    if detail not in get_args(Detail):
        raise UsageError(
            "RA-US-304", f"The argument detail must be full or summary, not {display_name(repr(detail))}."
        )
    return summarised(report) if detail == "summary" else report


def summarised(report: Report) -> Report:
    """Return the report with the metrics of its table alone, and without spectra and evidence.

    Coverage, findings with their messages and the single numbers of their evidence, integrity and signal of
    every layer are kept, so that the same table, the same lists of findings and the same exit codes come of
    it.
    """
    columns = report.tool["columns"]
    wanted = {report.tool["sort"], *columns}
    wanted |= {  # what stands in for the spectrum of a layer is shown below the table
        name
        for layer in report.layers
        if layer.status == "skipped"
        for name, result in layer.metrics.items()
        if result.value is not None
    }
    wanted |= {other for name in wanted for other in _WITH.get(name, ())}
    return replace(
        report,
        detail="summary",
        metrics={name: entry for name, entry in report.metrics.items() if name in wanted},
        layers=tuple(_layer(layer, wanted) for layer in report.layers),
        summary={name: value for name, value in report.summary.items() if name in wanted},
        findings=tuple(replace(each, evidence={}) for each in report.findings),
        causes=tuple(
            replace(each, evidence={key: each.evidence[key] for key in _GROUPED if key in each.evidence})
            for each in report.causes
        ),
    )


def _layer(layer: LayerResult, wanted: set[str]) -> LayerResult:
    metrics: dict[str, Any] = {name: value for name, value in layer.metrics.items() if name in wanted}
    findings = tuple(replace(each, evidence=_scalars(each.evidence)) for each in layer.findings)
    return replace(layer, metrics=metrics, spectrum={}, findings=findings)


def _scalars(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a row of a table says of a finding: numbers and words, no lists of places."""
    return {key: value for key, value in evidence.items() if isinstance(value, str | int | float)}
