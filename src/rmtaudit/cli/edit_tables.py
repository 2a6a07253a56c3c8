"""How previews of edits and extracted adapters look in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rmtaudit.cli.table import elide
from rmtaudit.names import display_name
from rmtaudit.report.numbers import human_count

_LEAST_NAME = 20


def draw_whatif(console: Console, document: Mapping[str, Any], top: int) -> None:
    """Print the document of :func:`rmtaudit.engine.whatif.preview`; ``top`` rows of the table, 0 for all."""
    edit = document["edit"]
    words = [f"{key} {value}" for key, value in edit.items() if key != "kind" and value is not None]
    console.print(Text(display_name(document["subject"]["path"]), style="bold", overflow="fold"))
    console.print(Text(f"if it were edited: {edit['kind']}, {', '.join(words)}", style="dim"))
    rows = [
        (
            each["name"],
            "×".join(map(str, each["shape"])),
            f"{each['relative_error']:.4f}",
            f"{each['spectral_error']:.4f}",
            f"{each['kept']:.0%}",
        )
        for each in document["layers"]
    ]
    print_rows(console, ("layer", "shape", "error", "spectral", "kept"), rows, top)
    console.print(
        Text(
            "error: Frobenius norm of the change over that of the weight. spectral: the same of "
            "largest singular values. kept: singular directions that stand out from the change. "
            "Distortion is not harm.",
            style="dim",
        )
    )
    _left_out(console, document["left_out"])


def draw_extraction(console: Console, document: Mapping[str, Any], top: int) -> None:
    """Print the document of an extracted adapter; ``top`` rows of the table, 0 for all."""
    console.print(Text(display_name(document["adapter"]), style="bold", overflow="fold"))
    facts = f"{len(document['updates'])} modules · {human_count(document['parameters'])} parameters"
    facts += f" · {document['unchanged']} modules unchanged"
    console.print(Text(facts, style="dim"))
    rows = [
        (
            each["module"],
            "×".join(map(str, each["shape"])),
            str(each["rank"]),
            str(each["resolved"]),
            f"{each['relative_change']:.4f}",
            f"{each['relative_error']:.4f}",
        )
        for each in document["updates"]
    ]
    print_rows(console, ("module", "shape", "rank", "resolved", "change", "left"), rows, top)
    console.print(
        Text(
            "resolved: singular values above the rounding of the weights. change: Frobenius norm "
            "of the update over that of the weight. left: share of the update's norm that the "
            "factors do not capture.",
            style="dim",
        )
    )
    _left_out(console, document["left_out"])


def print_rows(console: Console, heads: Sequence[str], rows: Sequence[Sequence[str]], top: int) -> None:
    """Print a table whose first column is a name, which is cut where the console is narrow."""
    shown = rows[:top] if top else rows
    widths = [max(len(row[i]) for row in (*shown, heads)) for i in range(1, len(heads))]
    room = max(_LEAST_NAME, console.width - sum(widths) - len(heads) - 1)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for index, head in enumerate(heads):
        table.add_column(Text(head), justify="right" if index else "left", no_wrap=True)
    for row in shown:
        table.add_row(Text(elide(display_name(row[0]), room)), *map(Text, row[1:]))
    console.print()
    console.print(table)
    if len(rows) > len(shown):
        console.print(Text(f"… and {len(rows) - len(shown)} more: --top 0 shows all", style="dim"))
    console.print()


def _left_out(console: Console, names: Sequence[str]) -> None:
    if names:
        first = ", ".join(display_name(name, longest=60) for name in names[:3])
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        console.print(Text(f"Skipped: {first}{more}.", style="dim"))
