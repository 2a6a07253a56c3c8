"""How the ranking of a model zoo looks in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rmtaudit.cli.grid import label_grid
from rmtaudit.names import display_name
from rmtaudit.report.glyphs import Glyphs, glyphs_for
from rmtaudit.report.ranking import Ranking
from rmtaudit.report.ranking_text import (
    Rows,
    answer_sentence,
    comparison_rows,
    families_left_out,
    family_rows,
    legend,
    reversal_sentences,
    subject_line,
    without_quality,
)


def draw_ranking(console: Console, ranking: Ranking, *, everything: bool = False) -> None:
    """Print a ranking: the answer of each measure first, then the families."""
    glyphs = glyphs_for(console.encoding)

    def put(text: str, style: str = "") -> None:
        console.print(Text(glyphs.text(text), style=style, overflow="fold"))

    put(display_name(ranking.subject.path, longest=400), "bold")
    put(subject_line(ranking), "dim")
    for measure in ranking.measures:
        console.print()
        put(answer_sentence(ranking, measure), "bold")
        for sentence in reversal_sentences(measure):
            put(sentence)
        _draw(console, comparison_rows(measure), glyphs)
        for reason in dict.fromkeys(
            each.reason
            for compared in (measure.size, *measure.metrics)
            for each in (compared.alone, compared.given_size)
            if each is not None and each.reason
        ):
            put(f"— {reason}", "dim")
    if not ranking.measures:
        console.print()
        put(without_quality(ranking), "bold")
    for rows in family_rows(ranking, everything=everything):
        _draw(console, rows, glyphs)
    more = families_left_out(ranking, everything=everything)
    if more:
        put(f"… {more} more famil{'y' if more == 1 else 'ies'}: --all shows all", "dim")
    console.print()
    notes = label_grid()
    for head, text in legend(ranking):
        notes.add_row(Text(glyphs.text(head)), Text(glyphs.text(text)))
    console.print(notes)


def _draw(console: Console, rows: Rows, glyphs: Glyphs) -> None:
    console.print()
    console.print(Text(glyphs.text(rows.title), style="bold"))
    table = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for place, head in enumerate(rows.heads):
        table.add_column(Text(glyphs.text(head)), justify="right" if place else "left", overflow="fold")
    for row in rows.rows:
        table.add_row(*(Text(glyphs.text(cell)) for cell in row))
    console.print(table)
    if rows.left_out:
        console.print(Text(glyphs.text(f"… {rows.left_out} more: --all shows all"), style="dim"))
