"""Two checkpoints side by side: which tensors correspond, and their values in one orientation."""

from rmtaudit.engine.pairs.opening import opened
from rmtaudit.engine.pairs.pairing import Layout, Match, Pair, Pairing, paired
from rmtaudit.engine.pairs.reading import PairReader, PairValues
from rmtaudit.engine.pairs.refs import TensorRef, refs_of
from rmtaudit.engine.pairs.relating import related, relation_test
from rmtaudit.engine.pairs.relation import ModelRelation, Relation, RelationTest
from rmtaudit.engine.pairs.relation_evidence import evidence_of, sentence_of

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
    "evidence_of",
    "opened",
    "paired",
    "refs_of",
    "related",
    "relation_test",
    "sentence_of",
]
