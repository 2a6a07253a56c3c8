"""The operations of a Cholesky factorisation by tiles, in place.

On the CPU OpenBLAS does them where it is available: on AMD processors its products can be 1.7 times as
fast as those of the MKL in torch, and a call releases the interpreter lock: the next strip is read meanwhile.
Elsewhere (CUDA, other builds) torch does.

Several threads each take rows of their own, with OpenBLAS at one thread: its own threads wait for each other
by spinning, which on a machine that had other work took 1.8 times the CPU seconds, and the time.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import torch

from rmtaudit.kernels.spectra.openblas import OpenBLAS, load

_PANEL = 256
"""Columns that one thread factors before all of them update the rest (a choice)."""


class Workers:
    """Threads that divide the rows of a tile, one piece each: for every piece all of ``B`` is packed again.

    Parameters
    ----------
    count
        Number of threads.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="rmtaudit-tile")

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(wait=True)

    def each(self, work: Callable[[slice], None], rows: int, *, triangle: bool = False) -> None:
        """Do the work on slices of ``rows`` that are equally long, or equally large in a lower triangle."""
        shares = [part / self.count for part in range(self.count + 1)]
        ends = [round(rows * (share**0.5 if triangle else share) / 8) * 8 for share in shares[:-1]] + [rows]
        parts = [slice(start, stop) for start, stop in pairwise(ends) if start < stop]
        for _ in self._pool.map(work, parts):
            pass


def subtract_product(
    C: torch.Tensor, A: torch.Tensor, B: torch.Tensor, workers: Workers | None = None
) -> None:
    """Subtract ``A Bᵀ`` from ``C``.

    Parameters
    ----------
    C, A, B
        Float64, shapes ``(m, n)``, ``(m, k)``, ``(n, k)``, rows contiguous, one device.
    workers
        Threads to divide the rows of ``C`` among; OpenBLAS is to have one thread then.
    """
    blas = _openblas(C)
    if blas is None:
        C.addmm_(A, B.T, alpha=-1)
    elif workers is None:
        blas.subtract_product(C.numpy(), A.numpy(), B.numpy())
    else:
        workers.each(lambda part: subtract_product(C[part], A[part], B), len(C))


def subtract_gram(C: torch.Tensor, A: torch.Tensor, workers: Workers | None = None) -> None:
    """Subtract ``A Aᵀ`` from the lower triangle of ``C``; the upper one is left undefined."""
    blas = _openblas(C)
    if blas is None:
        C.addmm_(A, A.T, alpha=-1)
    elif workers is None:
        blas.subtract_gram(C.numpy(), A.numpy())
    else:

        def subtract(part: slice) -> None:
            subtract_product(C[part, : part.start], A[part], A[: part.start])
            subtract_gram(C[part, part], A[part])

        workers.each(subtract, len(C), triangle=True)


def solve_right(L: torch.Tensor, X: torch.Tensor, workers: Workers | None = None) -> None:
    """Replace ``X`` by ``X L⁻ᵀ``, ``L`` lower triangular."""
    blas = _openblas(X)
    if blas is None:
        X.copy_(torch.linalg.solve_triangular(L.tril().T, X, upper=True, left=False))
    elif workers is None:
        blas.solve_right(L.numpy(), X.numpy())
    else:
        workers.each(lambda part: solve_right(L, X[part]), len(X))


def cholesky(C: torch.Tensor, workers: Workers | None = None) -> tuple[int, float]:
    """Replace the lower triangle of ``C`` by its Cholesky factor.

    Returns
    -------
    tuple of int and float
        ``(0, 0.0)``, or the order of the first leading minor that is not positive, and its pivot (zero,
        negative or NaN). The factor of the minors before it is in place.
    """
    blas = _openblas(C)
    if blas is None:
        return _torch_cholesky(C)
    if workers is not None and len(C) > _PANEL:
        return _cholesky_by_panels(C, workers)
    failed = blas.cholesky(C.numpy())
    if failed:
        return failed, float(C[failed - 1, failed - 1])
    # A NaN is not <= 0: LAPACK walks past it.
    wrong = (~C.diagonal().isfinite()).nonzero()
    return (int(wrong[0]) + 1, float("nan")) if len(wrong) else (0, 0.0)


def _cholesky_by_panels(C: torch.Tensor, workers: Workers) -> tuple[int, float]:
    for start in range(0, len(C), _PANEL):
        here = slice(start, start + _PANEL)
        failed, pivot = cholesky(C[here, here])
        if failed:
            return start + failed, pivot
        below = C[here.stop :, here]
        solve_right(C[here, here], below, workers)
        subtract_gram(C[here.stop :, here.stop :], below, workers)
    return 0, 0.0


def invert(C: torch.Tensor) -> None:
    """Replace a Cholesky factor, in a lower triangle, by the lower triangle of the inverse of ``L Lᵀ``."""
    if C.device.type == "cpu":
        from scipy.linalg import lapack

        a = C.numpy().T  # what is lower in torch's order is upper in LAPACK's
        inverse, info = lapack.dpotri(a, lower=0, overwrite_c=1)
        if info:
            raise ArithmeticError(f"the factor is singular at order {info}")
        if not np.shares_memory(inverse, a):  # a view whose rows lie apart
            a[...] = inverse
    else:
        C.copy_(torch.cholesky_inverse(C))


def _torch_cholesky(C: torch.Tensor) -> tuple[int, float]:
    factor, info = torch.linalg.cholesky_ex(C.tril() + C.tril(-1).T)
    failed = int(info)
    if not failed:
        C.copy_(factor)
        return 0, 0.0
    before = failed - 1
    last, corner = C[before : before + 1, :before].clone(), float(C[before, before])
    if before:
        leading = C[:before, :before]
        leading.copy_(torch.linalg.cholesky(leading.tril() + leading.tril(-1).T))
        last = torch.linalg.solve_triangular(leading.T, last, upper=True, left=False)
    return failed, corner - float(last.square().sum())


def _openblas(C: torch.Tensor) -> OpenBLAS | None:
    return load() if C.device.type == "cpu" and C.dtype == torch.float64 else None
