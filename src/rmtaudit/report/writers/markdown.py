"""Markdown for a pull request, a step summary or a model card: every row, worst first."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rmtaudit.names import display_name
from rmtaudit.report import sentences
from rmtaudit.report.model import FailedSubject, LayerResult, Report, Result
from rmtaudit.report.numbers import format_metric
from rmtaudit.report.ordering import worst_first

_SPECIAL = re.compile(r"[\\`*\[\]|~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"})


def write(results: Sequence[Result]) -> str:
    """Return one section a subject: facts, the table of layers, the summary and the coverage."""
    return "\n".join(
        _failed_section(result) if isinstance(result, FailedSubject) else _section(result)
        for result in results
    )


def escape_markdown(text: str) -> str:
    """Return Markdown that shows hostile text as it is: one line, no markup, HTML, table cell or mention."""
    printable = display_name(text, longest=max(len(text), 1))
    return _SPECIAL.sub(r"\\\g<0>", printable).translate(_ENTITIES)


def _section(report: Report) -> str:
    columns = [name for name in report.tool["columns"] if name in report.metrics]
    with_status = any(layer.status != "ok" or layer.reason for layer in report.layers)
    judged = sentences.is_judged(report)
    heads = ["layer", "kind", "shape", *columns, *["verdict"] * judged, *["status"] * with_status]
    ruler = ["---", "---", "---", *["---:"] * len(columns), *["---"] * (judged + with_status)]
    lines = [
        f"## {escape_markdown(sentences.title(report))}",
        "",
        escape_markdown(sentences.subject_facts(report)),
        "",
        _row([escape_markdown(head) for head in heads]),
        _row(ruler),
        *(_row(_cells(layer, columns, judged, with_status)) for layer in worst_first(report)),
        "",
        *([f"- Integrity: {escape_markdown(sentences.integrity_line(report))}"] if judged else []),
        *([f"- Signal: {escape_markdown(sentences.signal_line(report))}"] if judged else []),
        f"- Order: {escape_markdown(sentences.order_line(report))}",
        f"- Summary: {escape_markdown(sentences.summary_line(report))}",
        f"- Coverage: {escape_markdown(sentences.coverage_line(report))}",
    ]
    skipped = sentences.skipped_line(report)
    if skipped:
        lines.append(f"- Not analysed: {escape_markdown(skipped)}")
    lines += [
        f"- Without a spectrum ({escape_markdown(owner)}): {escape_markdown(text)}"
        for owner, text in sentences.without_spectrum(report)
    ]
    entries = sentences.findings(report)
    lines += [f"- Finding ({how}): {escape_markdown(text)}" for how, text in entries]
    quiet = sentences.findings_for_information(report)
    lines += [f"- Findings for information: {quiet}, in the JSON"] if quiet else []
    lines += [f"- Warning: {escape_markdown(remark)}" for remark in sentences.remarks(report)]
    lines += [f"- Run: {escape_markdown(sentences.settings_line(report))}", "", sentences.not_claimed(report)]
    return "\n".join(lines) + "\n"


def _cells(layer: LayerResult, columns: Sequence[str], judged: bool, with_status: bool) -> list[str]:
    shape = " × ".join(str(size) for size in layer.shape)
    if layer.matrices > 1:
        shape = f"{layer.matrices} × ({shape})"
    numbers = [
        format_metric(None if layer.status == "failed" else layer.metrics.get(name), with_se=True)
        for name in columns
    ]
    status = ": ".join(part for part in (layer.status, layer.reason) if part)
    cells = [layer.name, layer.kind, shape, *numbers, *[layer.verdict] * judged, *[status] * with_status]
    return [escape_markdown(cell) for cell in cells]


def _failed_section(subject: FailedSubject) -> str:
    error = subject.error
    lines = [
        f"## {escape_markdown(subject.subject.path)}",
        "",
        f"Could not be scanned: {escape_markdown(error.message)} ({escape_markdown(error.code)})",
    ]
    if error.hint:
        lines.append(escape_markdown(error.hint))
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
