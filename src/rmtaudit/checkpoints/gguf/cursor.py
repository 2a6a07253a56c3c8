"""Forward reading of a header whose length nothing announces: every step is checked against the file."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from rmtaudit.errors import CorruptError

if TYPE_CHECKING:
    from rmtaudit.checkpoints.files import FileSource

HEADER_CAP = 1 << 28
"""Largest header in bytes. The vocabularies in real ones take a few million."""

_CHUNK = 1 << 18
_WINDOW = 1 << 12
_U64 = struct.Struct("<Q")


class Cursor:
    """A position in a file that only moves forward.

    Parameters
    ----------
    source
        The open file.
    """

    def __init__(self, source: FileSource) -> None:
        self.source = source
        self._base = 0
        self._at = 0
        self._buffer: bytes = b""

    @property
    def position(self) -> int:
        """Byte of the file that is read next."""
        return self._base + self._at

    @property
    def left(self) -> int:
        """Bytes from here to the end of the file."""
        return self.source.size - self.position

    def take(self, length: int) -> bytes:
        """Return the next bytes. Raises ``CorruptError`` (RA-IN-100, RA-IN-118) where they are not there."""
        self._hold(length)
        data = self._buffer[self._at : self._at + length]
        self._at += length
        return data

    def unpack(self, layout: struct.Struct) -> tuple[Any, ...]:
        """Return the next numbers. Raises as :meth:`take`."""
        self._hold(layout.size)
        values = layout.unpack_from(self._buffer, self._at)
        self._at += layout.size
        return values

    def buffered(self) -> tuple[bytes, int]:
        """Return bytes of the file that are in memory, and the place of the next one among them."""
        if self._at + _WINDOW > len(self._buffer) and self.left > len(self._buffer) - self._at:
            self._fill(min(_WINDOW, self.left))
        return self._buffer, self._at

    def skip(self, length: int) -> None:
        """Move on without reading. Raises as :meth:`take`."""
        self._check(length)
        self._at += length

    def skip_strings(self, count: int) -> None:
        """Move on behind ``count`` strings, each a 64-bit length and its bytes. Raises as :meth:`take`."""
        read = _U64.unpack_from
        while count:
            self._hold(8)
            data, at, last = self._buffer, self._at, len(self._buffer) - 8
            while count and at <= last:
                at += 8 + read(data, at)[0]
                count -= 1
            self.skip(at - self._at)

    def _hold(self, length: int) -> None:
        """Have the next bytes in the buffer."""
        if self._at + length <= len(self._buffer):
            return
        self._check(length)
        self._fill(length)

    def _fill(self, length: int) -> None:
        """Have the next ``length`` bytes, which are there, in the buffer, and more that follow them."""
        self._base, self._at = self.position, 0
        wanted = min(max(length, _CHUNK), self.source.size - self._base)
        self._buffer = bytes(self.source.pread(self._base, wanted))

    def _check(self, length: int) -> None:
        if length > self.left:
            raise CorruptError(
                "RA-IN-100",
                f"The header ends past the file: {length} bytes are needed at position "
                f"{self.position}, of {self.source.size} in all; the file looks truncated.",
                hint="Download it again.",
                where=self.source.where,
            )
        if self.position + length > HEADER_CAP:
            raise CorruptError(
                "RA-IN-118",
                f"The header is longer than {HEADER_CAP} bytes, which no genuine header is.",
                where=self.source.where,
            )
