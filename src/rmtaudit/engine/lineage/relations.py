"""What two models of a folder are to each other: digests first, then a sample of layers, then all layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.engine.lineage.models import Model
from rmtaudit.engine.pairs import ModelRelation, Pairing, PairReader, Relation, paired, related
from rmtaudit.matrices.tensors import FLOATING

_SAMPLE = 12
"""Layers that are tested first; all are where the sample does not decide."""

_DECIDED = 0.05
"""P-value of the sample above which models are called independent without a look at the other layers."""

_CLOSE = 0.1
"""Relative change up to which a model with fewer bits is called quantised. Four bits change weights by about
.1 at most, in blocks of 128."""


class Kind(StrEnum):
    """The kind of an edge or of a pair."""

    COPY = "copy"
    SAME_VALUES = "same values"
    """Equal weights in another container, under other names or with other tensors beside them."""
    CAST = "cast"
    QUANTISED = "quantised"
    DERIVED = "derived"
    SAME_INITIALISATION = "same initialisation"
    PERMUTED = "permuted copy (uncalibrated)"
    INDEPENDENT = "independent"
    UNTESTABLE = "untestable"


_SAME_MODEL = frozenset({Kind.COPY, Kind.SAME_VALUES, Kind.CAST, Kind.QUANTISED})

RELATED = frozenset(Kind) - {Kind.INDEPENDENT, Kind.UNTESTABLE}


@dataclass(frozen=True, slots=True, kw_only=True)
class PairResult:
    """Two models and their relation.

    Attributes
    ----------
    first, second
        Their names.
    kind
        The relation.
    source
        The name of the model that the other one was made from, where the precision tells: casts and
        quantised models lose what cannot come back. ``None`` elsewhere.
    relation
        The test; ``None`` for equal digests.
    change
        Relative change of the tested layers, of the second with respect to the first; ``None`` where nothing
        was tested. 0 for equal values.
    distance
        The geometric mean of the change in both directions, by which the tree joins the closest first.
    layers
        Number of layers that correspond.
    sampled
        Whether the result is that of a sample of them.
    """

    first: str
    second: str
    kind: Kind
    source: str | None = None
    relation: ModelRelation | None = None
    change: float | None = None
    distance: float = 0.0
    layers: int = 0
    sampled: bool = False


def relation_of_models(
    first: Model, second: Model, *, level: float, seed: int, memory: int | None = None
) -> PairResult:
    """Return the relation of two models; layers that take more than ``memory`` bytes are left out.

    Raises
    ------
    InputError
        One of them cannot be read any more.
    """
    if first.digest == second.digest:
        return PairResult(first=first.name, second=second.name, kind=Kind.COPY, change=0.0)
    with open_checkpoint(first.path) as one, open_checkpoint(second.path) as other:
        pairing = paired(one, other)
        layers = sum(pair.base.layer is not None for pair in pairing.pairs)
        reader = PairReader(one, other) if memory is None else PairReader(one, other, budget=memory)
        relation = related(one, other, pairing, reader=reader, seed=seed, level=level, most_layers=_SAMPLE)
        sampled = layers > _SAMPLE
        if sampled and not _decides(relation):
            relation, sampled = (
                related(one, other, pairing, reader=reader, seed=seed, level=level),
                False,
            )
        sampled = sampled or any(
            reader.refusal(pair) is not None for pair in pairing.pairs if pair.base.layer is not None
        )
        kind, source = _kind(relation, (first, second), reader, pairing)
    change, back = (_change(relation, way) for way in (0, 1))
    if kind is Kind.SAME_VALUES:
        change = 0.0
    return PairResult(
        first=first.name,
        second=second.name,
        kind=kind,
        source=source,
        relation=relation,
        change=change,
        distance=math.sqrt((change or 0.0) * (back or 0.0)),
        layers=layers,
        sampled=sampled,
    )


def _decides(relation: ModelRelation) -> bool:
    """Whether a sample of layers decides: it found a clear relation, or nothing near one."""
    if relation.relation in (Relation.IDENTICAL, Relation.UNTESTABLE):
        return False
    if relation.relation is Relation.INDEPENDENT:
        return relation.p_value is not None and relation.p_value > _DECIDED
    return relation.identical == 0


def _kind(
    relation: ModelRelation,
    models: tuple[Model, Model],
    reader: PairReader,
    pairing: Pairing,
) -> tuple[Kind, str | None]:
    if relation.relation is Relation.IDENTICAL:
        fewer = min(models, key=lambda model: model.bits)
        more = max(models, key=lambda model: model.bits)
        return (Kind.CAST, more.name) if fewer.bits < 0.75 * more.bits else (Kind.SAME_VALUES, None)
    if relation.relation is not Relation.DERIVED:
        return _KINDS[relation.relation], None
    if cast := _cast(models, reader, pairing):
        return Kind.CAST, cast
    change = _change(relation, 0)
    if change is not None and change <= _CLOSE:
        quantised = [
            any(spec.encoding or _is_integer(spec.dtype) for spec in each.tensors)
            for each in (reader.base, reader.candidate)
        ]
        if quantised[0] != quantised[1]:
            return Kind.QUANTISED, models[quantised.index(False)].name
    return Kind.DERIVED, None


_KINDS: Mapping[Relation, Kind] = {
    Relation.SAME_INITIALISATION: Kind.SAME_INITIALISATION,
    Relation.PERMUTED: Kind.PERMUTED,
    Relation.INDEPENDENT: Kind.INDEPENDENT,
    Relation.UNTESTABLE: Kind.UNTESTABLE,
}


def _is_integer(dtype: str) -> bool:
    return dtype in ("int8", "uint8")


def _cast(models: tuple[Model, Model], reader: PairReader, pairing: Pairing) -> str | None:
    """Return the name of the model of which the other one is a cast, entry by entry; ``None`` for neither."""
    import torch

    sources: set[int] = set()
    for pair in pairing.pairs:
        dtypes = pair.base.dtype, pair.candidate.dtype
        if pair.base.layer is None or not set(dtypes) <= FLOATING or reader.refusal(pair) is not None:
            continue
        _, *values = reader.read(pair)
        if torch.equal(values[0].double(), values[1].double()):
            continue
        fits = [
            place
            for place in (0, 1)
            if dtypes[0] != dtypes[1]
            and torch.equal(values[place].to(values[1 - place].dtype), values[1 - place])
        ]
        if not fits:
            return None
        sources.add(fits[0])
    return models[sources.pop()].name if len(sources) == 1 else None


def _change(relation: ModelRelation, way: int) -> float | None:
    """Return the relative change of the tested layers, from the slopes of the two regressions.

    Of the candidate with respect to the base for ``way`` 0, of the base with respect to the candidate for 1.
    """
    squares, total = 0.0, 0
    for layer in relation.layers:
        if layer.test is None or not (layer.slopes[0] and layer.slopes[1]):
            continue
        slope, other = layer.slopes[way], layer.slopes[1 - way]
        squares += layer.parameters * max(0.0, slope / other - 2 * slope + 1)
        total += layer.parameters
    return math.sqrt(squares / total) if total else None


def tree_of(pairs: Sequence[PairResult]) -> tuple[set[tuple[str, str]], dict[str, str]]:
    """Return the edges of the trees that join related models closest first, and the family of each model.

    Kruskal's algorithm on the relative change. A model that others were made from is closer to each of them
    than they are to each other, so the edges lead through it.

    Returns
    -------
    tuple
        The edges, as pairs of names, and by the name of a model the first name of its family.
    """
    family: dict[str, str] = {}
    for pair in pairs:
        for name in (pair.first, pair.second):
            family.setdefault(name, name)

    def root(name: str) -> str:
        while family[name] != name:
            name = family[name]
        return name

    def nearness(pair: PairResult) -> tuple[bool, float]:
        return pair.kind not in _SAME_MODEL, round(pair.distance, 6)  # ties in the order of the names

    edges = set()
    for pair in sorted(pairs, key=nearness):
        if pair.kind not in RELATED:
            continue
        one, other = sorted((root(pair.first), root(pair.second)))
        if one != other:
            family[other] = one
            edges.add((pair.first, pair.second))
    return edges, {name: root(name) for name in family}
