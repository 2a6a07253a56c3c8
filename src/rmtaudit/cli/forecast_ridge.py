"""``rmtaudit forecast ridge``: whether more data or more units will help, from data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmtaudit.cli.errors import FINE
from rmtaudit.cli.flags import device_option
from rmtaudit.cli.help import Command
from rmtaudit.cli.output import DocumentOutput, document_options, refuse_input

if TYPE_CHECKING:
    from rich.console import Console


@click.command(
    cls=Command,
    examples=[
        ("forecast ridge --data train.npz", "See whether more data or more units will help"),
        (
            "forecast ridge --data train.npz --labels --width 500 --ridge 1e-3",
            "Of a given network, for classes",
        ),
        ("forecast ridge --data train.npz --plot curves.png -o curves.json", "Write the curves"),
    ],
)
@click.option(
    "--data",
    metavar="FILE.npz",
    type=click.Path(path_type=Path),
    required=True,
    help="Inputs x (samples x features) and targets y, and test data x_test and y_test if there are any.",
)
@click.option("--labels", is_flag=True, help="Targets are classes, not numbers.")
@click.option(
    "--raw", is_flag=True, help="Do not centre the inputs, nor scale them to a mean squared length of 1."
)
@click.option(
    "--activation", metavar="NAME", default="relu", show_default=True, help="Activation of the hidden layer."
)
@click.option(
    "--width", metavar="N", type=click.IntRange(min=1), help="Units of your network. [default: the best]"
)
@click.option(
    "--ridge",
    metavar="R",
    type=click.FloatRange(min=0, min_open=True),
    help="Ridge of your network. [default: the best for each width and sample size]",
)
@click.option(
    "--hold-out",
    metavar="SHARE",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.25,
    show_default=True,
    help="Share of the samples that are test samples where the file has none.",
)
@click.option(
    "--samples",
    metavar="N",
    type=click.IntRange(min=1),
    default=2000,
    show_default=True,
    help="Maximum number of training samples, and of test samples, to use.",
)
@click.option(
    "--points",
    metavar="N",
    type=click.IntRange(min=2, max=1000),
    default=13,
    show_default=True,
    help="Number of widths.",
)
@click.option(
    "--draws",
    metavar="N",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    help="Number of random networks to train as a check of the theory; 0 for none, or at least 2.",
)
@click.option(
    "--confidence",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.9,
    show_default=True,
    help="Coverage of the intervals.",
)
@device_option
@click.option(
    "--seed",
    metavar="N",
    type=click.IntRange(min=0, max=2**62),
    default=0,
    show_default=True,
    help="Seed of all random choices.",
)
@click.option(
    "--plot",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Draw the curves: .png or .svg, needs matplotlib.",
)
@document_options(quiet="With -o, no table.")
def forecast_ridge(data: Path, plot: Path | None, out: DocumentOutput, **flags: Any) -> int:
    """Forecast training and test error against width, ridge and sample size.

    The model has one hidden layer of random units and a trained linear layer (random features), the simplest
    in which width matters. Its errors follow from the data by theory, without training; some random networks
    are trained to check that. The answer holds for this model: of a network whose hidden layers are trained
    it is a hint.
    """
    from rmtaudit.engine.samples.ridge import RidgeSettings, forecast_ridge_file

    settings = RidgeSettings(**flags)
    if plot is not None:
        from rmtaudit.engine.samples.ridge_plot import check_plot

        check_plot(plot)
        refuse_input(plot, [data])
    with out.open([data]) as emit:
        document = forecast_ridge_file(data, settings)
        if plot is not None:
            from rmtaudit.engine.samples.ridge_plot import save_plot

            save_plot(document, plot)
        emit(document, _draw)
    return FINE


def _draw(console: Console, document: Mapping[str, Any]) -> None:
    from rmtaudit.cli.forecast_ridge_table import draw_ridge

    draw_ridge(console, document)
