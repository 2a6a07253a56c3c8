"""Matrix Market files (``.mtx``): the text format of NIST, coordinate and array."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmtaudit.checkpoints.files import read_small
from rmtaudit.engine.resources.memory import free_memory
from rmtaudit.engine.sources.recognise import BANNER
from rmtaudit.engine.sources.words import no_name, printed
from rmtaudit.errors import CorruptError, InputError, UsageError
from rmtaudit.matrices.sources import MatrixSource, SparseMatrix, TensorSource
from rmtaudit.names import display_name

if TYPE_CHECKING:
    import numpy as np

_LONGEST_HEADER = 1 << 20
_ROOM = 4
"""Copies of the text and of what it becomes that are in memory at a time."""
_SIZES = re.compile(rb"[ \t]*(\d{1,15})[ \t]+(\d{1,15})(?:[ \t]+(\d{1,15}))?[ \t]*")
_FIELDS = frozenset({"real", "integer", "pattern"})
_SYMMETRIES = frozenset({"general", "symmetric", "skew-symmetric"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    format: str
    field: str
    symmetry: str
    rows: int
    cols: int
    stored: int
    begin: int


def open_mtx(path: Path, name: str, symmetric: bool | None) -> MatrixSource:
    """Open a matrix of real numbers in Matrix Market format; held in memory, sparse where it has coordinates.

    Raises
    ------
    CorruptError
        RA-MS-016: it breaks the format, or holds less than its header announces.
    InputError
        RA-MS-015: it takes more memory than there is.
    UsageError
        RA-MS-003: complex numbers. RA-MS-034: a name, where nothing has one.
    """
    no_name(path, name)
    where = printed(path)
    limit = free_memory() // _ROOM
    size = path.stat().st_size
    if size > limit:
        raise InputError(
            "RA-MS-015", f"The text has {size:,} bytes, which do not fit into memory.", where=where
        )
    data = read_small(path, limit)
    header = _header(data, where)
    _check_size(header, len(data) - header.begin, limit, where)
    body = data[header.begin :]
    try:
        matrix = _coordinates(header, body) if header.format == "coordinate" else _array(header, body)
    except (ValueError, OverflowError, TypeError, IndexError) as error:
        raise _broken(display_name(str(error)), where) from error
    if header.format == "coordinate":
        return SparseMatrix(matrix, where, symmetric=symmetric)
    return TensorSource(matrix, where, symmetric=symmetric)


def _header(data: bytes, where: str) -> _Header:
    head = data[:_LONGEST_HEADER]
    end = head.find(b"\n")
    words = head[: max(0, end)].decode("latin-1").lower().split()
    if end < 0 or len(words) != 5 or words[:2] != [BANNER.decode().lower(), "matrix"]:
        raise _broken("its first line is not '%%MatrixMarket matrix FORMAT FIELD SYMMETRY'", where)
    format_, field, symmetry = words[2:]
    if field == "complex" or symmetry == "hermitian":
        raise UsageError("RA-MS-003", f"{where} holds complex numbers; only real matrices are read.")
    known = format_ in ("coordinate", "array") and field in _FIELDS and symmetry in _SYMMETRIES
    if not known or (format_ == "array" and field == "pattern"):
        raise _broken(
            f"there is no matrix of the kind '{display_name(' '.join(words[2:]), longest=60)}'", where
        )
    place = end + 1
    while True:
        end = head.find(b"\n", place)
        line = head[place : end if end >= 0 else len(head)].strip(b"\r")
        if line.strip() and not line.startswith(b"%"):
            break
        if end < 0:
            raise _broken("no line gives its sizes", where)
        place = end + 1
    match = _SIZES.fullmatch(line)
    if match is None or (match[3] is None) == (format_ == "coordinate"):
        raise _broken("the line of its sizes is not that of this format", where)
    rows, cols = int(match[1]), int(match[2])
    if symmetry != "general" and rows != cols:
        raise _broken(f"{rows:,} x {cols:,} is {symmetry}, but not square", where)
    if format_ == "coordinate":
        stored = int(match[3])
    else:
        below = {"general": rows * cols, "symmetric": rows * (rows + 1) // 2}
        stored = below.get(symmetry, rows * (rows - 1) // 2)
    return _Header(
        format=format_,
        field=field,
        symmetry=symmetry,
        rows=rows,
        cols=cols,
        stored=stored,
        begin=(end if end >= 0 else len(head)) + 1,
    )


def _check_size(header: _Header, length: int, limit: int, where: str) -> None:
    """Refuse sizes that the file cannot fill or memory cannot hold, before any of it is taken."""
    line = (
        2 if header.format == "array" else 4 if header.field == "pattern" else 6
    )  # "1\n", "1 1\n", "1 1 1\n"
    if header.stored * line - 1 > length:
        raise _broken(
            f"its header announces {header.stored:,} entries, of at least {line} bytes each; "
            f"{max(0, length):,} bytes follow: it is truncated",
            where,
        )
    needed = 8 * header.rows * header.cols if header.format == "array" else 16 * (header.rows + header.cols)
    if needed > limit:
        raise InputError(
            "RA-MS-015",
            f"A {header.format} matrix of {header.rows:,} x {header.cols:,} takes {needed:,} "
            "bytes, which do not fit into memory.",
            where=where,
        )


def _coordinates(header: _Header, body: bytes) -> Any:
    """Return the sparse matrix, both triangles of it."""
    import numpy as np
    import scipy.sparse

    numbers = _numbers(body, 2 if header.field == "pattern" else 3, header.stored)
    places = numbers[:, :2].astype(np.int64) - 1
    if (places + 1 != numbers[:, :2]).any() or (places < 0).any():
        raise ValueError("an index is not a positive integer")
    if (places >= [header.rows, header.cols]).any():
        raise ValueError("an index lies outside the matrix")
    row, col = places.T
    values = np.ones(len(row)) if header.field == "pattern" else numbers[:, 2]
    if header.symmetry != "general":
        beside = row != col
        if (row[beside] < col[beside]).any() and (row[beside] > col[beside]).any():
            raise ValueError(
                f"a {header.symmetry} matrix stores one triangle, but this one has entries in both"
            )
        sign = 1.0 if header.symmetry == "symmetric" else -1.0
        if sign < 0 and values[~beside].any():
            raise ValueError("a skew-symmetric matrix has no diagonal")
        row, col = np.concatenate([row, col[beside]]), np.concatenate([col, row[beside]])
        values = np.concatenate([values, sign * values[beside]])
    return scipy.sparse.coo_array((values, (row, col)), shape=(header.rows, header.cols))


def _array(header: _Header, body: bytes) -> np.ndarray[Any, Any]:
    """Return the dense matrix: columns one after another, of a symmetric one from the diagonal down."""
    import numpy as np

    values = _numbers(body, 1, header.stored)[:, 0]
    if header.symmetry == "general":
        return values.reshape(header.cols, header.rows).T
    n = header.rows
    found = np.zeros((n, n))
    cols, rows = np.triu_indices(n, 0 if header.symmetry == "symmetric" else 1)
    found[rows, cols] = values
    found[cols, rows] = values if header.symmetry == "symmetric" else -values
    return found


def _numbers(body: bytes, width: int, count: int) -> np.ndarray[Any, Any]:
    """Return ``count`` lines of ``width`` numbers. Raises ``ValueError`` for anything else."""
    import warnings

    import numpy as np

    if not count:
        if body.strip() and not body.lstrip().startswith(b"%"):
            raise ValueError("entries follow, where the header announces none")
        return np.empty((0, width))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # numpy's, of a body without numbers: refused below
        found = np.loadtxt(io.BytesIO(body), dtype=np.float64, comments="%", ndmin=2, max_rows=count + 1)
    if found.shape != (count, width):
        lines, each = found.shape
        raise ValueError(
            f"{count:,} lines of {width} numbers are announced, but {lines:,} of {each} or more were found"
        )
    return found


def _broken(what: str, where: str) -> CorruptError:
    return CorruptError("RA-MS-016", f"{what}.", hint="Write the file again.", where=where)
