"""Two checkpoints side by side: which tensors correspond, and their values in one orientation."""

from rmtaudit.engine.pairs.opening import opened
from rmtaudit.engine.pairs.pairing import Layout, Match, Pair, Pairing, paired
from rmtaudit.engine.pairs.reading import PairReader, PairValues
from rmtaudit.engine.pairs.refs import TensorRef, refs_of
from rmtaudit.engine.pairs.relation import ModelRelation, Relation, RelationTest, related

__all__ = [
    "Layout",
    "Match",
    "ModelRelation",
    "Pair",
    "PairReader",
    "PairValues",
    "Pairing",
    "Relation",
    "RelationTest",
    "TensorRef",
    "opened",
    "paired",
    "refs_of",
    "related",
]
