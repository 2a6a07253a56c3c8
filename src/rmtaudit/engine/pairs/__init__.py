"""Two checkpoints side by side: which tensors correspond, and their values in one orientation."""

from rmtaudit.engine.pairs.opening import opened
from rmtaudit.engine.pairs.pairing import Layout, Match, Pair, Pairing, paired
from rmtaudit.engine.pairs.reading import PairReader, PairValues
from rmtaudit.engine.pairs.refs import TensorRef, refs_of

__all__ = [
    "Layout",
    "Match",
    "Pair",
    "PairReader",
    "PairValues",
    "Pairing",
    "TensorRef",
    "opened",
    "paired",
    "refs_of",
]
