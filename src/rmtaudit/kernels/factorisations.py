"""Determinants of matrices that are not positive definite: LU, and Bunch and Kaufman's LDLᵀ, in memory.

SciPy's LAPACK on the CPU, float64, in place of the matrix. Both are backward stable in the sense of
``P A = L U + E`` with ``|E|`` at most a small multiple of ``|L||U|``, which is computed here and not assumed:
a determinant comes with how far it can be off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import lapack

UNIT = 2.0**-53
"""Unit round-off of float64."""
_STRIP = 1 << 17

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Determinant:
    """``sign * exp(logabs)``.

    Attributes
    ----------
    logabs, sign
        ``-inf`` and 0 where a pivot is exactly zero.
    smallest, largest
        Extremes of the absolute pivots: the diagonal of ``U``, or the eigenvalues of the blocks of ``D``.
    negative
        Negative eigenvalues of the matrix (LDLᵀ, by Sylvester's law of inertia), ``None`` for LU.
    condition
        1-norm condition number as LAPACK estimates it: never too large but for rounding, and seldom too
        small by more than a factor of 3 (Higham 2002, section 15.3).
    distance
        ``‖A⁻¹‖₁ ‖E‖₁`` with the bound of ``E`` and that estimate: below 1, no matrix within the backward
        error is singular.
    """

    logabs: float
    sign: int
    smallest: float
    largest: float
    negative: int | None
    condition: float
    distance: float


def lu_determinant(matrix: torch.Tensor) -> Determinant:
    """Return the determinant by LU with partial pivoting (``dgetrf``); the matrix is destroyed.

    Equivalent to ``numpy.linalg.slogdet``.

    Parameters
    ----------
    matrix
        Float64, shape ``(n, n)``, n >= 1, CPU, contiguous, finite.
    """
    a = matrix.numpy().T  # in LAPACK's order without a copy; the determinant is that of the transpose
    norm = _one_norm(a)
    factor, pivots, info = lapack.dgetrf(a, overwrite_a=1)
    diagonal = factor.diagonal()
    swaps = int(np.count_nonzero(pivots != np.arange(len(pivots))))
    if info > 0 or not norm:
        return _singular(np.abs(diagonal), None)
    sign = -1 if (swaps + int(np.count_nonzero(diagonal < 0))) % 2 else 1
    inverse = _inverse_norm(lapack.dgecon(factor, norm)[0], norm)
    distance = _gamma(len(a)) * _product_norm(factor) * inverse
    sizes = np.abs(diagonal)
    smallest, largest = float(sizes.min()), float(sizes.max())
    return Determinant(_sum_of_logs(sizes), sign, smallest, largest, None, norm * inverse, distance)


def ldl_determinant(matrix: torch.Tensor) -> Determinant:
    """Return the determinant of a symmetric matrix by LDLᵀ (``dsytrf``, Bunch and Kaufman 1977).

    Parameters
    ----------
    matrix
        Float64, shape ``(n, n)``, n >= 1, CPU, contiguous, finite, both triangles. Destroyed.
    """
    a = matrix.numpy().T
    norm = _one_norm(a)
    work = int(lapack.dsytrf_lwork(len(a), lower=1)[0])
    factor, pivots, info = lapack.dsytrf(a, lower=1, lwork=work, overwrite_a=1)
    blocks = _Blocks.of(factor, pivots)
    values = blocks.eigenvalues()
    sizes, negative = np.abs(values), int(np.count_nonzero(values < 0))
    if info > 0 or not norm or not sizes.all():
        return _singular(sizes, negative)
    inverse = _inverse_norm(lapack.dsycon(factor, pivots, norm, lower=1)[0], norm)
    # Higham 2002, theorem 11.3: |E| <= p(n) u (|A| + |L||D||Lᵀ|) with p linear
    distance = _gamma(len(a) + 10) * (norm + _symmetric_product_norm(factor, pivots, blocks)) * inverse
    return Determinant(
        blocks.log_determinant(),
        -1 if negative % 2 else 1,
        float(sizes.min()),
        float(sizes.max()),
        negative,
        norm * inverse,
        distance,
    )


@dataclass(frozen=True, slots=True)
class _Blocks:
    """``D``: its diagonal, and beside it the entry of each 2 x 2 block (0 elsewhere)."""

    diagonal: Array
    beside: Array

    @classmethod
    def of(cls, factor: Array, pivots: npt.NDArray[np.int32]) -> _Blocks:
        beside = np.zeros(len(pivots))
        beside[:-1] = factor.diagonal(-1)
        beside[~_first_of_two(pivots)] = 0.0
        return cls(factor.diagonal().copy(), beside)

    def eigenvalues(self) -> Array:
        first = np.flatnonzero(self.beside)
        values = self.diagonal.copy()
        a, b, o = self.diagonal[first], self.diagonal[first + 1], self.beside[first]
        middle, radius = (a + b) / 2, np.hypot((a - b) / 2, o)
        far = middle + np.copysign(radius, middle)
        values[first] = far
        values[first + 1] = o * (a / far * (b / o) - o / far)  # their product is a b - o²
        return values

    def log_determinant(self) -> float:
        first = np.flatnonzero(self.beside)
        alone = np.ones(len(self.diagonal), dtype=bool)
        alone[first] = alone[first + 1] = False
        o = self.beside[first]
        # Pivoting keeps |a b| well below o²: 1 - (a/o)(b/o) neither cancels nor overflows.
        rest = 1 - (self.diagonal[first] / o) * (self.diagonal[first + 1] / o)
        return math.fsum(
            [_sum_of_logs(np.abs(self.diagonal[alone])), 2 * _sum_of_logs(np.abs(o)), _sum_of_logs(rest)]
        )


def _first_of_two(pivots: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    first = np.zeros(len(pivots), dtype=bool)
    k = 0
    while k < len(pivots):
        first[k] = pivots[k] < 0
        k += 2 if pivots[k] < 0 else 1
    return first


def _product_norm(factor: Array) -> float:
    """Return ``‖ |L| |U| ‖₁``, without forming either."""
    n = len(factor)
    step = max(1, _STRIP // n)
    weights, largest = np.ones(n), 0.0
    for start in range(0, n, step):
        columns = np.abs(factor[:, start : start + step])
        columns[_above(n, start, columns.shape[1])] = 0
        weights[start : start + step] += columns.sum(0)
    for start in range(0, n, step):
        columns = np.abs(factor[:, start : start + step])
        columns[~_above(n, start, columns.shape[1])] = 0
        largest = max(largest, float((weights @ columns).max()))
    return largest


def _above(n: int, start: int, width: int) -> npt.NDArray[np.bool_]:
    above: npt.NDArray[np.bool_] = np.arange(n)[:, None] <= np.arange(start, start + width)
    return above


def _symmetric_product_norm(factor: Array, pivots: npt.NDArray[np.int32], blocks: _Blocks) -> float:
    """Return ``‖ |L| |D| |Lᵀ| ‖₁``: ``L`` is a product of exchanges and columns of multipliers."""
    n = len(pivots)
    two = _first_of_two(pivots)
    steps = []
    k = 0
    while k < n:
        width = 2 if two[k] else 1
        steps.append((k, width, abs(int(pivots[k])) - 1))  # LAPACK counts from 1
        k += width
    v = np.ones(n)
    for k, width, other in steps:
        here = k + width - 1
        v[here], v[other] = v[other], v[here]
        for column in range(k, k + width):
            v[column] += np.abs(factor[k + width :, column]) @ v[k + width :]
    moved = np.abs(blocks.diagonal) * v
    moved[:-1] += np.abs(blocks.beside[:-1]) * v[1:]
    moved[1:] += np.abs(blocks.beside[:-1]) * v[:-1]
    for k, width, other in reversed(steps):
        for column in range(k, k + width):
            moved[k + width :] += np.abs(factor[k + width :, column]) * moved[column]
        here = k + width - 1
        moved[here], moved[other] = moved[other], moved[here]
    return float(moved.max())


def _one_norm(a: Array) -> float:
    n = len(a)
    step = max(1, _STRIP // n)
    return max(float(np.abs(a[:, start : start + step]).sum(0).max()) for start in range(0, n, step))


def _inverse_norm(reciprocal: float, norm: float) -> float:
    return 1 / reciprocal / norm if reciprocal else math.inf


def _gamma(n: int) -> float:
    return n * UNIT / (1 - n * UNIT)


def _sum_of_logs(values: Array) -> float:
    return float(np.log(values).astype(np.longdouble).sum()) if values.size else 0.0


def _singular(sizes: Array, negative: int | None) -> Determinant:
    largest = float(sizes.max())
    return Determinant(-math.inf, 0, float(sizes.min()), largest, negative, math.inf, math.inf)
