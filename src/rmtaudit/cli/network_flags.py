"""The flags that say which network runs, and how; shared by the commands that run one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rmtaudit.engine.networks.settings import DTYPES

if TYPE_CHECKING:
    from rmtaudit.engine.networks.settings import NetworkSettings

Command = TypeVar("Command", bound=Callable[..., Any])

_FORMATS = ".npz, .npy, or .jsonl with token ids or text."


def _precision(default: str) -> Callable[[Command], Command]:
    return click.option(
        "--precision",
        type=click.Choice(DTYPES),
        default=default,
        show_default=True,
        help="Precision in which the network runs.",
    )


NETWORK_OPTIONS = (
    click.option(
        "--data",
        metavar="FILE",
        type=click.Path(path_type=Path),
        required=True,
        help=f"Samples: {_FORMATS}",
    ),
    click.option(
        "--state",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Weights for the network of module:factory.",
    ),
    click.option("--allow-code", is_flag=True, help="Import and call module:factory."),
    _precision("float64"),
    click.option(
        "--device",
        metavar="NAME",
        default="cpu",
        show_default=True,
        help="Device to run on: cpu, cuda, cuda:1.",
    ),
)


def network_flags(command: Command) -> Command:
    """Add the flags to a command; :func:`network_settings` makes settings of their values."""
    for option in reversed(NETWORK_OPTIONS):
        command = option(command)
    return command


def flags_without_data(command: Command) -> Command:
    """Add the flags to a command that makes its own inputs, and runs networks in float32 by default."""
    data = click.option(
        "--data",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help=f"Samples to use instead of generated ones: {_FORMATS}",
    )
    _, state, allow_code, _, device = NETWORK_OPTIONS
    for option in (device, _precision("float32"), allow_code, state, data):
        command = option(command)
    return command


def network_settings(flags: Mapping[str, Any]) -> NetworkSettings:
    """Return the settings of the flags."""
    from rmtaudit.engine.networks.settings import NetworkSettings

    return NetworkSettings(
        dtype=flags["precision"],
        device=flags["device"],
        allow_code=flags["allow_code"],
        state=flags["state"],
    )
