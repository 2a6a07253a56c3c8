"""A checkpoint of tensors that know how to load themselves: plain, decoded, or made of several pieces."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.checkpoints.values import tensor_from_bytes
from rmtaudit.errors import InputError
from rmtaudit.matrices.tensors import ITEMSIZE, TensorSpec
from rmtaudit.names import display_name

if TYPE_CHECKING:
    import torch

    from rmtaudit.checkpoints.files import FileSource

Load = Callable[[], "torch.Tensor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Consecutive values in a file, row-major.

    Attributes
    ----------
    source
        The file.
    offset
        Position of the first byte.
    dtype, shape
        torch's name of the dtype, and sizes.
    big_endian
        Whether the bytes of a number come most significant first.
    """

    source: FileSource
    offset: int
    dtype: str
    shape: tuple[int, ...]
    big_endian: bool = False

    def load(self) -> torch.Tensor:
        """Return all values, in memory of their own."""
        return self._values(self.offset, self.shape)

    def band(self, start: int, stop: int) -> torch.Tensor:
        """Return rows ``start`` to ``stop`` of the first side, reading no more than them."""
        row = math.prod(self.shape[1:]) * ITEMSIZE[self.dtype]
        return self._values(self.offset + start * row, (stop - start, *self.shape[1:]))

    def _values(self, offset: int, shape: tuple[int, ...]) -> torch.Tensor:
        data = self.source.pread(offset, math.prod(shape) * ITEMSIZE[self.dtype])
        return tensor_from_bytes(data, self.dtype, shape, big_endian=self.big_endian)


@dataclass(frozen=True, slots=True, kw_only=True)
class LazyTensor:
    """A tensor and where its values come from: a :class:`Span`, or a function that returns them.

    ``values`` is ``None`` for a tensor whose ``spec.unreadable`` says why.
    """

    spec: TensorSpec
    values: Span | Load | None


class LazyCheckpoint(Checkpoint):
    """A checkpoint whose files are read when a value is asked for.

    Parameters
    ----------
    path
        The file or folder that was opened.
    format
        Name of the format.
    sources
        The open files; this object closes them.
    tensors
        Every tensor, in stored order.
    warnings
        What is odd but not fatal.
    """

    def __init__(
        self,
        path: Path,
        format: str,
        sources: Sequence[FileSource],
        tensors: Sequence[LazyTensor],
        warnings: Sequence[str],
    ) -> None:
        self.path = path
        self.format = format
        self.tensors = tuple(tensor.spec for tensor in tensors)
        self.warnings = tuple(warnings)
        self._sources = tuple(sources)
        self._where = sources[0].where
        self._by_name = {tensor.spec.name: tensor for tensor in tensors}

    def read(self, name: str) -> torch.Tensor:
        """Return the values of one tensor (see :meth:`Checkpoint.read`)."""
        values = self._readable(name)
        return values.load() if isinstance(values, Span) else values().contiguous()

    def read_band(self, name: str, start: int, stop: int) -> torch.Tensor:
        """Return a range of the first side of one tensor; of plain values, no more than that is read."""
        values = self._readable(name)
        return values.band(start, stop) if isinstance(values, Span) else self.read(name)[start:stop]

    def _readable(self, name: str) -> Span | Load:
        tensor = self._by_name[name]
        if tensor.values is None or tensor.spec.unreadable is not None:
            raise InputError(
                "RA-IN-009",
                f"Tensor '{display_name(name)}' cannot be read: {tensor.spec.unreadable}.",
                where=self._where,
            )
        return tensor.values

    def check_unchanged(self) -> None:
        """Raise ``ChangedError`` if a file changed since it was opened."""
        for source in self._sources:
            source.check_unchanged()

    def park(self) -> None:
        """Give back the file descriptors until the next read (for folders of very many shards)."""
        for source in self._sources:
            source.park()

    def close(self) -> None:
        """Close the files; raises ``ChangedError`` if one changed since it was opened."""
        for source in self._sources:
            warning = source.close()
            if warning:
                self.warnings = (*self.warnings, warning)
