"""``rmtaudit cache``: the store of a zoo."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rmtaudit.cli.errors import COULD_NOT_JUDGE, FINE
from rmtaudit.cli.help import Command, Group
from rmtaudit.names import display_name

if TYPE_CHECKING:
    from rmtaudit.engine.resources.store import RecordStore

_STORE = click.argument("store", metavar="DIR", type=click.Path(path_type=Path))
_FORMAT = click.option(
    "--format", "format_", type=click.Choice(["table", "json"]), help="Format of the result."
)


@click.group(cls=Group)
def cache() -> None:
    """List, check and clean the store of a zoo.

    DIR is the folder that `rmtaudit zoo --out` wrote, or a store.
    """


@cache.command("ls", cls=Command, examples=[("cache ls out/", "List the models of a store")])
@_STORE
@_FORMAT
def list_models(store: Path, format_: str | None) -> int:
    """List the models that a store has reports of."""
    from rmtaudit.engine.resources.memory_size import format_bytes
    from rmtaudit.engine.resources.store import Index, Kind

    records = _opened(store)
    with Index(records) as index:
        paths = index.paths()
        rows = [
            {
                "name": model.name,
                "record": records.relative(Kind.MODEL, model.name),
                "bytes": model.size,
                "format": model.summary["format"],
                "parameters": model.summary["parameters"],
                "preset": model.summary["preset"],
                "paths": paths.get(model.name, []),
            }
            for model in index.models()
        ]
    if format_ == "json":
        sys.stdout.write(json.dumps({"models": rows}, indent=2) + "\n")
        return FINE
    heads = ("record", "preset", "format", "parameters", "path")
    table = [
        (
            row["name"][:12],
            row["preset"],
            row["format"],
            f"{row['parameters']:,}",
            _paths_cell(row["paths"]),
        )
        for row in rows
    ]
    _write_columns([heads, *table])
    size = sum(row["bytes"] for row in rows)
    click.echo(f"{len(rows):,} models, {format_bytes(size)} of reports")
    return FINE


@cache.command(cls=Command, examples=[("cache verify out/", "Compare every record with its checksum")])
@_STORE
@_FORMAT
def verify(store: Path, format_: str | None) -> int:
    """Read every record, and compare it with its checksum and the index with the records.

    Exit code 2: something is wrong. Damaged records are never used; the next run computes them again.
    """
    from rmtaudit.engine.resources.memory_size import format_bytes
    from rmtaudit.engine.resources.store.upkeep import verify_store

    checked = verify_store(_opened(store))
    if format_ == "json":
        problems = [{"file": each.file, "reason": each.reason} for each in checked.problems]
        counts = {str(kind): count for kind, count in checked.counts.items()}
        document = {"records": counts, "bytes": checked.bytes, "problems": problems}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        for problem in checked.problems:
            click.echo(f"{display_name(problem.file)}: {problem.reason}")
        counted = ", ".join(f"{count:,} {kind}" for kind, count in checked.counts.items())
        click.echo(f"checked {counted or 'nothing'}; {format_bytes(checked.bytes)}")
        click.echo(
            f"{len(checked.problems)} problems"
            if checked.problems
            else "all are unchanged since they were written"
        )
    return COULD_NOT_JUDGE if checked.problems else FINE


@cache.command(
    "gc",
    cls=Command,
    examples=[
        ("cache gc out/ --dry-run", "See what would be removed"),
        ("cache gc out/", "Remove it, and rebuild the index"),
    ],
)
@_STORE
@click.option("--dry-run", is_flag=True, help="List what would be removed, and remove nothing.")
def collect(store: Path, dry_run: bool) -> int:
    """Remove unused records, and rebuild the index.

    That is: damaged records, what killed processes left behind, reports of files that are gone or have
    changed, and the layers of these alone. What was written in the last hour is kept.
    """
    from rmtaudit.engine.resources.memory_size import format_bytes
    from rmtaudit.engine.resources.store.upkeep import collect_garbage

    garbage = collect_garbage(_opened(store), dry_run=dry_run)
    by_reason: dict[str, int] = {}
    for each in garbage:
        by_reason[each.reason] = by_reason.get(each.reason, 0) + 1
    for reason, count in by_reason.items():
        click.echo(f"{count:,} {reason}")
    size = format_bytes(sum(each.bytes for each in garbage))
    click.echo(f"{'would remove' if dry_run else 'removed'} {len(garbage):,} files, {size}")
    return FINE


def _opened(folder: Path) -> RecordStore:
    from rmtaudit.engine.resources.store import RecordStore

    inner = folder / "store"
    return RecordStore(inner if inner.is_dir() else folder)


def _paths_cell(paths: Sequence[str]) -> str:
    if not paths:
        return "(no file)"
    others = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return display_name(paths[0], longest=400) + others


def _write_columns(rows: Iterable[tuple[str, ...]]) -> None:
    """Write rows in aligned columns; a library's table of 10,000 rows would take seconds."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    lines = (
        "  ".join([*(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    )
    sys.stdout.write("".join(f"{line}\n" for line in lines))
