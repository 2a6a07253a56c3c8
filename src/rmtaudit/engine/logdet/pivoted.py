"""LU and LDLᵀ in core: for matrices that are not positive definite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from rmtaudit.engine.logdet.result import ExactLogdet, Method, Status
from rmtaudit.engine.logdet.rounding import pivoted_rounding
from rmtaudit.engine.logdet.tiling import ITEM
from rmtaudit.errors import InputError, UsageError
from rmtaudit.kernels.determinants.factorisations import ldl_determinant, lu_determinant
from rmtaudit.matrices.sources import AsymmetricError, Ground
from rmtaudit.matrices.sources.arrays import whole_symmetry

if TYPE_CHECKING:
    from rmtaudit.matrices.sources import MatrixSource

_COLUMNS = 80
"""Vectors of length n that LAPACK and the bound take beside the matrix: a panel, at most."""
_TEMPORARIES = 6 << 20


def pivoted(source: MatrixSource, method: Method, memory: int) -> ExactLogdet:
    """Return the log-determinant by LU or LDLᵀ; see :func:`rmtaudit.engine.logdet.exact.exact_logdet`."""
    n = source.shape[0]
    needed = dense_bytes(n)
    if needed > memory:
        name = "LDLᵀ" if method is Method.LDL else "LU"
        raise UsageError(
            "RA-LD-003",
            f"{name} of {source.name} takes {needed:,} bytes in core, and memory is {memory:,}: by tiles, "
            "the row to exchange a pivot with would lie beyond the tile.",
            hint="Give more --memory. A positive definite matrix needs no pivots: Cholesky goes by tiles.",
        )
    found = (ldl_determinant if method is Method.LDL else lu_determinant)(finite_dense(source))
    singular = found.sign == 0
    return ExactLogdet(
        status=Status.SINGULAR if singular else Status.COMPLETE,
        reason="a pivot is exactly zero" if singular else "",
        method=method,
        in_core=True,
        n=n,
        logdet=found.logabs,
        sign=found.sign,
        order=n,
        minors=None,
        smallest_pivot=found.smallest,
        largest_pivot=found.largest,
        negative=found.negative,
        failed_minor=None,
        failed_pivot=None,
        rounding=None if singular else pivoted_rounding(found, n),
        shift=None,
        bytes_read=0,
        bytes_written=0,
        tiles=1,
        resumed=0,
        damaged=0,
        planned_bytes=needed,
    )


def dense_bytes(n: int) -> int:
    """Return what LU or LDLᵀ of a matrix of order ``n`` allocate."""
    return ITEM * n * (n + _COLUMNS) + min(_TEMPORARIES, 6 * ITEM * n * n)


def finite_dense(source: MatrixSource) -> torch.Tensor:
    """Return the whole matrix, every entry finite, and equal to its transpose where that is presumed.

    Of a matrix that was declared to be symmetric the lower triangle is taken, as Cholesky does.
    """
    matrix = torch.empty(source.shape, dtype=torch.float64)
    source.block_into(range(source.shape[0]), range(source.shape[1]), matrix)
    for start in range(0, len(matrix), 64):
        if not bool(matrix[start : start + 64].isfinite().all()):
            raise InputError("RA-MS-005", "entries are NaN or infinite.", where=source.name)
    if source.symmetric and source.ground is Ground.DECLARED:
        _mirror(matrix)
    if source.presumed:
        found = whole_symmetry(matrix)
        if not found.symmetric:
            raise AsymmetricError(source.name, found.words)
    return matrix


def _mirror(matrix: torch.Tensor) -> None:
    """Copy the lower triangle onto the upper one."""
    for start in range(0, len(matrix), 64):
        stop = min(start + 64, len(matrix))
        matrix[:start, start:stop] = matrix[start:stop, :start].T
        square = matrix[start:stop, start:stop]
        square.copy_(square.tril() + square.tril(-1).T)
