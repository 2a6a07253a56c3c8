"""A grid of labelled lines in a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text


def label_grid(lines: Iterable[tuple[str, str | Text]] = ()) -> Table:
    """Return a grid of labels, dimmed, and their texts, which are folded where they are long."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for name, text in lines:
        grid.add_row(Text(name), Text(text) if isinstance(text, str) else text)
    return grid
