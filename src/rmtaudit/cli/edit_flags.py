"""The flags that name an edit, shared by the commands that try one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rmtaudit.errors import UsageError

if TYPE_CHECKING:
    from rmtaudit.engine.edits import Edit

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--quantise",
        metavar="SCHEME",
        help="Round to bf16, fp16, fp8, int8, int8-g32, int4, int4-g128, int4-g32, "
        "int3-g128, int2-g64, nf4 or mxfp4.",
    ),
    click.option(
        "--truncate",
        metavar="RANK|ENERGY",
        type=float,
        help="Keep that many singular values (1 or more), or that share of their squares (below 1).",
    ),
    click.option(
        "--prune",
        metavar="SHARE",
        type=float,
        help="Set that share of each layer's entries, the smallest, to 0.",
    ),
)


def edit_options(command: Command) -> Command:
    """Add ``--quantise``, ``--truncate`` and ``--prune`` to a command; :func:`edit_of` reads their values."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def required_edit(quantise: str | None, truncate: float | None, prune: float | None) -> Edit:
    """Return the edit of the flags, of which exactly one is given. Raises ``UsageError`` (RA-US-815)."""
    edit = edit_of(quantise, truncate, prune)
    if edit is None:
        raise UsageError("RA-US-815", "Give one of --quantise, --truncate and --prune.")
    return edit


def edit_of(quantise: str | None, truncate: float | None, prune: float | None) -> Edit | None:
    """Return the edit of the flags; ``None`` without one. Raises ``UsageError`` (RA-US-815) for several."""
    from rmtaudit.engine.edits import edit_of as chosen

    return chosen(quantise=quantise, truncate=truncate, prune=prune)
