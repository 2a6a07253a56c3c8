"""Entries of a zip archive that are compressed by deflate: unpacked in pieces, within bounds, and checked."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmtaudit.errors import CorruptError
from rmtaudit.names import display_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rmtaudit.checkpoints.files import FileSource
    from rmtaudit.checkpoints.zips import ZipEntry

_CHUNK = 1 << 18
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """An entry and where it lies.

    Attributes
    ----------
    source, entry
        The archive and its entry.
    offset
        Position of the first packed byte.
    code
        Of the error for bytes that are damaged.
    """

    source: FileSource
    entry: ZipEntry
    offset: int
    code: str


def unpacked(packed: Packed, *, checksum: bool = True) -> Iterator[bytes]:
    """Yield the unpacked bytes of an entry, at most a megabyte at a time.

    Their number is compared with the directory, at the end; where ``checksum``, so are they.

    Raises
    ------
    CorruptError
        The packed bytes are damaged, or more or fewer than the directory says, or others.
    """
    entry = packed.entry
    done = found = 0
    for piece in _pieces(packed):
        done += len(piece)
        if done > entry.unpacked:
            break
        if checksum:
            found = zlib.crc32(piece, found)
        yield piece
    if done != entry.unpacked:
        fault = f"{entry.unpacked} bytes are announced, but {done} were unpacked"
        raise _damaged(packed, fault)
    if checksum:
        check(packed, found)


def unpacked_range(packed: Packed, start: int, into: memoryview) -> None:
    """Fill ``into`` with the unpacked bytes from ``start`` on, without other memory than two small buffers.

    The checksum is compared where this is the end of the entry. Raises as :func:`unpacked`.
    """
    done, stop = 0, start + len(into)
    for piece in unpacked(packed, checksum=stop == packed.entry.unpacked):
        first, last = max(done, start), min(done + len(piece), stop)
        if first < last:
            into[first - start : last - start] = piece[first - done : last - done]
        done += len(piece)
        if done >= stop and stop < packed.entry.unpacked:
            return


def first_bytes(packed: Packed, length: int) -> bytes:
    """Return at most so many of the first unpacked bytes. Raises as :func:`unpacked`."""
    data = bytes(packed.source.pread(packed.offset, min(packed.entry.size, length)))
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, length)
    except zlib.error as error:
        raise _damaged(packed, str(error)) from error


def check(packed: Packed, checksum: int) -> None:
    """Compare the CRC-32 of all unpacked bytes of an entry. Raises ``CorruptError``."""
    if checksum != packed.entry.checksum:
        raise _damaged(packed, "the checksum differs from that in the archive")


def _pieces(packed: Packed) -> Iterator[bytes]:
    """Yield the unpacked bytes, at most one more than the directory announces."""
    decoder = zlib.decompressobj(-zlib.MAX_WBITS)
    source, entry = packed.source, packed.entry
    position, left = 0, entry.unpacked + 1
    try:
        while position < entry.size and not decoder.eof:
            length = min(_CHUNK, entry.size - position)
            data = bytes(source.pread(packed.offset + position, length))
            position += length
            while data and not decoder.eof:
                piece = decoder.decompress(data, min(_PIECE, left))
                data = decoder.unconsumed_tail
                if piece:
                    yield piece
                left -= len(piece)
                if not left:
                    return
        while left and not decoder.eof:
            piece = decoder.decompress(b"", min(_PIECE, left))
            if not piece:
                break
            yield piece
            left -= len(piece)
    except zlib.error as error:
        raise _damaged(packed, str(error)) from error
    if not decoder.eof:
        raise _damaged(packed, "its packed bytes end early")


def _damaged(packed: Packed, fault: str) -> CorruptError:
    return CorruptError(
        packed.code,
        f"The entry '{display_name(packed.entry.name)}' is damaged: {fault}.",
        hint="Download it again.",
        where=packed.source.where,
    )
