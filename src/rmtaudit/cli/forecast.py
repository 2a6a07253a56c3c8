"""``rmtaudit forecast``: how the error of ridge regression falls with the ridge, from a spectrum."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from rmtaudit.cli.errors import FINE
from rmtaudit.cli.help import Command
from rmtaudit.cli.output import DocumentOutput, document_options

if TYPE_CHECKING:
    from rich.console import Console


@click.command(
    cls=Command,
    examples=[
        ("forecast eigenvalues.npy --matrix kernel", "Forecast from the eigenvalues of a kernel matrix"),
    ],
)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--matrix",
    type=click.Choice(["covariance", "kernel"]),
    help=(
        "Matrix whose eigenvalues FILE has: features x features (ΦᵀΦ or ΦᵀΦ/n), or samples x samples (ΦΦᵀ)."
    ),
)
@click.option(
    "--shape",
    metavar="SAMPLES FEATURES",
    type=click.IntRange(min=1),
    nargs=2,
    help="Samples n and features p, in this order; also fits the law HTMP.",
)
@click.option(
    "--population",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Eigenvalues of the population covariance: also forecast from them.",
)
@click.option(
    "--signal",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Squared coefficients of the target along the eigenvectors of --population, in its order.",
)
@click.option(
    "--points",
    metavar="N",
    type=click.IntRange(min=2, max=1000),
    default=13,
    show_default=True,
    help="Number of ridges.",
)
@click.option(
    "--bootstrap",
    metavar="N",
    type=click.IntRange(min=0),
    default=200,
    show_default=True,
    help="Number of resamples for the intervals; 0 for none, or at least 2.",
)
@click.option(
    "--confidence",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.9,
    show_default=True,
    help="Coverage of the intervals.",
)
@click.option(
    "--level",
    type=click.FloatRange(0.01, 1, max_open=True),
    default=0.01,
    show_default=True,
    help="Reject HTMP if the p-value of its fit is below this level.",
)
@click.option(
    "--seed",
    metavar="N",
    type=click.IntRange(min=0, max=2**63 - 1),
    default=0,
    show_default=True,
    help="Seed of the resamples.",
)
@document_options(quiet="With -o, no table.")
def forecast(
    file: Path,
    matrix: Literal["covariance", "kernel"] | None,
    shape: tuple[int, int] | None,
    population: Path | None,
    signal: Path | None,
    points: int,
    bootstrap: int,
    confidence: float,
    level: float,
    seed: int,
    out: DocumentOutput,
) -> int:
    """Forecast the error of ridge regression from the spectrum of its features.

    FILE holds all eigenvalues, zeros included, of the covariance (features x features) or of the kernel
    matrix (samples x samples): a .npy array, or a .csv or .txt with one number a line. The target is a random
    linear function of the features without noise, unless --signal says where it lies.

    From data instead of a spectrum, and for random features of any width: `rmtaudit forecast ridge`.
    """
    from rmtaudit.engine.samples.forecast import ForecastSettings, forecast_file

    if bootstrap == 1:
        raise click.BadParameter("Give 0 for none, or at least 2.", param_hint="--bootstrap")
    settings = ForecastSettings(
        matrix=matrix,
        shape=shape,
        population=None if population is None else str(population),
        signal=None if signal is None else str(signal),
        points=points,
        bootstrap=bootstrap,
        confidence=confidence,
        level=level,
        seed=seed,
    )
    inputs = [path for path in (file, population, signal) if path is not None]
    with out.open(inputs) as emit:
        emit(forecast_file(file, settings), _draw)
    return FINE


def _draw(console: Console, document: Mapping[str, Any]) -> None:
    from rmtaudit.cli.forecast_table import draw_forecast

    draw_forecast(console, document)
