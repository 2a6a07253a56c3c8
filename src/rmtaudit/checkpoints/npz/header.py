"""The header of an ``.npy`` file, parsed as data (``numpy/lib/format.py``, versions 1 to 3)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from rmtaudit.checkpoints.arrays import NUMPY_DTYPES
from rmtaudit.errors import CorruptError
from rmtaudit.names import display_name

MAGIC = b"\x93NUMPY"
HEADER_CAP = 1 << 16
"""Largest header in bytes."""
START = 12
"""Bytes that hold the magic, the version and the length of the header."""

_DESCRIPTION = re.compile(r"([<>|=]?)([a-zA-Z])(\d{1,10})(\[[0-9a-zA-Z]{1,10}\])?")
_PYTHON_2 = re.compile(r"(\d)L\b")
_DIMENSIONS_CAP = 64
_LARGEST = 1 << 63
_KINDS = {
    "O": "an array of Python objects, which only running a pickle could restore",
    "S": "text",
    "U": "text",
    "M": "dates",
    "m": "spans of time",
    "V": "values of a type that numpy does not name (bfloat16 and float8 are stored in this way)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NpyHeader:
    """What a header says.

    Attributes
    ----------
    length
        Bytes up to the first value.
    shape
        Sizes, outermost first.
    dtype
        torch's name of the dtype; the empty string where torch has none.
    description
        numpy's name of the dtype; empty for records and objects.
    itemsize
        Bytes an element; ``None`` for objects and records, whose size is not known.
    big_endian
        Whether the bytes of an element come most significant first.
    fortran
        Whether the first side is the fastest.
    unreadable
        Why the values are no numbers, where they are none.
    """

    length: int
    shape: tuple[int, ...]
    dtype: str
    description: str
    itemsize: int | None
    big_endian: bool
    fortran: bool
    unreadable: str | None

    @property
    def nbytes(self) -> int | None:
        """Bytes of the values; ``None`` where that is not known."""
        return None if self.itemsize is None else math.prod(self.shape) * self.itemsize


def header_length(start: bytes, name: str, where: str) -> int:
    """Return the bytes up to the first value.

    Parameters
    ----------
    start
        The first :data:`START` bytes.
    name
        The array, for messages.
    where
        The file, for messages.

    Raises
    ------
    CorruptError
        RA-IN-180: it does not begin as an ``.npy`` file does.
    """
    if len(start) < START or start[:6] != MAGIC or start[6] not in (1, 2, 3):
        raise _bad(name, "it does not begin as an .npy file of version 1, 2 or 3 does", where)
    own = 10 if start[6] == 1 else 12
    length = int.from_bytes(start[8:own], "little")
    if length > HEADER_CAP:
        raise _bad(
            name, f"its header is announced as {length} bytes long; at most {HEADER_CAP} are read", where
        )
    return own + length


def parse_header(data: bytes, name: str, where: str) -> NpyHeader:
    """Return what a header says; ``data`` is all of it. Raises as :func:`header_length`."""
    import ast

    text = data[10 if data[6] == 1 else 12 :].decode("utf-8" if data[6] == 3 else "latin-1", "replace")
    try:
        table = ast.literal_eval(_PYTHON_2.sub(r"\1", text.strip()))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise _bad(name, "its header is not a dictionary", where) from error
    if not isinstance(table, dict) or set(table) != {"descr", "fortran_order", "shape"}:
        raise _bad(name, "its header lacks descr, fortran_order or shape", where)
    shape, fortran, described = table["shape"], table["fortran_order"], table["descr"]
    if type(shape) is not tuple or not all(type(side) is int and 0 <= side < _LARGEST for side in shape):
        raise _bad(name, "its shape is not a tuple of sizes", where)
    if math.prod(max(side, 1) for side in shape) >= _LARGEST or len(shape) > _DIMENSIONS_CAP:
        raise _bad(name, "its shape has too many dimensions, or their product overflows 2^63", where)
    if type(fortran) is not bool:
        raise _bad(name, "its order is neither true nor false", where)
    order, dtype, itemsize, unreadable = _described(described)
    return NpyHeader(
        length=len(data),
        shape=shape,
        dtype=dtype,
        description=described if type(described) is str and itemsize is not None else "",
        itemsize=itemsize,
        big_endian=order == ">",
        fortran=fortran,
        unreadable=unreadable,
    )


def _described(described: object) -> tuple[str, str, int | None, str | None]:
    """Return byte order, torch's name, bytes an element and why it is unreadable."""
    match = _DESCRIPTION.fullmatch(described) if type(described) is str else None
    if described in ("|O", "O"):
        return "", "", None, _KINDS["O"]
    if match is None:
        return "", "", None, "an array of records" if type(described) is list else _unknown(described)
    order, kind, size, unit = match[1], match[2], int(match[3]), match[4]
    if kind == "O" or size == 0:
        return "", "", None, _KINDS.get(kind, _unknown(described))
    dtype = "" if unit else NUMPY_DTYPES.get(f"{kind}{size}", "")
    itemsize = 4 * size if kind == "U" else size
    return order, dtype, itemsize, None if dtype else _KINDS.get(kind, _unknown(described))


def _unknown(described: object) -> str:
    return f"numpy dtype '{display_name(str(described), longest=40)}'"


def _bad(name: str, fault: str, where: str) -> CorruptError:
    return CorruptError(
        "RA-IN-180", f"Array '{display_name(name)}': {fault}.", hint="Save it again.", where=where
    )
