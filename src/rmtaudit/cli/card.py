"""``rmtaudit card``: write the audit of a model into its model card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rmtaudit.cli.errors import FINE, INCONCLUSIVE, note
from rmtaudit.cli.help import Command
from rmtaudit.cli.output import output_file
from rmtaudit.errors import InputError

if TYPE_CHECKING:
    from rmtaudit.report.model import Report


@click.command(
    cls=Command,
    examples=[
        ("card report.json README.md", "Write a saved report into a model card"),
        ("card model.safetensors README.md", "Scan the model with the preset default first"),
    ],
)
@click.argument("subject", metavar="MODEL|REPORT.json", type=click.Path(path_type=Path))
@click.argument("target", metavar="CARD.md", type=click.Path(path_type=Path, dir_okay=False))
@click.option("-q", "--quiet", is_flag=True, help="Print nothing on success.")
def card(subject: Path, target: Path, quiet: bool) -> int:
    """Write the audit of a model into its model card, as a section that is updated in place.

    The section stands between the comments <!-- rmtaudit:begin --> and <!-- rmtaudit:end -->. It replaces
    the one that is there, or is added at the end; a card that does not exist is created. Nothing else in the
    file changes. Exit code 3: no weight matrix could be analysed.
    """
    from rmtaudit.report.card import card_section, with_section

    before = _bytes(target)
    report = _report(subject)
    after = with_section(before, card_section(report), where=str(target))
    say = note(quiet=quiet)
    if after == before:
        say(f"{target}: the section is up to date")
    else:
        with output_file(target, [subject]) as file:
            file.write_bytes(after)
        say(f"{target}: the section was written")
    return FINE if any(layer.status == "ok" for layer in report.layers) else INCONCLUSIVE


def _bytes(card: Path) -> bytes:
    try:
        return card.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError("RA-CA-003", f"The file cannot be read: {reason}.", where=str(card)) from error


def _report(subject: Path) -> Report:
    if subject.suffix.lower() == ".json" and subject.is_file():
        from rmtaudit.report.files import load_report

        return load_report(subject)
    from rmtaudit.engine.scan.api import scan

    return scan(subject)
