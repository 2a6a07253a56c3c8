"""The wire format of Protocol Buffers, walked by position: fields and where their bytes are.

Nothing is decoded that nobody asks for, so a file of 2 GB whose weights are skipped costs no more memory than
one window. Source: the encoding guide of Protocol Buffers (protobuf.dev/programming-guides/encoding).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rmtaudit.checkpoints.files import FileSource
from rmtaudit.errors import CorruptError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types: a number of variable length, eight bytes, a length and that many bytes, four bytes."""

FIELDS_CAP = 20_000_000
"""Most fields that are looked at in one file: a graph of 100,000 operators has fewer than 2,000,000."""

Field = tuple[int, int, int, int]
"""One field of a message: its tag, its value, and the positions where its bytes begin and end in the file.

The tag is :func:`tag` of the field's number and wire type. The value is the number of a field of type
:data:`VARINT` (unsigned, 64 bits), and 0 for the others. A plain tuple, since a file may have millions.
"""

_FIXED = {FIXED64: 8, FIXED32: 4}
_WINDOW = 1 << 15
_LONGEST_KEY = 20  # a tag and a length, each a varint of at most 10 bytes
_UNFINISHED = b"\x80" * _LONGEST_KEY
"""Stands behind the end of the file: a number that runs into it never ends, and is refused."""


def tag(number: int, kind: int) -> int:
    """Return what stands in front of a field of a number and a wire type."""
    return number << 3 | kind


def tags(numbers: Iterable[int]) -> tuple[int, ...]:
    """Return the tags of fields of type :data:`BYTES`: messages, texts and packed numbers."""
    return tuple(tag(number, BYTES) for number in numbers)


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
        last = len(data) - _LONGEST_KEY  # of the places in the window where a key may begin
        count, most = 0, self._left
        while position < end:
            count += 1
            if count > most:
                raise self.corrupt(f"more than {FIELDS_CAP} fields", position)
            index = position - base
            if not 0 <= index <= last:
                data, base = self._at(position)
                last = len(data) - _LONGEST_KEY
                index = position - base
            key = data[index]
            index += 1
            if key > 0x7F:
                key, index = self._varint(data, index - 1, base)
            kind = key & 7
            value = 0
            if kind == BYTES:
                length = data[index]
                index += 1
                if length > 0x7F:
                    length, index = self._varint(data, index - 1, base)
                begin = base + index
                position = begin + length
            elif kind == VARINT:
                begin = base + index
                value = data[index]
                index += 1
                if value > 0x7F:
                    value, index = self._varint(data, index - 1, base)
                position = base + index
            elif kind in _FIXED:
                begin = base + index
                position = begin + _FIXED[kind]
            else:
                raise self.corrupt(f"a field of type {kind}", position)
            if position > end or key < 8:
                raise self.corrupt(
                    f"field {key >> 3} ends at {position}, the message around it at {end}", begin
                )
            yield key, value, begin, position
        self._left -= count

    def span(self, field: Field) -> tuple[int, int]:
        """Return where the bytes of a field are. Raises ``CorruptError`` for a field of a number."""
        key, _, start, end = field
        if key & 7 == VARINT:
            raise self.corrupt(f"field {key >> 3} is a number where bytes should be", start)
        return start, end

    def number(self, field: Field) -> int:
        """Return the number of a field. Raises ``CorruptError`` for a field of bytes."""
        key, value, start, _ = field
        if key & 7 != VARINT:
            raise self.corrupt(f"field {key >> 3} has bytes where a number should be", start)
        return value

    def content(self, start: int, end: int, cap: int) -> bytes:
        """Return at most ``cap`` bytes between two positions. Raises ``CorruptError`` for more."""
        data, base = self._window, self._base
        if start >= base and end <= base + len(data) and end - start <= cap:
            return data[start - base : end - base]
        if end - start > cap:
            raise self.corrupt(f"{end - start} bytes; at most {cap} are possible", start)
        if end - start > _WINDOW >> 1:
            return bytes(self.source.pread(start, end - start))
        data, base = self._at(start, end - start)
        return data[start - base : end - base]

    def text(self, start: int, end: int, cap: int = 1 << 16) -> str:
        """Return the text between two positions; bytes that are not UTF-8 become escapes."""
        return self.content(start, end, cap).decode("utf-8", "backslashreplace")

    def varints(self, field: Field, cap: int) -> list[int]:
        """Return the signed numbers of a repeated field, packed or not: at most ``cap`` of them."""
        key, value, start, end = field
        if key & 7 == VARINT:
            return [signed(value)]
        if key & 7 != BYTES:
            raise self.corrupt(f"field {key >> 3} of type {key & 7} for whole numbers", start)
        data = self.content(start, end, 10 * cap)
        numbers: list[int] = []
        index = 0
        while index < len(data):
            value, index = self._varint(data, index, start)
            numbers.append(signed(value))
        if len(numbers) > cap:
            raise self.corrupt(f"field {key >> 3} has {len(numbers)} numbers", start)
        return numbers

    def corrupt(self, fault: str, position: int) -> CorruptError:
        """Return the error for a message that is damaged at a position."""
        return CorruptError(
            self._code,
            f"The message is damaged at position {position}: {fault}.",
            hint="Download it again.",
            where=self.source.where,
        )

    def _at(self, position: int, length: int = 0) -> tuple[bytes, int]:
        """Return a window that holds the key of the field at a position, or so many bytes, and its begin."""
        index = position - self._base
        if not 0 <= index <= len(self._window) - max(length, _LONGEST_KEY):
            size = min(_WINDOW, self.source.size - position)
            self._window, self._base = bytes(self.source.pread(position, size)), position
            if position + size == self.source.size:
                self._window += _UNFINISHED
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
        raise self.corrupt("a number of more than 10 bytes, or one that is cut off", base + start)


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
