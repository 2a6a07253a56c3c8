"""The graph of several models, as a document of strict JSON and as DOT."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rmtaudit.engine.lineage.models import models_of
from rmtaudit.engine.lineage.relations import RELATED, PairResult, relation_of_models, tree_of
from rmtaudit.engine.pairs import evidence_of
from rmtaudit.engine.resources.progress import Progress
from rmtaudit.errors import UsageError
from rmtaudit.report.derivations import (
    Lineage,
    LineageHeader,
    LineageLevel,
    LineageModel,
    LineagePair,
    LineageSubject,
    RelationEvidence,
    SeededVersion,
    UnreadModel,
)
from rmtaudit.version import installed_version

FAMILY_LEVEL = 1e-3
"""Probability of one false edge or more among all pairs of a folder of independent models, at most."""

_PAIR_LEVEL = 1e-4


def lineage(
    *paths: str | Path,
    seed: int = 0,
    memory: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Lineage:
    """Return the relations of all models of a folder, or of several models.

    Parameters
    ----------
    *paths
        One folder: its files of weights, and those of its subfolders, are the models. Or two models or more:
        files, or folders that are checkpoints.
    seed
        Of what is drawn.
    memory
        Bytes for the matrices in flight; half of what is free where ``None``. Layers that need more are left
        out; the pair then counts as sampled.
    progress
        Told after every pair.

    Returns
    -------
    Lineage
        The document ``rmtaudit.lineage`` (docs/lineage.md); ``to_dict()`` returns plain values.

    Raises
    ------
    UsageError
        RA-US-801: one path that is not a folder, or no path.
    InputError
        A model changed while it was read.
    """
    places = [Path(path) for path in paths]
    if len(places) < 2 and not (places and places[0].is_dir()):
        raise UsageError(
            "RA-US-801",
            "The path is not a folder.",
            hint="Give a folder of models, or at least two models.",
            where=str(places[0]) if places else "",
        )
    folder, models, unread = models_of(places)
    couples = list(itertools.combinations(models, 2))
    level = min(_PAIR_LEVEL, FAMILY_LEVEL / max(1, len(couples)))
    pairs: list[PairResult] = []
    for one, other in couples:
        pairs.append(relation_of_models(one, other, level=level, seed=seed, memory=memory))
        if progress is not None:
            name = f"{one.name}, {other.name}"
            step = len(pairs)
            progress(
                Progress(
                    done=step,
                    total=len(couples),
                    name=name,
                    parameters_done=step,
                    parameters_total=len(couples),
                )
            )
    tree, families = tree_of(pairs)
    return Lineage(
        schema=LineageHeader(),
        tool=SeededVersion(version=installed_version(), seed=seed),
        subject=LineageSubject(path=str(folder), models=len(models), unread=len(unread)),
        level=LineageLevel(pair=level, family=FAMILY_LEVEL, pairs=len(couples)),
        models=[
            LineageModel(
                name=model.name,
                format=model.format,
                parameters=model.parameters,
                bits=model.bits,
                digest=model.digest,
                family=families.get(model.name, model.name),
            )
            for model in models
        ],
        unread=[UnreadModel(name=each.name, code=each.code, message=each.message) for each in unread],
        counts=dict(Counter(str(pair.kind) for pair in pairs).most_common()),
        pairs=[_pair(pair, (pair.first, pair.second) in tree) for pair in pairs],
    )


def _pair(pair: PairResult, in_tree: bool) -> LineagePair:
    relation = pair.relation
    return LineagePair(
        first=pair.first,
        second=pair.second,
        kind=str(pair.kind),
        related=pair.kind in RELATED,
        tree=in_tree,
        source=pair.source,
        evidence=None
        if relation is None
        else RelationEvidence(
            relative_change=pair.change, layers=pair.layers, sampled=pair.sampled, **evidence_of(relation)
        ),
    )


def dot_of(document: Mapping[str, Any]) -> str:
    """Return the trees of a document in the DOT language of Graphviz: an arrow where the source is known."""
    lines = ["digraph lineage {", "  rankdir=LR;", "  node [shape=box];"]
    lines += [f"  {_quoted(model['name'])};" for model in document["models"]]
    for pair in document["pairs"]:
        if not pair["tree"]:
            continue
        ends = [pair["first"], pair["second"]]
        if pair["source"] == pair["second"]:
            ends.reverse()
        style = "" if pair["source"] else ", dir=none"
        label = _quoted(edge_label(pair))
        lines.append(f"  {_quoted(ends[0])} -> {_quoted(ends[1])} [label={label}{style}];")
    return "\n".join([*lines, "}", ""])


def edge_label(pair: Mapping[str, Any]) -> str:
    """Return the kind of a pair with its relative change."""
    change = None if pair["evidence"] is None else pair["evidence"]["relative_change"]
    return str(pair["kind"]) if not change else f"{pair['kind']}, change {change:.2g}"


def _quoted(text: str) -> str:
    from rmtaudit.names import display_name

    escaped = display_name(text, longest=400).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
