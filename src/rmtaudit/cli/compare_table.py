"""How a comparison looks in a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rmtaudit.cli.grid import label_grid
from rmtaudit.report.comparison import Comparison, LayerComparison
from rmtaudit.report.comparison_text import HEADS, cells, changed, facts
from rmtaudit.report.labels import labels_of

_NARROW = 100
"""Columns of a terminal below which the spikes and the angle are left out."""

_NAME_SHARE = 0.36
_LEAST_NAME = 18


def draw_comparison(console: Console, comparison: Comparison, top: int, *, all_rows: bool = False) -> None:
    """Print a comparison: what happened in one sentence, the facts, and the layers that changed most.

    ``top`` rows of the table, 0 for all. Vectors are in the table only with ``all_rows``.
    """
    console.print(Text(comparison.summary.sentence, style="bold"))
    console.print()
    console.print(label_grid(facts(comparison)))
    everything = changed(comparison)
    rows = changed(comparison, vectors=all_rows) or everything
    shown = rows if all_rows or not top else rows[:top]
    if shown:
        console.print()
        _print_table(console, shown)
    if len(everything) > len(shown):
        vectors = "" if all_rows else ", vectors included"
        console.print(Text(f"… {len(everything) - len(shown)} more{vectors}: --all shows all", style="dim"))


def _print_table(console: Console, rows: list[LayerComparison]) -> None:
    width = console.width
    heads = HEADS[:4] if width < _NARROW else HEADS
    body = [cells(row)[: len(heads)] for row in rows]
    numbers = range(2, len(heads))
    taken = sum(max(len(heads[at]), *(len(line[at]) for line in body)) + 1 for at in numbers)
    labels = labels_of([row.name for row in rows])
    names = labels.fitted(max(_LEAST_NAME, int(_NAME_SHARE * (width - taken))))
    if labels.rule:
        console.print(Text(f"layer = {labels.rule}", style="dim"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column(Text(heads[0]), no_wrap=True)
    table.add_column(Text(heads[1]), overflow="fold", ratio=1)
    for at in numbers:
        table.add_column(Text(heads[at]), justify="right", no_wrap=True)
    for name, line in zip(names, body, strict=True):
        table.add_row(Text(name), *(Text(cell) for cell in line[1:]))
    console.print(table)
