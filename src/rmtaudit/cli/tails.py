"""``rmtaudit tails``: which laws the two ends of a sample follow, where the sample decides."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from rmtaudit.cli.errors import FINE
from rmtaudit.cli.help import Command
from rmtaudit.cli.output import DocumentOutput, document_options
from rmtaudit.cli.verification import code_of_verification

if TYPE_CHECKING:
    from rich.console import Console


def _window(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, int | None]:
    """Return both ends of a range of steps, ``FROM:TO``, of which either may be missing."""
    first, colon, last = value.partition(":")
    if not colon or not all(not end or end.isdecimal() for end in (first, last)):
        raise click.BadParameter(f"{value!r} is not FROM:TO, as 1000:2000 or 1000:.", context, parameter)
    return int(first or 0), int(last) if last else None


@click.command(
    cls=Command,
    examples=[
        ("tails eigenvalues.npy", "Fit both tails of a sample"),
        (
            "tails norms.csv --side upper --bootstrap 1000",
            "Fit the upper tail alone, with p-values",
        ),
        (
            "tails training.jsonl --parameter '*.weight' --window 1000:",
            "Fit the gradient norms that a training run logged, from step 1000 on",
        ),
    ],
)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--parameter",
    metavar="PATTERN",
    help=(
        "For the log of a training run: the parameters whose gradient norms are used; by "
        "default, all parameters together."
    ),
)
@click.option(
    "--window",
    metavar="FROM:TO",
    callback=_window,
    default=":",
    help=(
        "For the log of a training run: the steps that are used, from the first up to but "
        "excluding the second; by default, all steps."
    ),
)
@click.option(
    "--side",
    type=click.Choice(["both", "upper", "lower"]),
    default="both",
    show_default=True,
    help="Which tails.",
)
@click.option(
    "--bootstrap",
    metavar="N",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Number of replicas of each bootstrap, for p-values and intervals; 0, or at least 100.",
)
@click.option(
    "--fraction",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.05,
    show_default=True,
    help="Share of the values, the lowest ones, that the inverse gamma law is fitted to.",
)
@click.option(
    "--min-tail",
    metavar="N",
    type=click.IntRange(min=2),
    default=8,
    show_default=True,
    help="Minimum number of values in a tail.",
)
@click.option(
    "--level",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="Maximum probability of rejecting the true law.",
)
@click.option(
    "--confidence",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.9,
    show_default=True,
    help="Coverage of the intervals.",
)
@click.option(
    "--seed",
    metavar="N",
    type=click.IntRange(min=0, max=2**63 - 1),
    default=0,
    show_default=True,
    help="Seed of the bootstraps.",
)
@click.option("--verify", is_flag=True, help="Fit again with other libraries, and show the deviations.")
@document_options(quiet="Nothing on stderr; with -o, no table either.")
def tails(
    file: Path,
    parameter: str | None,
    window: tuple[int, int | None],
    side: Literal["both", "upper", "lower"],
    bootstrap: int,
    fraction: float,
    min_tail: int,
    level: float,
    confidence: float,
    seed: int,
    verify: bool,
    out: DocumentOutput,
) -> int:
    """Fit the tails of a sample: eigenvalues, gradient norms, or any numbers.

    FILE is a .npy array, a .csv or .txt with one number a line, or a .jsonl that rmtaudit.training has
    written, whose gradient norms are taken. Five laws are fitted above the same start
    of the upper tail, and five to the reciprocals for the lower one; none is named the winner unless each of
    the others is ruled out.
    """
    from rmtaudit.engine.samples.tails import TailSettings, study_file

    settings = TailSettings(
        side=side,
        bootstrap=bootstrap,
        fraction=fraction,
        min_tail=min_tail,
        level=level,
        confidence=confidence,
        seed=seed,
        parameter=parameter,
        window=window,
    )
    with out.open([file]) as emit:
        if bootstrap and not out.quiet:
            click.echo(f"rmtaudit: {bootstrap} replicas of each bootstrap …", err=True)
        if verify:
            from rmtaudit.engine.verify.checks import require_libraries

            require_libraries()
        document = study_file(file, settings)
        if verify:
            from rmtaudit.engine.samples.verification import verify_tails

            document = {**document, "verification": verify_tails(file, document)}
        emit(document, _draw)
    return code_of_verification(document["verification"]) if verify else FINE


def _draw(console: Console, document: Mapping[str, Any]) -> None:
    from rmtaudit.cli.tails_table import draw_tails

    draw_tails(console, document)
    if "verification" in document:
        from rmtaudit.cli.verification_table import draw_verification

        console.print()
        draw_verification(console, document["verification"])
