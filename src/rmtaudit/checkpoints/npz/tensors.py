"""The arrays of a file: where each lies, checked against its size before memory is taken for it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rmtaudit.checkpoints.arrays import steps
from rmtaudit.checkpoints.inflate import Packed, check, unpacked_range
from rmtaudit.checkpoints.npz.header import START, NpyHeader, header_length, parse_header
from rmtaudit.checkpoints.single import FileCheckpoint
from rmtaudit.checkpoints.values import tensor_from_bytes
from rmtaudit.checkpoints.zips import ZipEntry, list_entries, packed_offset
from rmtaudit.errors import CorruptError, UnsafeError
from rmtaudit.matrices.tensors import Role, TensorSpec, Use
from rmtaudit.names import display_name

if TYPE_CHECKING:
    import numpy as np
    import torch

    from rmtaudit.checkpoints.files import FileSource

LARGEST_RATIO = 100
"""Most times that an archive may be larger unpacked. zlib makes the files of five trained
models smaller by 7 to 12 %, and zeros 1000 times."""

UNSUSPICIOUS = 64 << 20
"""Bytes that an archive may unpack to at any ratio."""

_SPARSE = ("data", "indices", "indptr", "row", "col", "shape", "format")
_DAMAGED = "RA-IN-183"  # the code of an entry whose bytes are not those that were written
_DEFLATE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an array lies.

    Attributes
    ----------
    offset
        Position of the first byte of its ``.npy`` file, packed or not.
    header
        What that file's header says.
    skipped
        Bytes of values that are left out: for a range of the first side.
    entry
        Its entry of the archive; ``None`` for a file alone.
    """

    offset: int
    header: NpyHeader
    skipped: int = 0
    entry: ZipEntry | None = None


def open_npy(source: FileSource, format: str) -> NumpyCheckpoint:
    """Return the checkpoint of one ``.npy`` file, its tensor named as the file.

    Raises
    ------
    CorruptError
        RA-IN-180, RA-IN-181: the header is damaged, or says another size than the file has.
    """
    name = source.path.stem
    start = bytes(source.pread(0, min(START, source.size)))
    length = header_length(start, name, source.where)
    if length > source.size:
        raise _other_size(name, f"a header of {length} bytes", source.size, source.where)
    header = parse_header(bytes(source.pread(0, length)), name, source.where)
    _check_size(header, name, source.size, source.where)
    return NumpyCheckpoint(source, format, [(_spec(name, header), Place(offset=0, header=header))], [])


def open_npz(source: FileSource, format: str) -> NumpyCheckpoint:
    """Return the checkpoint of an archive; the caller closes ``source`` if this raises an ``InputError``.

    Raises
    ------
    CorruptError
        RA-IN-180, RA-IN-181, RA-IN-183: an array is damaged, or of another size than its header says; the
        directory contradicts itself (as :func:`~rmtaudit.checkpoints.zips.list_entries`).
    UnsafeError
        RA-IN-182: the archive unpacks to very much more than it is. RA-IN-184: an entry is encrypted, or
        compressed in a way that numpy does not write.
    """
    entries = list_entries(source)
    _check_compression(entries, source.where)
    tensors: list[tuple[TensorSpec, Place]] = []
    for entry in entries:
        name = entry.name.removesuffix(".npy")
        place = _place(source, entry, name)
        tensors.append((_spec(name, place.header), place))
    names = {spec.name for spec, _ in tensors}
    if {"data", "shape", "format"} <= names <= set(_SPARSE):
        role = Role(use=Use.NONE, reason="part of a sparse matrix of scipy")
        tensors = [(replace(spec, role=role), place) for spec, place in tensors]
    return NumpyCheckpoint(source, format, tensors, [])


class NumpyCheckpoint(FileCheckpoint):
    """Arrays in one file."""

    def array(self, name: str) -> np.ndarray[Any, Any]:
        """Return an array as numpy's: also text and other values that are no tensor.

        Raises ``KeyError`` for an unknown name, and ``InputError`` where the bytes cannot be read: RA-IN-009
        for Python objects and records.
        """
        import numpy as np

        spec, place = self._places[name]
        header: NpyHeader = place.header
        if header.nbytes is None:
            self._readable(name)
        dtype = np.dtype(header.description)
        if not header.nbytes:
            return np.empty(spec.shape, dtype=dtype)
        values = np.frombuffer(self._bytes(place, header.nbytes), dtype=dtype)
        return values.reshape(spec.shape, order="F" if header.fortran else "C")

    def stored_size(self, name: str) -> int:
        """Return the bytes that an array takes in memory. Raises ``KeyError`` for an unknown name."""
        _, place = self._places[name]
        return place.header.nbytes or 0

    def read_band(self, name: str, start: int, stop: int) -> torch.Tensor:
        """Return a range of the first side of one tensor, reading no more than that if it is in rows."""
        _, place = self._readable(name)
        if place.header.fortran:
            return self.read(name)[start:stop]
        return super().read_band(name, start, stop)

    def _values(self, spec: TensorSpec, place: Any) -> torch.Tensor:
        header: NpyHeader = place.header
        stride = steps(spec.shape, fortran=True) if header.fortran else None
        data = self._bytes(place, spec.nbytes)
        return tensor_from_bytes(data, spec.dtype, spec.shape, stride, big_endian=header.big_endian)

    def _place_of_band(self, spec: TensorSpec, place: Any, start: int, stop: int) -> Any:
        del stop
        return replace(place, skipped=start * (spec.nbytes // spec.shape[0]))

    def _bytes(self, place: Place, length: int) -> bytearray | memoryview:
        """Return the bytes of the values; the checksum is compared where they are all that there are."""
        entry, first = place.entry, place.header.length + place.skipped
        if entry is not None and entry.method == _DEFLATE:
            data = memoryview(bytearray(length)) if length < 1 << 20 else _memory(length)
            unpacked_range(_packed(self._source, entry, place.offset), first, data)
            return data
        values = self._source.pread(place.offset + first, length)
        if entry is not None and length == place.header.nbytes:
            start = zlib.crc32(self._source.pread(place.offset, place.header.length))
            check(_packed(self._source, entry, place.offset), zlib.crc32(values, start))
        return values


def _memory(length: int) -> memoryview:
    import numpy as np

    return np.empty(length, dtype=np.uint8).data


def _check_compression(entries: list[ZipEntry], where: str) -> None:
    for entry in entries:
        if entry.encrypted or entry.method not in (0, _DEFLATE):
            how = "encrypted" if entry.encrypted else f"compressed by method {entry.method}"
            raise UnsafeError(
                "RA-IN-184",
                f"The entry '{display_name(entry.name)}' is {how}; numpy writes neither.",
                hint="Save the arrays again, with numpy.savez or numpy.savez_compressed.",
                where=where,
            )
    packed, unpacked = sum(entry.size for entry in entries), sum(entry.unpacked for entry in entries)
    if unpacked > UNSUSPICIOUS and unpacked > LARGEST_RATIO * packed:
        raise UnsafeError(
            "RA-IN-182",
            f"The archive's {packed} bytes unpack to {unpacked}, more than {LARGEST_RATIO} times "
            "as many, which trained weights never do.",
            hint="If you trust the file, save the arrays again with numpy.savez, uncompressed.",
            where=where,
        )


def _place(source: FileSource, entry: ZipEntry, name: str) -> Place:
    """Return where an array of an archive lies; no more than its header is read."""
    offset = packed_offset(source, entry)
    length = header_length(_head(source, entry, offset, START), name, source.where)
    if length > entry.unpacked:
        raise _other_size(name, f"a header of {length} bytes", entry.unpacked, source.where)
    header = parse_header(_head(source, entry, offset, length), name, source.where)
    _check_size(header, name, entry.unpacked, source.where)
    return Place(offset=offset, header=header, entry=entry)


def _head(source: FileSource, entry: ZipEntry, offset: int, length: int) -> bytes:
    length = min(length, entry.unpacked)
    if entry.method != _DEFLATE:
        return bytes(source.pread(offset, length))
    data = bytearray(length)
    unpacked_range(_packed(source, entry, offset), 0, memoryview(data))
    return bytes(data)


def _packed(source: FileSource, entry: ZipEntry, offset: int) -> Packed:
    return Packed(source=source, entry=entry, offset=offset, code=_DAMAGED)


def _check_size(header: NpyHeader, name: str, size: int, where: str) -> None:
    if header.nbytes is not None and header.length + header.nbytes != size:
        sides = " x ".join(map(str, header.shape[:8])) or "one value"
        needs = f"{sides} of {display_name(header.description)} after a header of {header.length} bytes"
        raise _other_size(name, needs, size, where)


def _other_size(name: str, needs: str, size: int, where: str) -> CorruptError:
    return CorruptError(
        "RA-IN-181",
        f"Array '{display_name(name)}': {needs}, in {size} bytes: it is truncated, or holds more "
        "than one array.",
        hint="Download it again, or save the array again.",
        where=where,
    )


def _spec(name: str, header: NpyHeader) -> TensorSpec:
    return TensorSpec(
        name=name,
        shape=header.shape,
        dtype=header.dtype or "object",
        unreadable=header.unreadable,
    )
