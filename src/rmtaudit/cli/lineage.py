"""``rmtaudit lineage``: where models come from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmtaudit.cli.errors import FINE, INCONCLUSIVE, print_error
from rmtaudit.cli.help import Command
from rmtaudit.cli.output import DocumentOutput, document_options
from rmtaudit.errors import NothingAuditableError, UsageError

if TYPE_CHECKING:
    from rich.console import Console


@click.command(
    cls=Command,
    examples=[
        ("lineage models/", "Draw the family tree of a folder"),
        ("lineage a.safetensors b.safetensors c.gguf", "Relate three models"),
        ("lineage models/ -o lineage.json --dot lineage.dot", "Save it as JSON and as a graph"),
        ("lineage merge/ --base base/ --parents math/ --parents code/", "Explain a merge"),
    ],
)
@click.argument("targets", metavar="DIR|MODEL…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--base", metavar="B", type=click.Path(path_type=Path), help="The base of a merge; needs --parents."
)
@click.option(
    "--parents",
    metavar="P",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A candidate parent of the merge MODEL; repeat it for each.",
)
@click.option(
    "--dot",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Also write the tree as a graph for Graphviz.",
)
@click.option(
    "--seed",
    metavar="N",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Random seed.",
)
@click.option("--memory", metavar="SIZE", help="Budget for matrices in flight: 4GB, 50%, bytes.")
@document_options(quiet="No progress; with -o, no table.")
def lineage(
    targets: tuple[Path, ...],
    base: Path | None,
    parents: tuple[Path, ...],
    dot: Path | None,
    seed: int,
    memory: str | None,
    out: DocumentOutput,
) -> int:
    """Draw the family tree of a folder of models or of several models, or explain a merge by its parents.

    Every file of weights in DIR and in its subfolders is a model; with two arguments or more, each is a model
    as `rmtaudit scan` takes it. All pairs are compared: copies by their digests, then the relation test on a
    sample of layers, then on all layers where the sample does not decide. Exit code 3: fewer than two models
    could be read.

    With --base and --parents, MODEL is one merge: the coefficient of each parent in the change from the base
    to MODEL, with its interval, and what else was done to it.
    """
    from contextlib import nullcontext

    from rmtaudit.cli.output import output_file
    from rmtaudit.cli.progress import steps_watched
    from rmtaudit.engine.lineage.document import dot_of
    from rmtaudit.engine.lineage.document import lineage as related
    from rmtaudit.engine.resources.memory_size import parse_memory

    budget = None if memory is None else parse_memory(memory)
    if base is not None or parents:
        from rmtaudit.cli.merge import explain

        if len(targets) > 1:
            raise UsageError(
                "RA-US-818", "With --base and --parents, give exactly one merge.", where=str(targets[1])
            )
        return explain(targets[0], base, parents, out, memory=budget)
    with (
        out.open(targets) as emit,
        output_file(dot) if dot else nullcontext() as graph,
        steps_watched("pairs", enabled=not out.quiet) as watcher,
    ):
        document = related(
            *targets, seed=seed, memory=budget, progress=lambda step: watcher(step.done, step.total)
        ).to_dict()

        def draw(console: Console, document: Mapping[str, Any]) -> None:
            from rmtaudit.cli.lineage_table import draw_lineage

            draw_lineage(console, document)

        emit(document, draw)
        if graph is not None:
            graph.write(dot_of(document))
    if document["subject"]["models"] >= 2:
        return FINE
    print_error(
        NothingAuditableError(
            "RA-NA-004",
            "Fewer than two models could be read.",
            hint="The result lists the models that could not be read.",
            where=document["subject"]["path"],
        )
    )
    return INCONCLUSIVE
