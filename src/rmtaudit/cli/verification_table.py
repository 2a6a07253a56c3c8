"""How a second opinion looks in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rmtaudit.cli.verification import accuracy_text, deviation_text
from rmtaudit.names import display_name


def draw_verification(console: Console, document: Mapping[str, Any]) -> None:
    """Print the largest deviation of every quantity."""
    console.print(Text(f"second opinion: {document['outcome']}", style="bold"))
    if document["largest"]:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
        for name in ("quantity", "where it is largest", "library"):
            table.add_column(name, no_wrap=name != "where it is largest", overflow="fold")
        for name in ("ours", "theirs", "deviation", "accuracy"):
            table.add_column(name, justify="right", no_wrap=True)
        for each in document["largest"]:
            cells = (
                each["quantity"], display_name(each["owner"]), each["library"], _number(each["ours"]),
                _number(each["theirs"]), deviation_text(each), accuracy_text(each),
            )  # fmt: skip
            table.add_row(*(Text(cell) for cell in cells), style="" if each["agrees"] else "red")
        console.print(table)
    for each in document["not_compared"]:
        owner = f"{display_name(each['owner'])}: " if each["owner"] else ""
        console.print(
            Text(f"not compared: {owner}{display_name(each['reason'], longest=400)}", style="yellow")
        )


def _number(value: float | None) -> str:
    return "—" if value is None else f"{value:.10g}"
