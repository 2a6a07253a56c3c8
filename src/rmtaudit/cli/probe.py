"""``rmtaudit probe``: what noise or an edit of each layer does to the output, without data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmtaudit.cli.edit_flags import edit_of, edit_options
from rmtaudit.cli.errors import FINE
from rmtaudit.cli.help import Command
from rmtaudit.cli.logdet import handling_signals
from rmtaudit.cli.network_flags import flags_without_data, network_settings
from rmtaudit.cli.output import DocumentOutput, document_table_options
from rmtaudit.cli.progress import steps_watched
from rmtaudit.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from rmtaudit.engine.probe.requests import ProbeRequest


@click.command(
    cls=Command,
    examples=[
        ("probe ./model", "Find the layers that the output depends on most"),
        ("probe ./model --quantise int4-g128", "Find what quantising each layer would cost"),
        (
            "probe ./model --prune 0.5 --include '*.mlp.*'",
            "Find what pruning the layers of the MLPs would cost",
        ),
        (
            "probe net.py:cnn --allow-code --input-shape 3,32,32 --prune 0.5",
            "Find what pruning each layer of a network of your own would cost",
        ),
    ],
)
@click.argument("model", metavar="MODEL")
@edit_options
@flags_without_data
@click.option(
    "--input-shape",
    metavar="C,H,W",
    help="Shape of one input, for a network that does not state what inputs it takes.",
)
@click.option(
    "--include",
    metavar="GLOB",
    multiple=True,
    help="Only weights whose name matches: '*.mlp.*'. Repeatable.",
)
@click.option(
    "--exclude", metavar="GLOB", multiple=True, help="Leave out weights whose name matches. Repeatable."
)
@click.option(
    "--samples", metavar="N", type=click.IntRange(min=1), default=16, show_default=True, help="Inputs."
)
@click.option(
    "--tokens",
    metavar="N",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Length of an input that is a sequence.",
)
@click.option(
    "--loss",
    type=click.Choice(["auto", "kl", "cosine", "error"]),
    default="auto",
    show_default=True,
    help="How outputs are compared.",
)
@click.option(
    "--draws",
    metavar="N",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Number of random changes of each layer.",
)
@click.option(
    "--noise",
    metavar="SIZE",
    type=click.FloatRange(min=0, min_open=True),
    default=0.05,
    show_default=True,
    help="Norm of a random change divided by the norm of the layer.",
)
@click.option(
    "--seed",
    metavar="N",
    type=click.IntRange(min=0, max=2**63 - 1),
    default=0,
    show_default=True,
    help="Seed of inputs and noise.",
)
@click.option(
    "--memory",
    metavar="SIZE",
    help=(
        "Memory in addition to the network: 4GB, 50%, bytes.  [default: half of what is free, at most 4 GiB]"
    ),
)
@click.option("--threads", metavar="N", type=click.IntRange(min=1), help="Threads.  [default: all CPUs]")
@document_table_options
def probe(model: str, top: int, out: DocumentOutput, **flags: Any) -> int:
    """Measure what noise or an edit of each layer does to a network's output, without data.

    MODEL is the folder of a transformers model, or module:factory or file.py:factory with --allow-code. The
    network runs on inputs that are made: text that it writes itself, random tokens, or noise. With one of
    --quantise, --prune and --truncate, each layer is edited in memory, one at a time; nothing is written.
    """
    request = _request(model, flags)
    inputs = [Path(model)] if Path(model).exists() else []
    with (
        handling_signals() as signals,
        out.open([*inputs, *([flags["data"]] if flags["data"] else [])]) as emit,
        steps_watched("layers", enabled=not out.quiet) as progress,
    ):
        from rmtaudit.engine.probe.requests import answer_request

        document = answer_request(request, stop=signals.stop, progress=progress).to_dict()

        def draw(console: Console, document: Mapping[str, Any]) -> None:
            from rmtaudit.cli.probe_table import draw_probe

            draw_probe(console, document, top)

        emit(document, draw)
    return FINE


def _request(model: str, flags: Mapping[str, Any]) -> ProbeRequest:
    from rmtaudit.engine.networks.opening import check_network
    from rmtaudit.engine.probe.settings import Loss, ProbeSettings
    from rmtaudit.engine.resources.memory_size import parse_memory

    try:
        memory = None if flags["memory"] is None else parse_memory(flags["memory"])
    except ValueError as error:
        raise UsageError("RA-PB-001", f"--memory is {error}, not '{flags['memory']}'.") from None
    settings = ProbeSettings(
        edit=edit_of(flags["quantise"], flags["truncate"], flags["prune"]),
        loss=Loss(flags["loss"]),
        samples=flags["samples"],
        tokens=flags["tokens"],
        draws=flags["draws"],
        noise=flags["noise"],
        data=flags["data"],
        include=tuple(flags["include"]),
        exclude=tuple(flags["exclude"]),
        input_shape=_shape(flags["input_shape"]),
        memory=memory,
        seed=flags["seed"],
    )
    network = network_settings(flags)
    check_network(model, network)
    from rmtaudit.engine.probe.requests import ProbeRequest

    return ProbeRequest(model=model, network=network, probe=settings, threads=flags["threads"])


def _shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(side) for side in text.split(","))
    except ValueError:
        raise UsageError(
            "RA-PB-001", f"--input-shape '{text}' is not a shape.", hint="--input-shape 3,32,32"
        ) from None
