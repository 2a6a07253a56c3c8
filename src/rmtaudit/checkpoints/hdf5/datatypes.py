"""Datatypes and dataspaces of HDF5, by torch's names."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from rmtaudit.checkpoints.hdf5.span import Window

_FLOATS = {
    (2, 0, 16, 10, 5, 0, 10, 15): "float16",
    (2, 0, 16, 7, 8, 0, 7, 127): "bfloat16",
    (4, 0, 32, 23, 8, 0, 23, 127): "float32",
    (8, 0, 64, 52, 11, 0, 52, 1023): "float64",
    (1, 0, 8, 3, 4, 0, 3, 7): "float8_e4m3fn",
    (1, 0, 8, 2, 5, 0, 2, 15): "float8_e5m2",
}
"""Size, bit offset, precision, place and size of exponent and mantissa, and bias of the numbers."""

_NAMES = {
    2: "times", 3: "text", 4: "bit fields", 6: "compound values", 7: "references", 8: "enumerated values",
    9: "values of variable length", 10: "arrays as values",
}  # fmt: skip
_LARGEST = 1 << 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Datatype:
    """How the values of a dataset lie in its bytes.

    Attributes
    ----------
    dtype
        torch's name; ``"uint8"`` with a ``problem`` for what has none.
    size
        Bytes a value.
    big_endian
        Whether they come most significant first.
    problem
        Why the values are no numbers, a noun phrase; ``""`` for numbers.
    text
        ``"fixed"`` or ``"variable"`` for strings, ``""`` for everything else.
    opaque
        Whether the bytes have no meaning to HDF5; Keras stores bfloat16 so.
    """

    dtype: str
    size: int
    big_endian: bool = False
    problem: str = ""
    text: str = ""
    opaque: bool = False


def datatype(window: Window, data: bytes) -> Datatype:
    """Return the datatype of a message (specification IV.A.2.d). Raises ``CorruptError``."""
    if len(data) < 8:
        window.corrupt("a datatype of less than 8 bytes")
    kind, bits = data[0] & 15, data[1]
    size = struct.unpack_from("<I", data, 4)[0]
    if kind == 0 and size in {1, 2, 4, 8}:
        name = f"{'int' if bits & 8 else 'uint'}{8 * size}"
        if data[8:12] == struct.pack("<2H", 0, 8 * size):
            return Datatype(dtype=name, size=size, big_endian=bool(bits & 1))
    if kind == 1 and len(data) >= 20 and not bits & 0x40:
        name = _FLOATS.get((size, *struct.unpack_from("<HH4BI", data, 8)), "")
        if name:
            return Datatype(dtype=name, size=size, big_endian=bool(bits & 1))
    if kind == 3:
        return Datatype(dtype="uint8", size=size, problem=_NAMES[3], text="fixed")
    if kind == 5:
        return Datatype(dtype="uint8", size=size, problem="opaque values", opaque=True)
    if kind == 9:
        return Datatype(
            dtype="uint8", size=size, problem=_NAMES[9], text="variable" if bits & 15 == 1 else ""
        )
    return Datatype(dtype="uint8", size=size, problem=_NAMES.get(kind, "numbers of an unusual format"))


def dataspace(window: Window, data: bytes) -> tuple[int, ...] | None:
    """Return the sizes that a message gives (specification IV.A.2.b); ``None`` for no values at all."""
    if len(data) < 4:
        window.corrupt("a dataspace of less than 4 bytes")
    version, rank = data[0], data[1]
    start = {1: 8, 2: 4}.get(version)
    if start is None:
        window.corrupt(f"a dataspace of version {version}")
    if version == 2 and data[3] == 2:
        return None
    if len(data) < start + 8 * rank or rank > 32:
        window.corrupt(f"a dataspace of {rank} dimensions")
    sizes = struct.unpack_from(f"<{rank}Q", data, start)
    if math.prod(size or 1 for size in sizes) >= _LARGEST:
        window.corrupt(f"a dataspace of {sizes} values")
    return tuple(sizes)
