"""``rmtaudit inspect``: the tensors of a checkpoint and the decision on each, without a spectrum."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from rmtaudit.cli.errors import FINE, INCONCLUSIVE, note, placed, print_error
from rmtaudit.cli.help import Command
from rmtaudit.cli.output import DocumentOutput, document_options
from rmtaudit.errors import NothingAuditableError, RmtauditError

if TYPE_CHECKING:
    from rich.console import Console


@click.command(
    cls=Command,
    examples=[
        ("inspect model.gguf", "List the tensors of a file"),
        ("inspect model/ --format json", "As JSON, for a program"),
    ],
)
@click.argument("path", metavar="PATH", type=click.Path(path_type=Path))
@click.option(
    "--conv",
    type=click.Choice(["flattened", "slices-pooled", "slices"]),
    default="flattened",
    show_default=True,
    help="How a convolution becomes matrices.",
)
@click.option(
    "--top",
    metavar="N",
    type=click.IntRange(min=0),
    help=("List the first N tensors; 0: all.  [default: up to 40; beyond that, similar tensors share a row]"),
)
@click.option("--all", "all_rows", is_flag=True, help="List every tensor: --top 0.")
@click.option(
    "--stream",
    is_flag=True,
    help=("As for scan; for a model of the Hugging Face Hub, inspect never transfers more than headers."),
)
@document_options(quiet="With -o, no table.")
def inspect(
    path: Path,
    conv: Literal["flattened", "slices-pooled", "slices"],
    top: int | None,
    all_rows: bool,
    stream: bool,
    out: DocumentOutput,
) -> int:
    """List the tensors of a checkpoint and what a scan would do with each.

    PATH is a file or folder as `rmtaudit scan` takes it; of a model of the Hugging Face Hub that is not in
    the local cache, only headers are transferred. The header alone is read: dtypes, quantisation schemes,
    layers and the reasons for what is left out come without a spectrum. Exit code 3: a scan would find
    nothing to analyse.
    """
    del stream  # headers are never worth a download
    from rmtaudit.checkpoints import open_checkpoint
    from rmtaudit.checkpoints.collector import collector_paused
    from rmtaudit.checkpoints.remote.addresses import shown
    from rmtaudit.checkpoints.remote.locate import located
    from rmtaudit.engine.inspect.document import Inspection, inspection_of

    with out.open([path], dumps=Inspection.text) as emit, collector_paused():
        try:
            found = located(path, stream=True, notify=note(quiet=out.quiet))
            with open_checkpoint(found) as checkpoint:
                inspection = inspection_of(checkpoint, conv=conv)
        except RmtauditError as error:
            raise placed(error, path) from error

        def draw(console: Console, inspection: Inspection) -> None:
            from rmtaudit.cli.inspect_table import draw_inspection

            draw_inspection(console, inspection, 0 if all_rows else top)

        emit(inspection, draw)
    if inspection.summary["coverage"]["layers"]:
        return FINE
    print_error(
        NothingAuditableError(
            "RA-NA-001",
            "No weight matrix could be analysed.",
            hint="The list gives the reason for every tensor.",
            where=shown(path),
        )
    )
    return INCONCLUSIVE
