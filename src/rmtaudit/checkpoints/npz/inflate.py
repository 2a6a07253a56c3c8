"""Entries of a zip archive that are compressed by deflate, unpacked in pieces into memory of a known size."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from rmtaudit.errors import CorruptError
from rmtaudit.names import display_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rmtaudit.checkpoints.files import FileSource
    from rmtaudit.checkpoints.zips import ZipEntry

_CHUNK = 1 << 18
_PIECE = 1 << 20


def unpacked_range(source: FileSource, entry: ZipEntry, offset: int, start: int, into: memoryview) -> None:
    """Fill ``into`` with the unpacked bytes from ``start`` on.

    The checksum is compared where this is the end of the entry.

    Parameters
    ----------
    source, entry
        The archive and its entry.
    offset
        Position of the first packed byte.
    start
        First of the unpacked bytes that are wanted.
    into
        Where they go; no other memory than two small buffers is taken.

    Raises
    ------
    CorruptError
        RA-IN-183: the packed bytes are damaged, or more or fewer than the directory says.
    """
    done, stop, checksum = 0, start + len(into), 0
    for piece in _pieces(source, entry, offset):
        first, last = max(done, start), min(done + len(piece), stop)
        if first < last:
            into[first - start : last - start] = piece[first - done : last - done]
        done += len(piece)
        if stop == entry.unpacked:
            checksum = zlib.crc32(piece, checksum)
        elif done >= stop:
            return
        if done > entry.unpacked:
            break
    if done != entry.unpacked:
        raise damaged(
            entry.name, f"{entry.unpacked} bytes are announced, but {done} were unpacked", source.where
        )
    check(entry, checksum, source.where)


def check(entry: ZipEntry, checksum: int, where: str) -> None:
    """Compare the CRC-32 of all unpacked bytes of an entry. Raises ``CorruptError`` (RA-IN-183)."""
    if checksum != entry.checksum:
        raise damaged(entry.name, "its checksum differs from that in the archive", where)


def damaged(name: str, fault: str, where: str) -> CorruptError:
    """Return the error for an entry whose bytes are not those that were written."""
    return CorruptError(
        "RA-IN-183",
        f"the entry '{display_name(name)}' is damaged: {fault}.",
        hint="Re-download it.",
        where=where,
    )


def _pieces(source: FileSource, entry: ZipEntry, offset: int) -> Iterator[bytes]:
    """Yield the unpacked bytes, at most a megabyte at a time."""
    decoder = zlib.decompressobj(-zlib.MAX_WBITS)
    position = 0
    try:
        while position < entry.size and not decoder.eof:
            length = min(_CHUNK, entry.size - position)
            packed = bytes(source.pread(offset + position, length))
            position += length
            while packed and not decoder.eof:
                piece = decoder.decompress(packed, _PIECE)
                packed = decoder.unconsumed_tail
                if piece:
                    yield piece
        while not decoder.eof:
            piece = decoder.decompress(b"", _PIECE)
            if not piece:
                break
            yield piece
    except zlib.error as error:
        raise damaged(entry.name, str(error), source.where) from error
    if not decoder.eof:
        raise damaged(entry.name, "its packed bytes end early", source.where)
