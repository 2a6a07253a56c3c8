"""LU and LDLᵀ in core: for matrices that are not positive definite."""

from __future__ import annotations

import torch

from rmtaudit.engine.logdet.answer import Outcome, Refusal
from rmtaudit.engine.logdet.margins import pivoted_rounding, with_rounding
from rmtaudit.engine.logdet.reasons import ZERO_PIVOT
from rmtaudit.engine.logdet.settings import Method, Place
from rmtaudit.engine.logdet.tiling import dense_bytes
from rmtaudit.errors import InputError, UsageError
from rmtaudit.kernels.determinants.factorisations import ldl_determinant, lu_determinant
from rmtaudit.matrices.sources import AsymmetricError, Ground, MatrixSource
from rmtaudit.matrices.sources.arrays import whole_symmetry

_STRIP = 64
"""Rows that are looked at or mirrored at a time: temporaries of 64 rows."""


def pivoted(source: MatrixSource, method: Method, memory: int) -> Outcome:
    """Return the outcome of LU or LDLᵀ; see :func:`rmtaudit.engine.logdet.exact.exact_logdet`."""
    n = source.shape[0]
    needed = dense_bytes(n)
    if needed > memory:
        name = "LDLᵀ" if method is Method.LDLT else "LU"
        raise UsageError(
            "RA-LD-003",
            f"{name} of {source.name} takes {needed:,} bytes in memory, and {memory:,} are "
            "available. It cannot be done by tiles, because the row to exchange with a pivot may "
            "lie outside the tile.",
            hint=(
                "Give more --memory. A positive definite matrix needs no pivoting: Cholesky works by tiles."
            ),
        )
    factor = (ldl_determinant if method is Method.LDLT else lu_determinant)(finite_dense(source))
    rounding = None if factor.sign == 0 else pivoted_rounding(factor, n)
    outcome = Outcome(
        method=method,
        place=Place.IN_MEMORY,
        logdet=factor.logabs,
        sign=factor.sign,
        evidence={
            "smallest_pivot": factor.smallest,
            "largest_pivot": factor.largest,
            "negative_eigenvalues": factor.negative,
            "failed_minor": None,
            "failed_pivot": None,
            "asymmetry": 0.0,
            "rounding": None if rounding is None else rounding.to_dict(),
            "without_shift": None,
        },
        work={
            "tiles": 1,
            "scratch_bytes_read": 0,
            "scratch_bytes_written": 0,
            "planned_memory_bytes": needed,
            "tiles_resumed": 0,
            "tiles_damaged": 0,
        },
    )
    if rounding is None:
        return outcome.refused(Refusal.SINGULAR, ZERO_PIVOT)
    return with_rounding(outcome, rounding)


def finite_dense(source: MatrixSource) -> torch.Tensor:
    """Return the whole matrix, every entry finite, and equal to its transpose where that is presumed.

    Of a matrix that was declared to be symmetric the lower triangle is taken, as Cholesky does.

    Raises
    ------
    InputError
        RA-MS-005: an entry is not finite.
    AsymmetricError
        RA-MS-006: the matrix was presumed to be symmetric, and is not.
    """
    matrix = torch.empty(source.shape, dtype=torch.float64)
    source.block_into(range(source.shape[0]), range(source.shape[1]), matrix)
    for start in range(0, len(matrix), _STRIP):
        if not bool(matrix[start : start + _STRIP].isfinite().all()):
            raise InputError("RA-MS-005", "The matrix has NaN or infinite entries.", where=source.name)
    if source.symmetric and source.ground is Ground.DECLARED:
        _mirror(matrix)
    if source.presumed:
        judgement = whole_symmetry(matrix)
        if not judgement.symmetric:
            raise AsymmetricError(source.name, judgement.words)
    return matrix


def _mirror(matrix: torch.Tensor) -> None:
    """Copy the lower triangle onto the upper one."""
    for start in range(0, len(matrix), _STRIP):
        stop = min(start + _STRIP, len(matrix))
        matrix[:start, start:stop] = matrix[start:stop, :start].T
        square = matrix[start:stop, start:stop]
        square.copy_(square.tril() + square.tril(-1).T)
