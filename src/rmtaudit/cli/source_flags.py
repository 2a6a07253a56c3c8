"""The flags that say what matrix a path holds, shared by the commands that take any matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rmtaudit.engine.sources import SourceOptions

Command = TypeVar("Command", bound=Callable[..., Any])

_NAMES = ("view", "kernel", "nu", "length", "laplacian", "dtype", "shape", "symmetric")


def source_flags(command: Command) -> Command:
    """Add the flags to a command; :func:`source_options` makes options of their values."""
    for option in reversed(
        (
            click.option(
                "--as",
                "--view",
                "view",
                type=click.Choice(["auto", "w", "wtw", "wwt"]),
                default="auto",
                show_default=True,
                help="The matrix as it is (w), or its Gram matrix (WᵀW, WWᵀ); auto: of a layer the smaller "
                "Gram matrix, else as it is.",
            ),
            click.option(
                "--kernel",
                type=click.Choice(["matern", "rbf"]),
                help="The path holds points; the matrix is their kernel.",
            ),
            click.option(
                "--nu",
                type=float,
                default=1.5,
                show_default=True,
                help="Smoothness of the Matérn kernel: 0.5, 1.5, 2.5, inf.",
            ),
            click.option("--length", metavar="L", type=float, help="Length scale of the kernel."),
            click.option(
                "--laplacian",
                type=click.Choice(["normalised", "combinatorial"]),
                help="The path holds edges; the matrix is the graph's Laplacian.",
            ),
            click.option(
                "--dtype",
                type=click.Choice(["float64", "float32", "float16", "bfloat16"]),
                help="The path holds raw numbers of this type, little-endian.",
            ),
            click.option("--shape", metavar="ROWSxCOLS", help="Shape of the raw numbers."),
            click.option(
                "--symmetric/--no-symmetric",
                "symmetric",
                default=None,
                help="Take the matrix for symmetric or not, without looking.",
            ),
        )
    ):
        command = option(command)
    return command


def source_options(values: Mapping[str, Any]) -> SourceOptions:
    """Return the options of the flags; other entries of ``values`` are left alone."""
    from rmtaudit.engine.sources import SourceOptions

    return SourceOptions(**{name: values[name] for name in _NAMES})
