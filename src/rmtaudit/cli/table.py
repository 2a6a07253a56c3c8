"""How a report looks in a terminal: facts, the worst layers first, and what was not analysed."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from rmtaudit.cli.grid import label_grid
from rmtaudit.cli.verification_table import draw_verification
from rmtaudit.kernels.signal import SignalWord
from rmtaudit.names import display_name
from rmtaudit.report import sentences
from rmtaudit.report.model import LayerResult, Report
from rmtaudit.report.numbers import format_metric
from rmtaudit.report.ordering import worst_first
from rmtaudit.report.verdict import Integrity

WIDTH_ELSEWHERE = 160
"""Columns where there is no terminal and ``COLUMNS`` does not say."""

_HEIGHT_ELSEWHERE = 100  # nothing depends on it, but with a width alone rich asks the environment for both
_NARROWEST_NAME = 24
_ROOM_FOR_REASONS = 24
_SHORT_HEADS = {
    "ks_distance": "KS",
    "tail_size": "tail",
    "stable_rank": "stable rank",
    "log10_spectral_norm": "log10 σ1",
    "log10_frobenius_norm": "log10 ‖W‖",
    "log_spectral_norm": "log norm²",
    "num_pl_spikes": "spikes",
    "alpha_weighted": "α weighted",
}
_MOST_FINDINGS = 10
_MOST_WITHOUT = 10
_SEVERITY_STYLE = {"error": "red", "warning": "yellow", "info": "dim"}
_VERDICT_STYLE: dict[str, str] = {
    Integrity.DAMAGED: "red",
    SignalWord.NOISE_LIKE: "yellow",
    SignalWord.INITIAL: "yellow",
}
_ROW_STYLE = {"failed": "red", "skipped": "dim", "ok": ""}


def print_report(report: Report, *, top: int) -> None:
    """Print the report on stdout; ``top`` rows of the table, 0 for all."""
    draw_report(stdout_console(), report, top)


def stdout_console() -> Console:
    """Return a console on stdout, as wide as the terminal."""
    width, height = (None, None) if sys.stdout.isatty() else (_width_elsewhere(), _HEIGHT_ELSEWHERE)
    return _Console(width=width, height=height, highlight=False)


def table_text(reports: Sequence[Report], *, top: int) -> str:
    """Return the tables of the reports as plain text, as wide as for a pipe."""

    def draw(console: Console) -> None:
        for report in reports:
            draw_report(console, report, top)

    return drawn_text(draw)


def drawn_text(draw: Callable[[Console], None]) -> str:
    """Return what is drawn on a console as plain text, as wide as for a pipe."""
    text = io.StringIO()
    console = Console(
        file=text,
        width=_width_elsewhere(),
        height=_HEIGHT_ELSEWHERE,
        force_terminal=False,
        color_system=None,
        highlight=False,
    )
    draw(console)
    return text.getvalue()


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # rich itself would end the process with 1, the code of a gate


def draw_report(console: Console, report: Report, top: int) -> None:
    """Print the report on a console; ``top`` rows of the table, 0 for all."""
    rows = worst_first(report)
    shown = rows[:top] if top else rows
    console.print(Text(sentences.title(report), style="bold", overflow="fold"))
    console.print(Text(sentences.subject_facts(report), style="dim"))
    if shown:
        console.print(Text(sentences.order_line(report), style="dim"))
        console.print()
        console.print(_layers(report, shown, console.width))
    if len(rows) > len(shown):
        console.print(Text(f"… and {len(rows) - len(shown)} more: --top 0 shows all", style="dim"))
    console.print()
    console.print(_notes(report))
    console.print(Text(f"{sentences.not_claimed(report)}\n", style="dim"))
    if report.verification is not None:
        draw_verification(console, report.verification)
        console.print()


def _notes(report: Report) -> RenderableType:
    notes = label_grid()
    if sentences.is_judged(report):
        for question, answer, line in (
            ("integrity", report.integrity, sentences.integrity_line(report)),
            ("signal", report.signal, sentences.signal_line(report)),
        ):
            notes.add_row(Text(question), Text(line, style=_VERDICT_STYLE.get(answer.word, "")))
    notes.add_row(Text("summary"), Text(sentences.summary_line(report)))
    notes.add_row(Text("coverage"), Text(sentences.coverage_line(report)))
    skipped = sentences.skipped_line(report)
    if skipped:
        notes.add_row(Text("not analysed"), Text(skipped))
    beyond = sentences.without_spectrum(report)
    for owner, text in beyond[:_MOST_WITHOUT]:
        notes.add_row(Text(display_name(owner)), Text(text))
    if len(beyond) > _MOST_WITHOUT:
        more = f"{len(beyond) - _MOST_WITHOUT} more: see --format json"
        notes.add_row(Text("no spectrum"), Text(more))
    entries = sentences.findings(report)
    for severity, text in entries[:_MOST_FINDINGS]:
        notes.add_row(Text(severity), Text(text, style=_SEVERITY_STYLE[severity]))
    more = f"{len(entries) - _MOST_FINDINGS} more" if len(entries) > _MOST_FINDINGS else ""
    count = sentences.findings_for_information(report)
    quiet = f"{count} of layers for information" if count else ""
    if more or quiet:
        notes.add_row(
            Text("findings"), Text(f"{' and '.join(filter(None, (more, quiet)))}: see --format json")
        )
    for remark in sentences.remarks(report):
        notes.add_row(Text("note"), Text(remark, style="yellow"))
    notes.add_row(Text("run"), Text(display_name(sentences.settings_line(report))))
    return notes


@dataclass(frozen=True, slots=True)
class _Column:
    head: str
    cells: tuple[str, ...]
    right: bool = False

    @property
    def width(self) -> int:
        return max(cell_len(text) for text in (self.head, *self.cells))


def _layers(report: Report, rows: Sequence[LayerResult], width: int) -> Table:
    names = _Column("layer", tuple(_printable(row.name) for row in rows))
    status = _status(rows)
    verdicts = [_verdict(rows)] if sentences.is_judged(report) else []
    ends = [*verdicts, *([] if status is None else [status])]
    used = sum(column.width + 2 for column in ends) + 1
    columns = _fitting(report, rows, width - used - min(names.width, max(_NARROWEST_NAME, width // 4)))
    room = width - used - sum(column.width + 2 for column in columns)
    spare = room - names.width + (-2 if status is None else status.width)
    if spare >= _ROOM_FOR_REASONS and any(row.reason for row in rows):
        ends = [*verdicts, _with_reasons(rows, spare)]
    columns += ends
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column(Text(names.head), no_wrap=True, max_width=room)
    for column in columns:
        table.add_column(
            Text(column.head),
            justify="right" if column.right else "left",
            no_wrap=True,
            min_width=column.width,
        )
    for index, row in enumerate(rows):
        cells = (elide(names.cells[index], room), *(column.cells[index] for column in columns))
        style = _ROW_STYLE.get(row.status) or _VERDICT_STYLE.get(row.judgement.word, "")
        table.add_row(*(Text(cell) for cell in cells), style=style)
    return table


def _fitting(report: Report, rows: Sequence[LayerResult], room: int) -> list[_Column]:
    """Return the columns after the name that fit into ``room``, each with its gap of two.

    What is left out goes in this order: the last metrics, the kind, the shape.
    """
    left: list[_Column] = []
    metrics: list[_Column] = []
    candidates = [_metric(report, rows, name) for name in report.tool["columns"] if name in report.metrics]
    shape = _Column("shape", tuple(_shape(row) for row in rows), right=True)
    kind = _Column("kind", tuple(_printable(row.kind) for row in rows))
    for group, column in (
        *((metrics, column) for column in candidates[:1]),
        (left, shape),
        (left, kind),
        *((metrics, column) for column in candidates[1:]),
    ):
        if column.width + 2 > room:
            if group is metrics:
                break
            continue
        group.append(column)
        room -= column.width + 2
    return [*reversed(left), *metrics]


def _metric(report: Report, rows: Sequence[LayerResult], name: str) -> _Column:
    results = [None if row.status == "failed" else row.metrics.get(name) for row in rows]
    with_se = name == report.tool["columns"][0] and any(
        result and result.se is not None for result in results
    )
    head = _SHORT_HEADS.get(name, _printable(name))
    cells = tuple(elide(format_metric(result, with_se=with_se), 24) for result in results)
    if with_se:
        head += " [interval]" if any(result and result.ci is not None for result in results) else " ± se"
    return _Column(head, cells, right=True)


def _verdict(rows: Sequence[LayerResult]) -> _Column:
    """Return the verdicts with their details, but for the reasons of what is unjudged."""
    unjudged = str(SignalWord.UNJUDGED)
    texts = (unjudged if row.judgement.word == unjudged else row.verdict for row in rows)
    return _Column("verdict", tuple(elide(_printable(text), 32, keep_end=False) for text in texts))


def _status(rows: Sequence[LayerResult]) -> _Column | None:
    states = tuple("" if row.status == "ok" else row.status for row in rows)
    return _Column("status", states) if any(states) else None


def _with_reasons(rows: Sequence[LayerResult], width: int) -> _Column:
    """Return the status column with the reasons: the coverage below has them in any case, but grouped."""
    states = ("" if row.status == "ok" else row.status for row in rows)
    texts = (": ".join(filter(None, (state, row.reason))) for state, row in zip(states, rows, strict=True))
    return _Column("status", tuple(elide(_printable(text), width, keep_end=False) for text in texts))


def _shape(row: LayerResult) -> str:
    shape = "×".join(str(size) for size in row.shape)
    return elide(f"{row.matrices}·({shape})" if row.matrices > 1 else shape, 24)


def elide(text: str, width: int, *, keep_end: bool = True) -> str:
    """Return the text cut to so many terminal cells: in the middle, where a layer's name says least."""
    if cell_len(text) <= width:
        return text
    head, tail = (text[: len(text) // 2], text[len(text) // 2 :]) if keep_end else (text, "")
    while (head or tail) and cell_len(head) + cell_len(tail) > width - 1:
        if cell_len(head) >= cell_len(tail):
            head = head[:-1]
        else:
            tail = tail[1:]
    return f"{head}…{tail}"


def _printable(text: str) -> str:
    return display_name(text)


def _width_elsewhere() -> int:
    columns = os.environ.get("COLUMNS", "")
    return max(int(columns), 40) if columns.isascii() and columns.isdigit() else WIDTH_ELSEWHERE
