"""Where the values of a constant are in a file, and how they become a tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rmtaudit.checkpoints.files import FileSource
from rmtaudit.checkpoints.graphs.model import Constant
from rmtaudit.checkpoints.values import tensor_from_bytes
from rmtaudit.errors import CorruptError
from rmtaudit.matrices.tensors import ITEMSIZE
from rmtaudit.names import display_name

if TYPE_CHECKING:
    import numpy as np
    import torch

NARROW = {"int4": 4, "uint4": 4, "int2": 2, "uint2": 2, "float4_e2m1fn": 4}
"""Bits of the dtypes of which a byte holds several, the first in its low bits."""

_E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""Magnitudes of ``float4_e2m1fn`` (OCP Microscaling Formats 1.0, table 4)."""


@dataclass(frozen=True, slots=True)
class Raw:
    """Little-endian values, one after the other."""

    source: FileSource
    offset: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """Values in the numeric fields of a message.

    Attributes
    ----------
    source
        The file.
    spans
        Where the bytes are: packed, or one number a span.
    stored
        ``"varint"``, ``"float32"`` or ``"float64"``.
    fills
        Whether fewer values than elements are allowed, the last one standing for the rest (TensorFlow).
    code
        Of the error where the numbers are damaged.
    """

    source: FileSource
    spans: tuple[tuple[int, int], ...]
    stored: str
    code: str
    fills: bool = False


@dataclass(frozen=True, slots=True)
class Numbers:
    """Values that were read with the graph."""

    values: tuple[int, ...] | tuple[float, ...]


def bits_of(dtype: str) -> int:
    """Return the bits of an element; 0 for text."""
    return NARROW.get(dtype, 8 * ITEMSIZE.get(dtype, 0))


def bytes_of(dtype: str, elements: int) -> int:
    """Return the bytes that elements take, the last one filled up."""
    return -(-elements * bits_of(dtype) // 8)


def read_constant(constant: Constant) -> torch.Tensor:
    """Return the values of a constant, in its shape.

    Returns
    -------
    Tensor
        CPU, contiguous, its own memory. Codes of fewer than 8 bits are ``int8``, ``uint8`` or ``float32``.
    """
    import torch

    place = constant.place
    if isinstance(place, Numbers):
        return torch.tensor(place.values, dtype=getattr(torch, constant.dtype)).reshape(constant.shape)
    if isinstance(place, Typed):
        return _typed(constant, place)
    data = place.source.pread(place.offset, place.length)
    if constant.dtype in NARROW:
        return _narrow(data, constant.dtype, constant.shape)
    return tensor_from_bytes(data, constant.dtype, constant.shape)


def small_integers(constant: Constant, cap: int = 64) -> tuple[int, ...] | None:
    """Return the integers of a constant without torch or NumPy; ``None`` for more than ``cap``, or others."""
    place = constant.place
    if constant.dtype not in {"int64", "int32"} or constant.elements > cap or constant.unreadable:
        return None
    if isinstance(place, Numbers):
        return tuple(int(value) for value in place.values)
    size = ITEMSIZE[constant.dtype]
    if isinstance(place, Raw):
        data = bytes(place.source.pread(place.offset, place.length))
        return tuple(
            int.from_bytes(data[at : at + size], "little", signed=True) for at in range(0, len(data), size)
        )
    if isinstance(place, Typed) and place.stored == "varint":
        values: list[int] = []
        for start, end in place.spans:
            if end - start > 10 * cap:
                return None
            values.extend(_plain_varints(bytes(place.source.pread(start, end - start))))
        if place.fills and values:
            values += values[-1:] * (constant.elements - len(values))
        return tuple(values) if len(values) == constant.elements else None
    return None


def _plain_varints(data: bytes) -> list[int]:
    values = []
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            value &= 0xFFFFFFFFFFFFFFFF
            values.append(value - (1 << 64) if value >> 63 else value)
            value = shift = 0
    return values


def _narrow(data: bytearray | memoryview, dtype: str, shape: tuple[int, ...]) -> torch.Tensor:
    import torch

    bits = NARROW[dtype]
    stored = torch.frombuffer(data, dtype=torch.uint8) if len(data) else torch.empty(0, dtype=torch.uint8)
    shifts = torch.arange(0, 8, bits, dtype=torch.uint8)
    count = 1
    for side in shape:
        count *= side
    codes = ((stored.unsqueeze(-1) >> shifts) & ((1 << bits) - 1)).reshape(-1)[:count].reshape(shape)
    if dtype == "float4_e2m1fn":
        table = torch.tensor([*_E2M1, *(-value for value in _E2M1)], dtype=torch.float32)
        return table[codes.long()]
    if dtype.startswith("int"):
        half = 1 << (bits - 1)
        return ((codes ^ half).to(torch.int16) - half).to(torch.int8)
    return codes.contiguous()


def _typed(constant: Constant, place: Typed) -> torch.Tensor:
    import numpy as np

    data = b"".join(bytes(place.source.pread(start, end - start)) for start, end in place.spans)
    raw = np.frombuffer(data, dtype=np.uint8)
    numbers: np.ndarray[Any, Any]
    if place.stored == "varint":
        decoded = _varints(raw)
        if decoded is None:
            raise _damaged(constant, place, "a number of more than 10 bytes, or one that is cut off")
        numbers = decoded
    else:
        numbers = raw.view(f"<{place.stored[:1]}{int(place.stored[5:]) // 8}")
    if constant.dtype in NARROW:
        if len(numbers) != bytes_of(constant.dtype, constant.elements):
            raise _damaged(constant, place, f"{len(numbers)} numbers for {constant.elements} elements")
        return _narrow(bytearray(numbers.astype(np.uint8).tobytes()), constant.dtype, constant.shape)
    expected = constant.elements * (2 if constant.dtype.startswith("complex") else 1)
    if place.fills and 0 < len(numbers) < expected:
        numbers = np.concatenate([numbers, np.repeat(numbers[-1:], expected - len(numbers))])
    if len(numbers) != expected:
        raise _damaged(constant, place, f"{len(numbers)} numbers for {expected} elements")
    kinds = {1: "u1", 2: "<u2", 4: "<u4", 8: "<u8"}
    if place.stored == "varint":  # floats of 16 and 8 bits are stored as their bits
        numbers = numbers.astype(kinds[ITEMSIZE[constant.dtype]])
    return tensor_from_bytes(bytearray(numbers.tobytes()), constant.dtype, constant.shape)


def _varints(data: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """Return the numbers of a packed field (unsigned, 64 bits); ``None`` where they are damaged."""
    import numpy as np

    ends = np.flatnonzero(data < 0x80)
    if not len(data):
        return np.empty(0, dtype=np.uint64)
    if not len(ends) or ends[-1] != len(data) - 1:
        return None
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    longest = int(lengths.max())
    if longest > 10:
        return None
    values = np.zeros(len(ends), dtype=np.uint64)
    for place in range(longest):
        there = np.flatnonzero(lengths > place)
        part = (data[starts[there] + place] & 0x7F).astype(np.uint64)
        values[there] |= part << np.uint64(7 * place)
    return values


def _damaged(constant: Constant, place: Typed, fault: str) -> CorruptError:
    return CorruptError(
        place.code,
        f"Tensor '{display_name(constant.name)}': {fault}.",
        hint="Download it again.",
        where=place.source.where,
    )
