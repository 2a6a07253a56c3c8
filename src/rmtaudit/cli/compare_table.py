"""How a comparison looks in a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rmtaudit.cli.grid import label_grid
from rmtaudit.cli.table import elide
from rmtaudit.report.comparison import Comparison, LayerComparison
from rmtaudit.report.comparison_text import HEADS, cells, changed, facts

_NARROW = 100
"""Columns of a terminal below which the spikes and the angle are left out."""

_NAME_SHARE = 0.36
_LEAST_NAME = 18


def draw_comparison(console: Console, comparison: Comparison, top: int) -> None:
    """Print a comparison; ``top`` rows of the table, 0 for all."""
    console.print(Text(comparison.summary.sentence, style="bold"))
    rows = changed(comparison)
    shown = rows[:top] if top else rows
    if shown:
        console.print()
        console.print(_table(shown, console.width))
    if len(rows) > len(shown):
        console.print(Text(f"… and {len(rows) - len(shown)} more: --top 0 shows all", style="dim"))
    console.print()
    console.print(label_grid(facts(comparison)))


def _table(rows: list[LayerComparison], width: int) -> Table:
    heads = HEADS[:4] if width < _NARROW else HEADS
    body = [cells(row)[: len(heads)] for row in rows]
    numbers = range(2, len(heads))
    taken = sum(max(len(heads[at]), *(len(line[at]) for line in body)) + 1 for at in numbers)
    longest = max(len(line[0]) for line in body)
    name = min(longest, max(_LEAST_NAME, int(_NAME_SHARE * (width - taken))))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column(Text(heads[0]), no_wrap=True)
    table.add_column(Text(heads[1]), overflow="fold", ratio=1)
    for at in numbers:
        table.add_column(Text(heads[at]), justify="right", no_wrap=True)
    for line in body:
        table.add_row(Text(elide(line[0], name)), *(Text(cell) for cell in line[1:]))
    return table
