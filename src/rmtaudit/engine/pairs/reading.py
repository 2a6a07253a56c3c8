"""The values of pairs, read in lockstep: at most one stored tensor of either side is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.engine.pairs.pairing import Layout, Pair, Pairing
from rmtaudit.engine.pairs.sides import SideReader
from rmtaudit.engine.resources.memory import free_memory
from rmtaudit.engine.resources.memory_size import format_bytes
from rmtaudit.errors import CorruptError
from rmtaudit.matrices.skips import Skip, SkipReason

if TYPE_CHECKING:
    import torch


class PairValues(NamedTuple):
    """A pair and its two matrices, in the base's orientation, in their stored dtypes."""

    pair: Pair
    base: torch.Tensor
    candidate: torch.Tensor


@dataclass(slots=True)
class PairReader:
    """Reads pairs within a memory budget.

    Attributes
    ----------
    base, candidate
        The two opened checkpoints.
    budget
        Bytes that the values of one pair and the work on them may take; half of what is free by default.
    work
        Bytes that the caller needs for each entry of a matrix in addition to the values.
    """

    base: Checkpoint
    candidate: Checkpoint
    budget: int = field(default_factory=lambda: free_memory() // 2)
    work: int = 0
    _base: SideReader = field(init=False)
    _candidate: SideReader = field(init=False)

    def __post_init__(self) -> None:
        self._base, self._candidate = SideReader(self.base), SideReader(self.candidate)

    def refusal(self, pair: Pair) -> Skip | None:
        """Return why a pair is not read: it takes more memory than the budget."""
        needed = pair.base.bytes_read + pair.candidate.bytes_read + self.work * pair.base.parameters
        if needed <= self.budget:
            return None
        return Skip.of(
            SkipReason.BEYOND_MEMORY,
            needed=format_bytes(needed, round_up=True),
            budget=format_bytes(self.budget),
        )

    def read(self, pair: Pair) -> PairValues:
        """Return the two matrices of a pair, the candidate's in the orientation of the base's.

        Raises
        ------
        InputError
            The bytes of one cannot be read.
        """
        base, candidate = self._base.read(pair.base), self._candidate.read(pair.candidate)
        return PairValues(pair, base, candidate.T if pair.layout is Layout.TRANSPOSED else candidate)

    def values(self, pairing: Pairing, skip: Callable[[Pair, Skip], None]) -> Iterator[PairValues]:
        """Yield the pairs that can be read, in order; ``skip`` is told of every other pair."""
        for pair in pairing.pairs:
            refused = self.refusal(pair)
            if refused is not None:
                skip(pair, refused)
                continue
            try:
                values = self.read(pair)
            except CorruptError as error:
                skip(pair, Skip.of(SkipReason.UNREADABLE, problem=error.message))
                continue
            yield values
