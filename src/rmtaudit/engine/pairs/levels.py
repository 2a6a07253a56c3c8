"""The levels of quantised weights, in the orientation in which a pair is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.checkpoints.levels import Levels
from rmtaudit.engine.pairs.pairing import Layout, Pair
from rmtaudit.engine.pairs.sides import SideReader

if TYPE_CHECKING:
    import torch


class _View(Checkpoint):
    """A checkpoint whose quantised tensors read as one tensor of their levels."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self.path, self.format, self.tensors = checkpoint.path, checkpoint.format, checkpoint.tensors
        self.levels_read: dict[str, Levels] = {}
        self.part = "origin"

    def read(self, name: str) -> torch.Tensor:
        levels = self.levels_read.get(name)
        if levels is None:
            return self._checkpoint.read(name)
        return levels.origin if self.part == "origin" else levels.step


@dataclass(slots=True)
class LevelReader:
    """Reads the levels of the candidate's side of pairs.

    Attributes
    ----------
    candidate
        The opened checkpoint.
    """

    candidate: Checkpoint
    _view: _View = field(init=False)

    def __post_init__(self) -> None:
        self._view = _View(self.candidate)

    def read(self, pair: Pair) -> Levels | None:
        """Return the levels of the candidate, in the shape and the orientation of the base.

        ``None`` where it is stored as numbers, is made of several tensors, or has levels that are not known.
        """
        names = pair.candidate.tensors
        levels = self.candidate.levels(names[0]) if len(names) == 1 else None
        if levels is None:
            return None
        self._view.levels_read = {names[0]: levels}
        parts = []
        for part in ("origin", "step"):
            self._view.part = part
            matrix = SideReader(self._view).read(pair.candidate)
            parts.append(matrix.T if pair.layout is Layout.TRANSPOSED else matrix)
        return Levels(origin=parts[0], step=parts[1], table=levels.table)
