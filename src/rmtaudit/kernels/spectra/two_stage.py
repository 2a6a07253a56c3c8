"""Symmetric matrices reduced to tridiagonal ones in two stages: to a band first, then along the band.

``?sytrd_2stage`` of LAPACK does the same, with a band of 32 whatever the size. The first stage multiplies
panels of that width, which leaves the arithmetic units waiting for memory where the matrix is larger than the
cache; the cost of the second stage grows with the width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

_Real = TypeVar("_Real", np.float32, np.float64)

ROUTINES = "dsytrd_sy2sb", "dsytrd_sb2st", "ssytrd_sy2sb", "ssytrd_sb2st"

TWO_STAGE_FROM = 2000
"""Size from which a float64 matrix takes less time this way than by ``dsyevd``."""

_PADDING = 16
"""Entries between the rows of a large matrix: rows a power of two apart compete for the same cache lines. In
float64 the first stage takes a sixth less time with them at a size of 2048 or 4096."""

_BANDS = (
    (3072, {"float64": 80, "float32": 64}),
    (1792, {"float64": 64, "float32": 64}),
    (0, {"float64": 32, "float32": 32}),
)
"""Width of the band by least size: the fastest of 16 to 128 at 1024, 1536, 2048 and 4096. Against a width of
32 it takes 0.74 of the time at 4096, in either precision."""


def tridiagonal(
    call: Callable[..., None],
    integer: Callable[[int], npt.NDArray[Any]],
    matrix: npt.NDArray[_Real],
    leading: int,
) -> tuple[npt.NDArray[_Real], npt.NDArray[_Real]]:
    """Return the diagonal and the off-diagonal of a tridiagonal matrix with the same eigenvalues.

    Parameters
    ----------
    call, integer
        Call a routine of LAPACK by name, and make an integer for it.
    matrix
        Shape ``(n, n)`` with ``n >= 2``, rows contiguous; its upper triangle is read. Overwritten. Whoever
        calls has checked it.
    leading
        Entries from one row to the next.

    Raises
    ------
    ArithmeticError
        If LAPACK reports an error.

    References
    ----------
    Bischof, Lang, Sun, *A framework for symmetric band reduction*, ACM Trans. Math. Softw. 26 (2000).
    """
    dtype, n = matrix.dtype, len(matrix)
    width = min(_band_width(n, dtype.name), n - 1)
    kind = "s" if dtype == np.float32 else "d"
    band = np.zeros((n, width + 1), dtype=dtype)
    reflectors = np.empty(n, dtype=dtype)
    size, kd, query, info = (integer(value) for value in (n, width, -1, 0))
    ldb = integer(width + 1)
    head = (b"L", size, kd, matrix, integer(leading), band, ldb, reflectors)
    work = np.empty(1, dtype=dtype)
    call(f"{kind}sytrd_sy2sb", *head, work, query, info, hidden=1)
    if info[0] == 0:
        work = _room(work)
        call(f"{kind}sytrd_sy2sb", *head, work, integer(work.size), info, hidden=1)
    diagonal, off_diagonal = np.empty(n, dtype=dtype), np.empty(n - 1, dtype=dtype)
    stored, work = np.empty(1, dtype=dtype), np.empty(1, dtype=dtype)
    tail = (b"Y", b"N", b"L", size, kd, band, ldb, diagonal, off_diagonal)
    if info[0] == 0:
        call(f"{kind}sytrd_sb2st", *tail, *(stored, query, work, query, info), hidden=3)
    if info[0] == 0:
        stored, work = _room(stored), _room(work)
        room = stored, integer(stored.size), work, integer(work.size)
        call(f"{kind}sytrd_sb2st", *tail, *room, info, hidden=3)
    if info[0] != 0:
        raise ArithmeticError(f"LAPACK failed on a {n} x {n} {dtype.name} matrix (info = {int(info[0])})")
    return diagonal, off_diagonal


def padded(n: int) -> npt.NDArray[np.float64]:
    """Return zeros of shape ``(n, n)``, with contiguous rows and room between them."""
    return np.zeros((n, n + _PADDING))[:, :n]


def _band_width(size: int, dtype: str) -> int:
    return next(widths[dtype] for least, widths in _BANDS if size >= least)


def _room(queried: npt.NDArray[_Real]) -> npt.NDArray[_Real]:
    """Return the memory asked for; in float32 a size beyond 2²⁴ was rounded."""
    size = int(np.nextafter(queried[0], queried.dtype.type(np.inf)))
    return np.empty(max(1, size + 1), dtype=queried.dtype)
