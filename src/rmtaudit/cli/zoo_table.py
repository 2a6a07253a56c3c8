"""How the audit of a zoo looks in a terminal: what needs a look first, and what became of the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rmtaudit.names import display_name

if TYPE_CHECKING:
    from rich.console import Console

    from rmtaudit.report.zoo import Zoo, ZooModel

_MOST = 20
"""Rows of models that need a look, and of those that do not."""

_ORDER = ("failed", "damaged", "warning", "inconclusive", "ok")


def draw_zoo(console: Console, zoo: Zoo) -> None:
    """Draw the models of a zoo, the worst first, and the sums."""
    from rich.table import Table
    from rich.text import Text

    ordered = sorted(zoo.models, key=lambda model: _ORDER.index(word_of(model)))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head, justify in (
        ("model", "left"),
        ("parameters", "right"),
        ("coverage", "right"),
        ("verdict", "left"),
    ):
        table.add_column(head, justify="right" if justify == "right" else "left", overflow="fold")
    for model in ordered[:_MOST]:
        table.add_row(*(Text(cell) for cell in _cells(model)))
    console.print(table)
    if len(ordered) > _MOST:
        console.print(Text(f"… and {len(ordered) - _MOST:,} more"))
    for line in _sums(zoo):
        console.print(Text(line))


def word_of(model: ZooModel) -> str:
    """Return the word that orders the models: failed, damaged, warning, inconclusive or ok."""
    if model.status != "ok":
        return model.status
    word = model.integrity.word if model.integrity is not None else "ok"
    return word if word in _ORDER else "ok"


def _cells(model: ZooModel) -> tuple[str, str, str, str]:
    if model.error is not None:
        verdict = f"failed: {display_name(model.error.message)} [{model.error.code}]"
    else:
        words = (each.text for each in (model.integrity, model.signal) if each is not None)
        verdict = display_name(", ".join(words))
    return (
        display_name(model.name, longest=100),
        "" if model.parameters is None else f"{model.parameters:,}",
        "" if model.coverage is None else f"{model.coverage:.1%}",
        verdict,
    )


def _sums(zoo: Zoo) -> Iterator[str]:
    run = zoo.run
    words = Counter(word_of(model) for model in zoo.models)
    counted = ", ".join(f"{words[word]:,} {word}" for word in _ORDER if words[word])
    yield f"{len(zoo.models):,} models: {counted or 'none was finished'}"
    yield (
        f"{run.models_computed:,} models computed and {run.models_reused:,} reused, "
        f"{run.layers_computed:,} layers computed and {run.layers_reused:,} reused; {run.tasks:,} "
        f"tasks on {run.workers:,} workers, {run.retries:,} retries, {run.seconds:.1f} s"
    )
    for each in run.quarantined:
        part = f", {each.part}" if each.part else ""
        yield f"abandoned: {display_name(each.model)}{part}: {display_name(each.reason)}"
    if zoo.relations is not None:
        kinds = Counter(edge.kind for edge in zoo.relations.edges)
        listed = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
        yield f"relations: {listed or 'none'}"
    if not run.complete:
        yield "interrupted: run the same command to continue"
