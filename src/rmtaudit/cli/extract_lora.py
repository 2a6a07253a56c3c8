"""``rmtaudit extract-lora``: a fine-tune as a low-rank adapter of its base."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmtaudit.cli.errors import FINE
from rmtaudit.cli.help import Command
from rmtaudit.cli.output import DocumentOutput, document_table_options
from rmtaudit.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console


@click.command(
    "extract-lora",
    cls=Command,
    examples=[
        ("extract-lora base/ tuned/ --out adapter/", "Take the rank of each layer from its rounding floor"),
        ("extract-lora base/ tuned/ --out adapter/ --rank 16", "Keep 16 singular values of each update"),
    ],
)
@click.argument("base", metavar="BASE", type=click.Path(path_type=Path))
@click.argument("candidate", metavar="CANDIDATE", type=click.Path(path_type=Path))
@click.option(
    "--out",
    "folder",
    metavar="ADAPTER",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of the adapter.",
)
@click.option(
    "--rank",
    metavar="N|auto",
    default="auto",
    show_default=True,
    help=("Rank of every update; auto: as many singular values as exceed the rounding of the weights."),
)
@click.option("--force", is_flag=True, help="Replace an adapter that is in the folder.")
@document_table_options
def extract_lora(
    base: Path, candidate: Path, folder: Path, rank: str, force: bool, top: int, out: DocumentOutput
) -> int:
    """Write what a fine-tune changed as a LoRA adapter of its base.

    BASE and CANDIDATE are files or folders as `rmtaudit scan` takes them. The change of every dense weight is
    factored, and written as PEFT reads it: adapter_model.safetensors and adapter_config.json. The table has
    the rank of each update and what it leaves out. Changes of norms, biases, convolutions and embeddings are
    listed, and not in the adapter.
    """
    from rmtaudit.checkpoints import open_checkpoint

    number = _rank(rank)
    with out.open([base, candidate]) as emit:
        with open_checkpoint(base) as first, open_checkpoint(candidate) as second:
            from rmtaudit.engine.extraction import extract_adapter, write_adapter  # torch, once both are open
            from rmtaudit.engine.extraction.folder import check_free

            check_free(folder, force=force)
            extraction = extract_adapter(first, second, rank=number)
        write_adapter(extraction, folder, base=str(base), force=force)
        document = extraction.document(str(base), str(candidate), str(folder))

        def draw(console: Console, document: Mapping[str, Any]) -> None:
            from rmtaudit.cli.edit_tables import draw_extraction

            draw_extraction(console, document, top)

        emit(document, draw)
    return FINE


def _rank(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError("RA-US-816", f"--rank {text!r} is neither a number of at least 1 nor 'auto'.")
    return int(text)
