"""The smallest singular values of a square matrix, one by one: those that its Gram matrix loses first.

The inverse of the matrix, from its triangular factors in float32, draws vectors towards the smallest singular
directions on either side. What is read off in the end, the singular values of ``W`` between the two spaces,
is in float64: their errors are of second order in those of the spaces, and residuals bound them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from rmtaudit.kernels.spectra.openblas import OpenBLAS

_SPARE = 8
_ROUNDS = 3, 1, 1, 2
"""Steps of subspace iteration before each look at the residuals; after the last it is given up."""

_RESOLVED = 2.0
"""Errors that the smallest value has to exceed before the steps end: with less it may as well be 0."""

_BAND = 64
"""Rows that are widened to float64 at a time: 2 MB at a width of 4096, which stay in a core's cache."""


@dataclass(frozen=True, slots=True)
class SmallestValues:
    """Singular values, ascending, float64, and the bounds of their errors, both of shape ``(count,)``."""

    values: torch.Tensor
    errors: torch.Tensor


def smallest_singular_values(
    matrix: torch.Tensor, count: int, library: OpenBLAS, *, tolerance: float
) -> SmallestValues | None:
    """Return the ``count`` smallest singular values, or ``None`` where they do not converge.

    Subspace iteration with ``W⁻ᵀ`` and ``W⁻¹`` on twice as many vectors, from a fixed random start, and the
    singular values of ``PᵀWQ`` for the orthonormal bases ``P`` and ``Q`` that it ends with. (Those of ``WQ``
    alone would do, but their residuals show the rounding of ``Q`` multiplied by the condition of ``W``.)

    Parameters
    ----------
    matrix
        Shape ``(n, n)``, float32, finite, on the CPU. Not changed.
    count
        How many, at least 1.
    tolerance
        Largest error bound that is accepted, in units of the entries. Where the smallest value is not clearly
        above its own bound, more steps are tried.

    Notes
    -----
    With ``R`` the residuals and ``η`` the distance of a value to those that are not sought, its error is at
    most ``2R²/(η + √(η² + 4R²))``. A random start misses a direction with probability 0.

    References
    ----------
    Parlett, *The symmetric eigenvalue problem* (1998), chapter 14, for subspace iteration; Li, Li, *A note on
    eigenvalues of perturbed Hermitian matrices*, Linear Algebra Appl. 395 (2005), theorem 2, for the bound.
    """
    n = len(matrix)
    size = 2 * count + _SPARE
    if size > n:
        return None
    factors = matrix.detach().contiguous().numpy().copy()
    try:
        pivots = library.factor(factors)
    except ArithmeticError:
        return None
    draws = torch.Generator().manual_seed(n)
    right = _orthonormal(torch.randn(size, n, generator=draws))
    accepted: SmallestValues | None = None
    for steps in _ROUNDS:
        for _ in range(steps):
            vectors = np.ascontiguousarray(right.T.float().numpy())
            library.solve(factors, pivots, vectors, transposed=True)
            if not np.isfinite(vectors).all():
                return None
            left = _orthonormal(torch.from_numpy(vectors))
            vectors = np.ascontiguousarray(left.T.float().numpy())
            library.solve(factors, pivots, vectors)
            if not np.isfinite(vectors).all():
                return None
            right = _orthonormal(torch.from_numpy(vectors))
        estimate = _between(matrix, left, right, count)
        if float(estimate.errors.max()) <= tolerance:
            accepted = estimate
            if float(estimate.values[0]) > _RESOLVED * float(estimate.errors[0]):
                break
    return accepted


def _orthonormal(rows: torch.Tensor) -> torch.Tensor:
    """Return an orthonormal basis of the rows, as columns, float64."""
    basis: torch.Tensor = torch.linalg.qr(rows.double().T).Q
    return basis


def _between(matrix: torch.Tensor, left: torch.Tensor, right: torch.Tensor, count: int) -> SmallestValues:
    image = torch.cat([block @ right for _, block in _bands(matrix)])
    U, values, Vh = torch.linalg.svd(left.T @ image)
    U, values, V = (part.flip(-1)[..., : count + 1] for part in (U, values, Vh.T))
    u, v = left @ U, right @ V
    # few rows times many: the transposed product, of many rows with few, takes ten times as long
    u_rows = u.T.contiguous()
    back = torch.zeros(count + 1, matrix.shape[1], dtype=torch.float64)
    for band, block in _bands(matrix):
        back.addmm_(u_rows[:, band], block)
    residuals = image @ V - u * values, back.T - v * values
    off = math.hypot(*(float(torch.linalg.matrix_norm(each[:, :count], 2)) for each in residuals))
    beyond = values[count] - math.hypot(*(float(each[:, count].norm()) for each in residuals))
    distance = (beyond - values[:count]).clamp_min(0)
    return SmallestValues(
        values[:count], 2 * off**2 / (distance + torch.sqrt(distance.square() + 4 * off**2))
    )


def _bands(matrix: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield bands of rows in float64, each in the same memory."""
    buffer = torch.empty(_BAND, matrix.shape[1], dtype=torch.float64)
    for start in range(0, len(matrix), _BAND):
        part = matrix[start : start + _BAND]
        yield slice(start, start + len(part)), buffer[: len(part)].copy_(part)
