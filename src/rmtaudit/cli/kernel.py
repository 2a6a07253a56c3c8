"""``rmtaudit kernel``: the neural tangent kernel or the conjugate kernel of a network, on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmtaudit.cli.errors import FINE, INCONCLUSIVE
from rmtaudit.cli.help import Command
from rmtaudit.cli.logdet import handling_signals
from rmtaudit.cli.network_flags import network_flags, network_settings
from rmtaudit.cli.output import DocumentOutput, document_options
from rmtaudit.cli.progress import steps_watched
from rmtaudit.errors import StoppedWorkError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from rmtaudit.engine.kernel.requests import KernelRequest


@click.command(
    cls=Command,
    examples=[
        (
            "kernel ntk ./model --data inputs.npz --out K.zarr",
            "The neural tangent kernel of a model's folder",
        ),
        (
            "kernel ntk net.py:cnn --allow-code --data x.npz --out K.zarr",
            "The neural tangent kernel of a network of your own",
        ),
        (
            "kernel ntk ./model --data x.npz --out K.zarr --pipe logdet --tol 1",
            "Compute as much of the kernel as its log-determinant needs",
        ),
        ("kernel ck ./model --data x.npz --out K.zarr", "The conjugate kernel"),
    ],
)
@click.argument("kind", metavar="ntk|ck", type=click.Choice(["ntk", "ck"]))
@click.argument("model", metavar="MODEL")
@network_flags
@click.option(
    "--out",
    "folder",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    required=True,
    help="The zarr array that is written.",
)
@click.option(
    "--outputs",
    "columns_of",
    metavar="WHICH",
    default="all",
    show_default=True,
    help="all: a row for each output of a sample; sum: the pseudo-NTK; 3 or 0,4: these outputs.",
)
@click.option(
    "--features",
    metavar="NAME",
    help="For ck: the module whose input is used.  [default: the last linear layer]",
)
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help="The first N samples.  [default: all]")
@click.option(
    "--shuffle/--no-shuffle",
    default=None,
    help="Take the samples in a random order.  [default: with --pipe]",
)
@click.option(
    "--pipe",
    type=click.Choice(["logdet"]),
    help=("Also compute the log-determinant while the kernel is computed."),
)
@click.option(
    "--tol",
    "tolerance",
    metavar="T",
    type=click.FloatRange(min=0, min_open=True),
    help="With --pipe: half-width in nats per dimension at which to stop.",
)
@click.option(
    "--confidence",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
    help="With --pipe: coverage of the interval.",
)
@click.option(
    "--block",
    "samples_a_block",
    metavar="N",
    type=click.IntRange(min=1),
    help="Samples in each block.  [default: as many as --memory allows]",
)
@click.option(
    "--seed",
    metavar="N",
    type=click.IntRange(min=0, max=2**63 - 1),
    default=0,
    show_default=True,
    help="Seed of the order.",
)
@click.option(
    "--memory",
    metavar="SIZE",
    help="Working memory: 4GB, 50%, bytes.  [default: half of what is free, at most 2 GiB]",
)
@click.option("--threads", metavar="N", type=click.IntRange(min=1), help="Threads.  [default: all CPUs]")
@click.option("--resume", is_flag=True, help="Resume an interrupted run.")
@document_options(quiet="Nothing on stderr; with -o, no table either.")
def kernel(kind: str, model: str, folder: Path, out: DocumentOutput, **flags: Any) -> int:
    """Form the neural tangent kernel (ntk) or the conjugate kernel (ck) of a network, on disk.

    MODEL is the folder of a transformers model, or module:factory or file.py:factory with --allow-code. The
    kernel is a symmetric zarr array, formed block by block: `rmtaudit logdet`, `density` and `tails` read it.
    Finished blocks survive a kill; --resume continues with them.
    """
    with handling_signals() as signals:
        signals.graceful = True
        return _run(_request(kind, model, folder, flags), flags["data"], out, signals.stop)


def _request(kind: str, model: str, folder: Path, flags: Mapping[str, Any]) -> KernelRequest:
    from rmtaudit.engine.kernel.settings import KernelKind, KernelSettings
    from rmtaudit.engine.networks.opening import check_network
    from rmtaudit.engine.resources.memory_size import parse_memory

    if flags["tolerance"] is not None and flags["pipe"] is None:
        raise UsageError("RA-KN-001", "--tol requires --pipe logdet.")
    try:
        memory = None if flags["memory"] is None else parse_memory(flags["memory"])
    except ValueError as error:
        raise UsageError("RA-KN-001", f"--memory is {error}, not '{flags['memory']}'.") from None
    settings = KernelSettings(
        kind=KernelKind(kind),
        outputs=flags["columns_of"],
        features=flags["features"],
        block=flags["samples_a_block"],
        memory=memory,
        limit=flags["limit"],
        shuffle=flags["pipe"] is not None if flags["shuffle"] is None else flags["shuffle"],
        seed=flags["seed"],
        resume=flags["resume"],
    )
    network = network_settings(flags)
    check_network(model, network)
    from rmtaudit.engine.kernel.requests import KernelRequest
    from rmtaudit.engine.logdet.settings import LogdetSettings

    logdet = None
    if flags["pipe"] is not None:
        logdet = LogdetSettings(
            tolerance=flags["tolerance"],
            confidence=flags["confidence"],
            memory=memory,
            seed=flags["seed"],
        )
    return KernelRequest(
        model=model,
        data=flags["data"],
        out=folder,
        network=network,
        kernel=settings,
        logdet=logdet,
        threads=flags["threads"],
    )


def _run(request: KernelRequest, data: Path, out: DocumentOutput, stop: Any) -> int:
    from rmtaudit.engine.kernel.requests import answer_request

    with out.open([data]) as emit, steps_watched("blocks", enabled=not out.quiet) as progress:
        try:
            document, answer = answer_request(request, stop=stop, progress=progress)
        except StoppedWorkError as stopped:
            click.echo(f"rmtaudit: {stopped.message}", err=True)
            click.echo("  hint: Run the same command with --resume to continue.", err=True)
            raise KeyboardInterrupt from None
        emit(document, _draw)
    return FINE if answer is None or answer.complete else INCONCLUSIVE


def _draw(console: Console, document: Mapping[str, Any]) -> None:
    from rmtaudit.cli.kernel_table import draw_kernel

    draw_kernel(console, document)
