"""Values of a chunked HDF5 dataset: chunks are read, unfiltered and put in their place."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from rmtaudit.checkpoints.values import tensor_from_bytes
from rmtaudit.errors import CorruptError

if TYPE_CHECKING:
    import torch

    from rmtaudit.checkpoints.hdf5.datatypes import Datatype
    from rmtaudit.checkpoints.hdf5.span import Window
    from rmtaudit.checkpoints.hdf5.storage import Chunk, Chunks


def assemble(window: Window, chunks: Chunks, kind: Datatype, shape: tuple[int, ...]) -> torch.Tensor:
    """Return the values of a dataset: CPU, contiguous. Raises ``CorruptError`` where a chunk is damaged."""
    import torch

    result = torch.empty(shape, dtype=getattr(torch, kind.dtype))
    for piece in chunks.pieces:
        data = _unfiltered(window, chunks, piece, kind)
        block = tensor_from_bytes(data, kind.dtype, chunks.shape, big_endian=kind.big_endian)
        target = tuple(
            slice(at, min(at + step, size))
            for at, step, size in zip(piece.origin, chunks.shape, shape, strict=True)
        )
        inside = tuple(slice(0, part.stop - part.start) for part in target)
        result[target] = block[inside]
    return result


def _unfiltered(window: Window, chunks: Chunks, piece: Chunk, kind: Datatype) -> bytearray | memoryview:
    import math

    expected = math.prod(chunks.shape) * kind.size
    data: bytes | bytearray | memoryview = window.source.pread(
        window.locate(piece.address, piece.size, "a chunk"), piece.size
    )
    for position in reversed(range(len(chunks.filters))):
        if piece.skipped >> position & 1:
            continue
        number = chunks.filters[position]
        if number == 1:
            data = _inflate(data, expected + 4, piece, window.source.where)
        elif number == 2:
            data = _unshuffled(data, kind.size)
        elif number == 3:
            data = _checked(data, piece, window.source.where)
    if len(data) != expected:
        raise _damaged(f"{len(data)} bytes instead of {expected}", piece, window.source.where)
    return data if isinstance(data, bytearray) else bytearray(data)


def _inflate(data: bytes | bytearray | memoryview, most: int, piece: Chunk, where: str) -> bytes:
    inflater = zlib.decompressobj()
    try:
        result = inflater.decompress(data, most + 1)
    except zlib.error as error:
        raise _damaged(str(error), piece, where) from error
    if len(result) > most or not inflater.eof:
        raise _damaged("its length is wrong", piece, where)
    return result


def _unshuffled(data: bytes | bytearray | memoryview, width: int) -> bytes:
    """Undo the filter that puts the first bytes of all values first, then the second ones, and so on."""
    import numpy as np

    count = len(data) // width
    whole = np.frombuffer(data, np.uint8, count * width).reshape(width, count).T.tobytes()
    return whole + bytes(data[count * width :])


def _checked(data: bytes | bytearray | memoryview, piece: Chunk, where: str) -> memoryview:
    """Return the data without the Fletcher-32 checksum that follows them, after comparing it."""
    import numpy as np

    body, stored = memoryview(data)[:-4], bytes(memoryview(data)[-4:])
    padded = bytes(body) + b"\0" * (len(body) % 2)
    words = np.frombuffer(padded, ">u2").astype(np.int64)
    first = int(words.sum()) % 65535
    weights = np.arange(len(words), 0, -1, dtype=np.int64) % 65535
    second = int((words * weights % 65535).sum()) % 65535
    low, high = int.from_bytes(stored[:2], "little"), int.from_bytes(stored[2:], "little")
    if (low % 65535, high % 65535) != (first, second):
        raise _damaged("its checksum does not match", piece, where)
    return body


def _damaged(fault: str, piece: Chunk, where: str) -> CorruptError:
    return CorruptError(
        "RA-IN-144",
        f"The chunk at byte {piece.address} is damaged: {fault}.",
        hint="Download it again.",
        where=where,
    )
