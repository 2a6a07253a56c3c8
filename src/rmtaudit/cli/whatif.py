"""``rmtaudit whatif``: how far an edit would take every layer, before it is made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmtaudit.cli.edit_flags import edit_options, required_edit
from rmtaudit.cli.errors import FINE, placed
from rmtaudit.cli.help import Command
from rmtaudit.cli.output import DocumentOutput, document_table_options
from rmtaudit.errors import RmtauditError

if TYPE_CHECKING:
    from rich.console import Console


@click.command(
    cls=Command,
    examples=[
        ("whatif model.safetensors --quantise int4-g128", "Before quantising"),
        ("whatif model.safetensors --truncate 64", "Preview a low-rank approximation"),
        ("whatif model.safetensors --prune 0.5 --format json", "Preview pruning half of the entries"),
    ],
)
@click.argument("path", metavar="PATH", type=click.Path(path_type=Path))
@edit_options
@document_table_options
def whatif(
    path: Path,
    quantise: str | None,
    truncate: float | None,
    prune: float | None,
    top: int,
    out: DocumentOutput,
) -> int:
    """Show how much an edit would change every layer of a checkpoint, the largest change first.

    PATH is a file or folder as `rmtaudit scan` takes it; nothing is written to it. Give one of --quantise,
    --truncate and --prune. The distortion of a layer is no measure of harm: which layer's edit costs a model
    most is not in its weights alone.
    """
    from rmtaudit.checkpoints import open_checkpoint
    from rmtaudit.engine.whatif import preview

    edit = required_edit(quantise, truncate, prune)
    with out.open([path]) as emit:
        try:
            with open_checkpoint(path) as checkpoint:
                document = preview(checkpoint, edit)
        except RmtauditError as error:
            raise placed(error, path) from error

        def draw(console: Console, document: Mapping[str, Any]) -> None:
            from rmtaudit.cli.edit_tables import draw_whatif

            draw_whatif(console, document, top)

        emit(document, draw)
    return FINE
