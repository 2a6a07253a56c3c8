"""Where the values of an HDF5 dataset are: in its header, in one run, or in chunks."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field

from rmtaudit.checkpoints.hdf5.span import UNDEFINED, Window

_DEFLATE, _SHUFFLE, _FLETCHER = 1, 2, 3
_FILTERS = {4: "szip", 5: "nbit", 6: "scaleoffset", 32000: "lzf", 32001: "blosc", 32013: "zfp", 32015: "zstd"}
_DEFLATE_RATIO = 1032  # zlib cannot expand more than this: zlib.net, "Maximum Compression Factor"
_GROWING = "its chunks have an index for growing arrays; copy the file with h5repack"
_BOMB_RATIO, _BOMB_SIZE = 100, 64 << 20


class NotStoredError(Exception):
    """Why the values of one dataset cannot be read; the rest of the file can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of a dataset: where it begins in it, where its bytes are, which filters were left out."""

    origin: tuple[int, ...]
    address: int
    size: int
    skipped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunks:
    """The chunks of a dataset.

    Attributes
    ----------
    shape
        Sizes of a chunk.
    filters
        Numbers of the filters, in the order in which they were applied.
    pieces
        The chunks; they cover the dataset.
    """

    shape: tuple[int, ...]
    filters: tuple[int, ...]
    pieces: tuple[Chunk, ...] = field(default=())


def filters(window: Window, data: bytes) -> tuple[int, ...]:
    """Return the filters of a pipeline message (specification IV.A.2.l).

    Raises
    ------
    NotStoredError
        One of them is not read.
    """
    version, count = data[0], data[1]
    at = {1: 8, 2: 2}.get(version, len(data))
    result = []
    for _ in range(count):
        if at + 6 > len(data):
            window.corrupt("a filter that extends past its message")
        number = int.from_bytes(data[at : at + 2], "little")
        named = version == 1 or number >= 256
        name_length = int.from_bytes(data[at + 2 : at + 4], "little") if named else 0
        values = int.from_bytes(data[at + (6 if named else 4) : at + (8 if named else 6)], "little")
        at += 8 if named else 6
        at += (-(-name_length // 8) * 8 if version == 1 else name_length) + 4 * values
        at += 4 if version == 1 and values % 2 else 0
        result.append(number)
    for number in result:
        if number not in {_DEFLATE, _SHUFFLE, _FLETCHER}:
            name = _FILTERS.get(number, f"filter {number}")
            raise NotStoredError(f"compressed with {name}; convert it with: h5repack -f GZIP=6 IN OUT")
    return tuple(result)


def chunked(
    window: Window, layout: bytes, used: tuple[int, ...], shape: tuple[int, ...], itemsize: int
) -> Chunks:
    """Return the chunks of a layout message of class 2 (specification IV.A.2.i).

    Raises
    ------
    CorruptError
        Chunks overlap, lie outside the dataset or outside the file.
    NotStoredError
        Chunks are missing, or indexed in a way that is not read.
    """
    version = layout[0]
    rank = len(shape)
    if version == 3:
        if len(layout) < 11 + 4 * layout[2]:
            window.corrupt("a layout that extends past its message")
        address = struct.unpack_from("<Q", layout, 3)[0]
        sizes = struct.unpack_from(f"<{layout[2]}I", layout, 11)
    else:
        address, sizes = _sizes_of_version_4(window, layout)
    if len(sizes) != rank + 1 or not all(sizes) or sizes[-1] != itemsize:
        window.corrupt(f"chunks of {sizes} for a dataset of {shape}")
    chunk = sizes[:-1]
    grid = tuple(-(-size // step) for size, step in zip(shape, chunk, strict=True))
    count, nbytes = math.prod(grid), math.prod(sizes)
    if address == UNDEFINED:
        raise NotStoredError("its values were never written")
    if count > window.size:
        window.corrupt(f"a dataset of {count} chunks in a file of {window.size} bytes")
    if version == 3:
        pieces = _tree(window, address, chunk, count)
    else:
        pieces = _indexed(window, layout, (address, nbytes, bool(used)), (grid, chunk))
    _check(window, pieces, shape, (chunk, nbytes, used))
    if len(pieces) < count:
        raise NotStoredError(f"{count - len(pieces)} of its {count} chunks were never written")
    return Chunks(shape=chunk, filters=used, pieces=tuple(pieces))


def _check(
    window: Window,
    pieces: list[Chunk],
    shape: tuple[int, ...],
    facts: tuple[tuple[int, ...], int, tuple[int, ...]],
) -> None:
    chunk, nbytes, used = facts
    seen = set()
    stored = 0
    for piece in pieces:
        window.locate(piece.address, piece.size, "a chunk")
        inside = all(
            at % step == 0 and at < size for at, step, size in zip(piece.origin, chunk, shape, strict=True)
        )
        if not inside or piece.origin in seen:
            window.corrupt(f"a chunk at {piece.origin} of a dataset of {shape}")
        seen.add(piece.origin)
        stored += piece.size
        if _DEFLATE in used and nbytes > _DEFLATE_RATIO * (piece.size + 64):
            window.corrupt(f"a chunk of {nbytes} bytes that is stored as {piece.size}")
        if not used and piece.size != nbytes:
            window.corrupt(f"a chunk of {nbytes} bytes that is stored as {piece.size}")
    if stored > window.size:
        window.corrupt(f"chunks of {stored} bytes together in a file of {window.size}")
    total = nbytes * len(pieces)
    if total > _BOMB_SIZE and total > _BOMB_RATIO * stored:
        raise NotStoredError(f"{stored} bytes unpack to {total}: weights do not compress that much")


def _tree(window: Window, address: int, chunk: tuple[int, ...], most: int) -> list[Chunk]:
    """Return the chunks of a B-tree of version 1 (specification III.A.1)."""
    rank = len(chunk)
    key = 8 + 8 * (rank + 1)
    result: list[Chunk] = []
    nodes, seen = [(address, -1)], {address}
    for at, expected in nodes:
        head = window.metadata(at, 24, "a B-tree node")
        level, count = head[5], int.from_bytes(head[6:8], "little")
        if not head.startswith(b"TREE") or head[4] != 1 or expected not in {-1, level}:
            window.corrupt(f"no B-tree node of chunks at {at}")
        body = window.metadata(at + 24, count * (key + 8), "a B-tree node")
        for index in range(count):
            place = index * (key + 8)
            size, skipped = struct.unpack_from("<2I", body, place)
            child = struct.unpack_from("<Q", body, place + key)[0]
            if level == 0:
                origin = struct.unpack_from(f"<{rank}Q", body, place + 8)
                result.append(Chunk(origin=origin, address=child, size=size, skipped=skipped))
            elif child in seen:
                window.corrupt(f"a B-tree that holds the node at {child} twice")
            else:
                seen.add(child)
                nodes.append((child, level - 1))
            if len(result) > most or len(seen) > most + 1:
                window.corrupt(f"more chunks than the {most} of the dataset")
    return result


def _sizes_of_version_4(window: Window, layout: bytes) -> tuple[int, tuple[int, ...]]:
    """Return the address of the index and the sizes of a chunk."""
    if len(layout) < 6:
        window.corrupt("a layout that extends past its message")
    rank, width = layout[3], layout[4]
    end = 5 + rank * width
    if not 1 <= width <= 8 or len(layout) < end + 9:
        window.corrupt("a layout that extends past its message")
    sizes = tuple(int.from_bytes(layout[5 + i * width : 5 + (i + 1) * width], "little") for i in range(rank))
    return struct.unpack_from("<Q", layout, len(layout) - 8)[0], sizes


def _indexed(
    window: Window,
    layout: bytes,
    facts: tuple[int, int, bool],
    sizes: tuple[tuple[int, ...], tuple[int, ...]],
) -> list[Chunk]:
    """Return the chunks of the indices of version 4: one chunk, in a run, a fixed array."""
    address, nbytes, filtered = facts
    grid, chunk = sizes
    at = 5 + layout[3] * layout[4]
    index = layout[at]
    count = math.prod(grid)
    if index == 1 and count == 1:
        origin = (0,) * len(grid)
        if not layout[2] & 2:
            return [Chunk(origin=origin, address=address, size=nbytes)]
        if len(layout) < at + 21:
            window.corrupt("a layout that extends past its message")
        size, skipped = struct.unpack_from("<QI", layout, at + 1)
        return [Chunk(origin=origin, address=address, size=size, skipped=skipped)]
    origins = [_origin(number, grid, chunk) for number in range(count)]
    if index == 2:
        return [
            Chunk(origin=origin, address=address + number * nbytes, size=nbytes)
            for number, origin in enumerate(origins)
        ]
    if index == 3:
        return _fixed_array(window, address, origins, nbytes if not filtered else 0)
    raise NotStoredError(_GROWING)


def _origin(number: int, grid: tuple[int, ...], chunk: tuple[int, ...]) -> tuple[int, ...]:
    result = []
    for size, step in zip(reversed(grid), reversed(chunk), strict=True):
        number, place = divmod(number, size)
        result.append(place * step)
    return tuple(reversed(result))


def _fixed_array(window: Window, address: int, origins: list[tuple[int, ...]], nbytes: int) -> list[Chunk]:
    """Return the chunks of a fixed array of one page (specification VII.C)."""
    head = window.metadata(address, 28, "an array of chunks")
    if not head.startswith(b"FAHD"):
        window.corrupt(f"no array of chunks at {address}")
    width, page_bits = head[6], head[7]
    most, block = struct.unpack_from("<2Q", head, 8)
    if most > 1 << min(page_bits, 63):
        raise NotStoredError(_GROWING)
    if most < len(origins) or width < 8 or (width < 13 and not nbytes):
        window.corrupt(f"an array of {most} chunks at {address}")
    body = window.metadata(block, 14 + most * width, "an array of chunks")
    if not body.startswith(b"FADB"):
        window.corrupt(f"no array of chunks at {block}")
    result = []
    for number, origin in enumerate(origins):
        entry = body[14 + number * width : 14 + (number + 1) * width]
        place = int.from_bytes(entry[:8], "little")
        if place == UNDEFINED:
            continue
        size = nbytes or int.from_bytes(entry[8 : width - 4], "little")
        skipped = 0 if nbytes else int.from_bytes(entry[width - 4 :], "little")
        result.append(Chunk(origin=origin, address=place, size=size, skipped=skipped))
    return result
