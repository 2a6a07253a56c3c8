"""What ``torch.save`` wrote before 1.6: four pickles, the keys of the storages, then each storage in turn.

Also a lone pickle of numpy arrays, which has the same beginning and none of the rest.
"""

from __future__ import annotations

import io
import re
from typing import Any, BinaryIO

from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.checkpoints.conversions import tar_refusal
from rmtaudit.checkpoints.files import FileSource
from rmtaudit.checkpoints.globals import foreign_warning
from rmtaudit.checkpoints.inert import Storage
from rmtaudit.checkpoints.pickles import InertUnpickler
from rmtaudit.checkpoints.state import named_tensors
from rmtaudit.checkpoints.storages import ITEMSIZES, Record, TorchCheckpoint, check_storages, locate
from rmtaudit.checkpoints.zero import check_whole
from rmtaudit.errors import CorruptError, NotACheckpointError
from rmtaudit.names import display_name

MAGIC = 0x1950A86A20F9469CFC6C
"""What the first pickle holds."""

PICKLE_CAP = 256 << 20
"""Bytes of pickles that are read at most."""

_TAR_ENTRIES = 200
_PROTOCOL = 1001
_MAGIC_BYTES = MAGIC.to_bytes(10, "little")


def open_pickles(source: FileSource, format: str) -> Checkpoint:
    """Return the checkpoint of such a file; the caller closes ``source`` if this raises an ``InputError``."""
    if bytes(source.pread(0, min(source.size, 262)))[257:] == b"ustar":
        names = _names_in_tar(source)
        raise tar_refusal(names, source.path.name) or NotACheckpointError(
            "RA-IN-070",
            "This is a tar archive (the format of torch < 0.2, or packed files).",
            hint="Unpack it, or save it again with a newer torch.",
            where=source.where,
        )
    stream: BinaryIO = io.BufferedReader(_Window(source), 1 << 16)
    first = _unpickler(stream, source)
    root = first.load()
    if root != MAGIC or type(root) is not int:
        return _lone_pickle(source, first, root, stream.tell())
    if _load(stream, source) != _PROTOCOL:
        raise CorruptError(
            "RA-IN-071", f"The file does not have version {_PROTOCOL} of the format.", where=source.where
        )
    _load(stream, source)  # of the machine that wrote it; the storages are little-endian on every one
    unpickler = _unpickler(stream, source)
    held = unpickler.load()
    check_whole(held, source.where)
    found = named_tensors(held, source.where)
    records, end = _records(source, stream, unpickler.storages)
    check_storages(unpickler.storages, records, source.where)
    tensors = locate(found.tensors, records, source.where, big_endian=False)
    warnings = found.warnings + foreign_warning(unpickler.foreign) + _trailing(source, end)
    return TorchCheckpoint(source, format, tensors, warnings)


def _lone_pickle(source: FileSource, unpickler: InertUnpickler, root: Any, end: int) -> Checkpoint:
    if unpickler.storages:
        raise CorruptError(
            "RA-IN-072", "The tensors of the pickle are stored in another file.", where=source.where
        )
    found = named_tensors(root, source.where)
    if not found.tensors:
        raise NotACheckpointError(
            "RA-IN-073",
            "The pickle holds no tensors or numeric arrays.",
            hint="; ".join(found.warnings),
            where=source.where,
        )
    tensors = locate(found.tensors, {}, source.where, big_endian=False)
    warnings = found.warnings + foreign_warning(unpickler.foreign) + _trailing(source, end)
    return TorchCheckpoint(source, "pickle", tensors, warnings)


def _names_in_tar(source: FileSource) -> list[str]:
    """Return the names of the first entries of a tar archive."""
    names: list[str] = []
    position = 0
    while len(names) < _TAR_ENTRIES and position + 512 <= source.size:
        header = bytes(source.pread(position, 512))
        if header[257:262] != b"ustar":
            break
        names.append(header[:100].split(b"\0")[0].decode("utf-8", "backslashreplace"))
        digits = header[124:136].strip(b" \0")
        if not re.fullmatch(rb"[0-7]{1,12}", digits):
            break  # sizes beyond 8 GiB are written in another way
        position += 512 + (int(digits, 8) + 511) // 512 * 512
    return names


class _Window(io.RawIOBase):
    """The beginning of a file as a stream, so that a claimed length cannot ask for all of it."""

    def __init__(self, source: FileSource) -> None:
        self._source = source
        self._position = 0
        self._end = min(source.size, PICKLE_CAP)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        length = min(len(buffer), self._end - self._position)
        buffer[:length] = self._source.pread(self._position, length)
        self._position += length
        return length


def _unpickler(stream: BinaryIO, source: FileSource) -> InertUnpickler:
    return InertUnpickler(stream, min(source.size, PICKLE_CAP), source.where)


def _load(stream: BinaryIO, source: FileSource) -> Any:
    return _unpickler(stream, source).load()


def _records(
    source: FileSource, stream: BinaryIO, storages: dict[str, Storage]
) -> tuple[dict[str, Record], int]:
    """Return where each storage is, and where the last one ends."""
    keys = _load(stream, source)
    position = stream.tell()
    if type(keys) is not list or not all(type(key) in {str, int} for key in keys):
        raise CorruptError("RA-IN-074", "The list of storages is damaged.", where=source.where)
    records: dict[str, Record] = {}
    for key in map(str, keys):
        storage = storages.get(key)
        if storage is None or key in records:
            raise CorruptError(
                "RA-IN-074",
                f"Storage '{display_name(key)}' is listed but not used, or listed twice.",
                where=source.where,
            )
        nbytes = storage.numel * ITEMSIZES[storage.dtype or "uint8"]
        if position + 8 + nbytes > source.size:
            raise CorruptError(
                "RA-IN-075",
                f"Storage '{display_name(key)}' ends at {position + 8 + nbytes}, past the end of "
                f"the file ({source.size} bytes); the file looks truncated.",
                hint="Download it again.",
                where=source.where,
            )
        count = int.from_bytes(source.pread(position, 8), "little", signed=True)
        if count != storage.numel:
            raise CorruptError(
                "RA-IN-051",
                f"Storage '{display_name(key)}' holds {count} elements, but {storage.numel} are described.",
                hint="Download it again.",
                where=source.where,
            )
        records[key] = Record(position + 8, nbytes)
        position += 8 + nbytes
    return records, position


def _trailing(source: FileSource, end: int) -> list[str]:
    return [f"{source.size - end} bytes follow the checkpoint and were not read"] if end < source.size else []
