"""Tensors that are stored in chunks: the check that they make the tensor, and how it is put together."""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.errors import CorruptError, InputError, UnsafeError
from rmtaudit.matrices.tensors import TensorSpec
from rmtaudit.names import display_name

if TYPE_CHECKING:
    import torch

_SIDES_CAP = 8  # no program splits a tensor along more


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A box of a tensor: its first index along each side, its sizes, and where its values are."""

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    place: Any


def check_tiling(name: str, shape: tuple[int, ...], chunks: Iterable[Chunk], where: str) -> None:
    """Check that chunks cover a tensor without gaps or overlaps.

    Raises
    ------
    CorruptError
        They do not.
    UnsafeError
        They are more, or lie stranger, than a checkpoint can need.
    """
    boxes = [chunk for chunk in chunks if math.prod(chunk.sizes)]
    for box in boxes:
        if len(box.sizes) != len(shape) or len(box.offsets) != len(shape):
            raise _bad(name, "a chunk has a different number of dimensions than the tensor", where)
        if any(
            first < 0 or size < 0 or first + size > whole
            for first, size, whole in zip(box.offsets, box.sizes, shape, strict=True)
        ):
            raise _bad(name, f"the chunk at {_tuple(box.offsets)} extends past the tensor", where)
    held, needed = sum(math.prod(box.sizes) for box in boxes), math.prod(shape)
    if held < needed:
        raise _bad(name, f"its chunks hold {held} of {needed} values: a part is missing", where)
    if held > needed or not _is_exact(name, shape, boxes, where):
        raise _bad(name, f"its chunks hold {held} values for {needed}: they overlap", where)


def _is_exact(name: str, shape: tuple[int, ...], boxes: list[Chunk], where: str) -> bool:
    """Whether the boxes cover every index once.

    The sum of the indicator functions of the boxes is that of the whole exactly where their mixed differences
    are equal, and the mixed difference of a box is a sign at each of its corners: one pass over the corners.
    Sides that no box splits are left out.
    """
    split = [
        side
        for side, whole in enumerate(shape)
        if any(box.offsets[side] or box.sizes[side] != whole for box in boxes)
    ]
    if len(split) > _SIDES_CAP:
        raise UnsafeError(
            "RA-IN-193",
            f"Tensor '{display_name(name)}': its chunks are split along {len(split)} dimensions.",
            where=where,
        )
    corners: Counter[tuple[int, ...]] = Counter()
    for box in boxes:
        _add_corners(corners, [(box.offsets[side], box.offsets[side] + box.sizes[side]) for side in split], 1)
    if math.prod(shape):
        _add_corners(corners, [(0, shape[side]) for side in split], -1)
    return not any(corners.values())


def _add_corners(corners: Counter[tuple[int, ...]], ranges: list[tuple[int, int]], sign: int) -> None:
    for corner in itertools.product(*(((first, 1), (last, -1)) for first, last in ranges)):
        corners[tuple(position for position, _ in corner)] += sign * math.prod(each for _, each in corner)


class ChunkedCheckpoint(Checkpoint):
    """A folder whose tensors are put together from chunks.

    Parameters
    ----------
    path, format, warnings
        As :class:`~rmtaudit.checkpoints.base.Checkpoint`.
    tensors
        Every tensor with its chunks, which cover it (:func:`check_tiling`).
    """

    def __init__(
        self,
        path: Path,
        format: str,
        tensors: Iterable[tuple[TensorSpec, tuple[Chunk, ...]]],
        warnings: Iterable[str],
    ) -> None:
        self.path = path
        self.format = format
        self._chunks: Mapping[str, tuple[TensorSpec, tuple[Chunk, ...]]] = {
            spec.name: (spec, chunks) for spec, chunks in tensors
        }
        self.tensors = tuple(spec for spec, _ in self._chunks.values())
        self.warnings = tuple(warnings)

    def read(self, name: str) -> torch.Tensor:
        """Return the values of one tensor, its chunks put together (see :meth:`Checkpoint.read`)."""
        spec, chunks = self._readable(name)
        if not spec.shape:
            return self._rows(spec, chunks[0], None).reshape(())
        return self._band(spec, chunks, 0, spec.shape[0])

    def read_band(self, name: str, start: int, stop: int) -> torch.Tensor:
        """Return a range of the first side of one tensor, from the chunks that it meets."""
        spec, chunks = self._readable(name)
        return self._band(spec, chunks, start, stop)

    def _readable(self, name: str) -> tuple[TensorSpec, tuple[Chunk, ...]]:
        spec, chunks = self._chunks[name]
        if spec.unreadable is not None:
            raise InputError(
                "RA-IN-009",
                f"Tensor '{display_name(name)}' cannot be read: {spec.unreadable}.",
                where=display_name(Path(self.path).name),
            )
        return spec, chunks

    def _band(self, spec: TensorSpec, chunks: tuple[Chunk, ...], start: int, stop: int) -> torch.Tensor:
        import torch

        met = [
            (chunk, max(start, chunk.offsets[0]), min(stop, chunk.offsets[0] + chunk.sizes[0]))
            for chunk in chunks
            if math.prod(chunk.sizes)
        ]
        met = [(chunk, first, last) for chunk, first, last in met if first < last]
        if len(met) == 1 and met[0][0].sizes[1:] == spec.shape[1:]:
            chunk, first, last = met[0]
            return self._rows(spec, chunk, (first - chunk.offsets[0], last - chunk.offsets[0]))
        result = torch.empty((stop - start, *spec.shape[1:]), dtype=getattr(torch, spec.dtype))
        for chunk, first, last in met:
            box = tuple(
                slice(offset, offset + size)
                for offset, size in zip(chunk.offsets[1:], chunk.sizes[1:], strict=True)
            )
            rows = (first - chunk.offsets[0], last - chunk.offsets[0])
            result[(slice(first - start, last - start), *box)] = self._rows(spec, chunk, rows)
        return result

    @abstractmethod
    def _rows(self, spec: TensorSpec, chunk: Chunk, rows: tuple[int, int] | None) -> torch.Tensor:
        """Return a range of the first side of a chunk; all of it where ``rows`` is ``None``."""


def _bad(name: str, fault: str, where: str) -> CorruptError:
    return CorruptError("RA-IN-193", f"Tensor '{display_name(name)}': {fault}.", where=where)


def _tuple(values: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, values[:8]))})"
