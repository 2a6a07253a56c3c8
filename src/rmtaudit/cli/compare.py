"""``rmtaudit compare``: what happened between two checkpoints."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rmtaudit.cli.errors import FINE, INCONCLUSIVE, note, placed, print_error
from rmtaudit.cli.flags import device_option
from rmtaudit.cli.help import Command
from rmtaudit.cli.output import format_for, output_file, output_options
from rmtaudit.errors import NothingAuditableError, RmtauditError, UsageError

if TYPE_CHECKING:
    from rmtaudit.checkpoints import Checkpoint
    from rmtaudit.engine.compare.settings import CompareSettings
    from rmtaudit.engine.resources.device_names import Device
    from rmtaudit.report.comparison import Comparison

FORMATS = ("table", "json", "markdown", "html")


@click.command(
    cls=Command,
    examples=[
        ("compare base/ tuned/", "See what a fine-tune did to a model"),
        ("compare model.safetensors model.gguf --no-metrics", "Check a conversion"),
        ("compare base/ tuned/ -o comparison.json", "As JSON, for a program"),
        ("compare base/ model.gguf --claim 'Q4_K_M of BASE'", "Check what a file is claimed to be"),
    ],
)
@click.argument("base", metavar="BASE", type=click.Path(path_type=Path))
@click.argument("candidate", metavar="CANDIDATE", type=click.Path(path_type=Path))
@click.option(
    "--metrics/--no-metrics",
    default=True,
    show_default=True,
    help="Compute alpha, norms and ranks of both sides of every layer that changed.",
)
@click.option(
    "--top",
    metavar="N",
    type=click.IntRange(min=0),
    default=25,
    show_default=True,
    help="Rows of the table, those that changed most first; 0: all.",
)
@click.option("--all", "all_rows", is_flag=True, help="Show every row of the table, including vectors.")
@click.option(
    "--stream",
    is_flag=True,
    help="Read models of the Hugging Face Hub over the network, layer by layer, and write nothing to disk.",
)
@click.option(
    "--claim",
    metavar="CLAIM",
    help=(
        "Check a claim instead: 'Q4_K_M of BASE', 'bf16 of BASE', 'lora:ADAPTER', 'lora:ADAPTER@0.5' or "
        "'merge: .5 A + .5 B'. Exit codes: 0 consistent, 1 inconsistent, 3 cannot be told."
    ),
)
@click.option("--memory", metavar="SIZE", help="Budget for matrices in flight: 4GB, 50%, bytes.")
@click.option(
    "--threads", metavar="N", type=click.IntRange(min=1), help="Number of pairs to process in parallel."
)
@device_option
@click.option("--seed", metavar="N", type=click.IntRange(min=0), default=0, help="Random seed.")
@output_options(FORMATS)
@click.option("-q", "--quiet", is_flag=True, help="No progress; with -o, no table either.")
def compare(
    base: Path,
    candidate: Path,
    metrics: bool,
    top: int,
    all_rows: bool,
    stream: bool,
    claim: str | None,
    memory: str | None,
    threads: int | None,
    device: Device,
    seed: int,
    format_: str | None,
    output: Path | None,
    quiet: bool,
) -> int:
    """Say what happened between two checkpoints: fine-tuned, merged, pruned, quantised, converted.

    BASE and CANDIDATE are files or folders as `rmtaudit scan` takes them. Tensors are matched by name, by
    place and by content; each pair gets a diagnosis with its numbers, the size of the change, and the share
    of the base's signal that survives. Exit code 3: nothing could be compared.
    """
    from rmtaudit.checkpoints.remote.addresses import shown
    from rmtaudit.engine.compare.settings import CompareSettings
    from rmtaudit.engine.resources.memory_size import parse_memory

    chosen = format_for(format_, output, FORMATS)
    budget = None if memory is None else parse_memory(memory)
    if claim is not None:
        from rmtaudit.cli.claim import check

        if device == "cuda":
            message = "A claim is checked on the CPU: --claim does not go with --device cuda."
            raise UsageError("RA-US-004", message, hint="Leave --device out.")

        with (
            _opened(base, stream=stream, quiet=quiet) as first,
            _opened(candidate, stream=stream, quiet=quiet) as second,
        ):
            return check(
                (first, second),
                claim,
                chosen,
                output=output,
                quiet=quiet,
                memory=budget,
                threads=threads,
            )
    with output_file(output, [base, candidate]) if output else nullcontext() as file:
        settings = CompareSettings(metrics=metrics, memory=budget, threads=threads, seed=seed, device=device)
        result = _compared(base, candidate, settings, stream=stream, quiet=quiet)
        if file is not None:
            file.write(_rendered(result, chosen, top, all_rows=all_rows))
        if file is None and chosen != "table":
            sys.stdout.write(_rendered(result, chosen, top, all_rows=all_rows))
        elif file is None or not quiet:
            from rmtaudit.cli.compare_table import draw_comparison
            from rmtaudit.cli.table import stdout_console

            draw_comparison(stdout_console(), result, top, all_rows=all_rows)
    if result.coverage.compared:
        return FINE
    print_error(
        NothingAuditableError(
            "RA-NA-001",
            "No tensors of the two could be compared.",
            hint=(
                "The report lists the tensors without a counterpart. Check that both models "
                "have the same architecture."
            ),
            where=shown(candidate),
        )
    )
    return INCONCLUSIVE


def _compared(
    base: Path, candidate: Path, settings: CompareSettings, *, stream: bool, quiet: bool
) -> Comparison:
    from rmtaudit.cli.progress import watch

    with (
        _opened(base, stream=stream, quiet=quiet) as first,
        _opened(candidate, stream=stream, quiet=quiet) as second,
        watch(candidate.name or str(candidate), enabled=not quiet) as watcher,
    ):
        from rmtaudit.engine.compare.run import compare_checkpoints  # torch, once both are recognised

        return compare_checkpoints(first, second, settings, progress=watcher)


@contextmanager
def _opened(path: Path, *, stream: bool, quiet: bool) -> Iterator[Checkpoint]:
    """Open a checkpoint; an error names it as the user wrote it."""
    from rmtaudit.checkpoints import open_checkpoint
    from rmtaudit.checkpoints.remote.locate import located

    try:
        checkpoint = open_checkpoint(located(path, stream=stream, notify=note(quiet=quiet)))
    except RmtauditError as error:
        raise placed(error, path) from error
    with checkpoint:
        yield checkpoint


def _rendered(result: Comparison, format_: str, top: int, *, all_rows: bool) -> str:
    if format_ == "json":
        return result.to_json()
    if format_ == "markdown":
        return result.to_markdown()
    if format_ == "html":
        return result.to_html()
    from rmtaudit.cli.compare_table import draw_comparison
    from rmtaudit.cli.table import drawn_text

    return drawn_text(lambda console: draw_comparison(console, result, top, all_rows=all_rows))
