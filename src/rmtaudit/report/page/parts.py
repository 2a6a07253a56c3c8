"""What pages are made of: a state, a labelled fact, a table that can be sorted and filtered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from markupsafe import Markup

from rmtaudit.finding_kind import Severity
from rmtaudit.names import display_name
from rmtaudit.report.verdict import Integrity

Tone = Literal["bad", "warn", "ok", "info", "unknown"]
"""How something looks. Each has a mark of its own shape, so that no meaning hangs on a colour."""

_LONGEST = 4000
"""Characters of one text."""

MOST_ROWS = 2000
"""Rows of one table: about 0.7 kB each."""

_SHORT = 8
"""Rows of a table that is read without a filter."""

_TONES: dict[str, Tone] = {Integrity.DAMAGED: "bad", Integrity.WARNING: "warn", Integrity.OK: "ok"}
_SEVERITIES: dict[Severity, Tone] = {"error": "bad", "warning": "warn", "info": "info"}


@dataclass(frozen=True, slots=True)
class State:
    """A word with its mark and colour."""

    word: str
    tone: Tone


@dataclass(frozen=True, slots=True)
class Fact:
    """A label, what stands beside it, and a drawing under that."""

    label: str
    text: str
    drawing: Markup | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table.

    ``explained`` stands under the table. ``facet`` gives the reader a choice among the values of the column.
    """

    label: str
    numeric: bool = False
    explained: str = ""
    facet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell: its text; the number by which it is sorted; where it leads, on this page; its mark."""

    text: str
    sort: float | None = None
    href: str = ""
    tone: Tone | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a table; the first cell names it."""

    cells: tuple[Cell, ...]
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table, in the order in which it is first shown."""

    id: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    left_out: str = ""
    noun: str = "rows"

    @property
    def body(self) -> Markup:
        """The rows as HTML, which a template would take three times as long for."""
        return Markup("\n".join(_row(row, self.columns) for row in self.rows))

    @property
    def filtered(self) -> bool:
        """Whether there are rows to choose from: more than a look takes in, or of several kinds."""
        return len(self.rows) > _SHORT or bool(self.facets)

    @property
    def legend(self) -> list[tuple[str, str]]:
        """What columns mean: labels and a text, once for all columns with the same."""
        labels: dict[str, list[str]] = {}
        for column in self.columns:
            if column.explained:
                labels.setdefault(column.explained, []).append(column.label)
        return [(", ".join(names), explained) for explained, names in labels.items()]

    @property
    def facets(self) -> list[tuple[int, str, list[str]]]:
        """The columns with a choice: position, label, values in the order of their first row."""
        choices = []
        for place, column in enumerate(self.columns):
            values = list(dict.fromkeys(row.cells[place].text for row in self.rows))
            if column.facet and len(values) > 1:
                choices.append((place, column.label, values))
        return choices


def _row(row: Row, columns: Sequence[Column]) -> str:
    ident = f' id="{row.id}"' if row.id else ""
    head, *rest = (_cell(cell, column) for cell, column in zip(row.cells, columns, strict=True))
    cells = "".join(f"<td{cell}</td>" for cell in rest)
    return f'<tr{ident}><th scope="row"{head}</th>{cells}</tr>'


def _cell(cell: Cell, column: Column) -> str:
    """Return the attributes and the contents of a cell."""
    text = escape(printable(cell.text))
    if cell.tone is not None:
        mark = f'<svg class="mark {cell.tone}" aria-hidden="true" focusable="false">'
        use = f'<use href="#m-{cell.tone}"></use></svg>'
        text = f'<span class="state {cell.tone}">{mark}{use}{text}</span>'
    elif cell.href:
        text = f'<a href="#{cell.href}">{text}</a>'
    number = ' class="n"' if column.numeric else ""
    sort = "" if cell.sort is None else f' data-sort="{cell.sort:.17g}"'
    return f"{number}{sort}>{text}"


def printable(text: str) -> str:
    """Return hostile text as one printable line; a very long one keeps its two ends."""
    return display_name(text, longest=_LONGEST)


def state_of(integrity: str) -> State:
    """Return how an integrity looks; a word of another version looks unknown."""
    return State("OK" if integrity == Integrity.OK else integrity, _TONES.get(integrity, "unknown"))


def state_of_severity(severity: Severity) -> State:
    """Return how the severity of a finding looks."""
    return State(severity, _SEVERITIES.get(severity, "unknown"))


def facts(items: Sequence[tuple[str, str]]) -> tuple[Fact, ...]:
    """Return labelled lines, without those that are empty."""
    return tuple(Fact(label, text) for label, text in items if text)


def file_of(path: str) -> str:
    """Return the last part of a path, for a heading."""
    return path.rstrip("/").rpartition("/")[2] or path
