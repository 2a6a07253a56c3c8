"""``rmtaudit density``: the spectrum of a matrix, or of a larger one from principal blocks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmtaudit.cli.errors import FINE, INCONCLUSIVE
from rmtaudit.cli.flags import device_option
from rmtaudit.cli.help import Command
from rmtaudit.cli.output import DocumentOutput, document_options, refuse_input
from rmtaudit.cli.source_flags import check_source, source_flags, source_options

if TYPE_CHECKING:
    from rich.console import Console

    from rmtaudit.engine.density import DensityResult, DensitySettings, WholeResult

_ASKED = (
    "size",
    "factor",
    "holds",
    "method",
    "steps",
    "probes",
    "sample",
    "samples",
    "sampling",
    "block_size",
    "ridge",
    "replicas",
    "kpm",
    "seed",
    "device",
    "assume_free",
    "assume_smooth",
)


@click.command(
    cls=Command,
    examples=[
        ("density matrix.npy", "The spectrum of a matrix"),
        ("density eigenvalues.npy --factor 4", "Predict the spectrum of a matrix four times as large"),
    ],
)
@click.argument("source", metavar="SOURCE")
@click.option(
    "--size",
    metavar="N",
    type=click.IntRange(min=2),
    help="Order of the large matrix.  [default: that of SOURCE]",
)
@click.option("--factor", metavar="F", type=float, help="Order of the large matrix over that of SOURCE.")
@click.option(
    "--holds",
    type=click.Choice(["eigenvalues", "spectra", "matrix"]),
    help=(
        "What a file holds: eigenvalues, several spectra (one a row), a matrix. A one-dimensional .npy "
        "array holds eigenvalues, a symmetric array is a matrix; anything else is an error that asks for"
        " --holds."
    ),
)
@click.option(
    "--method",
    type=click.Choice(["auto", "eigenvalues", "products", "blocks"]),
    default="auto",
    show_default=True,
    help=(
        "eigenvalues: compute all of them. products: Lanczos quadrature from products with the "
        "whole matrix. blocks: predict from blocks. auto: the cheaper of the first two for "
        "SOURCE itself, and blocks for another size or if options of blocks are given."
    ),
)
@click.option(
    "--steps",
    metavar="N",
    type=click.IntRange(min=2),
    default=60,
    show_default=True,
    help="Lanczos steps; more resolve finer detail.",
)
@click.option(
    "--probes",
    metavar="N",
    type=click.IntRange(min=2),
    default=16,
    show_default=True,
    help="Random vectors; more of them narrow the bounds.",
)
@source_flags
@click.option(
    "--sample",
    metavar="N",
    type=click.IntRange(min=1),
    help="Order of the blocks.  [default: at most 1024, at most half of the target]",
)
@click.option("--samples", metavar="R", type=click.IntRange(min=1), help="Number of blocks.  [default: 8]")
@click.option(
    "--sampling",
    type=click.Choice(["plain", "paired", "blocks"]),
    default="plain",
    show_default=True,
    help=(
        "How indices are drawn: at random, as pairs of blocks that share no index, or as runs "
        "of --block-size indices."
    ),
)
@click.option(
    "--block-size",
    metavar="K",
    type=click.IntRange(min=1),
    help="Number of consecutive indices that are drawn together, such as the outputs of one point.",
)
@click.option(
    "--ridge",
    metavar="R",
    type=float,
    help="Also the log-determinant and effective dimension with this ridge.",
)
@click.option(
    "--replicas",
    metavar="N",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="Number of replicas for the 90 % intervals of a single block; 0 for none.",
)
@click.option(
    "--kpm/--no-kpm",
    default=None,
    help="Show the kernel polynomial density next to a prediction from blocks of SOURCE's own size.  "
    "[default: where products are cheap]",
)
@click.option(
    "--against",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Eigenvalues of the large matrix (.npy, .csv, .txt) to compare the prediction with.",
)
@device_option
@click.option(
    "--seed",
    metavar="N",
    type=click.IntRange(min=0, max=2**63 - 1),
    default=0,
    show_default=True,
    help="Seed of blocks, tests, replicas and probes.",
)
@click.option(
    "--assume-free",
    is_flag=True,
    help="Assume that the matrix is free of its coordinates, which eigenvalues alone cannot show.",
)
@click.option(
    "--assume-smooth",
    is_flag=True,
    help="Assume a smooth spectrum where the block determines it only under that assumption.",
)
@click.option(
    "--quantiles",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the predicted eigenvalues to a .npy file.",
)
@click.option(
    "--plot",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Draw the prediction to a .png or .svg file.",
)
@document_options(quiet="With -o, no table.")
def density(source: str, out: DocumentOutput, **flags: Any) -> int:
    """Find the spectrum of a matrix, or predict that of a larger one from principal blocks of it.

    SOURCE is a matrix as `rmtaudit logdet` takes it; FILE::LAYER of a checkpoint, as its smaller Gram
    matrix; or a file of eigenvalues. A matrix that can be read or multiplied is measured as a whole; with
    --size, --factor, --method blocks or the options of blocks, free decompression predicts from random
    blocks. Exit code 3: the prediction is refused, with the reason, or it rests on an assumption that was
    not made with --assume-free or --assume-smooth.
    """
    if flags["holds"] is None:
        check_source(source, flags)
    from rmtaudit.engine.density import DensitySettings
    from rmtaudit.engine.density import density as predicted

    plot, quantiles = flags["plot"], flags["quantiles"]
    if plot is not None:
        from rmtaudit.engine.density.plot import check_plot

        check_plot(plot)
    settings: DensitySettings = DensitySettings(**{name: flags[name] for name in _ASKED})
    inputs = [Path(source), *([flags["against"]] if flags["against"] else [])]
    with out.open(inputs) as emit:
        for path in filter(None, (plot, quantiles)):
            refuse_input(path, inputs)
        result = predicted(source, settings=settings, options=source_options(flags), against=flags["against"])
        _write_files(result, quantiles, plot, flags["against"])
        emit(result.document, _draw)
    return FINE if result.complete else INCONCLUSIVE


def _write_files(
    result: DensityResult | WholeResult, quantiles: Path | None, plot: Path | None, truth: Path | None
) -> None:
    """Write what was asked for beside the result; no eigenvalues where nothing is predicted."""
    if quantiles is not None:
        if not result.answered:
            click.echo(f"rmtaudit: {quantiles} is not written: {result.verdict}", err=True)
        else:
            from rmtaudit.engine.density import save_quantiles

            save_quantiles(result.quantiles(), quantiles)
    if plot is not None:
        from rmtaudit.engine.density.plot import save_plot

        save_plot(result, plot, truth=truth)


def _draw(console: Console, document: Mapping[str, Any]) -> None:
    if document["method"]["name"] == "blocks":
        from rmtaudit.cli.density_table import draw_density

        draw_density(console, document)
    else:
        from rmtaudit.cli.density_whole_table import draw_whole

        draw_whole(console, document)
