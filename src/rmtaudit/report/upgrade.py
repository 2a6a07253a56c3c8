"""The values that a report of schema 1.0 lacks.

Version 1.1 added values to sentences: ``skip`` to ``reason``, ``judgement`` to ``verdict``. A document
without them has the sentences alone, so they are parsed here, once, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from rmtaudit.matrices.skips import reason_of
from rmtaudit.report.model import LayerResult, Report, SkippedTensor
from rmtaudit.report.verdict import verdict_of


def upgraded(report: Report, document: Mapping[str, Any]) -> Report:
    """Return the report with the values that its document lacks."""
    if "judgement" not in document:
        report = replace(report, judgement=verdict_of(report.verdict))
    pairs = zip(report.layers, document["layers"], strict=True)
    entries = zip(report.coverage.skipped, document["coverage"]["skipped"], strict=True)
    skipped = tuple(_skipped(tensor, entry) for tensor, entry in entries)
    return replace(
        report,
        layers=tuple(_layer(layer, row) for layer, row in pairs),
        coverage=replace(report.coverage, skipped=skipped),
    )


def _layer(layer: LayerResult, row: Mapping[str, Any]) -> LayerResult:
    if "judgement" not in row:
        layer = replace(layer, judgement=verdict_of(layer.verdict))
    if "skip" not in row and layer.status != "ok":
        layer = replace(layer, skip=reason_of(layer.reason))
    return layer


def _skipped(tensor: SkippedTensor, entry: Mapping[str, Any]) -> SkippedTensor:
    return tensor if "skip" in entry else replace(tensor, skip=reason_of(tensor.reason))
