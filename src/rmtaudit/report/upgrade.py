"""From a report of schema 1.0 to the present one.

Version 1.1 added values beside sentences: ``skip`` beside ``reason``, ``judgement`` beside ``verdict``. A
document of 1.0 has the sentences alone, so they are parsed here, once, and nowhere else.
"""

from __future__ import annotations

from msgspec.structs import replace

from rmtaudit.matrices.skips import reason_of
from rmtaudit.report.model import HEADER, LayerResult, Report, SkippedTensor
from rmtaudit.report.verdict import verdict_of


def upgraded(report: Report) -> Report:
    """Return the report with all keys of the present schema filled in."""
    if report.schema == HEADER:
        return report
    coverage = replace(report.coverage, skipped=tuple(map(_skipped, report.coverage.skipped)))
    return replace(
        report,
        schema=HEADER,
        coverage=coverage,
        layers=tuple(map(_layer, report.layers)),
        judgement=verdict_of(report.verdict),
    )


def _layer(layer: LayerResult) -> LayerResult:
    skip = None if layer.status == "ok" else reason_of(layer.reason)
    return replace(layer, skip=skip, judgement=verdict_of(layer.verdict))


def _skipped(tensor: SkippedTensor) -> SkippedTensor:
    return replace(tensor, skip=reason_of(tensor.reason))
