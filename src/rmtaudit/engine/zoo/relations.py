"""How the models of a zoo are related: digests first, then a test of each pair that could be.

Two models could be related if layers of the same shapes make up half of the smaller one, or if they share a
tensor. Of models with equal contents one stands for all. A pair is tested as ``rmtaudit lineage`` does it,
and the result is kept in the store.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmtaudit.engine.lineage.models import Model
from rmtaudit.engine.lineage.relations import RELATED, Kind, PairResult, relation_of_models, tree_of
from rmtaudit.engine.pairs import evidence_of
from rmtaudit.engine.resources.store import Kind as RecordKind
from rmtaudit.engine.resources.store import RecordStore, key_digest
from rmtaudit.engine.resources.threads import one_thread_each
from rmtaudit.engine.zoo.queue import Finished
from rmtaudit.errors import RmtauditError
from rmtaudit.report.plain import plain
from rmtaudit.report.zoo import Relation, Relations, ZooModel

SHARES = "shares tensors"
"""The kind of an edge of which equal tensors alone are known."""

_FAMILY_LEVEL, _PAIR_LEVEL = 1e-3, 1e-4
"""As ``rmtaudit lineage``: the probability of a false edge among all pairs, and for one, at most."""

_ALIKE = 0.5
"""Share of the smaller model in layers of shapes that both have, from which a pair is tested."""

_ALL_PAIRS = 2000
"""Models up to which the shapes of all pairs are compared; of more, those with exactly equal shapes."""

RunTasks = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Finished]]
"""Carries out a function with each of the tasks on the workers, and yields them as they come back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTask:
    """Two models to be tested."""

    first: Model
    second: Model
    level: float
    seed: int


@dataclass(frozen=True, slots=True)
class _Facts:
    """What is known of a model: the elements of its layers by shape, and by the digest of the tensor."""

    model: ZooModel
    shapes: Mapping[tuple[int, ...], int]
    tensors: Mapping[str, int]

    @property
    def elements(self) -> int:
        return max(1, sum(self.shapes.values()))


def relations_of(
    models: Sequence[ZooModel],
    store: RecordStore,
    run: RunTasks,
    *,
    seed: int,
    program: Mapping[str, str],
    most: int,
) -> Relations:
    """Return the graph of the models that were audited.

    Parameters
    ----------
    models
        All models of the zoo.
    store
        Has their reports, and keeps the results of the tests.
    run
        Carries out the tests that the store does not have.
    seed, program
        What the tests depend on.
    most
        Pairs that are tested at most, those that share most first.
    """
    known = [facts for model in models if (facts := _facts(model, store)) is not None]
    copies: defaultdict[str, list[_Facts]] = defaultdict(list)
    for facts in known:
        copies[str(facts.model.digest)].append(facts)
    alone = [group[0] for group in copies.values()]
    shared = _shared(alone)
    candidates = sorted(_candidates(alone, shared), key=lambda pair: (-shared.get(pair, 0.0), pair))
    tested = candidates[:most]
    level = _level(len(tested))
    results, unreadable = _tested(
        [(alone[one].model, alone[other].model) for one, other in tested],
        store,
        run,
        level=level,
        seed=seed,
        program=program,
    )
    pairs = [
        *(
            PairResult(first=group[0].model.name, second=other.model.name, kind=Kind.COPY, change=0.0)
            for group in copies.values()
            for other in group[1:]
        ),
        *(result for result, _ in results),
    ]
    tree, _ = tree_of(pairs)
    evidence = {(result.first, result.second): found for result, found in results}
    shares = {
        (alone[one].model.name, alone[other].model.name): value for (one, other), value in shared.items()
    }
    edges = [
        Relation(
            first=pair.first,
            second=pair.second,
            kind=str(pair.kind),
            source=pair.source,
            tree=(pair.first, pair.second) in tree,
            shared=1.0 if pair.kind is Kind.COPY else shares.get((pair.first, pair.second), 0.0),
            evidence=evidence.get((pair.first, pair.second)),
        )
        for pair in pairs
        if pair.kind in RELATED
    ]
    joined = {(edge.first, edge.second) for edge in edges}
    edges += [
        Relation(
            first=first, second=second, kind=SHARES, source=None, tree=False, shared=value, evidence=None
        )
        for (first, second), value in shares.items()
        if (first, second) not in joined
    ]
    return Relations(
        level=level if tested else None,
        candidates=len(candidates),
        tested=len(results),
        untested=len(candidates) - len(tested),
        unreadable=unreadable,
        edges=tuple(edges),
    )


def relate(task: PairTask) -> dict[str, Any]:
    """Test a pair in a worker, and return the result as plain values."""
    try:
        with one_thread_each():
            pair = relation_of_models(task.first, task.second, level=task.level, seed=task.seed)
    except RmtauditError as error:
        return {"error": error.code}
    evidence = None
    if pair.relation is not None:
        evidence = {
            "relative_change": pair.change,
            "layers": pair.layers,
            "sampled": pair.sampled,
            **evidence_of(pair.relation),
        }
    body: dict[str, Any] = plain(
        {
            "kind": pair.kind,
            "source": None if pair.source is None else int(pair.source == task.second.name),
            "change": pair.change,
            "distance": pair.distance,
            "evidence": evidence,
        }
    )
    return body


def _tested(
    pairs: Sequence[tuple[ZooModel, ZooModel]],
    store: RecordStore,
    run: RunTasks,
    *,
    level: float,
    seed: int,
    program: Mapping[str, str],
) -> tuple[list[tuple[PairResult, Mapping[str, Any] | None]], int]:
    """Return the results of pairs with their evidence, and how many could not be read."""
    keys = [
        {"digests": [one.digest, other.digest], "level": level, "seed": seed, "program": program}
        for one, other in pairs
    ]
    bodies = [store.get(RecordKind.PAIR, key_digest(RecordKind.PAIR, key)) for key in keys]
    missing = [place for place, body in enumerate(bodies) if body is None]
    tasks = {
        place: PairTask(first=_model(pairs[place][0]), second=_model(pairs[place][1]), level=level, seed=seed)
        for place in missing
    }
    places = {id(task): place for place, task in tasks.items()}
    for finished in run(relate, list(tasks.values())) if tasks else ():
        place = places[id(finished.task)]
        if finished.outcome is not None and "error" not in finished.outcome:
            bodies[place] = finished.outcome
            store.put(RecordKind.PAIR, keys[place], finished.outcome)
    results = []
    for (one, other), body in zip(pairs, bodies, strict=True):
        if body is not None:
            source = None if body["source"] is None else (one.name, other.name)[body["source"]]
            result = PairResult(
                first=one.name,
                second=other.name,
                kind=Kind(body["kind"]),
                source=source,
                change=body["change"],
                distance=body["distance"],
            )
            results.append((result, body["evidence"]))
    return results, sum(body is None for body in bodies)


def _facts(model: ZooModel, store: RecordStore) -> _Facts | None:
    if model.record is None or model.digest is None:
        return None
    body = store.get(RecordKind.MODEL, Path(model.record).stem)
    if body is None:
        return None
    digests = dict(body["tensors"])
    shapes: Counter[tuple[int, ...]] = Counter()
    tensors: Counter[str] = Counter()
    for layer in body["report"]["layers"]:
        if layer["status"] == "ok":
            shapes[tuple(sorted(layer["shape"]))] += layer["parameters"]
            if layer["tensor"] in digests:
                tensors[digests[layer["tensor"]]] += layer["parameters"]
    return _Facts(model, shapes, tensors)


def _shared(models: Sequence[_Facts]) -> dict[tuple[int, int], float]:
    """Return the share of the smaller model in equal tensors, for the pairs that have any."""
    holders: defaultdict[str, list[int]] = defaultdict(list)
    for place, facts in enumerate(models):
        for digest in facts.tensors:
            holders[digest].append(place)
    common: Counter[tuple[int, int]] = Counter()
    for digest, places in holders.items():
        for pair in itertools.combinations(places, 2):
            common[pair] += min(models[place].tensors[digest] for place in pair)
    return {
        pair: min(1.0, count / min(models[place].elements for place in pair))
        for pair, count in common.items()
    }


def _candidates(models: Sequence[_Facts], shared: Mapping[tuple[int, int], float]) -> set[tuple[int, int]]:
    candidates = set(shared)
    if len(models) <= _ALL_PAIRS:
        for pair in itertools.combinations(range(len(models)), 2):
            one, other = (models[place] for place in pair)
            both = one.shapes.keys() & other.shapes.keys()
            common = sum(min(one.shapes[shape], other.shapes[shape]) for shape in both)
            if common >= _ALIKE * min(one.elements, other.elements):
                candidates.add(pair)
        return candidates
    groups: defaultdict[tuple[Any, ...], list[int]] = defaultdict(list)
    for place, facts in enumerate(models):
        groups[tuple(sorted(facts.shapes.items()))].append(place)
    for places in groups.values():
        candidates.update(itertools.combinations(places, 2))
    return candidates


def _level(pairs: int) -> float:
    """Return the level of each test: a power of ten, so that a model more seldom makes all tests anew."""
    return min(_PAIR_LEVEL, 10.0 ** math.floor(math.log10(_FAMILY_LEVEL / max(1, pairs))))


def _model(model: ZooModel) -> Model:
    parameters = model.parameters or 0
    return Model(
        name=model.name,
        path=Path(model.path),
        format=model.format or "",
        parameters=parameters,
        bits=8 * (model.bytes or 0) / parameters if parameters else 0.0,
        digest=model.digest or "",
    )
