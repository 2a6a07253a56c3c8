"""Tensors of torch files: a window of a storage, checked before a byte of it is read."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rmtaudit.checkpoints.inert import Storage, StoredTensor
from rmtaudit.checkpoints.single import FileCheckpoint
from rmtaudit.checkpoints.values import tensor_from_bytes
from rmtaudit.errors import CorruptError
from rmtaudit.matrices.sharing import StorageView
from rmtaudit.matrices.tensors import ITEMSIZE, TensorSpec
from rmtaudit.names import display_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    import torch

_DIMENSIONS_CAP = 64
_LARGEST = 1 << 63
ITEMSIZES = {**ITEMSIZE, "qint8": 1, "quint8": 1, "qint32": 4, "quint4x2": 1, "quint2x4": 1}
"""Bytes an element of a storage, quantised ones included."""


@dataclass(frozen=True, slots=True)
class Record:
    """Where a storage's bytes are in the file."""

    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The bytes from a tensor's first to its last element: in the file, or already here."""

    offset: int
    nbytes: int
    stride: tuple[int, ...]
    big_endian: bool
    data: bytes | None = None


def locate(
    named: list[tuple[str, StoredTensor]], records: Mapping[str, Record], where: str, *, big_endian: bool
) -> list[tuple[TensorSpec, Window | None]]:
    """Return each tensor's description and its window, checked against the records.

    Parameters
    ----------
    named
        Tensors by full name.
    records
        The storages of the file, by key.
    where
        The file, for messages.
    big_endian
        Byte order of the storages.

    Raises
    ------
    CorruptError
        A storage is missing or of the wrong size, or a tensor leaves its storage.
    """
    return [_locate(name, tensor, records, where, big_endian) for name, tensor in named]


def check_storages(storages: Mapping[str, Storage], records: Mapping[str, Record], where: str) -> None:
    """Check that every storage has its record and that the record has its size.

    Raises
    ------
    CorruptError
        It is missing, shorter or longer.
    """
    for key, storage in storages.items():
        record = records.get(key)
        if record is None:
            raise CorruptError(
                "RA-IN-050", f"Storage '{display_name(key)}' is not in the file.", where=where, hint=_AGAIN
            )
        if storage.dtype in {"quint4x2", "quint2x4"}:  # several elements a byte, and none of them is read
            continue
        expected = storage.numel * ITEMSIZES[storage.dtype or "uint8"]
        if record.nbytes != expected:
            fault = "shorter" if record.nbytes < expected else "longer"
            raise CorruptError(
                "RA-IN-051",
                f"Storage '{display_name(key)}' is {fault} than it should be: {record.nbytes} of "
                f"{expected} bytes.",
                where=where,
                hint=_AGAIN,
            )


class TorchCheckpoint(FileCheckpoint):
    """A checkpoint whose tensors are windows of storages."""

    def _values(self, spec: TensorSpec, place: Any) -> torch.Tensor:
        window: Window = place
        if window.data is None:
            data = self._source.pread(window.offset, window.nbytes)
        else:
            data = bytearray(window.data[window.offset : window.offset + window.nbytes])
        return tensor_from_bytes(data, spec.dtype, spec.shape, window.stride, big_endian=window.big_endian)

    def position(self, name: str) -> tuple[str, int] | None:
        """Return the file and where a tensor begins in it (see :meth:`Checkpoint.position`)."""
        spec, window = self._places[name]
        if window is None or window.data is not None or window.big_endian:
            return None
        rows = tuple(math.prod(spec.shape[side + 1 :]) for side in range(len(spec.shape)))
        return (self._source.where, window.offset) if window.stride == rows else None

    def _place_of_band(self, spec: TensorSpec, place: Any, start: int, stop: int) -> Any:
        window: Window = place
        itemsize = ITEMSIZE[spec.dtype]
        sizes = (stop - start, *spec.shape[1:])
        last = sum((size - 1) * step for size, step in zip(sizes, window.stride, strict=True))
        return replace(
            window,
            offset=window.offset + start * window.stride[0] * itemsize,
            nbytes=(1 + last) * itemsize if math.prod(sizes) else 0,
        )


_AGAIN = "Download it again."


def _locate(
    name: str, tensor: StoredTensor, records: Mapping[str, Record], where: str, big_endian: bool
) -> tuple[TensorSpec, Window | None]:
    shape, data = tensor.shape, tensor.data
    if any(not 0 <= size < _LARGEST for size in shape) or _overflows(shape):
        raise _bad(name, "its sizes are negative or overflow 2^63", where)
    alias: StorageView | None = None
    if type(data) is Storage:
        place = data.offset + tensor.offset
        alias = StorageView(
            storage=data.key, dtype=tensor.dtype, offset=place, shape=shape, stride=tensor.stride
        )
    unreadable = tensor.unreadable
    if unreadable is None and len(shape) > _DIMENSIONS_CAP:
        unreadable = f"{len(shape)} dimensions, more than the {_DIMENSIONS_CAP} that torch supports"
    if unreadable is not None or data is None:
        return TensorSpec(
            name=name,
            shape=shape,
            dtype=tensor.dtype,
            alias=alias,
            unreadable=unreadable or "it has no values",
        ), None
    itemsize = ITEMSIZE[tensor.dtype]
    if type(data) is Storage:
        record = records.get(data.key)
        if record is None:
            raise _bad(name, f"its storage '{display_name(data.key)}' is not in the file", where)
        start, held, inside = (data.offset + tensor.offset) * itemsize, record.nbytes, None
        base = record.offset
    else:
        assert type(data) is bytes
        start, held, inside, base = tensor.offset * itemsize, len(data), data, 0
        big_endian = tensor.big_endian
    span = _span(name, tensor, where) * itemsize
    if start < 0 or start + span > held:
        raise _bad(name, f"bytes {start} to {start + span} are outside its storage of {held} bytes", where)
    logical = math.prod(shape) * itemsize
    if logical > held:
        unreadable = f"overlapping strides: {logical} bytes of values over {held} bytes"
    stride = tuple(step if size > 1 else 1 for size, step in zip(shape, tensor.stride, strict=True))
    window = Window(offset=base + start, nbytes=span, stride=stride, big_endian=big_endian, data=inside)
    return TensorSpec(name=name, shape=shape, dtype=tensor.dtype, alias=alias, unreadable=unreadable), window


def _overflows(shape: tuple[int, ...]) -> bool:
    return math.prod(max(size, 1) for size in shape) >= _LARGEST


def _span(name: str, tensor: StoredTensor, where: str) -> int:
    """Return the elements from the first to the last one used."""
    if len(tensor.stride) != len(tensor.shape):
        raise _bad(name, f"{len(tensor.stride)} strides for {len(tensor.shape)} dimensions", where)
    if any(step < 0 for step in tensor.stride):
        raise _bad(name, "a stride is negative", where)
    if tensor.offset < 0:
        raise _bad(name, "its offset is negative", where)
    if math.prod(tensor.shape) == 0:
        return 0
    return 1 + sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride, strict=True))


def _bad(name: str, fault: str, where: str) -> CorruptError:
    return CorruptError("RA-IN-052", f"Tensor '{display_name(name)}': {fault}.", where=where)
