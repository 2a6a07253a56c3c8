"""``rmtaudit density``: the spectrum of a large matrix from a small principal block."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from rmtaudit.cli.errors import FINE, INCONCLUSIVE
from rmtaudit.cli.output import output_file
from rmtaudit.errors import OutputError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

_FORMATS = ("table", "json")
_ENDINGS = {".json": "json", ".txt": "table"}


@click.command()
@click.argument("source", metavar="SOURCE", type=click.Path(path_type=Path))
@click.option("--size", metavar="N", type=click.IntRange(min=2), help="Size of the large matrix.")
@click.option("--factor", metavar="F", type=click.FloatRange(min=0), help="Its ratio to that of the block.")
@click.option(
    "--kind",
    type=click.Choice(["eigenvalues", "samples", "matrix", "weights"]),
    help="What SOURCE holds; by default eigenvalues (one dimension) or a symmetric matrix (two).",
)
@click.option(
    "--ridge",
    metavar="R",
    type=click.FloatRange(min=0),
    help="Also the log-determinant and effective dimension with this ridge.",
)
@click.option(
    "--replicas",
    metavar="N",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="Replicas behind the 90 % intervals; 0 for none.",
)
@click.option(
    "--seed",
    metavar="N",
    type=click.IntRange(min=0, max=2**63 - 1),
    default=0,
    show_default=True,
    help="Seed of validation and replicas.",
)
@click.option(
    "--quantiles",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the predicted eigenvalues to a .npy file.",
)
@click.option("--format", "format_", type=click.Choice(_FORMATS), help="Format of the result.")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the result to a file, in the format of its ending; the table still goes to stdout.",
)
@click.option("-q", "--quiet", is_flag=True, help="With -o, no table.")
def density(
    source: Path,
    size: int | None,
    factor: float | None,
    kind: Literal["eigenvalues", "samples", "matrix", "weights"] | None,
    ridge: float | None,
    replicas: int,
    seed: int,
    quantiles: Path | None,
    format_: str | None,
    output: Path | None,
    quiet: bool,
) -> int:
    """Predict the spectrum of a large matrix from a principal block, by free decompression.

    SOURCE is a file of eigenvalues (.npy, .csv, .txt), a symmetric matrix (.npy), or with --kind several
    spectra or the weights of a layer. Exit code 3: not decompressible, and why.
    """
    from rmtaudit.engine.density import NOT_DECOMPRESSIBLE, DensitySettings, predict_file, save_quantiles
    from rmtaudit.report.document import dumps

    format_ = _format_for(format_, output)
    settings = DensitySettings(size, factor, kind, ridge, replicas, seed)
    if quantiles is not None and quantiles.exists() and source.exists() and quantiles.samefile(source):
        raise OutputError(
            "RA-OU-002", "Is one of the inputs.", hint="Name another file.", where=str(quantiles)
        )
    with output_file(output, [source]) if output else nullcontext() as target:
        result = predict_file(source, settings)
        if quantiles is not None:
            save_quantiles(result.quantiles, quantiles)
        text = dumps(result.document)
        if target is not None:
            target.write(text if format_ == "json" else _table_text(result.document))
        if target is None and format_ == "json":
            sys.stdout.write(text)
        elif target is None or not quiet:
            from rmtaudit.cli.table import stdout_console

            _draw(stdout_console(), result.document)
    return INCONCLUSIVE if result.document["verdict"]["word"] == NOT_DECOMPRESSIBLE else FINE


def _format_for(chosen: str | None, output: Path | None) -> str:
    if chosen is not None:
        return chosen
    if output is None:
        return "table"
    if output.suffix.lower() not in _ENDINGS:
        raise UsageError(
            "RA-US-002",
            f"The ending {output.suffix!r} says no format.",
            hint=f"Add --format {'|'.join(_FORMATS)}.",
            where=str(output),
        )
    return _ENDINGS[output.suffix.lower()]


def _table_text(document: Mapping[str, Any]) -> str:
    from rmtaudit.cli.table import drawn_text

    return drawn_text(lambda console: _draw(console, document))


def _draw(console: Console, document: Mapping[str, Any]) -> None:
    from rmtaudit.cli.density_table import draw_density

    draw_density(console, document)
