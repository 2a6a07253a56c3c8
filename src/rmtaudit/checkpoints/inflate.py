"""Entries of a zip archive that are compressed by deflate: unpacked in pieces, within bounds, and checked."""

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


def unpacked(
    source: FileSource, entry: ZipEntry, offset: int, code: str, *, checksum: bool = True
) -> Iterator[bytes]:
    """Yield the unpacked bytes of an entry, at most a megabyte at a time.

    Their number is compared with the directory, at the end.

    Parameters
    ----------
    source, entry
        The archive and its entry.
    offset
        Position of the first packed byte.
    code
        Of the error.
    checksum
        Whether the checksum is compared too.

    Raises
    ------
    CorruptError
        The packed bytes are damaged, or more or fewer than the directory says, or others.
    """
    done = found = 0
    for piece in _pieces(source, entry, offset, code):
        done += len(piece)
        if done > entry.unpacked:
            break
        if checksum:
            found = zlib.crc32(piece, found)
        yield piece
    if done != entry.unpacked:
        fault = f"{entry.unpacked} bytes are announced, but {done} were unpacked"
        raise _damaged(entry, fault, code, source.where)
    if checksum:
        check(entry, found, code, source.where)


def unpacked_range(
    source: FileSource, entry: ZipEntry, offset: int, code: str, start: int, into: memoryview
) -> None:
    """Fill ``into`` with the unpacked bytes from ``start`` on, without other memory than two small buffers.

    The checksum is compared where this is the end of the entry. Other parameters and errors are those of
    :func:`unpacked`.
    """
    done, stop = 0, start + len(into)
    for piece in unpacked(source, entry, offset, code, checksum=stop == entry.unpacked):
        first, last = max(done, start), min(done + len(piece), stop)
        if first < last:
            into[first - start : last - start] = piece[first - done : last - done]
        done += len(piece)
        if done >= stop and stop < entry.unpacked:
            return


def first_bytes(source: FileSource, entry: ZipEntry, offset: int, code: str, length: int) -> bytes:
    """Return at most so many of the first unpacked bytes; parameters and errors as :func:`unpacked`."""
    packed = bytes(source.pread(offset, min(entry.size, length)))
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, length)
    except zlib.error as error:
        raise _damaged(entry, str(error), code, source.where) from error


def check(entry: ZipEntry, checksum: int, code: str, where: str) -> None:
    """Compare the CRC-32 of all unpacked bytes of an entry. Raises ``CorruptError``."""
    if checksum != entry.checksum:
        raise _damaged(entry, "the checksum differs from that in the archive", code, where)


def _pieces(source: FileSource, entry: ZipEntry, offset: int, code: str) -> Iterator[bytes]:
    """Yield the unpacked bytes, at most one more than the directory announces."""
    decoder = zlib.decompressobj(-zlib.MAX_WBITS)
    position, left = 0, entry.unpacked + 1
    try:
        while position < entry.size and not decoder.eof:
            length = min(_CHUNK, entry.size - position)
            packed = bytes(source.pread(offset + position, length))
            position += length
            while packed and not decoder.eof:
                piece = decoder.decompress(packed, min(_PIECE, left))
                packed = decoder.unconsumed_tail
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
        raise _damaged(entry, str(error), code, source.where) from error
    if not decoder.eof:
        raise _damaged(entry, "its packed bytes end early", code, source.where)


def _damaged(entry: ZipEntry, fault: str, code: str, where: str) -> CorruptError:
    return CorruptError(
        code,
        f"the entry '{display_name(entry.name)}' is damaged: {fault}.",
        hint="Re-download it.",
        where=where,
    )
