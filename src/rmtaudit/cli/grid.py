"""Names and texts in two columns, as the tables of several commands end."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text


def named_lines(lines: Iterable[tuple[str, str | Text]]) -> Table:
    """Return a grid of dim names and texts that wrap."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for name, text in lines:
        grid.add_row(Text(name), Text(text) if isinstance(text, str) else text)
    return grid
