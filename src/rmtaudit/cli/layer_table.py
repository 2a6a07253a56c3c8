"""The rows of the table: columns go before names do, and no two rows look alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from rmtaudit.kernels.signal import SignalWord
from rmtaudit.names import display_name
from rmtaudit.report.cells import (
    cell,
    finding_cell,
    head,
    is_shown_as,
)
from rmtaudit.report.columns import has_chosen_properties, is_numeric, shown_columns
from rmtaudit.report.glyphs import Glyphs
from rmtaudit.report.labels import Labels, told_apart
from rmtaudit.report.model import LayerResult, Report
from rmtaudit.report.overview import Overview
from rmtaudit.report.verdict import Integrity

_GAP = 2
_LEAST_NAME, _LONGEST_NAME = 24, 40
"""A name is not shortened to fewer cells, nor are columns left out for more, where others fit in fewer."""

_LEAST_FINDING = 26
_LONGEST_CELL = 24
_MARK_STYLE = {Integrity.DAMAGED: "red", Integrity.WARNING: "yellow", Integrity.UNJUDGED: "red"}
_SIGNAL_STYLE: dict[str, str] = {SignalWord.NOISE_LIKE: "yellow", SignalWord.INITIAL: "yellow"}


@dataclass(frozen=True, slots=True)
class _Column:
    head: str
    cells: tuple[str, ...]
    right: bool = False
    key: str = ""

    @property
    def width(self) -> int:
        return max(cell_len(text) for text in (self.head, *self.cells))


def layer_table(report: Report, view: Overview, width: int, glyphs: Glyphs) -> tuple[Table, tuple[str, ...]]:
    """Return the table of the rows of an overview, in so many cells, and the metrics that it has room for.

    The columns that there is no room for are left out, ``kind`` first, then the last of the metrics, the
    signal and the shape. The names are shortened last, and are then folded rather than made equal.
    """
    rows = view.rows
    findings = _Column("finding", _findings(rows, view, glyphs, whole=False))
    with_findings = any(findings.cells)
    least_finding = min(findings.width, max(_LEAST_FINDING, width // 4)) + _GAP if with_findings else 0
    printed = [view.texts[row.name] for row in rows]
    labels = Labels(told_apart(printed, [glyphs.name(text) for text in printed]))
    full = max(map(cell_len, ("layer", *labels.texts)))
    room = width - 1 - 2 * _GAP - least_finding  # of the mark, and after the name
    between = [_column(report, rows, name, glyphs) for name in shown_columns(report)]
    first = next((column.width + _GAP for column in _by_need(report, between, rows)), 0)
    wanted = min(full, max(_LEAST_NAME, min(_LONGEST_NAME, width // 2, room - first)))
    names = _Column("layer", labels.fitted(wanted, measure=cell_len, ellipsis=glyphs.ellipsis))
    columns = _fitting(report, between, rows, room - min(names.width, max(room, 1)))
    used = sum(column.width + _GAP for column in columns)
    spare = room - used
    longer = _Column("finding", _findings(rows, view, glyphs, whole=True))
    if with_findings and full + longer.width + _GAP <= spare + least_finding:
        findings = longer  # the reasons as sentences, where there is room for all of them
        spare -= longer.width + _GAP - least_finding
    names = _Column("layer", labels.fitted(min(full, spare), measure=cell_len, ellipsis=glyphs.ellipsis))
    table = Table(
        box=None,
        pad_edge=False,
        show_edge=False,
        padding=(0, _GAP, 0, 0),
        header_style="dim",
        collapse_padding=True,
    )
    table.add_column("", no_wrap=True, width=1)
    table.add_column(Text(names.head), overflow="fold", max_width=max(spare, 1))
    for column in columns:
        head = Text(column.head)
        table.add_column(
            head, justify="right" if column.right else "left", no_wrap=True, min_width=column.width
        )
    if with_findings:
        table.add_column(Text(findings.head), overflow="fold", ratio=1)
    for index, row in enumerate(rows):
        shown_as = is_shown_as(row)
        style = "" if shown_as is None else _MARK_STYLE[shown_as]
        quiet = "dim" if row.status == "skipped" else _SIGNAL_STYLE.get(row.signal.word, "")
        cells = [Text(_mark(shown_as, glyphs), style=style), Text(names.cells[index], style=style or quiet)]
        cells += [Text(column.cells[index], style=quiet) for column in columns]
        cells += [Text(findings.cells[index], style=style or quiet)] if with_findings else []
        table.add_row(*cells)
    return table, tuple(column.key for column in columns if column.key in report.metrics)


def _findings(rows: Sequence[LayerResult], view: Overview, glyphs: Glyphs, *, whole: bool) -> tuple[str, ...]:
    def label(name: str) -> str:
        return view.texts.get(name, display_name(name))

    return tuple(glyphs.text(finding_cell(row, label, whole=whole)) for row in rows)


def _mark(shown_as: Integrity | None, glyphs: Glyphs) -> str:
    marks = {Integrity.DAMAGED: glyphs.error, Integrity.WARNING: glyphs.warning, None: ""}
    return marks.get(shown_as, glyphs.unknown)


def _fitting(
    report: Report, columns: Sequence[_Column], rows: Sequence[LayerResult], room: int
) -> list[_Column]:
    """Return the columns between the name and the finding that fit, each with its gap."""
    taken: list[_Column] = []
    for column in _by_need(report, columns, rows):
        if column.width + _GAP > room:
            if column.key in report.metrics:
                break
            continue
        taken.append(column)
        room -= column.width + _GAP
    return [column for column in columns if any(column is each for each in taken)]


def _by_need(report: Report, columns: Sequence[_Column], rows: Sequence[LayerResult]) -> list[_Column]:
    """Return the columns in the order in which they get room: as chosen, or as the metrics leave it."""
    if has_chosen_properties(report):
        return list(columns)
    by_key = {column.key: column for column in columns}
    metrics = [column for column in columns if column.key in report.metrics]
    words = {row.signal.word for row in rows}
    is_telling = words not in ({SignalWord.STRUCTURED}, {SignalWord.UNJUDGED}, set())
    signals = [by_key["signal"]] if is_telling else []
    return [*metrics[:1], by_key["shape"], *metrics[1:2], *signals, *metrics[2:], by_key["kind"]]


def _column(report: Report, rows: Sequence[LayerResult], name: str, glyphs: Glyphs) -> _Column:
    cells = _texts((cell(report, row, name) for row in rows), glyphs)
    right = is_numeric(name, report.metrics)
    return _Column(glyphs.text(head(report, rows, name)), cells, right=right, key=name)


def _texts(texts: Iterable[str], glyphs: Glyphs) -> tuple[str, ...]:
    shown = []
    for text in texts:
        cell = glyphs.text(text)
        over = cell_len(cell) > _LONGEST_CELL
        shown.append(f"{cell[: _LONGEST_CELL - len(glyphs.ellipsis)]}{glyphs.ellipsis}" if over else cell)
    return tuple(shown)
