"""The values that a report of an earlier version lacks.

Version 1.1 added values to sentences: ``skip`` to ``reason``, ``judgement`` to ``verdict``. A document
without them has the sentences alone, so they are parsed here, once, and nowhere else. ``integrity`` and
``signal`` are made of the joint verdict and the findings. ``findings`` used to be what ``causes`` is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from rmtaudit.matrices.skips import label_of, reason_of
from rmtaudit.report.grouping import listed_findings
from rmtaudit.report.model import Finding, LayerFinding, LayerResult, Report, SkippedTensor
from rmtaudit.report.verdict import NOT_RECORDED, Integrity, Verdict, integrity_of, verdict_of


def upgraded(report: Report, document: Mapping[str, Any]) -> Report:
    """Return the report with the values that its document lacks."""
    pairs = zip(report.layers, document["layers"], strict=True)
    layers = tuple(_layer(layer, row) for layer, row in pairs)
    judgement = report.judgement if "judgement" in document else verdict_of(report.verdict)
    causes = report.causes if "causes" in document else tuple(map(_cause, report.findings))
    integrity, signal = report.integrity, report.signal
    if "integrity" not in document:
        findings = [*causes, *(finding for layer in layers for finding in layer.findings)]
        unread = (
            "" if any(layer.examined for layer in layers) else judgement.why or "no layer could be judged"
        )
        integrity = _integrity(judgement, integrity_of(findings, unread=unread))
    if "signal" not in document:
        signal = _signal(judgement)
    listed = report.findings if "causes" in document else listed_findings(layers)
    entries = zip(report.coverage.skipped, document["coverage"]["skipped"], strict=True)
    skipped = tuple(_skipped(tensor, entry) for tensor, entry in entries)
    return replace(
        report,
        layers=layers,
        integrity=integrity,
        signal=signal,
        judgement=judgement,
        findings=listed,
        causes=causes,
        coverage=replace(report.coverage, skipped=skipped),
    )


def _layer(layer: LayerResult, row: Mapping[str, Any]) -> LayerResult:
    if "judgement" not in row:
        layer = replace(layer, judgement=verdict_of(layer.verdict))
    if "skip" not in row and layer.status != "ok":
        layer = replace(layer, skip=reason_of(layer.reason))
    if "integrity" not in row:
        unread = "" if layer.examined else label_of(layer.skip, layer.reason)
        own = integrity_of(layer.findings, unread=unread)
        layer = replace(layer, integrity=_integrity(layer.judgement, own))
    if "signal" not in row:
        layer = replace(layer, signal=_signal(layer.judgement))
    return layer


def _integrity(judgement: Verdict, of_findings: Verdict) -> Verdict:
    return judgement if judgement.word == Integrity.DAMAGED else of_findings


def _signal(judgement: Verdict) -> Verdict:
    return NOT_RECORDED if judgement.word == Integrity.DAMAGED else judgement


def _cause(finding: LayerFinding) -> Finding:
    """Return what stood under ``findings`` before there were ``causes``: one entry a cause."""
    return Finding(
        code=finding.code, severity=finding.severity, message=finding.message, evidence=finding.evidence
    )


def _skipped(tensor: SkippedTensor, entry: Mapping[str, Any]) -> SkippedTensor:
    return tensor if "skip" in entry else replace(tensor, skip=reason_of(tensor.reason))
