"""``rmtaudit doctor``: what this installation has, and the command that adds what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rmtaudit.cli.errors import COULD_NOT_JUDGE, FINE
from rmtaudit.cli.help import Command
from rmtaudit.cli.output import DocumentOutput, document_options
from rmtaudit.names import display_name

if TYPE_CHECKING:
    from rich.console import Console

    from rmtaudit.engine.doctor.checkup import Check, Checkup

_STYLES = {"ok": "green", "missing": "yellow", "problem": "bold red"}


@click.command(
    cls=Command,
    examples=[
        ("doctor", "Check this installation"),
        ("doctor --format json -o doctor.json", "Save the result for a bug report"),
    ],
)
@document_options(quiet="With -o, no table.")
def doctor(out: DocumentOutput) -> int:
    """Check this installation: versions, linear algebra, resources, optional packages, plugins.

    What is missing is listed with the command that adds it. The linear algebra is tested on matrices whose
    eigenvalues are known. Exit code 2: there is a problem, so that a command could fail or be wrong; a
    missing optional package is none.
    """
    from rmtaudit.engine.doctor.checkup import check_installation

    with out.open([]) as emit:
        checkup = check_installation(Path.cwd())

        def draw(console: Console, _: object) -> None:
            draw_checkup(console, checkup)

        emit(checkup.document(), draw)
    return COULD_NOT_JUDGE if checkup.problems else FINE


def draw_checkup(console: Console, checkup: Checkup) -> None:
    """Draw the checks under their headings, and a sentence about all."""
    from rich.table import Table
    from rich.text import Text

    areas: dict[str, list[Check]] = {}
    for check in checkup.checks:
        areas.setdefault(check.area, []).append(check)
    for area, checks in areas.items():
        console.print(Text(area, style="bold"))
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold", max_width=32)
        grid.add_column(overflow="fold")
        for check in checks:
            text = Text(display_name(check.detail, longest=500))
            if check.fix:
                text.append(f"\n{display_name(check.fix, longest=500)}", style="cyan")
            state = Text(f"  {check.state}", style=_STYLES[check.state])
            grid.add_row(state, Text(display_name(check.name)), text)
        console.print(grid)
    missing = sum(check.state == "missing" for check in checkup.checks)
    problems = len(checkup.problems)
    console.print(
        Text(
            f"{problems} problem{'' if problems == 1 else 's'}; {missing} optional "
            f"component{'' if missing == 1 else 's'} missing.",
            style="red" if problems else "",
        )
    )
