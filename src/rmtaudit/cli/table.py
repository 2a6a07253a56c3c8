"""How a report looks in a terminal: verdict and coverage, what needs a look, and what the columns mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.text import Text

from rmtaudit.cli.console import WIDTH_ELSEWHERE as WIDTH_ELSEWHERE
from rmtaudit.cli.console import drawn_text as drawn_text
from rmtaudit.cli.console import stdout_console as stdout_console
from rmtaudit.cli.grid import label_grid
from rmtaudit.cli.layer_table import layer_table
from rmtaudit.cli.strip_table import draw_strips
from rmtaudit.cli.verification_table import draw_verification
from rmtaudit.kernels.signal import SignalWord
from rmtaudit.names import display_name
from rmtaudit.report import sentences
from rmtaudit.report.cells import explained
from rmtaudit.report.glyphs import Glyphs, glyphs_for
from rmtaudit.report.model import Report
from rmtaudit.report.overview import ALL, overview_of
from rmtaudit.report.verdict import Integrity

_MOST_FINDINGS = 10
_MOST_WITHOUT = 10
_SEVERITY_STYLE = {"error": "red", "warning": "yellow", "info": "dim"}
_WORD_STYLE: dict[str, str] = {
    Integrity.DAMAGED: "red",
    Integrity.WARNING: "yellow",
    SignalWord.NOISE_LIKE: "yellow",
    SignalWord.INITIAL: "yellow",
}


def print_report(report: Report, *, top: int | None) -> None:
    """Print the report on stdout; ``top`` as in :func:`draw_report`."""
    draw_report(stdout_console(), report, top)


def table_text(reports: Sequence[Report], *, top: int | None) -> str:
    """Return the tables of the reports as plain text, as wide as for a pipe."""

    def draw(console: Console) -> None:
        for report in reports:
            draw_report(console, report, top)

    return drawn_text(draw)


def draw_report(console: Console, report: Report, top: int | None) -> None:
    """Print the report on a console; the first ``top`` rows, 0 for all, ``None`` for what needs a look."""
    glyphs = glyphs_for(console.encoding)
    view = overview_of(report, top)

    def put(text: str, style: str = "") -> None:
        console.print(Text(glyphs.text(text), style=style, overflow="fold"))

    console.print(_heading(report, console.width, glyphs))
    put(sentences.subject_facts(report), "dim")
    console.print(_answers(report, glyphs))
    console.print()
    metrics: tuple[str, ...] = ()
    if view.labels.rule and view.rows:
        put(f"layer = {view.labels.rule}", "dim")
    if view.rows:
        table, metrics = layer_table(report, view, console.width, glyphs)
        console.print(table)
    for line in sentences.left_out(view):
        put(f"… {line}", "dim")
    if view.strips:
        console.print()
        draw_strips(console, report, view.strips, glyphs)
    console.print()
    console.print(_notes(report, metrics, glyphs, whole=top == ALL))
    put(f"{sentences.not_claimed(report)}\n", "dim")
    if report.verification is not None:
        draw_verification(console, report.verification)
        console.print()


def _heading(report: Report, width: int, glyphs: Glyphs) -> Text:
    """Return the path and the two words of the model, on one line where they fit."""
    heading = Text(glyphs.text(sentences.title(report)), style="bold", overflow="fold")
    if sentences.is_judged(report):
        words = glyphs.text(sentences.headline(report))
        gap = "  " if heading.cell_len + 2 + cell_len(words) <= width else "\n"
        heading.append(f"{gap}{words}", style=_style(report.integrity.word))
    return heading


def _answers(report: Report, glyphs: Glyphs) -> RenderableType:
    answers = label_grid()
    if sentences.is_judged(report):
        for question, word, line in (
            ("integrity", report.integrity.word, sentences.integrity_line(report)),
            ("signal", report.signal.word, sentences.signal_line(report)),
        ):
            answers.add_row(Text(question), Text(glyphs.text(line), style=_style(word)))
    answers.add_row(Text("coverage"), Text(glyphs.text(sentences.coverage_line(report))))
    skipped = sentences.skipped_line(report)
    if skipped:
        answers.add_row(Text("not analysed"), Text(glyphs.text(skipped)))
    for remark in sentences.remarks(report):
        answers.add_row(Text("note"), Text(glyphs.text(remark), style="yellow"))
    return answers


def _notes(report: Report, metrics: Sequence[str], glyphs: Glyphs, *, whole: bool) -> RenderableType:
    notes = label_grid()

    def add(label: str, text: str, style: str = "") -> None:
        notes.add_row(Text(glyphs.text(label)), Text(glyphs.text(text), style=style))

    if report.layers:
        add("rows", sentences.order_line(report))
    for name in metrics:
        add(display_name(name), explained(report, name))
    hidden = [name for name in report.tool["columns"] if name in report.metrics and name not in metrics]
    if hidden and report.layers:
        names = ", ".join(map(display_name, hidden))
        add("no room for", f"{names}: they need a wider terminal, or --format json")
    add("summary", sentences.summary_line(report))
    beyond = sentences.without_spectrum(report)
    for owner, text in beyond[:_MOST_WITHOUT]:
        add(display_name(owner), text)
    if len(beyond) > _MOST_WITHOUT:
        add("no spectrum", f"{len(beyond) - _MOST_WITHOUT} more: see --format json")
    _add_findings(add, report, whole=whole)
    add("run", display_name(sentences.settings_line(report)))
    return notes


def _add_findings(add: Callable[[str, str, str], None], report: Report, *, whole: bool) -> None:
    """Add the findings as sentences, or how to see them: the rows have them in a few words."""
    entries = sentences.findings(report) if whole else []
    for severity, text in entries[:_MOST_FINDINGS]:
        add(severity, text, _SEVERITY_STYLE[severity])
    more = f"{len(entries) - _MOST_FINDINGS} more" if len(entries) > _MOST_FINDINGS else ""
    count = sentences.findings_for_information(report)
    quiet = f"{count} of layers for information" if count else ""
    if more or quiet:
        add("findings", f"{' and '.join(filter(None, (more, quiet)))}: see --format json", "")
    codes = report.integrity.codes
    if codes and not whole:
        add("explain", f"rmtaudit explain {codes[0]}; --all shows every row and every finding in full", "")


def _style(word: str) -> str:
    return _WORD_STYLE.get(word, "")


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
