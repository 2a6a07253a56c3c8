"""Markdown for a pull request, a step summary or a model card: the overview of the terminal, as a table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from rmtaudit.names import display_name
from rmtaudit.report import sentences
from rmtaudit.report.cells import (
    cell,
    explained,
    finding_cell,
    head,
)
from rmtaudit.report.columns import FINDING, NAME, shown_columns
from rmtaudit.report.glyphs import UNICODE
from rmtaudit.report.model import FailedSubject, LayerResult, Report, Result
from rmtaudit.report.numbers import format_value
from rmtaudit.report.overview import ALL, Overview, overview_of
from rmtaudit.report.strips import drawn_metric, ranged_metric, scale_of

_SPECIAL = re.compile(r"[\\`*\[\]|~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_OBEYED = re.compile(r"[&<>@]|:(?=[/\w])|#(?=\w)|(?<=www)\.", re.IGNORECASE)
"""What makes an entity, HTML, a mention, an address, an emoji or a reference to an issue."""
_NAMED = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_BLOCK = re.compile(r"^(?: (?= )|#|[-+=](?=[-+=]*\s*$|\s)|\d{1,9}(?=[.)](?:\s|$)))")
"""What makes a line a heading, an item of a list, a rule or code."""
_EMAIL = re.compile(r"(?<=[\w.+-])&#64;")


def write(results: Sequence[Result], *, top: int | None = ALL) -> str:
    """Return one section a subject: the verdict and the coverage, the table of layers, and what was found.

    ``top`` is how many rows the table has: all, the first so many, or, with ``None``, those that need a look.
    """
    return "\n".join(
        _failed_section(result) if isinstance(result, FailedSubject) else _section(result, top)
        for result in results
    )


def escape_markdown(text: str) -> str:
    """Return Markdown that shows hostile text as it is: one line; no markup, HTML, cell, link or mention."""
    printable = display_name(text, longest=max(len(text), 1))
    plain = _SPECIAL.sub(r"\\\g<0>", printable)
    escaped = _OBEYED.sub(lambda match: _NAMED.get(match[0], f"&#{ord(match[0])};"), plain)
    escaped = _BLOCK.sub(lambda match: f"{match[0][:-1]}&#{ord(match[0][-1])};", escaped)
    return _EMAIL.sub("&#64;<!-- -->", escaped)  # GitHub looks for addresses of mail after entities


def _section(report: Report, top: int | None) -> str:
    view = overview_of(report, top)
    judged = sentences.is_judged(report)
    heading = sentences.title(report) + (f": {sentences.headline(report)}" if judged else "")
    lines = [f"## {escape_markdown(heading)}", "", escape_markdown(sentences.subject_facts(report)), ""]
    skipped = sentences.skipped_line(report)
    items = [
        ("Integrity", sentences.integrity_line(report) if judged else ""),
        ("Signal", sentences.signal_line(report) if judged else ""),
        ("Coverage", sentences.coverage_line(report)),
        ("Not analysed", skipped),
        *(("Warning", remark) for remark in sentences.remarks(report)),
        ("Names", f"layer = {view.labels.rule}" if view.labels.rule and view.rows else ""),
    ]
    lines += [*_items(items), "", *_table(report, view)]
    lines += [f"\n… {escape_markdown(line)}" for line in sentences.left_out(view)]
    lines += ["", *_strips(report, view)] if view.strips else [""]
    quiet = sentences.findings_for_information(report)
    items = [
        ("Rows", sentences.order_line(report)),
        *((name, explained(report, name)) for name in _explained_columns(report, view)),
        ("Summary", sentences.summary_line(report)),
        *((f"Without a spectrum ({owner})", text) for owner, text in sentences.without_spectrum(report)),
        *((f"Finding ({how})", text) for how, text in sentences.findings(report)),
        ("Findings for information", f"{quiet}, in the JSON" if quiet else ""),
        ("Run", sentences.settings_line(report)),
    ]
    lines += [*_items(items), "", sentences.not_claimed(report)]
    return "\n".join(lines) + "\n"


def _items(items: Sequence[tuple[str, str]]) -> list[str]:
    return [f"- {escape_markdown(label)}: {escape_markdown(text)}" for label, text in items if text]


def _table(report: Report, view: Overview) -> list[str]:
    """Return the rows; the marks are the words of the integrity, for those who read no colours."""
    if not view.rows:
        return []
    columns = _columns(report)
    heads = [NAME, *(head(report, view.rows, name) for name in columns), FINDING]
    ruler = ["---:" if name in report.metrics else "---" for name in columns]
    rows = [_row(_cells(report, row, columns, view)) for row in view.rows]
    return [_row(map(escape_markdown, heads)), _row(["---", *ruler, "---"]), *rows]


def _columns(report: Report) -> list[str]:
    judged = ["integrity", "signal"] if sentences.is_judged(report) else []
    return shown_columns(report, after=judged)


def _explained_columns(report: Report, view: Overview) -> list[str]:
    return [name for name in _columns(report) if name in report.metrics] if view.rows else []


def _cells(report: Report, layer: LayerResult, columns: Sequence[str], view: Overview) -> Iterator[str]:
    finding = finding_cell(layer, lambda name: view.texts.get(name, name), whole=True)
    between = [cell(report, layer, name) for name in columns]
    return map(escape_markdown, [view.texts[layer.name], *between, finding])


def _strips(report: Report, view: Overview) -> list[str]:
    """Return the strips as a table, the bars as they are in a terminal."""
    metric, drawn = ranged_metric(report), drawn_metric(report)
    low, high = scale_of(view.strips)
    bars = UNICODE.bars
    caption = (
        f"{drawn} along the depth: {bars[0]} {format_value(low)} to {bars[-1]} {format_value(high)}, "
        f"{UNICODE.error} damaged, {UNICODE.warning} warning"
    )
    heads = ["role", drawn, f"{metric} min", "median", "max"]
    lines = [escape_markdown(caption), ""]
    lines += [_row(map(escape_markdown, heads)), _row(["---", "---", "---:", "---:", "---:"])]
    for each in view.strips:
        bars = "".join(UNICODE.sign(place, low, high) for place in each.places)
        numbers = [format_value(value) for value in (each.least, each.median, each.greatest)]
        lines.append(_row([escape_markdown(each.role), f"`{bars}`", *numbers]))
    return [*lines, ""]


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


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
