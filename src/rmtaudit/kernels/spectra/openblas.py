"""A few routines of the OpenBLAS that SciPy (or NumPy) ships, called directly.

Why not through SciPy: the two-stage reduction of symmetric matrices is exported by the library but wrapped
nowhere, and SciPy's wrappers hold the interpreter lock, so that layers could not be worked on side by side,
nor a file be read meanwhile. A call through ctypes releases it. Every argument that the Fortran side trusts
is checked here; nothing else in rmtaudit calls a foreign function.

The library is found by its file beside the installed package, which also saves importing ``scipy.linalg``.
Where it is not found (a build against MKL or Accelerate), :func:`load` returns ``None``.
"""

from __future__ import annotations

import ctypes
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from rmtaudit.kernels.spectra import two_stage

Driver = Literal["dsyevd", "dsyevd_2stage"]
_Real = TypeVar("_Real", np.float32, np.float64)

_HOMES = (("scipy", "scipy_{}_", np.int32), ("numpy", "scipy_{}_64_", np.int64))
_ROUTINES = (
    "dgemm", "dsyrk", "ssyrk", "dtrsm", "dpotrf", "dsyevd", "dsterf", *two_stage.ROUTINES,
    "sgetrf", "sgetrs", "dlasq1", "dsytrf", "ssytrf",
)  # fmt: skip
_FACTOR_BLOCK = 64
"""Columns that ``sytrf`` eliminates at once: LAPACK's own choice."""
_FOLDERS = ("../{}.libs", ".dylibs")


@dataclass(frozen=True)
class OpenBLAS:
    """The loaded library: its file, its symbol pattern and its integer type."""

    path: Path
    pattern: str
    integer: type[np.int32] | type[np.int64]
    handle: Any

    def _call(self, routine: str, *arguments: Any, hidden: int = 0) -> None:
        function = self.handle[self.pattern.format(routine)]
        function.restype = None
        function(*(_reference(argument) for argument in arguments), *([ctypes.c_size_t(1)] * hidden))

    def _integer(self, value: int) -> npt.NDArray[Any]:
        if not 0 <= abs(value) <= np.iinfo(self.integer).max:
            raise ValueError(f"{value} does not fit the integers of {self.path.name}")
        return np.array([value], dtype=self.integer)

    def accumulate_gram(
        self, block: npt.NDArray[_Real], gram: npt.NDArray[_Real], *, of_rows: bool = False
    ) -> None:
        """Add ``blockᵀ block``, or ``block blockᵀ``, to the upper triangle of ``gram`` in place.

        ``dsyrk``, or ``ssyrk`` where both are float32.

        Parameters
        ----------
        block
            Shape ``(m, n)``, or ``(n, m)`` for ``block blockᵀ``; float64 or float32, C-contiguous.
        gram
            Shape ``(n, n)``, same dtype, rows contiguous, writeable. The lower triangle is not touched.
        of_rows
            Whether to add the inner products of the rows, ``block blockᵀ``.
        """
        dtype = np.float32 if block.dtype == np.float32 else np.float64
        _check(block, "block", block.shape, dtype)
        n, m = block.shape if of_rows else block.shape[::-1]
        ldc = self._integer(_leading(gram, "gram", (n, n), dtype, writeable=True))
        if not block.size:
            return
        # A C-ordered (m, n) block is a Fortran-ordered (n, m) one; a C upper triangle is a Fortran lower one.
        one = np.ones(1, dtype)
        size, depth, leading = self._integer(n), self._integer(m), self._integer(block.shape[1])
        side = b"T" if of_rows else b"N"
        routine = "ssyrk" if dtype is np.float32 else "dsyrk"
        self._call(routine, b"L", side, size, depth, one, block, leading, one, gram, ldc, hidden=2)

    def subtract_product(
        self, C: npt.NDArray[np.float64], A: npt.NDArray[np.float64], B: npt.NDArray[np.float64]
    ) -> None:
        """Subtract ``A Bᵀ`` from ``C`` in place (``dgemm``).

        Parameters
        ----------
        C, A, B
            Shapes ``(m, n)``, ``(m, k)``, ``(n, k)``; float64, contiguous rows (views will do).
        """
        (m, n), k = C.shape, A.shape[1]
        ldc = _leading(C, "C", (m, n), writeable=True)
        lda, ldb = _leading(A, "A", (m, k)), _leading(B, "B", (n, k))
        if not (m and n and k):
            return
        sizes = self._integer(n), self._integer(m), self._integer(k)
        one, minus = np.ones(1), -np.ones(1)
        lead = self._integer(ldb), self._integer(lda), self._integer(ldc)
        arguments = (*sizes, minus, B, lead[0], A, lead[1], one, C, lead[2])
        self._call("dgemm", b"T", b"N", *arguments, hidden=2)

    def subtract_gram(self, C: npt.NDArray[np.float64], A: npt.NDArray[np.float64]) -> None:
        """Subtract ``A Aᵀ`` from the lower triangle of ``C`` in place (``dsyrk``); rows contiguous."""
        n, k = A.shape
        ldc, lda = _leading(C, "C", (n, n), writeable=True), _leading(A, "A", (n, k))
        if not (n and k):
            return
        one, minus = np.ones(1), -np.ones(1)
        sizes, lead = (self._integer(n), self._integer(k)), (self._integer(lda), self._integer(ldc))
        self._call("dsyrk", b"U", b"T", *sizes, minus, A, lead[0], one, C, lead[1], hidden=2)

    def solve_right(self, L: npt.NDArray[np.float64], X: npt.NDArray[np.float64]) -> None:
        """Replace ``X`` by ``X L⁻ᵀ`` (``dtrsm``); ``L`` lower triangular, rows contiguous."""
        m, n = X.shape
        ldx, ldl = _leading(X, "X", (m, n), writeable=True), _leading(L, "L", (n, n))
        if not (m and n):
            return
        sizes, lead = (self._integer(n), self._integer(m)), (self._integer(ldl), self._integer(ldx))
        self._call("dtrsm", b"L", b"U", b"T", b"N", *sizes, np.ones(1), L, lead[0], X, lead[1], hidden=4)

    def cholesky(self, C: npt.NDArray[np.float64]) -> int:
        """Factor the lower triangle of ``C`` in place (``dpotrf``); rows contiguous.

        Returns
        -------
        int
            0, or the order of the first leading minor that is not positive; then the pivot, zero or less, is
            in its place on the diagonal.
        """
        n = C.shape[0]
        ldc, info = _leading(C, "C", (n, n), writeable=True), self._integer(0)
        if n:
            self._call("dpotrf", b"U", self._integer(n), C, self._integer(ldc), info, hidden=1)
        return int(info[0])

    def symmetric_eigenvalues(
        self, matrix: npt.NDArray[np.float64], driver: Driver = "dsyevd_2stage"
    ) -> npt.NDArray[np.float64]:
        """Return the eigenvalues, ascending, of the symmetric matrix in the upper triangle; destroys it.

        Parameters
        ----------
        matrix
            Shape ``(n, n)``, float64, rows contiguous, writeable, finite. Overwritten.
        driver
            ``dsyevd``, or the stages of ``dsyevd_2stage``, for entries between 1e-100 and 1e100.

        Raises
        ------
        ArithmeticError
            If LAPACK reports that it did not converge.
        """
        n = matrix.shape[0]
        leading = _leading(matrix, "matrix", (n, n), writeable=True)
        if n == 0:
            return np.empty(0)
        if driver == "dsyevd_2stage" and n > 1:
            return self._of_tridiagonal(*two_stage.tridiagonal(self._call, self._integer, matrix, leading))
        values, info = np.empty(n), self._integer(0)
        size, query = self._integer(n), self._integer(-1)
        work, iwork = np.empty(1), np.empty(1, dtype=self.integer)
        head = (b"N", b"L", size, matrix, self._integer(leading), values)
        self._call("dsyevd", *head, work, query, iwork, query, info, hidden=2)
        if info[0] == 0:
            work = np.empty(max(1, int(work[0])))
            iwork = np.empty(max(1, int(iwork[0])), dtype=self.integer)
            sizes = self._integer(work.size), self._integer(iwork.size)
            self._call("dsyevd", *head, work, sizes[0], iwork, sizes[1], info, hidden=2)
        if info[0] != 0:
            raise ArithmeticError(f"LAPACK dsyevd failed on a {n} x {n} matrix (info = {int(info[0])})")
        return values

    def float32_eigenvalues(self, matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Return the eigenvalues, ascending, of a float32 matrix, in the upper triangle; destroys it.

        The reduction to a tridiagonal matrix is in float32; the eigenvalues of that are computed in float64
        (``dsterf``), since in float32 that step alone loses up to 400 units of round-off at n = 4096.

        Parameters
        ----------
        matrix
            Shape ``(n, n)``, float32, rows contiguous, writeable, finite. Overwritten.

        Raises
        ------
        ArithmeticError
            If LAPACK reports that it did not converge.
        """
        n = matrix.shape[0]
        leading = _leading(matrix, "matrix", (n, n), np.float32, writeable=True)
        if n < 2:
            return matrix.diagonal().astype(np.float64)
        return self._of_tridiagonal(*two_stage.tridiagonal(self._call, self._integer, matrix, leading))

    def _of_tridiagonal(
        self, diagonal: npt.NDArray[_Real], off_diagonal: npt.NDArray[_Real]
    ) -> npt.NDArray[np.float64]:
        """Return the eigenvalues, ascending, of a tridiagonal matrix, computed in float64 (``dsterf``)."""
        values, info = diagonal.astype(np.float64), self._integer(0)
        self._call("dsterf", self._integer(len(values)), values, off_diagonal.astype(np.float64), info)
        if info[0] != 0:
            raise ArithmeticError(f"LAPACK dsterf failed on {len(values)} values (info = {int(info[0])})")
        return values

    def factor(self, matrix: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Factor a square float32 matrix in place into triangles (``sgetrf``), for :meth:`solve`.

        Parameters
        ----------
        matrix
            Shape ``(n, n)``, float32, C-contiguous, writeable. Overwritten.

        Returns
        -------
        Array of int, shape ``(n,)``
            The pivots.

        Raises
        ------
        ArithmeticError
            If a pivot is 0: the matrix is singular.
        """
        n = matrix.shape[0]
        _check(matrix, "matrix", (n, n), np.float32, writeable=True)
        pivots, info, size = np.zeros(n, dtype=self.integer), self._integer(0), self._integer(n)
        if n:
            self._call("sgetrf", size, size, matrix, size, pivots, info)
        if info[0] != 0:
            raise ArithmeticError(f"the matrix is singular: pivot {int(info[0])} is 0")
        return pivots

    def solve(
        self,
        factors: npt.NDArray[np.float32],
        pivots: npt.NDArray[Any],
        vectors: npt.NDArray[np.float32],
        *,
        transposed: bool = False,
    ) -> None:
        """Replace every row ``v`` of ``vectors`` by ``W⁻¹ v``, or by ``W⁻ᵀ v`` (``sgetrs``).

        Parameters
        ----------
        factors, pivots
            Of :meth:`factor`, of a matrix of shape ``(n, n)``.
        vectors
            Shape ``(k, n)``, float32, C-contiguous, writeable.
        transposed
            Whether to solve with the transpose.
        """
        n = factors.shape[0]
        _check(factors, "factors", (n, n), np.float32)
        _check(vectors, "vectors", (len(vectors), n), np.float32, writeable=True)
        if pivots.shape != (n,) or pivots.dtype != self.integer or not ((pivots > 0) & (pivots <= n)).all():
            raise ValueError("these are not the pivots of the matrix")
        if not vectors.size:
            return
        # Fortran sees the transpose of what is C-ordered
        side, size, info = b"N" if transposed else b"T", self._integer(n), self._integer(0)
        count = self._integer(len(vectors))
        self._call("sgetrs", side, size, count, factors, size, pivots, vectors, size, info, hidden=1)

    def factor_indefinite(self, matrix: npt.NDArray[_Real]) -> npt.NDArray[np.int32]:
        """Replace a symmetric matrix by its factors ``LDLᵀ`` (``dsytrf``, ``ssytrf``), and return the pivots.

        Parameters
        ----------
        matrix
            Shape ``(n, n)``, float64 or float32, C-contiguous, writeable, finite, both triangles filled. In
            column order its lower triangle holds ``L`` and ``D`` afterwards, as ``torch.linalg.ldl_solve``
            takes them.

        Returns
        -------
        numpy.ndarray
            Shape ``(n,)``: positive for a block of order 1 of ``D``, negative for both lines of one of order
            2.
        """
        n = matrix.shape[0]
        dtype = np.float32 if matrix.dtype == np.float32 else np.float64
        _check(matrix, "matrix", (n, n), dtype, writeable=True)
        pivots, info = np.zeros(n, dtype=self.integer), self._integer(0)
        if n:
            work = np.empty(_FACTOR_BLOCK * n, dtype=dtype)
            size = self._integer(n)
            routine = "ssytrf" if dtype is np.float32 else "dsytrf"
            lengths = self._integer(work.size)
            self._call(routine, b"L", size, matrix, size, pivots, work, lengths, info, hidden=1)
        return pivots.astype(np.int32)

    def bidiagonal_singular_values(
        self, diagonal: npt.NDArray[np.float64], off_diagonal: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Return the singular values, descending, of a bidiagonal matrix (``dlasq1``).

        Each is accurate relative to itself, however small.

        Parameters
        ----------
        diagonal, beside
            Shapes ``(n,)`` and ``(n - 1,)``, float64, finite. Not changed.

        Raises
        ------
        ArithmeticError
            If LAPACK reports that it did not converge.
        """
        n = diagonal.size
        if diagonal.ndim != 1 or n < 1 or off_diagonal.shape != (n - 1,):
            raise ValueError(f"not a bidiagonal matrix: {diagonal.shape} and {off_diagonal.shape}")
        values = np.array(diagonal, dtype=np.float64)
        other = np.append(off_diagonal, 0.0).astype(np.float64)
        work, info = np.empty(4 * n), self._integer(0)
        self._call("dlasq1", self._integer(n), values, other, work, info)
        if info[0] != 0:
            raise ArithmeticError(f"LAPACK dlasq1 failed on {n} values (info = {int(info[0])})")
        return values


@cache
def load() -> OpenBLAS | None:
    """Return SciPy's OpenBLAS, or NumPy's, or ``None`` where neither is there or it lacks a routine."""
    for package, pattern, integer in _HOMES:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            continue
        home = Path(spec.origin).parent
        for folder in _FOLDERS:
            for path in sorted((home / folder.format(package)).glob("*openblas*")):
                library = _open(path, pattern, integer)
                if library is not None:
                    return library
    return None


def _open(path: Path, pattern: str, integer: type[np.int32] | type[np.int64]) -> OpenBLAS | None:
    try:
        handle = ctypes.CDLL(str(path))
    except OSError:
        return None
    if all(hasattr(handle, pattern.format(name)) for name in _ROUTINES):
        return OpenBLAS(path, pattern, integer, handle)
    return None


def _reference(argument: bytes | npt.NDArray[Any]) -> Any:
    if isinstance(argument, bytes):
        return ctypes.c_char_p(argument)
    return ctypes.c_void_p(argument.ctypes.data)  # the caller keeps the array until the call returns


def _check(
    array: npt.NDArray[_Real],
    name: str,
    shape: tuple[int, ...],
    dtype: type[np.float32] | type[np.float64],
    *,
    writeable: bool = False,
) -> None:
    if array.dtype != dtype or not array.dtype.isnative:
        raise TypeError(f"{name} must be native {dtype.__name__}, not {array.dtype}")
    if array.ndim != 2 or array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, not {array.shape}")
    if not array.flags.c_contiguous or not array.flags.aligned:
        raise ValueError(f"{name} must be C-contiguous and aligned")
    if writeable and not array.flags.writeable:
        raise ValueError(f"{name} must be writeable")


def _leading(
    array: npt.NDArray[_Real],
    name: str,
    shape: tuple[int, int],
    dtype: type[np.float32] | type[np.float64] = np.float64,
    *,
    writeable: bool = False,
) -> int:
    """Check an array whose rows are contiguous, and return the entries from one row to the next."""
    if array.dtype != dtype or not array.dtype.isnative:
        raise TypeError(f"{name} must be native {dtype.__name__}, not {array.dtype}")
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, not {array.shape}")
    leading, rest = divmod(array.strides[0], array.itemsize)
    if shape[0] <= 1 or not array.size:
        leading, rest = max(1, shape[1]), 0
    if (
        (array.size and shape[1] > 1 and array.strides[1] != array.itemsize)
        or rest
        or leading < max(1, shape[1])
    ):
        raise ValueError(f"{name} must have contiguous rows that do not overlap, not strides {array.strides}")
    if not array.flags.aligned or (writeable and not array.flags.writeable):
        raise ValueError(f"{name} must be aligned{' and writeable' if writeable else ''}")
    return leading
