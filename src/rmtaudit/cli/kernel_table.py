"""How a kernel that was formed looks in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from rmtaudit.cli.grid import label_grid

_SHOWN = 3


def draw_kernel(console: Console, document: Mapping[str, Any]) -> None:
    """Print the document of a kernel (:mod:`rmtaudit.engine.kernel.requests`) on a console."""
    result, run = document["result"], document["run"]
    rows = result["shape"][0]
    console.print(Text(result["path"], style="bold"))
    console.print(label_grid(_lines(document)))
    for warning in document["warnings"]:
        console.print(Text(f"{warning['code']} {warning['message']}", style="yellow"))
    kept = f", {run['blocks_resumed']:,} of them from an earlier run" if run["blocks_resumed"] else ""
    threads = f"{run['threads']} thread{'s' * (run['threads'] != 1)}"
    console.print(
        Text(
            f"{result['blocks']:,} blocks{kept}; {run['wall_seconds']:.1f} s"
            f" ({run['cpu_seconds']:.1f} s CPU), {threads}",
            style="dim",
        )
    )
    if document["logdet"] is not None:
        from rmtaudit.cli.logdet_table import draw_logdet

        console.print()
        draw_logdet(console, document["logdet"])
    elif rows:
        console.print(Text(f"rmtaudit logdet {result['path']} --symmetric", style="dim"))


def _lines(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    result, subject = document["result"], document["subject"]
    names = {"ntk": "neural tangent kernel", "ck": "conjugate kernel"}
    rows, whole = result["shape"][0], result["shape_of_all"][0]
    part = f", the leading part of {whole:,} x {whole:,}" if rows < whole else ""
    yield names[result["kernel"]], f"{rows:,} x {rows:,}{part}"
    yield "network", f"{subject['network']['name']}, {subject['network']['origin']}"
    yield "samples", f"{result['samples']:,} of {subject['data']['name']}, order {result['order']}"
    yield "a row is", result["row"]
    yield "arithmetic", result["arithmetic"]
    routes = subject["network"].get("by_route")
    if routes:
        total = subject["network"]["parameters"]
        parts = [f"{count / total:.0%} by {name}" for name, count in routes.items() if count]
        yield "parameters", f"{total:,}: {', '.join(parts)}"
        slow = list(subject["network"]["slow"].items())
        for name, why in slow[:_SHOWN]:
            yield "", f"{name}: {why}"
        if len(slow) > _SHOWN:
            yield "", f"and {len(slow) - _SHOWN:,} more"
