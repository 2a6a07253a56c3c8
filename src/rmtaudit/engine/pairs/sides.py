"""The matrices of one checkpoint, read on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.engine.pairs.refs import TensorRef

if TYPE_CHECKING:
    import torch

Stored = tuple["torch.Tensor", ...]


class SideReader:
    """Reads the matrices of one checkpoint; the stored tensors that it read last stay in memory."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self._key: tuple[tuple[str, ...], tuple[int, int] | None] | None = None
        self._stored: Stored = ()

    def read(self, ref: TensorRef) -> torch.Tensor:
        """Return one matrix, shape ``ref.shape``: CPU, the dtype that it is stored in or decoded to.

        A weight that is made of several tensors (weight norm) is computed in float32 or wider.

        Raises
        ------
        InputError
            The bytes cannot be read.
        """
        key = (ref.tensors, ref.band)
        if key != self._key:
            self._key, self._stored = None, ()  # the old values go before the new ones come
            self._stored = self._load(ref)
            self._key = key
        if ref.layer is None:
            matrix = self._stored[0].reshape(ref.spec.shape[0] if ref.spec.shape else 1, -1)
        else:
            stored = self._stored
            if len(stored) > 1:
                stored = tuple(each if each.element_size() >= 4 else each.float() for each in stored)
            (matrix,) = ref.layer.build(stored)
        return matrix if ref.rows is None else matrix[ref.rows[0] : ref.rows[1]]

    def _load(self, ref: TensorRef) -> Stored:
        if ref.band is None:
            return tuple(self.checkpoint.read(name) for name in ref.tensors)
        return tuple(self.checkpoint.read_band(name, *ref.band) for name in ref.tensors)
