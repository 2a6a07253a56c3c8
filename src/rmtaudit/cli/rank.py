"""``rmtaudit rank``: whether any spectral metric orders models better than their size does."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path

import click

from rmtaudit.cli import completion
from rmtaudit.cli.errors import FINE, INCONCLUSIVE
from rmtaudit.cli.help import Command
from rmtaudit.cli.output import format_for, output_file, output_options

_FORMATS = ("table", "json", "markdown", "html")


@click.command(
    cls=Command,
    examples=[
        ("rank zoo/", "Rank the models of `rmtaudit zoo --out zoo/`"),
        ("rank manifest.yaml -o ranking.json", "Rank saved reports with the qualities of a manifest"),
        ("rank zoo/ -o ranking.html", "Write a page with plots and a table for each family"),
        (
            "rank zoo/ --metrics alpha,stable_rank",
            ("Test two metrics only, so that fewer tests are adjusted for"),
        ),
    ],
)
@click.argument("path", metavar="DIR|FILE", type=click.Path(path_type=Path))
@click.option(
    "--metrics",
    metavar="M,N",
    default="",
    shell_complete=completion.columns,
    help="Metrics to try; those of the table of the scans without it.",
)
@click.option(
    "--seed",
    metavar="N",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of the bootstrap and of the permutations.",
)
@output_options(_FORMATS)
@click.option("--all", "all_rows", is_flag=True, help="Show every family and every model in the table.")
@click.option("-q", "--quiet", is_flag=True, help="With -o, no table.")
def rank(
    path: Path,
    metrics: str,
    seed: int,
    format_: str | None,
    output: Path | None,
    all_rows: bool,
    quiet: bool,
) -> int:
    """Order the models of a zoo by each metric, and test whether one adds to their size.

    DIR is what `rmtaudit zoo --out` wrote, or has a manifest or reports; FILE is its zoo.json or a manifest
    whose models name reports. Where models have a measured quality: Kendall's tau within families, always
    next to that of the number of parameters, and partial tau given that number, with intervals and p-values
    for the number of metrics tried. Exit code 3: no model has a metric, or too few have a quality.
    """
    from rmtaudit.engine.rank.models import read_models
    from rmtaudit.report.ranking import Answer

    format_ = format_for(format_, output, _FORMATS)
    chosen = [name for piece in metrics.split(",") if (name := piece.strip())]
    with output_file(output, [path]) if output else nullcontext() as file:
        models = read_models(path)
        from rmtaudit.engine.rank.answer import rank_models  # scipy, once the file is read

        ranking = rank_models(models, path, metrics=chosen, seed=seed)
        if file is not None:
            file.write(_rendered(ranking, format_, everything=all_rows))
        if file is None and format_ != "table":
            sys.stdout.write(_rendered(ranking, format_, everything=all_rows))
        elif file is None or not quiet:
            from rmtaudit.cli.rank_table import draw_ranking
            from rmtaudit.cli.table import stdout_console

            draw_ranking(stdout_console(), ranking, everything=all_rows)
    answers = {measure.answer for measure in ranking.measures}
    return INCONCLUSIVE if answers == {Answer.TOO_FEW} else FINE


def _rendered(ranking: object, format_: str, *, everything: bool) -> str:
    from rmtaudit.report.document import dumps
    from rmtaudit.report.ranking import Ranking
    from rmtaudit.report.ranking_text import markdown

    assert isinstance(ranking, Ranking)
    if format_ == "json":
        return dumps(ranking.to_dict())
    if format_ == "markdown":
        return markdown(ranking)
    if format_ == "html":
        from rmtaudit.report.page.ranking import ranking_page

        return ranking_page(ranking)
    from rmtaudit.cli.rank_table import draw_ranking
    from rmtaudit.cli.table import drawn_text

    return drawn_text(lambda console: draw_ranking(console, ranking, everything=everything))
