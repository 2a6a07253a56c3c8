"""How the tensors of a checkpoint look in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rmtaudit.cli.grid import label_grid
from rmtaudit.cli.table import elide
from rmtaudit.names import display_name
from rmtaudit.report.labels import whole_labels
from rmtaudit.report.numbers import human_count, percent

if TYPE_CHECKING:
    from rmtaudit.engine.inspect.document import Inspection

_VALUES = (
    "Run rmtaudit scan to find what only the values show (constants, copies, values that are not finite)."
)
_NARROWEST = 24
_LONGEST_SHAPE = 24
_ANALYSED = "analysed"
_COUNT = "tensors"
_MOST_ROWS = 40
"""Rows of the table unless the user says how many: those of a screen or two."""


def draw_inspection(console: Console, inspection: Inspection, top: int | None) -> None:
    """Print what :mod:`rmtaudit.engine.inspect.document` returns.

    ``top`` is the number of tensors that are listed, 0 for all; ``None`` lists up to 40, and puts those that
    are alike in one row where there are more.
    """
    document = inspection.summary
    subject = document["subject"]
    path = PurePath(subject["path"])
    console.print(Text(display_name(path.name or str(path)), style="bold", overflow="fold"))
    facts = (
        display_name(subject["format"]),
        f"{subject['tensors']} tensors",
        f"{human_count(subject['parameters'])} parameters",
    )
    console.print(Text(" · ".join(facts), style="dim"))
    if top is None and inspection.count > _MOST_ROWS:
        groups = inspection.groups()
        shown = groups[:_MOST_ROWS]
        console.print()
        console.print(_tensors([each for _, each in shown], console.width, [count for count, _ in shown]))
        left = sum(count for count, _ in groups[_MOST_ROWS:])
        rest = f"… and {left} more; " if left else ""
        console.print(Text(f"{rest}--all lists every tensor", style="dim"))
    elif inspection.count:
        tensors = inspection.tensors(top or None)
        console.print()
        console.print(_tensors(tensors, console.width))
        if inspection.count > len(tensors):
            left = inspection.count - len(tensors)
            console.print(Text(f"… and {left} more: --top 0 shows all", style="dim"))
    console.print()
    console.print(label_grid(_totals(document)))
    console.print(Text(_VALUES, style="dim"))


def _tensors(tensors: Sequence[Mapping[str, Any]], width: int, counts: Sequence[int] | None = None) -> Table:
    """Return the table: the name has what the other columns leave, and the decision the rest.

    ``counts`` are the tensors that each row stands for; there is no such column where each is one.
    """
    shapes = [elide("×".join(map(str, each["shape"])) or "scalar", _LONGEST_SHAPE) for each in tensors]
    stored = [elide(display_name(_stored_as(each)), _LONGEST_SHAPE) for each in tensors]
    decisions = [display_name(_decision(each)) for each in tensors]
    labels = whole_labels([each["name"] for each in tensors])
    numbers = None if counts is None else [str(count) for count in counts]
    room = width - max(map(len, [*shapes, "shape"])) - max(map(len, [*stored, "stored as"])) - 6
    if numbers is not None:
        room -= max(map(len, [*numbers, _COUNT])) + 2
    longest = max(map(cell_len, labels.texts))
    wanted = max(map(len, decisions))
    name_width = min(longest, max(_NARROWEST, room - min(wanted, max(room // 2, _NARROWEST))))
    names = labels.fitted(name_width, measure=cell_len)
    name_width = max(map(cell_len, names))
    decision_width = max(room - name_width, _NARROWEST)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    heads = [("tensor", False), ("shape", True), ("stored as", False), ("decision", False)]
    if numbers is not None:
        heads.insert(1, (_COUNT, True))
    for head, right in heads:
        table.add_column(Text(head), justify="right" if right else "left", no_wrap=True)
    for index, each in enumerate(tensors):
        cells = [
            names[index],
            shapes[index],
            stored[index],
            elide(decisions[index], decision_width, keep_end=False),
        ]
        if numbers is not None:
            cells.insert(1, numbers[index])
        table.add_row(*map(Text, cells), style="" if each["decision"] == _ANALYSED else "dim")
    return table


def _stored_as(tensor: Mapping[str, Any]) -> str:
    encoding = tensor["encoding"]
    return str(tensor["dtype"] if encoding is None else encoding["scheme"])


def _decision(tensor: Mapping[str, Any]) -> str:
    """Return the kind of the layers that a tensor becomes and their view, or why it becomes none."""
    layers = tensor["layers"]
    if tensor["decision"] != _ANALYSED:
        return str(tensor["reason"])
    kind = layers[0]["kind"]
    if len(layers) > 1:
        return f"{kind}, {len(layers)} matrices"
    rows, cols = layers[0]["shape"]
    shape = "" if layers[0]["shape"] == tensor["shape"] else f" {rows}×{cols}"
    view = "" if layers[0]["view"] == "as stored" else f": {layers[0]['view']}"
    return f"{kind}{shape}{view}"


def _totals(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    coverage = document["coverage"]
    layers = coverage["layers"]
    kinds = ", ".join(f"{count} {kind}" for kind, count in document["kinds"].items())
    share = f"{percent(coverage['fraction'])} of {human_count(coverage['parameters'])} parameters"
    places = f"in {layers} layer{'s' * (layers != 1)}{f': {kinds}' if kinds else ''}"
    lines = [("to analyse", f"{share} {places}")]
    left = [each for each in document["decisions"] if each["decision"] != _ANALYSED]
    if left:
        lines.append(("not analysed", " · ".join(_counted(each, "label") for each in left)))
    if document["stored_as"]:
        lines.append(("stored as", " · ".join(_counted(each, "stored_as") for each in document["stored_as"])))
    lines += [("note", display_name(note, longest=400)) for note in document["subject"]["warnings"]]
    return lines


def _counted(total: Mapping[str, Any], key: str) -> str:
    return f"{total['tensors']} {display_name(total[key])} ({human_count(total['parameters'])})"
