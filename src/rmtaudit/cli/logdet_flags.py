"""The flags of ``rmtaudit logdet``: the matrix, the question about it, and the method."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from rmtaudit.cli.flags import device_option
from rmtaudit.cli.source_flags import SOURCE_OPTIONS
from rmtaudit.engine.logdet.settings import Method

Command = TypeVar("Command", bound=Callable[..., Any])

_MATRIX_OPTIONS = (
    *SOURCE_OPTIONS,
    click.option("--shift", metavar="T", type=float, default=0.0, help="Use A + T I instead of A."),
    click.option(
        "--series",
        is_flag=True,
        help="SOURCE is a table (CSV) of sizes and log-determinants of nested matrices.",
    ),
    click.option(
        "--select",
        metavar="TEXT",
        default="",
        help="Use only the rows of the table that contain this text.",
    ),
)
_QUESTION_OPTIONS = (
    click.option(
        "--pseudo", is_flag=True, help="The log-pseudo-determinant: over the eigenvalues that are not 0."
    ),
    click.option(
        "--size",
        metavar="N",
        type=click.IntRange(min=1),
        help="The leading minor of N points; beyond SOURCE it is extrapolated.",
    ),
    click.option(
        "--outputs", metavar="D", type=click.IntRange(min=1), default=1, show_default=True,
        help="Rows for each point.",
    ),
    click.option(
        "--up-to", metavar="N", type=click.IntRange(min=1),
        help="With --size: factor the first N points only.",
    ),
    click.option(
        "--tol",
        "tolerance",
        metavar="T",
        type=click.FloatRange(min=0, min_open=True),
        help=("Half-width, in nats per dimension, at which to stop: with --size, no larger minors "
"are computed."),
    ),
    click.option(
        "--unshift",
        is_flag=True,
        help="With --shift: also estimate the log-determinant of A itself, to first order.",
    ),
    click.option(
        "--assume-random-order",
        is_flag=True,
        help="Assume that the points are in random order where this cannot be tested.",
    ),
    click.option(
        "--minors",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Write the log-determinants of all leading minors to a .npy file.",
    ),
)  # fmt: skip
_METHOD_OPTIONS = (
    click.option(
        "--method", type=click.Choice([str(each) for each in Method]),
        help="Method to use instead of the planner's choice.",
    ),
    click.option(
        "--probes", metavar="N", type=click.IntRange(min=2), default=16, show_default=True,
        help="Number of random vectors for slq and mixed.",
    ),
    click.option(
        "--steps", metavar="N", type=click.IntRange(min=1), default=200, show_default=True,
        help="Maximum number of Lanczos steps for each vector.",
    ),
    click.option(
        "--smallest", metavar="A", type=click.FloatRange(min=0, min_open=True),
        help="Known lower bound of the eigenvalues, for slq.",
    ),
    click.option(
        "--confidence",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        default=0.95,
        show_default=True,
        help="Coverage of the intervals.",
    ),
    click.option(
        "--seed", metavar="N", type=click.IntRange(min=0, max=2**63 - 1), default=0, show_default=True,
        help="Seed of the probes.",
    ),
    click.option(
        "--memory", metavar="SIZE",
        help="Budget of working memory: 4GB, 50%, bytes.  [default: half of what is free]",
    ),
    click.option("--threads", metavar="N", type=click.IntRange(min=1), help="Threads.  [default: all CPUs]"),
    device_option,
    click.option(
        "--scratch",
        metavar="FOLDER",
        type=click.Path(path_type=Path),
        help="Folder for a factor on disk.  [default: the user's cache]",
    ),
    click.option("--resume", is_flag=True, help="Resume an interrupted run."),
    click.option(
        "--explain", is_flag=True, help=("Print the plan: every method, its cost, and why it is "
"used or not.")
    ),
)  # fmt: skip


def logdet_flags(command: Command) -> Command:
    """Add the flags to the command."""
    for option in reversed((*_MATRIX_OPTIONS, *_QUESTION_OPTIONS, *_METHOD_OPTIONS)):
        command = option(command)
    return command
