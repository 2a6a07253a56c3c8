"""Tensors that are stored in chunks: the check that they make the tensor, and how it is put together."""

from __future__ import annotations

import math
from abc import abstractmethod
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

_COMPARISONS_CAP = 20_000_000


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
            raise _bad(name, "a chunk has another number of sides than the tensor", where)
        if any(
            first < 0 or size < 0 or first + size > whole
            for first, size, whole in zip(box.offsets, box.sizes, shape, strict=True)
        ):
            raise _bad(name, f"the chunk at {_tuple(box.offsets)} leaves the tensor", where)
    held, needed = sum(math.prod(box.sizes) for box in boxes), math.prod(shape)
    _check_apart(name, boxes, where)
    if held != needed:
        raise _bad(name, f"its chunks hold {held} of {needed} values: a part is missing", where)


def _check_apart(name: str, boxes: list[Chunk], where: str) -> None:
    """Sweep along the side with the most distinct positions, comparing what meets there."""
    if len(boxes) < 2:
        return
    sides = len(boxes[0].sizes)
    if not sides:
        raise _bad(name, "its only value is stored twice", where)
    side = max(range(sides), key=lambda each: len({box.offsets[each] for box in boxes}))
    boxes = sorted(boxes, key=lambda box: box.offsets[side])
    compared = 0
    for index, box in enumerate(boxes):
        end = box.offsets[side] + box.sizes[side]
        for other in boxes[index + 1 :]:
            if other.offsets[side] >= end:
                break
            compared += 1
            if compared > _COMPARISONS_CAP:
                raise UnsafeError(
                    "RA-IN-193",
                    f"tensor '{display_name(name)}': {len(boxes)} chunks that lie as no program writes them.",
                    where=where,
                )
            if all(
                a < b + m and b < a + n
                for a, n, b, m in zip(box.offsets, box.sizes, other.offsets, other.sizes, strict=True)
            ):
                raise _bad(
                    name, f"the chunks at {_tuple(box.offsets)} and {_tuple(other.offsets)} overlap", where
                )


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
                f"tensor '{display_name(name)}' cannot be read: {spec.unreadable}.",
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
    return CorruptError("RA-IN-193", f"tensor '{display_name(name)}': {fault}.", where=where)


def _tuple(values: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, values[:8]))})"
