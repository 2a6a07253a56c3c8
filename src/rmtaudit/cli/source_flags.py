"""The flags that say what matrix a path holds, shared by the commands that take any matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rmtaudit.engine.sources import SourceOptions

Command = TypeVar("Command", bound=Callable[..., Any])

_NAMES = ("view", "kernel", "nu", "length", "laplacian", "dtype", "shape", "symmetric")


SOURCE_OPTIONS = (
    click.option(
        "--as",
        "view",
        type=click.Choice(["auto", "w", "wtw", "wwt"]),
        default="auto",
        show_default=True,
        help=(
            "Use the matrix itself or its Gram matrix; auto: for a layer, the Gram matrix of "
            "its smaller side."
        ),
    ),
    click.option(
        "--symmetric/--no-symmetric",
        "symmetric",
        default=None,
        help=(
            "Declare the matrix symmetric or not, instead of comparing entries; of a symmetric matrix "
            "only the lower triangle is read."
        ),
    ),
    click.option(
        "--kernel",
        type=click.Choice(["matern", "rbf"]),
        help="SOURCE holds points; the matrix is this kernel of them.",
    ),
    click.option(
        "--nu",
        metavar="NU",
        type=float,
        default=1.5,
        show_default=True,
        help="Smoothness of the Matérn kernel: 0.5, 1.5, 2.5, inf.",
    ),
    click.option("--length", metavar="L", type=float, help="Length scale of the kernel."),
    click.option(
        "--laplacian",
        type=click.Choice(["normalised", "combinatorial"]),
        help="SOURCE holds edges; the matrix is the Laplacian of their graph.",
    ),
    click.option("--dtype", metavar="NAME", help="SOURCE holds raw numbers of this type, little-endian."),
    click.option("--shape", metavar="ROWSxCOLUMNS", help="Shape of raw numbers."),
)


def source_flags(command: Command) -> Command:
    """Add the flags to a command; :func:`source_options` makes options of their values."""
    for option in reversed(SOURCE_OPTIONS):
        command = option(command)
    return command


def source_options(values: Mapping[str, Any]) -> SourceOptions:
    """Return the options of the flags, and of ``--shift`` where a command has it; the rest is left alone."""
    from rmtaudit.engine.sources import SourceOptions

    return SourceOptions(**{name: values[name] for name in _NAMES}, shift=values.get("shift", 0.0))


def check_source(source: str, values: Mapping[str, Any]) -> None:
    """Raise what is wrong with the checkpoints that a SOURCE names, before torch is imported.

    Raises an ``InputError`` or ``UsageError``. Where the flags say what SOURCE holds, nothing is looked at.
    """
    if any(values[name] is not None for name in ("kernel", "laplacian", "dtype", "shape")):
        return
    from rmtaudit.engine.sources.recognise import check_readable

    check_readable(source)
