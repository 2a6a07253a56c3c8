"""Samples from a text file: one number a line, or all of them on one line."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from rmtaudit.errors import InputError
from rmtaudit.names import display_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAVE = "Save the values with numpy.save(path, values)."

_LARGEST = 1 << 30  # bytes; a line is held in memory whole, and .npy is eight times as fast
_LOOKED_AT = 1000  # lines that decide what a layout is
_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
_DECIMAL_COMMA = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+([eE][+-]?\d+)?")
_WHOLE = re.compile(r"[+-]?\d+")


def read_text(file: BinaryIO, where: str) -> NDArray[np.float64]:
    """Return the numbers of a text file, in its order.

    Numbers are separated by commas, semicolons or white space. A first line without a number is taken for a
    heading, and what follows ``#`` is left out.

    Parameters
    ----------
    file
        Open for reading, seekable.
    where
        The file, as it is named in errors.

    Returns
    -------
    NDArray
        Shape ``(n,)``, float64; ``n`` may be 0, and values may be infinite or NaN.

    Raises
    ------
    InputError
        RA-SA-010 a field that is no number; RA-SA-011 rows of several columns; RA-SA-013 a text larger than
        1 GiB; RA-SA-014 decimal commas; RA-SA-015 UTF-16 or UTF-32; RA-SA-016 a column that counts the rows.
    """
    size = file.seek(0, 2)
    if size > _LARGEST:
        raise InputError(
            "RA-SA-013", f"The text has {size} bytes, which is too large.", hint=SAVE, where=where
        )
    _check_encoding(file, where)
    values = array("d")
    rows, widest, heading = 0, 0, False
    for number, line in _lines(file):
        if _has_decimal_commas(line):
            raise _decimal_commas(line, number, where)
        fields = _fields(line)
        numbers = [_number(field) for field in fields]
        if rows == 0 and not heading and all(value is None for value in numbers):
            heading = True
            continue
        for field, value in zip(fields, numbers, strict=True):
            if value is None:
                raise _layout_error(file, where) or InputError(
                    "RA-SA-010",
                    f"Line {number}: {display_name(field, longest=40)!r} is not a number.",
                    hint="Write numbers as 1.5e-3, and omit missing values.",
                    where=where,
                )
            values.append(value)
        rows += 1
        widest = max(widest, len(fields))
        if rows > 1 and widest > 1:
            raise _layout_error(file, where) or InputError(
                "RA-SA-011",
                f"The rows have {widest} columns, and it is unknown which column to use.",
                hint=(f"Keep the intended column, for example the first: {_awk(line, 1, heading=heading)}"),
                where=where,
            )
    return np.array(values, dtype=np.float64)


def _check_encoding(file: BinaryIO, where: str) -> None:
    """Refuse a text of two or four bytes a character, with or without a byte order mark."""
    file.seek(0)
    start = file.read(256)
    file.seek(0)
    if start.startswith(_BYTE_ORDER_MARKS) or b"\0" in start:
        raise InputError(
            "RA-SA-015",
            "The file is UTF-16 or UTF-32 text, as PowerShell and Excel write it, or not text.",
            hint="Save it as UTF-8, for example with: iconv -f UTF-16 -t UTF-8 FILE > values.csv",
            where=where,
        )


def _lines(file: BinaryIO) -> Iterator[tuple[int, str]]:
    """Yield number and content of every line that is not empty, from the start of the file."""
    file.seek(0)
    for number, raw in enumerate(file, 1):
        text = raw.removeprefix(b"\xef\xbb\xbf" if number == 1 else b"").decode("utf-8", "backslashreplace")
        line = text.partition("#")[0].strip()
        if line:
            yield number, line


def _fields(line: str) -> list[str]:
    # an empty field between two commas is a missing value, not white space
    fields = [field.strip() for field in line.replace(";", ",").split(",")]
    return [part for field in fields for part in (field.split() or [""])]


def _number(field: str) -> float | None:
    try:
        return float(field) if "_" not in field else None  # Python's own digits: 1_000
    except ValueError:
        return None


def _has_decimal_commas(line: str) -> bool:
    """Whether commas stand inside the numbers of a line and something else between them, as in 1,5;2,5."""
    tokens = line.replace(";", " ").split()
    commas = [_DECIMAL_COMMA.fullmatch(token) is not None for token in tokens]
    return (
        len(tokens) > 1
        and any(commas)
        and all(comma or _WHOLE.fullmatch(token) for comma, token in zip(commas, tokens, strict=True))
    )


def _decimal_commas(line: str, number: int, where: str) -> InputError:
    points = bool(re.search(r"\d\.\d{3}(\D|$)", line))
    convert = "sed 's/\\.//g; s/,/./g'" if points else "sed 's/,/./g'"
    return InputError(
        "RA-SA-014",
        f"Line {number}, {display_name(line, longest=40)!r}, is written with decimal commas or has several "
        "columns.",
        hint=f"If the comma is the decimal sign, convert the file: {convert} FILE > values.csv. "
        "If it separates columns, keep one of them.",
        where=where,
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """A line split at its separator, without the quotation marks around its fields."""

    number: int
    line: str
    fields: tuple[str, ...]


def _layout_error(file: BinaryIO, where: str) -> InputError | None:
    """Return the error that names the layout of a text of several columns, where it is one that is known."""
    rows = [_Row(number, line, _columns(line)) for number, line in islice(_lines(file), _LOOKED_AT)]
    heading = _is_heading(rows[0].fields)
    body = rows[1:] if heading else rows
    if _counts_rows(body):
        return InputError(
            "RA-SA-016",
            f"The file has {len(body[0].fields)} columns, and the first one counts the rows: an "
            "index, as pandas and R write it.",
            hint=f"Keep only the values: {_awk(body[0].line, 2, heading=heading)}",
            where=where,
        )
    # a number without decimals has no comma, so some lines may be whole numbers
    commas = [_DECIMAL_COMMA.fullmatch(row.line) is not None for row in body]
    if any(commas) and all(
        comma or _WHOLE.fullmatch(row.line) for comma, row in zip(commas, body, strict=True)
    ):
        first = body[commas.index(True)]
        return _decimal_commas(first.line, first.number, where)
    return None


def _columns(line: str) -> tuple[str, ...]:
    separator = _separator(line)
    fields = line.split() if separator is None else line.split(separator)
    return tuple(field.strip().strip("\"'") for field in fields)


def _separator(line: str) -> str | None:
    """Return the separator of the columns of a line; ``None`` stands for white space."""
    return next((mark for mark in (";", ",") if mark in line), None)


def _is_heading(fields: Sequence[str]) -> bool:
    """Whether a first line names columns: a field that is no number, or none for the index."""
    return any(_number(field) is None for field in fields)


def _counts_rows(rows: Sequence[_Row]) -> bool:
    if len(rows) < 3 or any(len(row.fields) < 2 for row in rows):
        return False
    column = [row.fields[0] for row in rows]
    return any(column == [str(first + index) for index in range(len(rows))] for first in (0, 1))


def _awk(line: str, column: int, *, heading: bool) -> str:
    """Return a command that keeps one column, and no heading that could be taken for a value."""
    separator = _separator(line)
    mark = "" if separator is None else f" -F'{separator}'"
    rows = "NR>1 " if heading else ""
    return f"awk{mark} '{rows}{{print ${column}}}' FILE > values.txt"
