"""A report as a notebook shows it: the overview of the terminal as HTML, for light and dark pages.

Everything that comes from a checkpoint is hostile text, and is escaped in one place, :func:`_text`. There is
no script, no link and nothing from elsewhere. Where a page takes the style sheet away, as a notebook that is
not trusted does, the tables stay readable.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from rmtaudit.names import display_name
from rmtaudit.report import sentences
from rmtaudit.report.cells import (
    cell,
    explained,
    finding_cell,
    head,
    is_shown_as,
)
from rmtaudit.report.columns import is_numeric, shown_columns
from rmtaudit.report.glyphs import UNICODE
from rmtaudit.report.labels import Labels
from rmtaudit.report.model import LayerResult, Report
from rmtaudit.report.numbers import format_value
from rmtaudit.report.overview import Overview, overview_of
from rmtaudit.report.strips import Strip, drawn_metric, ranged_metric, scale_of
from rmtaudit.report.verdict import Integrity

_LONGEST_NAME = 60
_LONGEST = 400
_MOST_BLOCKS = 80
_LIGHT = "--bad:#b3261e;--warn:#8a5a00;--quiet:#666;--line:#d4d4d4"
_DARK = "--bad:#ff8a80;--warn:#ffca63;--quiet:#a8a8a8;--line:#4d4d4d"
_STYLE = f"""<style>
.rmtaudit{{{_LIGHT};font-size:13px;line-height:1.45}}
@media (prefers-color-scheme:dark){{.rmtaudit{{{_DARK}}}}}
[data-jp-theme-light="true"] .rmtaudit,.vscode-light .rmtaudit{{{_LIGHT}}}
[data-jp-theme-light="false"] .rmtaudit,.vscode-dark .rmtaudit,[data-theme="dark"] .rmtaudit{{{_DARK}}}
.rmtaudit table{{border-collapse:collapse;margin:.6em 0;font-size:inherit;color:inherit}}
.rmtaudit th,.rmtaudit td{{text-align:left;padding:.15em .7em .15em 0;border:0;vertical-align:top}}
.rmtaudit thead th{{border-bottom:1px solid var(--line);font-weight:600}}
.rmtaudit .n{{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}}
.rmtaudit .w{{white-space:nowrap}}
.rmtaudit .bad{{color:var(--bad)}}
.rmtaudit .warn{{color:var(--warn)}}
.rmtaudit .quiet,.rmtaudit dt{{color:var(--quiet)}}
.rmtaudit .bars{{font-family:monospace;white-space:pre}}
.rmtaudit dl{{display:grid;grid-template-columns:max-content 1fr;gap:.1em 1em;margin:.4em 0}}
.rmtaudit dd{{margin:0}}
</style>"""
_CLASS: dict[str, str] = {
    Integrity.DAMAGED: "bad",
    Integrity.WARNING: "warn",
    Integrity.UNJUDGED: "bad",
}
_MARK: dict[str, str] = {
    Integrity.DAMAGED: UNICODE.error,
    Integrity.WARNING: UNICODE.warning,
    Integrity.UNJUDGED: UNICODE.unknown,
}


def report_html(report: Report) -> str:
    """Return the part of a page that shows a report: both words, coverage, what needs a look."""
    view = overview_of(report, None)
    judged = sentences.is_judged(report)
    words = f" <b{_classed(report.integrity.word)}>{_text(sentences.headline(report))}</b>" if judged else ""
    shown = shown_columns(report, after=["signal"] * judged)
    answers = [
        ("integrity", sentences.integrity_line(report) if judged else ""),
        ("signal", sentences.signal_line(report) if judged else ""),
        ("coverage", sentences.coverage_line(report)),
        ("not analysed", sentences.skipped_line(report)),
        *(("note", remark) for remark in sentences.remarks(report)),
        ("layer", view.labels.rule if view.rows else ""),
    ]
    notes = [
        ("rows", sentences.order_line(report) if view.rows else ""),
        *((name, explained(report, name)) for name in shown if view.rows and name in report.metrics),
        ("summary", sentences.summary_line(report)),
        ("run", sentences.settings_line(report)),
    ]
    parts = [
        '<div class="rmtaudit">',
        _STYLE,
        f"<div><b>{_text(sentences.title(report))}</b>{words}</div>",
        f'<div class="quiet">{_text(sentences.subject_facts(report))}</div>',
        _list(answers),
        _table(report, view, shown),
        *(f'<div class="quiet">… {_text(line)}</div>' for line in _left_out(view)),
        _strips(report, view.strips),
        _list(notes),
        f'<div class="quiet">{_text(sentences.not_claimed(report))}</div>',
        "</div>",
    ]
    return "\n".join(part for part in parts if part)


def _text(text: str) -> str:
    """Return HTML that shows hostile text as it is: one line, no markup."""
    return escape(display_name(text, longest=_LONGEST), quote=True)


def _classed(word: str, *others: str) -> str:
    names = [*others, *([_CLASS[word]] if word in _CLASS else [])]
    return f' class="{" ".join(names)}"' if names else ""


def _list(items: Iterable[tuple[str, str]]) -> str:
    lines = "".join(f"<dt>{_text(label)}</dt><dd>{_text(text)}</dd>" for label, text in items if text)
    return f"<dl>{lines}</dl>"


def _table(report: Report, view: Overview, columns: Sequence[str]) -> str:
    if not view.rows:
        return ""
    names = Labels(tuple(view.texts[row.name] for row in view.rows)).fitted(_LONGEST_NAME)
    heads = ["<th></th><th>layer</th>"]
    for name in columns:
        number = ' class="n"' if is_numeric(name, report.metrics) else ""
        heads.append(f"<th{number}>{_text(head(report, view.rows, name))}</th>")
    heads.append("<th>finding</th>")
    rows = [_row(report, name, row, columns, view) for name, row in zip(names, view.rows, strict=True)]
    return f"<table><thead><tr>{''.join(heads)}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _left_out(view: Overview) -> list[str]:
    lines = [f"{count} more with {code}" for code, count in view.hidden.items()]
    if view.quiet:
        lines.append(f"{view.quiet} more without a warning or an error")
    if lines:
        lines[-1] += ": report.layers and report.to_pandas() have all"
    return lines


def _row(report: Report, name: str, layer: LayerResult, columns: Sequence[str], view: Overview) -> str:
    shown_as = is_shown_as(layer)
    word = "" if shown_as is None else str(shown_as)
    finding = finding_cell(layer, lambda other: view.texts.get(other, other))
    cells = [
        f"<td{_classed(word)}>{_MARK.get(word, '')}</td>",
        f"<td{_classed(word)}>{_text(name)}</td>",
        *(f"<td{_column_class(report, each)}>{_text(cell(report, layer, each))}</td>" for each in columns),
        f"<td{_classed(word)}>{_text(finding)}</td>",
    ]
    quiet = ' class="quiet"' if layer.status == "skipped" else ""
    return f"<tr{quiet}>{''.join(cells)}</tr>"


def _column_class(report: Report, name: str) -> str:
    if is_numeric(name, report.metrics):
        return ' class="n"'
    return ' class="w"' if name in ("signal", "integrity") else ""


def _strips(report: Report, strips: Sequence[Strip]) -> str:
    if not strips:
        return ""
    metric, drawn = ranged_metric(report), drawn_metric(report)
    narrow = [each.narrowed(_MOST_BLOCKS) for each in strips]
    low, high = scale_of(narrow)
    bars = UNICODE.bars
    caption = (
        f"{drawn} along the depth: {bars[0]} {format_value(low)} to {bars[-1]} {format_value(high)}, "
        f"{UNICODE.error} damaged, {UNICODE.warning} warning"
    )
    heads = "".join(f'<th class="n">{_text(head)}</th>' for head in (f"{metric} min", "median", "max"))
    rows = []
    for each in narrow:
        signs = "".join(_sign(UNICODE.sign(place, low, high)) for place in each.places)
        numbers = (each.least, each.median, each.greatest)
        cells = "".join(f'<td class="n">{_text(format_value(value))}</td>' for value in numbers)
        rows.append(f'<tr><td>{_text(each.role)}</td><td class="bars">{signs}</td>{cells}</tr>')
    head = f"<thead><tr><th>role</th><th>{_text(drawn)}</th>{heads}</tr></thead>"
    return f'<div class="quiet">{_text(caption)}</div><table>{head}<tbody>{"".join(rows)}</tbody></table>'


def _sign(sign: str) -> str:
    for mark, name in ((UNICODE.error, "bad"), (UNICODE.warning, "warn")):
        if sign == mark:
            return f'<span class="{name}">{mark}</span>'
    return _text(sign)
