"""The wire format of Protocol Buffers, walked by position: fields and where their bytes are.

Nothing is decoded that nobody asks for, so a file of 2 GB whose weights are skipped costs no more memory than
one window. Source: the encoding guide of Protocol Buffers (protobuf.dev/programming-guides/encoding).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from rmtaudit.checkpoints.files import FileSource
from rmtaudit.errors import CorruptError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types: a number of variable length, eight bytes, a length and that many bytes, four bytes."""

FIELDS_CAP = 20_000_000
"""Most fields that are looked at in one file: a graph of 100,000 operators has fewer than 2,000,000."""

_FIXED = {FIXED64: 8, FIXED32: 4}
_WINDOW = 1 << 15
_LONGEST_KEY = 20  # a tag and a length, each a varint of at most 10 bytes


class Field(NamedTuple):
    """One field of a message.

    Its bytes lie from ``start`` to ``end`` in the file; ``value`` is the number of a field of type
    :data:`VARINT` (unsigned, 64 bits), and 0 for the others.
    """

    number: int
    kind: int
    value: int
    start: int
    end: int


class Wire:
    """A file that is a message.

    Parameters
    ----------
    source
        The open file.
    code
        The code of the error for a message that breaks the wire format.
    """

    def __init__(self, source: FileSource, code: str) -> None:
        self.source = source
        self._code = code
        self._window = b""
        self._base = 0
        self._left = FIELDS_CAP

    def fields(self, start: int, end: int) -> Iterator[Field]:
        """Yield the fields of the message between two positions.

        Raises
        ------
        CorruptError
            A field leaves the message, or is of a type that is not defined (groups included).
        """
        position = start
        data, base = self._window, self._base
        while position < end:
            self._left -= 1
            if self._left < 0:
                raise self._corrupt(f"more than {FIELDS_CAP} fields", position)
            index = position - base
            if index < 0 or index + _LONGEST_KEY > len(data):
                data, base = self._at(position)
                index = position - base
            key = data[index]
            index += 1
            if key > 0x7F:
                key, index = self._varint(data, index - 1, base)
            kind = key & 7
            length = value = 0
            if kind == BYTES:
                length = data[index] if index < len(data) else 0x80
                index += 1
                if length > 0x7F:
                    length, index = self._varint(data, index - 1, base)
                begin = base + index
                position = begin + length
            elif kind == VARINT:
                begin = base + index
                value = data[index] if index < len(data) else 0x80
                index += 1
                if value > 0x7F:
                    value, index = self._varint(data, index - 1, base)
                position = base + index
            elif kind in _FIXED:
                begin = base + index
                position = begin + _FIXED[kind]
            else:
                raise self._corrupt(f"a field of type {kind}", position)
            if position > end or key < 8:
                raise self._corrupt(
                    f"field {key >> 3} ends at {position}, the message around it at {end}", begin
                )
            yield Field(key >> 3, kind, value, begin, position)

    def content(self, field: Field, cap: int) -> bytes:
        """Return the bytes of a field of at most ``cap`` bytes. Raises ``CorruptError`` for a longer one."""
        length = field.end - field.start
        if field.kind != BYTES or length > cap:
            raise self._corrupt(
                f"field {field.number} has {length} bytes (type {field.kind}); at most {cap} make sense",
                field.start,
            )
        data, base = self._at(field.start)
        index = field.start - base
        if index + length <= len(data):
            return data[index : index + length]
        return bytes(self.source.pread(field.start, length))

    def text(self, field: Field, cap: int = 1 << 16) -> str:
        """Return the text of a field; bytes that are not UTF-8 become escapes."""
        return self.content(field, cap).decode("utf-8", "backslashreplace")

    def varints(self, field: Field, cap: int) -> list[int]:
        """Return the signed numbers of a repeated field, packed or not: at most ``cap`` of them."""
        if field.kind == VARINT:
            return [signed(field.value)]
        data = self.content(field, 10 * cap)
        numbers: list[int] = []
        index = 0
        while index < len(data):
            value, index = self._varint(data, index, field.start)
            numbers.append(signed(value))
        if len(numbers) > cap:
            raise self._corrupt(f"field {field.number} has {len(numbers)} numbers", field.start)
        return numbers

    def float32(self, field: Field) -> float:
        """Return the number of a field of four bytes."""
        if field.kind != FIXED32:
            raise self._corrupt(f"field {field.number} is no number of four bytes", field.start)
        (number,) = struct.unpack("<f", self.source.pread(field.start, 4))
        return float(number)

    def _at(self, position: int) -> tuple[bytes, int]:
        """Return a window that holds the key of the field at a position, and where it begins."""
        index = position - self._base
        if index >= 0 and index + _LONGEST_KEY <= len(self._window):
            return self._window, self._base
        if 0 <= index < len(self._window) and self._base + len(self._window) == self.source.size:
            return self._window, self._base
        length = min(_WINDOW, self.source.size - position)
        self._window, self._base = bytes(self.source.pread(position, length)), position
        return self._window, self._base

    def _varint(self, data: bytes, index: int, base: int) -> tuple[int, int]:
        start = index
        value = shift = 0
        while index < len(data):
            byte = data[index]
            index += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFFFFFFFFFFFFFF, index
            shift += 7
            if shift >= 70:
                break
        raise self._corrupt("a number of more than 10 bytes, or one that is cut off", base + start)

    def _corrupt(self, fault: str, position: int) -> CorruptError:
        return CorruptError(
            self._code,
            f"a damaged message at position {position}: {fault}.",
            hint="Re-download it.",
            where=self.source.where,
        )


def signed(value: int) -> int:
    """Return the signed number of 64 bits that an unsigned one stands for."""
    return value - (1 << 64) if value >> 63 else value


def varint_in(head: bytes, position: int) -> tuple[int, int]:
    """Return a number in the first bytes of a file, and the position after it; what is cut off is 0."""
    value = shift = 0
    while position < len(head) and shift < 63:
        byte = head[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    return value, position
