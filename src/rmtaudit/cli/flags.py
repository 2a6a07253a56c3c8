"""The flags that set a scan's settings, shared by ``scan`` and ``config show``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rmtaudit.cli import completion

if TYPE_CHECKING:
    from rmtaudit.engine.settings.config_files import Entry

Command = TypeVar("Command", bound=Callable[..., Any])

_SETTINGS = (
    "preset",
    "analyzers",
    "conv",
    "precision",
    "device",
    "seed",
    "threads",
    "memory",
    "sort",
    "columns",
)


def device_option(command: Command) -> Command:
    """Add ``--device`` to a command that computes on the CPU unless it is told otherwise."""
    return click.option(
        "--device",
        type=click.Choice(["cpu", "cuda", "auto"]),
        default="cpu",
        show_default=True,
        help="Where to compute; auto: on a CUDA device where there is one.",
    )(command)


def settings_flags(command: Command) -> Command:
    """Add the flags to a command; :func:`entries_of` makes entries of their values."""
    for option in reversed(
        (
            click.option(
                "--preset",
                metavar="NAME",
                shell_complete=completion.preset,
                help=(
                    "Settings to start from: default (metrics and verdicts), fast (metrics "
                    "only), audit (every test), weightwatcher (the numbers of WeightWatcher)."
                ),
            ),
            click.option(
                "--analyzers",
                metavar="A,B",
                shell_complete=completion.analyzers,
                help="Analyzers to run, in the order of their columns.",
            ),
            click.option(
                "--conv",
                type=click.Choice(["flattened", "slices-pooled", "slices"]),
                help="How a convolution becomes matrices.",
            ),
            click.option(
                "--set",
                "assigned",
                metavar="KEY=VALUE",
                multiple=True,
                help="Any setting, or an option of an analyzer: powerlaw.bootstrap=200. Repeatable.",
            ),
            click.option(
                "--bootstrap",
                metavar="N",
                help="Replicates for the intervals of alpha: short for --set powerlaw.bootstrap=N.",
            ),
            click.option(
                "--sharp",
                type=click.Choice(["auto", "plain", "sinkhorn", "dyson", "sign-flip"]),
                help="Noise model that the bulk is tested against: short for --set noise.sharp=….",
            ),
            click.option(
                "--include",
                metavar="GLOB",
                multiple=True,
                help="Analyse only layers whose name matches: '*.attn.*'. Repeatable.",
            ),
            click.option(
                "--exclude",
                metavar="GLOB",
                multiple=True,
                help="Leave out layers whose name matches. Repeatable.",
            ),
            click.option("--memory", metavar="SIZE", help="Budget for matrices in flight: 4GB, 50%, bytes."),
            click.option("--threads", metavar="N", help="Number of layers to process in parallel."),
            click.option(
                "--precision",
                type=click.Choice(["auto", "float64"]),
                help=(
                    "Arithmetic of the spectra: auto uses float32 for large layers in half "
                    "precision, where it loses no accuracy."
                ),
            ),
            click.option(
                "--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Device to compute on."
            ),
            click.option("--seed", metavar="N", help="Random seed."),
            click.option(
                "--sort",
                metavar="COLUMN",
                shell_complete=completion.column,
                help=(
                    "Column to sort the table by: a metric (worst layers first), or a property "
                    "of a layer: layer (by name), kind, shape, parameters, signal, …."
                ),
            ),
            click.option(
                "--columns",
                metavar="A,B",
                shell_complete=completion.columns,
                help=(
                    "Columns of the table: metrics, and properties of a layer: kind, shape, "
                    "dtype, parameters, matrices, view, integrity, signal."
                ),
            ),
        )
    ):
        command = option(command)
    return command


def entries_of(values: Mapping[str, Any]) -> list[Entry]:
    """Return the entries of the flags that were given, in the order of their strength.

    A flag of its own is stronger than ``--set``. Raises ``UsageError`` for a key or a number that is wrong.
    """
    from rmtaudit.engine.settings.config_files import Entry
    from rmtaudit.engine.settings.presets import assignments, flag

    entries = [entry for text in values["assigned"] for entry in assignments(text, "--set")]
    if values["bootstrap"] is not None:
        entries.append(flag("powerlaw.bootstrap", values["bootstrap"], "--bootstrap"))
    if values["sharp"] is not None:
        entries.append(flag("noise.sharp", values["sharp"], "--sharp"))
    for key in ("include", "exclude"):
        if values[key]:
            entries.append(Entry((key,), list(values[key]), f"--{key}"))
    return entries + [flag(key, values[key], f"--{key}") for key in _SETTINGS if values[key] is not None]
