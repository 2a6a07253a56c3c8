"""``rmtaudit activations``: the covariance of what each layer of a network is given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmtaudit.cli.errors import FINE, INCONCLUSIVE
from rmtaudit.cli.help import Command
from rmtaudit.cli.logdet import handling_signals
from rmtaudit.cli.network_flags import network_flags, network_settings
from rmtaudit.cli.output import DocumentOutput, document_table_options
from rmtaudit.cli.progress import steps_watched
from rmtaudit.errors import StoppedWorkError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from rmtaudit.engine.activations.requests import ActivationsRequest


@click.command(
    cls=Command,
    examples=[
        ("activations ./model --data texts.jsonl", "How many directions of its inputs each layer sees"),
        (
            "activations ./model --data x.jsonl --include '*.mlp.*' -o out.json",
            "Of some layers, with all numbers",
        ),
        (
            "activations nets.py:cnn --state cnn.pt --allow-code --data x.npz",
            "Of a network of your own",
        ),
    ],
)
@click.argument("model", metavar="MODEL")
@network_flags
@click.option(
    "--include",
    metavar="GLOB",
    multiple=True,
    help="Only layers whose name matches: '*.mlp.*'. Repeatable.",
)
@click.option(
    "--exclude", metavar="GLOB", multiple=True, help="Leave out layers whose name matches. Repeatable."
)
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help="The first N samples.  [default: all]")
@click.option(
    "--seed",
    metavar="N",
    type=click.IntRange(min=0, max=2**63 - 1),
    default=0,
    show_default=True,
    help="Seed of the positions, groups, and random directions.",
)
@click.option(
    "--batch",
    metavar="N",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="Samples that run together.",
)
@click.option(
    "--memory",
    metavar="SIZE",
    help="Working memory: 4GB, 50%, bytes.  [default: half of what is free, at most 2 GiB]",
)
@click.option("--threads", metavar="N", type=click.IntRange(min=1), help="Threads.  [default: all CPUs]")
@document_table_options
def activations(model: str, top: int, out: DocumentOutput, **flags: Any) -> int:
    """Measure the activations that each layer is given: their covariance, and what the weights make of it.

    MODEL is the folder of a transformers model, or module:factory or file.py:factory with --allow-code. Each
    sample gives one row, at a random position of it. Numbers are corrected for the number of samples and have
    errors. Exit code 3: some of them need more samples.
    """
    with handling_signals() as signals:
        signals.graceful = True
        return _run(_request(model, flags), flags["data"], top, out, signals.stop)


def _request(model: str, flags: Mapping[str, Any]) -> ActivationsRequest:
    from rmtaudit.engine.activations.settings import ActivationsSettings
    from rmtaudit.engine.networks.opening import check_network
    from rmtaudit.engine.resources.memory_size import parse_memory

    try:
        memory = None if flags["memory"] is None else parse_memory(flags["memory"])
    except ValueError as error:
        raise UsageError("RA-AC-001", f"--memory is {error}, not '{flags['memory']}'.") from None
    settings = ActivationsSettings(
        include=tuple(flags["include"]),
        exclude=tuple(flags["exclude"]),
        limit=flags["limit"],
        batch=flags["batch"],
        memory=memory,
        seed=flags["seed"],
    )
    network = network_settings(flags)
    check_network(model, network)
    from rmtaudit.engine.activations.requests import ActivationsRequest

    return ActivationsRequest(
        model=model, data=flags["data"], network=network, activations=settings, threads=flags["threads"]
    )


def _run(request: ActivationsRequest, data: Path, top: int, out: DocumentOutput, stop: Any) -> int:
    from rmtaudit.engine.activations.requests import answer_request

    with out.open([data]) as emit, steps_watched("samples", enabled=not out.quiet) as progress:
        try:
            document, enough = answer_request(request, stop=stop, progress=progress)
        except StoppedWorkError as stopped:
            click.echo(f"rmtaudit: {stopped.message}", err=True)
            raise KeyboardInterrupt from None
        emit(document, lambda console, given: _draw(console, given, top))
    return FINE if enough else INCONCLUSIVE


def _draw(console: Console, document: Mapping[str, Any], top: int) -> None:
    from rmtaudit.cli.activations_table import draw_activations

    draw_activations(console, document, top=top)
