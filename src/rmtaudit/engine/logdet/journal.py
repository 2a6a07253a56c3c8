"""Which tiles are finished: a line each, in their order, with the checksum of the tile and of the line."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from rmtaudit.positional import CLOSED_ON_EXEC, write_at


class Journal:
    """A file that grows by a line a tile: ``row column checksum checksum-of-the-line``.

    Parameters
    ----------
    path
        Of the file.
    rows
        Tile rows of the tiling.

    Attributes
    ----------
    sums
        Checksums of the finished tiles.
    """

    def __init__(self, path: Path, rows: int) -> None:
        self._path, self._rows = path, rows
        self._descriptor = -1
        self.sums: list[int] = []

    @property
    def finished(self) -> int:
        """Number of finished tiles."""
        return len(self.sums)

    def open(self) -> None:
        """Open the file, read the lines that can be believed, and cut off the rest."""
        flags = os.O_CREAT | CLOSED_ON_EXEC | os.O_RDWR | os.O_APPEND
        self._descriptor = os.open(self._path, flags, 0o600)
        places = order(self._rows)
        kept = 0
        for line in self._path.read_bytes().split(b"\n")[:-1]:
            body, _, checksum = line.rpartition(b" ")
            row, col = next(places, (-1, -1))
            words = body.split(b" ")
            if f"{zlib.crc32(body):08x}".encode() != checksum or words[:2] != [b"%d" % row, b"%d" % col]:
                break
            self.sums.append(int(words[2], 16))
            kept += len(line) + 1
        os.ftruncate(self._descriptor, kept)

    def append(self, row: int, col: int, checksum: int) -> None:
        """Note a tile as finished."""
        text = f"{row} {col} {checksum:08x}"
        write_all(self._descriptor, f"{text} {zlib.crc32(text.encode()):08x}\n".encode(), None)
        self.sums.append(checksum)

    def forget(self, place: int) -> None:
        """Keep the first ``place`` tiles only."""
        lines = self._path.read_bytes().split(b"\n")[:place]
        os.ftruncate(self._descriptor, sum(len(line) + 1 for line in lines))
        del self.sums[place:]

    def flush(self) -> None:
        """Have the disk hold it."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def order(rows: int) -> Iterator[tuple[int, int]]:
    """Yield tile row and column of every tile, in the order in which they are finished."""
    for row in range(rows):
        for col in range(row + 1):
            yield row, col


def write_all(descriptor: int, data: bytes | memoryview, offset: int | None) -> None:
    """Write all of it, at an offset or, with ``None``, at the end."""
    done = 0
    while done < len(data):
        if offset is None:
            done += os.write(descriptor, data[done:])
        else:
            done += write_at(descriptor, data[done:], offset + done)
