"""FlatBuffers, read by position with every offset checked.

The ``flatbuffers`` package trusts the offsets of a file; here each lies inside the file, and the number of
looks is bounded. Source: the FlatBuffers internals (flatbuffers.dev/internals).
"""

from __future__ import annotations

import struct

from rmtaudit.checkpoints.files import FileSource
from rmtaudit.errors import CorruptError

READS_CAP = 20_000_000
"""Most values that are read of one file: a model of 10,000 operators has fewer than 1,000,000."""

_PAGE = 1 << 15
_PAGES = 64
_FIELDS_CAP = 64  # of a table: the schema has fewer than 30
_FORMATS = {
    kind: struct.Struct(form)
    for kind, form in {"u1": "<B", "i1": "<b", "u2": "<H", "u4": "<I", "i4": "<i", "u8": "<Q"}.items()
}


class Buffer:
    """A file of one FlatBuffer.

    Parameters
    ----------
    source
        The open file.
    code
        The code of the error for an offset that leaves the file.
    """

    def __init__(self, source: FileSource, code: str) -> None:
        self.source = source
        self._code = code
        self._pages: dict[int, bytes] = {}
        self._lists: dict[int, tuple[int, ...]] = {}
        self._left = READS_CAP

    def root(self) -> Table:
        """Return the root table."""
        return Table(self, self.number(0, "u4"))

    def number(self, position: int, kind: str) -> int:
        """Return a number at a position. Raises ``CorruptError`` outside the file."""
        form = _FORMATS[kind]
        page, offset = divmod(position, _PAGE)
        data = self._pages.get(page)
        if data is None or offset + form.size > len(data) or self._left <= 0:
            data, offset = self.bytes(position, form.size), 0
        else:
            self._left -= 1
        number: int = form.unpack_from(data, offset)[0]
        return number

    def fields(self, position: int) -> tuple[int, ...]:
        """Return the places of the fields of a table, whose list is at a position: tables share such lists.

        Raises
        ------
        CorruptError
            The list leaves the file, or is none.
        """
        places = self._lists.get(position)
        if places is None:
            length = self.number(position, "u2")
            if length < 4 or length % 2:
                raise self.corrupt(f"a list of fields of {length} bytes", position)
            length = min(length, 4 + 2 * _FIELDS_CAP)
            places = struct.unpack(f"<{length // 2 - 2}H", self.bytes(position + 4, length - 4))
            self._lists[position] = places
        return places

    def bytes(self, position: int, length: int) -> bytes:
        """Return bytes at a position. Raises ``CorruptError`` outside the file."""
        self._left -= 1
        if self._left < 0:
            raise self.corrupt(f"more than {READS_CAP} values", position)
        if position < 0 or length < 0 or position + length > self.source.size:
            raise self.corrupt(f"{length} bytes at {position} of {self.source.size}", position)
        page, offset = divmod(position, _PAGE)
        if offset + length > _PAGE:
            return bytes(self.source.pread(position, length))
        data = self._pages.get(page)
        if data is None:
            if len(self._pages) >= _PAGES:
                self._pages.pop(next(iter(self._pages)))
            start = page * _PAGE
            data = bytes(self.source.pread(start, min(_PAGE, self.source.size - start)))
            self._pages[page] = data
        return data[offset : offset + length]

    def corrupt(self, fault: str, position: int) -> CorruptError:
        """Return the error for a fault at a position."""
        return CorruptError(
            self._code,
            f"The table at position {position} is damaged: {fault}.",
            hint="Download it again.",
            where=self.source.where,
        )


class Table:
    """A table: fields by number, each of which may be left out."""

    def __init__(self, buffer: Buffer, position: int) -> None:
        self._buffer = buffer
        self.position = position
        self._fields = buffer.fields(position - buffer.number(position, "i4"))

    def number(self, field: int, kind: str, default: int = 0) -> int:
        """Return a number, or its default."""
        at = self._field(field)
        return self._buffer.number(at, kind) if at else default

    def table(self, field: int) -> Table | None:
        """Return a table; ``None`` where it is left out."""
        at = self._field(field)
        return Table(self._buffer, at + self._buffer.number(at, "u4")) if at else None

    def vector(self, field: int, size: int) -> tuple[int, int] | None:
        """Return position and length of a vector of elements of ``size`` bytes; ``None`` if left out."""
        at = self._field(field)
        if not at:
            return None
        start = at + self._buffer.number(at, "u4")
        count = self._buffer.number(start, "u4")
        if start + 4 + count * size > self._buffer.source.size:
            raise self._buffer.corrupt(f"a vector of {count} elements ends past the file", start)
        return start + 4, count

    def tables(self, field: int, cap: int) -> list[Table]:
        """Return the tables of a vector, at most ``cap``."""
        vector = self.vector(field, 4)
        if vector is None:
            return []
        start, count = vector
        if count > cap:
            raise self._buffer.corrupt(f"a vector of {count} tables; at most {cap} are possible", start)
        places = range(start, start + 4 * count, 4)
        return [Table(self._buffer, place + self._buffer.number(place, "u4")) for place in places]

    def integers(self, field: int, cap: int) -> tuple[int, ...]:
        """Return a vector of signed numbers of four bytes, at most ``cap``."""
        vector = self.vector(field, 4)
        if vector is None:
            return ()
        start, count = vector
        if count > cap:
            raise self._buffer.corrupt(f"a vector of {count} numbers; at most {cap} are possible", start)
        return struct.unpack(f"<{count}i", self._buffer.bytes(start, 4 * count))

    def text(self, field: int, cap: int = 1 << 16) -> str:
        """Return a text; bytes that are not UTF-8 become escapes."""
        vector = self.vector(field, 1)
        if vector is None:
            return ""
        start, count = vector
        if count > cap:
            raise self._buffer.corrupt(f"a text of {count} bytes", start)
        return self._buffer.bytes(start, count).decode("utf-8", "backslashreplace")

    def _field(self, field: int) -> int:
        """Return the position of a field; 0 where it is left out."""
        offset = self._fields[field] if field < len(self._fields) else 0
        return self.position + offset if offset else 0
