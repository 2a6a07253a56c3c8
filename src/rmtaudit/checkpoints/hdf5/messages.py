"""Object headers of an HDF5 file: the messages of which groups and datasets are made."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from rmtaudit.checkpoints.hdf5.span import UNDEFINED, Window

_MESSAGES_CAP = 100_000


class Kind(IntEnum):
    """Types of messages (specification IV.A.2)."""

    DATASPACE = 0x01
    LINK_INFO = 0x02
    DATATYPE = 0x03
    LINK = 0x06
    EXTERNAL = 0x07
    LAYOUT = 0x08
    FILTERS = 0x0B
    ATTRIBUTE = 0x0C
    CONTINUATION = 0x10
    SYMBOL_TABLE = 0x11
    ATTRIBUTE_INFO = 0x15


@dataclass(frozen=True, slots=True)
class Message:
    """One message: its type, whether its data are only a pointer to a shared one, its data."""

    kind: int
    shared: bool
    data: bytes


def root_address(window: Window) -> int:
    """Return the address of the root group's header, from the superblock; sets ``window.base``.

    Raises
    ------
    CorruptError
        The superblock contradicts the file.
    InputError
        The file has another version or sizes of addresses than 8 bytes.
    """
    data = window.metadata(0, min(96, window.size), "the superblock").ljust(96, b"\0")
    version = data[8]
    if version in {0, 1}:
        sizes, at = data[13:15], 24 + 4 * version
        base, _, end = struct.unpack_from("<3Q", data, at)
        root = struct.unpack_from("<Q", data, at + 40)[0]
    elif version in {2, 3}:
        sizes, (base, _, end, root) = data[9:11], struct.unpack_from("<4Q", data, 12)
    else:
        window.unsupported(f"a superblock of version {version}")
    if sizes != b"\x08\x08":
        window.unsupported(f"addresses of {sizes[0]} and lengths of {sizes[1]} bytes")
    if base != 0:
        window.unsupported(f"a base address of {base}")
    if end > window.size:
        window.corrupt(
            f"{window.size} of its {end} bytes are present ({100 * window.size // end}%); it looks truncated"
        )
    return int(root)


def messages(window: Window, address: int) -> list[Message]:
    """Return the messages of the object header at an address. Raises ``CorruptError``."""
    head = window.metadata(address, 16, "an object header")
    if head.startswith(b"OHDR"):
        return list(_second(window, address, head))
    version, _, count, _, size = struct.unpack_from("<BBHII", head)
    if version != 1:
        window.corrupt(f"no object header at {address}")
    return list(_first(window, address + 16, size, count))


def _first(window: Window, start: int, size: int, count: int) -> Iterator[Message]:
    """Yield the messages of a header of version 1."""
    blocks, seen = [(start, size)], {start}
    for at, length in blocks:
        data = window.metadata(at, length, "messages")
        position = 0
        while position + 8 <= length and count > 0:
            kind, extent, flags = struct.unpack_from("<HHB", data, position)
            body = data[position + 8 : position + 8 + extent]
            if len(body) < extent:
                window.corrupt(f"a message at {at + position} extends past its block")
            position += 8 + extent
            count -= 1
            if kind == Kind.CONTINUATION:
                _continue(window, body, blocks, seen)
            else:
                yield Message(kind, bool(flags & 2), body)


def _second(window: Window, address: int, head: bytes) -> Iterator[Message]:
    """Yield the messages of a header of version 2."""
    flags = head[5]
    if head[4] != 2:
        window.corrupt(f"an object header of version {head[4]} at {address}")
    start = 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
    width = 1 << (flags & 3)
    prefix = window.metadata(address, start + width, "an object header")
    size = int.from_bytes(prefix[start:], "little")
    first = address + start + width
    blocks, seen, count = [(first, size)], {first}, 0
    fixed = 6 if flags & 4 else 4
    for number, (at, length) in enumerate(blocks):
        data = window.metadata(at, length, "messages")
        position = 0
        if number:
            if not data.startswith(b"OCHK") or length < 8:
                window.corrupt(f"no continuation of an object header at {at}")
            position, length = 4, length - 4
        while position + fixed <= length:
            kind, extent, bits = struct.unpack_from("<BHB", data, position)
            position += fixed
            body = data[position : min(position + extent, length)]
            if len(body) < extent:
                window.corrupt(f"a message at {at + position} extends past its block")
            position += extent
            count += 1
            if count > _MESSAGES_CAP:
                window.corrupt(f"an object header of more than {_MESSAGES_CAP} messages at {address}")
            if kind == Kind.CONTINUATION:
                _continue(window, body, blocks, seen)
            elif kind:
                yield Message(kind, bool(bits & 2), body)


def _continue(window: Window, body: bytes, blocks: list[tuple[int, int]], seen: set[int]) -> None:
    if len(body) < 16:
        window.corrupt("a continuation without an address")
    at, length = struct.unpack_from("<2Q", body)
    if at in seen or at == UNDEFINED:
        window.corrupt(f"an object header that continues at {at} twice")
    seen.add(at)
    blocks.append((at, length))
