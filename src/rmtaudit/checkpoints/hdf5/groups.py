"""Links of an HDF5 group: names and addresses of what is in it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from rmtaudit.checkpoints.hdf5.dense import dense_links
from rmtaudit.checkpoints.hdf5.messages import Kind, Message
from rmtaudit.checkpoints.hdf5.span import UNDEFINED, Window
from rmtaudit.names import display_name

_NODES_CAP = 100_000


@dataclass(slots=True)
class Links:
    """What a group holds: addresses by name, and names of symbolic links, which are not followed."""

    hard: dict[str, int] = field(default_factory=dict)
    soft: list[str] = field(default_factory=list)


def links(window: Window, parts: Sequence[Message]) -> Links | None:
    """Return the links of the object with these messages; ``None`` where it is no group.

    Raises
    ------
    CorruptError
        Its structures are damaged, or a name occurs twice.
    UnsafeError
        A link leads to another file.
    InputError
        The links are stored in a way that is not read.
    """
    result = Links()
    group = False
    for part in parts:
        if part.kind == Kind.SYMBOL_TABLE:
            group = True
            if len(part.data) < 16:
                window.corrupt("a group without its table")
            tree, heap = struct.unpack_from("<2Q", part.data)
            _symbol_table(window, tree, heap, result)
        elif part.kind == Kind.LINK_INFO:
            group = True
            for record in dense_links(window, part.data):
                link_message(window, record, result)
        elif part.kind == Kind.LINK:
            group = True
            link_message(window, part.data, result)
    return result if group else None


def link_message(window: Window, data: bytes, result: Links) -> None:
    """Add the link that a message describes (specification IV.A.2.g)."""
    if len(data) < 3 or data[0] != 1:
        window.corrupt("a damaged link")
    flags, at = data[1], 2
    kind = 0
    if flags & 8:
        kind, at = data[at], at + 1
    at += (8 if flags & 4 else 0) + (1 if flags & 16 else 0)
    width = 1 << (flags & 3)
    length = int.from_bytes(data[at : at + width], "little")
    at += width
    name = data[at : at + length]
    at += length
    if len(name) < length or at + 2 > len(data):
        window.corrupt("a link whose name extends past it")
    if kind == 0:
        if at + 8 > len(data):
            window.corrupt("a link without an address")
        _add(window, name, struct.unpack_from("<Q", data, at)[0], result)
    elif kind == 1:
        result.soft.append(_text(window, name))
    else:
        window.unsafe(f"the external link '{display_name(_text(window, name))}'")


def _symbol_table(window: Window, tree: int, heap: int, result: Links) -> None:
    """Add the links of a group of the old style: a B-tree of symbol nodes, names in a heap."""
    if tree == UNDEFINED:
        return
    names = _local_heap(window, heap)
    nodes, seen = [(tree, -1)], {tree}
    for at, expected in nodes:
        head = window.metadata(at, 24, "a B-tree node")
        kind, level, count = head[4], head[5], int.from_bytes(head[6:8], "little")
        if not head.startswith(b"TREE") or kind != 0 or expected not in {-1, level}:
            window.corrupt(f"no B-tree node of a group at {at}")
        body = window.metadata(at + 24, 16 * count, "a B-tree node")
        for index in range(count):
            child = struct.unpack_from("<Q", body, 8 + 16 * index)[0]
            if child in seen or len(seen) > _NODES_CAP:
                window.corrupt(f"a B-tree that holds the node at {child} twice")
            seen.add(child)
            if level:
                nodes.append((child, level - 1))
            else:
                _symbols(window, child, names, result)


def _local_heap(window: Window, address: int) -> bytes:
    head = window.metadata(address, 32, "a local heap")
    if not head.startswith(b"HEAP"):
        window.corrupt(f"no local heap at {address}")
    size, _, data = struct.unpack_from("<3Q", head, 8)
    return window.metadata(data, size, "a local heap")


def _symbols(window: Window, address: int, names: bytes, result: Links) -> None:
    head = window.metadata(address, 8, "a symbol node")
    if not head.startswith(b"SNOD"):
        window.corrupt(f"no symbol node at {address}")
    count = int.from_bytes(head[6:8], "little")
    body = window.metadata(address + 8, 40 * count, "a symbol node")
    for index in range(count):
        offset, header, cached = struct.unpack_from("<QQI", body, 40 * index)
        end = names.find(b"\0", offset) if offset < len(names) else -1
        if end < 0:
            window.corrupt(f"a symbol node at {address} with a name outside its heap")
        if cached == 2:
            result.soft.append(_text(window, names[offset:end]))
        else:
            _add(window, names[offset:end], header, result)


def _add(window: Window, name: bytes, address: int, result: Links) -> None:
    text = _text(window, name)
    if text in result.hard:
        window.corrupt(f"two links are named '{display_name(text)}'")
    result.hard[text] = address


def _text(window: Window, name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        window.corrupt(f"the name {name[:40]!r} is not UTF-8")
