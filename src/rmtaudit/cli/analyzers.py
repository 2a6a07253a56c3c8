"""``rmtaudit analyzers``: what is installed, and what it yields."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Any

import click

from rmtaudit.cli.help import Command

if TYPE_CHECKING:
    from rmtaudit.analyzers.registry import Installed


@click.command(
    cls=Command,
    examples=[
        ("analyzers --format json", "As JSON, for a program"),
    ],
)
@click.option(
    "--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True,
    help="Format of the list.",
)  # fmt: skip
def analyzers(format_: str) -> None:
    """List the analyzers that are installed.

    One that cannot be loaded is listed with the reason.
    """
    from rmtaudit.analyzers.registry import installed

    rows = installed()
    if format_ == "json":
        documents = [_document(row) for row in rows]
        sys.stdout.write(json.dumps(documents, allow_nan=False, ensure_ascii=True, indent=2) + "\n")
    else:
        _print_table(rows)


def _document(row: Installed) -> dict[str, Any]:
    analyzer = row.analyzer
    return {
        "name": row.name,
        "distribution": row.distribution,
        "version": row.version,
        "problem": row.problem,
        "needs": sorted(analyzer.needs) if analyzer else [],
        "options": {field.name: _default(field) for field in dataclasses.fields(analyzer.Options)}
        if analyzer
        else {},
        "metrics": [dataclasses.asdict(metric) for metric in analyzer.metrics] if analyzer else [],
    }


def _default(field: dataclasses.Field[Any]) -> Any:
    return None if field.default is dataclasses.MISSING else field.default


def _print_table(rows: tuple[Installed, ...]) -> None:
    from rmtaudit.names import display_name

    for row in rows:
        owner = f"{row.distribution} {row.version}".strip()
        click.echo(f"{display_name(row.name)}  ({display_name(owner)})")
        if row.analyzer is None:
            click.echo(f"  cannot be used: {display_name(row.problem)}")
            continue
        options = ", ".join(
            f"{field.name}={_default(field)!r}" for field in dataclasses.fields(row.analyzer.Options)
        )
        click.echo(f"  options: {display_name(options) or 'none'}")
        for metric in row.analyzer.metrics:
            unit = f" [{metric.unit}]" if metric.unit else ""
            click.echo(
                f"  {display_name(metric.name)}{display_name(unit)}: {display_name(metric.description)}"
            )
