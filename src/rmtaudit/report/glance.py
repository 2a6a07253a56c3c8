"""A report and a layer at a glance: what Python and a notebook show of them as text."""

from __future__ import annotations

from collections import Counter

from rmtaudit.names import display_name
from rmtaudit.report import sentences
from rmtaudit.report.model import LayerResult, Report
from rmtaudit.report.numbers import format_value, human_count

_LONGEST = 150
"""Characters of a line: ten of them stay below 2000 characters."""
_MOST_METRICS = 6


def report_text(report: Report) -> str:
    """Return at most ten lines on a report: both words, size, coverage, means, and the worst findings."""
    counts = Counter(finding.severity for finding in report.findings)
    causes = sentences.findings(report)
    lines = [
        f"Report of {display_name(report.subject['path'], longest=100)}",
        f"integrity  {display_name(report.integrity.text)}",
        f"signal     {display_name(report.signal.text)}",
        f"size       {sentences.subject_facts(report)}",
        f"coverage   {sentences.coverage_line(report)}",
        f"summary    {sentences.summary_line(report)}",
        f"findings   {_count(counts['error'], 'error')}, {_count(counts['warning'], 'warning')}, "
        f"{counts['info']} for information",
    ]
    room = 3 if len(causes) <= 3 else 2
    lines += [f"  {severity:<8} {text}" for severity, text in causes[:room]]
    if len(causes) > room:
        lines.append(f"  and {len(causes) - room} more causes: see report.causes and report.findings")
    return "\n".join(_cut(line) for line in lines)


def layer_text(layer: LayerResult) -> str:
    """Return at most five lines on a layer: what it is, both words, its first metrics and its findings."""
    shape = " × ".join(str(size) for size in layer.shape)
    matrices = f"{layer.matrices} matrices of " if layer.matrices > 1 else ""
    facts = f"{layer.kind}, {matrices}{shape}, {layer.dtype}, {human_count(layer.parameters)} parameters"
    state = f"{layer.status}: {layer.reason}" if layer.reason else layer.status
    shown = [(name, each.value) for name, each in layer.metrics.items() if each.value is not None]
    metrics = " · ".join(
        f"{display_name(name)} {format_value(value)}" for name, value in shown[:_MOST_METRICS]
    )
    more = f" · {len(shown) - _MOST_METRICS} more" if len(shown) > _MOST_METRICS else ""
    codes = Counter(finding.code for finding in layer.findings)
    lines = [
        f"Layer {display_name(layer.name, longest=120)}",
        f"  {display_name(facts)}; {display_name(state, longest=100)}",
        f"  integrity {display_name(layer.integrity.text)}, signal {display_name(layer.signal.text)}",
        f"  metrics: {metrics or 'none'}{more}",
        f"  findings: {', '.join(map(display_name, codes)) or 'none'}",
    ]
    return "\n".join(_cut(line) for line in lines)


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def _cut(line: str) -> str:
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
