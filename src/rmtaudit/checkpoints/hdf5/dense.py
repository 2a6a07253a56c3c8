"""Links of an HDF5 group that has many of them: a B-tree of version 2 over a fractal heap."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from rmtaudit.checkpoints.hdf5.span import UNDEFINED, Window

_LINKS_BY_NAME = 5


def dense_links(window: Window, info: bytes) -> Iterator[bytes]:
    """Yield the link messages that a link info message points to; none where they are in the header itself.

    Raises
    ------
    CorruptError
        The structures are damaged.
    InputError
        They have a form that libraries do not write for links.
    """
    at = 10 if len(info) > 1 and info[1] & 1 else 2
    if len(info) < at + 16:
        window.corrupt("a group without its addresses")
    heap_address, tree = struct.unpack_from("<2Q", info, at)
    if heap_address == UNDEFINED or tree == UNDEFINED:
        return
    heap = _heap(window, heap_address)
    for record in _records(window, tree):
        yield heap.get(record[4 : 4 + heap.id_length])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heap:
    """A fractal heap without filters: where its direct blocks are (specification III.G)."""

    window: Window
    id_length: int
    offset_bytes: int
    length_bytes: int
    blocks: tuple[tuple[int, int, int], ...]  # first position in the heap, size, address

    def get(self, identifier: bytes) -> bytes:
        """Return the object that an identifier names."""
        if len(identifier) < 1 + self.offset_bytes + self.length_bytes or identifier[0] >> 4:
            self.window.unsupported("links that are not in the blocks of their heap")
        middle = 1 + self.offset_bytes
        offset = int.from_bytes(identifier[1:middle], "little")
        length = int.from_bytes(identifier[middle : middle + self.length_bytes], "little")
        for start, size, address in self.blocks:
            if start <= offset and offset + length <= start + size:
                return self.window.metadata(address + offset - start, length, "a link")
        raise self.window.damaged(f"a link at {offset} outside its heap")


def _heap(window: Window, address: int) -> _Heap:
    head = window.metadata(address, 142, "a fractal heap")
    id_length, filters = struct.unpack_from("<2H", head, 5)
    largest_managed = struct.unpack_from("<I", head, 10)[0]
    width, first, largest, bits, _, root, rows = struct.unpack_from("<HQQHHQH", head, 110)
    if not head.startswith(b"FRHP"):
        window.corrupt(f"no fractal heap at {address}")
    if filters or not 0 < bits <= 64 or not width or not first or largest < first:
        window.unsupported("a filtered heap of links")
    prefix = 13 + (bits + 7) // 8
    if rows == 0:
        blocks = [(0, first, root)] if root != UNDEFINED else []
    else:
        blocks = _children(window, root, rows, width, (first, largest, prefix))
    return _Heap(
        window=window,
        id_length=id_length,
        offset_bytes=(bits + 7) // 8,
        length_bytes=min((largest.bit_length() + 6) // 8, (largest_managed.bit_length() + 7) // 8),
        blocks=tuple(blocks),
    )


def _children(
    window: Window, address: int, rows: int, width: int, sizes: tuple[int, int, int]
) -> list[tuple[int, int, int]]:
    """Return the direct blocks of the root's indirect block."""
    first, largest, prefix = sizes
    direct = 2 + (largest // first).bit_length() - 1
    if rows > direct:
        window.unsupported("a heap of links of several levels")
    if not window.metadata(address, 4, "a block of a heap").startswith(b"FHIB"):
        window.corrupt(f"no block of a heap at {address}")
    entries = window.metadata(address + prefix, 8 * rows * width, "a block of a heap")
    blocks, position = [], 0
    for index in range(rows * width):
        size = first << max(index // width - 1, 0)
        child = struct.unpack_from("<Q", entries, 8 * index)[0]
        if child != UNDEFINED:
            blocks.append((position, size, child))
        position += size
    return blocks


def _records(window: Window, address: int) -> Iterator[bytes]:
    """Yield the records of a B-tree of version 2, the index of links by name (specification III.A.2)."""
    head = window.metadata(address, 38, "a B-tree")
    kind, node_size, record, depth = struct.unpack_from("<BIHH", head, 5)
    root, count = struct.unpack_from("<QH", head, 16)
    if not head.startswith(b"BTHD") or kind != _LINKS_BY_NAME or record < 5 or node_size < 64:
        window.corrupt(f"no B-tree of links at {address}")
    if depth > 1:
        window.unsupported("a group of more links than two levels of a B-tree hold")
    if root == UNDEFINED:
        return
    room = (node_size - 10) // record
    if not depth:
        yield from _leaf(window, root, count, (record, room))
        return
    width = 8 + (room.bit_length() + 7) // 8
    if count > node_size // (record + width):
        window.corrupt(f"a node of {count} links at {root}")
    body = window.metadata(root, 6 + count * record + (count + 1) * width, "a B-tree node")
    if not body.startswith(b"BTIN"):
        window.corrupt(f"no B-tree node at {root}")
    for index in range(count):
        yield body[6 + index * record : 6 + (index + 1) * record]
    for index in range(count + 1):
        at = 6 + count * record + index * width
        child = struct.unpack_from("<Q", body, at)[0]
        yield from _leaf(window, child, int.from_bytes(body[at + 8 : at + width], "little"), (record, room))


def _leaf(window: Window, address: int, count: int, sizes: tuple[int, int]) -> Iterator[bytes]:
    record, room = sizes
    if count > room:
        window.corrupt(f"a node of {count} links at {address}")
    body = window.metadata(address, 6 + count * record, "a B-tree node")
    if not body.startswith(b"BTLF"):
        window.corrupt(f"no B-tree node at {address}")
    for index in range(count):
        yield body[6 + index * record : 6 + (index + 1) * record]
