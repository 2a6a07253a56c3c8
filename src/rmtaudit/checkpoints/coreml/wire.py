"""Protocol buffers without their library: fields of a message, within bounds."""

from __future__ import annotations

from collections.abc import Iterator


class MalformedMessageError(Exception):
    """The bytes are no message: why, and nothing else is known of them."""


Field = tuple[int, "int | memoryview"]


def fields(data: memoryview) -> Iterator[Field]:
    """Yield number and value of every field of a message: integers, or bytes for the other wire types.

    Raises
    ------
    MalformedMessageError
        A field leaves the message, or has a wire type that is not used.
    """
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(data, at)
            yield key >> 3, value
            continue
        if kind == 2:
            length, at = varint(data, at)
        elif kind in {1, 5}:
            length = 8 if kind == 1 else 4
        else:
            raise MalformedMessageError(f"a field of wire type {kind} at {at}")
        if length > len(data) - at:
            raise MalformedMessageError(f"a field of {length} bytes at {at} of {len(data)}")
        yield key >> 3, data[at : at + length]
        at += length


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return the integer at a position, and the position after it."""
    value = shift = 0
    while shift < 70:
        if at >= len(data):
            raise MalformedMessageError("an integer that leaves its message")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
    raise MalformedMessageError(f"an integer of more than 10 bytes at {at}")


def message(value: int | memoryview) -> memoryview:
    """Return the bytes of a field that must have some."""
    if isinstance(value, int):
        raise MalformedMessageError("a number where a message should be")
    return value


def number(value: int | memoryview) -> int:
    """Return the integer of a field that must be one."""
    if not isinstance(value, int):
        raise MalformedMessageError("bytes where a number should be")
    return value


def text(value: int | memoryview) -> str:
    """Return the text of a field that must be one."""
    try:
        return bytes(message(value)).decode()
    except UnicodeDecodeError as error:
        raise MalformedMessageError("a text that is not UTF-8") from error
