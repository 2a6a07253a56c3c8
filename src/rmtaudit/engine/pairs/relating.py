"""The relation of two opened checkpoints: their corresponding layers read and tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.engine.pairs.pairing import Pair, Pairing
from rmtaudit.engine.pairs.reading import PairReader
from rmtaudit.engine.pairs.refs import refs_of
from rmtaudit.engine.pairs.relation import LEVEL, ModelRelation, Obstacle, Relation, RelationTest

_SORTED = frozenset({"safetensors", "flax-msgpack", "npz", "torch-dcp"})
"""Formats whose writers sort tensors by name."""


def related(
    base: Checkpoint,
    candidate: Checkpoint,
    pairing: Pairing,
    *,
    config: Mapping[str, Any] | None = None,
    seed: int = 0,
    level: float = LEVEL,
    most_layers: int | None = None,
    reader: PairReader | None = None,
) -> ModelRelation:
    """Return the relation of two opened checkpoints.

    Parameters
    ----------
    base, candidate, pairing
        The checkpoints, which stay open, and which of their tensors correspond.
    config
        The facts that say how attention heads lie; by default those of the base, then of the candidate.
    seed
        Of what is drawn.
    level
        Of the decision.
    most_layers
        Test an even sample of so many layers; ``None`` for all.
    reader
        Of the two checkpoints, with a budget of its own; layers beyond it are not tested.

    Raises
    ------
    InputError
        The bytes of a tensor cannot be read.
    """
    test = relation_test(base, candidate, config=config, seed=seed, level=level)
    pairs = [pair for pair in pairing.pairs if pair.base.layer is not None]
    if most_layers is not None:
        pairs = sampled([pair for pair in pairs if test.testable(pair.name)], most_layers)
    reader = reader or PairReader(base, candidate)
    admitted = [pair for pair in pairs if reader.refusal(pair) is None]
    if pairs and not admitted:
        return ModelRelation(relation=Relation.UNTESTABLE, level=level, obstacle=Obstacle.BEYOND_MEMORY)
    for pair in admitted:
        _, first, second = reader.read(pair)
        test.add(pair.name, first, second)
    return test.result()


def relation_test(
    base: Checkpoint,
    candidate: Checkpoint,
    *,
    config: Mapping[str, Any] | None = None,
    seed: int = 0,
    level: float = LEVEL,
) -> RelationTest:
    """Return the test of two opened checkpoints; parameters as of :func:`related`."""
    facts = base.config or candidate.config if config is None else config
    refs, _ = refs_of(base, config=facts)
    return RelationTest(refs=refs, config=facts, seed=seed, level=level, ordered=base.format not in _SORTED)


def sampled(pairs: Sequence[Pair], most: int) -> list[Pair]:
    """Return an even sample of pairs, the first and the last among them."""
    if len(pairs) <= most:
        return list(pairs)
    step = (len(pairs) - 1) / max(1, most - 1)
    return [pairs[round(index * step)] for index in range(most)]
