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
"""Entries of the strips in which norms are taken and rows are scaled: temporaries of 1 MiB (a choice)."""
_SCALINGS = 6
"""Passes of the symmetric scaling at most: each halves the exponents in the limit (Ruiz 2001)."""
_ALIKE = 20
"""Powers of two between rows up to which scaling might lose more than it gains (a choice)."""
_LOWEST = -(1 << 20)
"""Below the exponent of any product of two powers of float64: that of 0."""

Array = npt.NDArray[np.float64]
Powers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Determinant:
    """``sign * exp(logabs)``.

    Attributes
    ----------
    logabs, sign
        ``-inf`` and 0 where a pivot is exactly zero.
    smallest, largest
        Extremes of the absolute pivots: the diagonal of ``U``, or the eigenvalues of the blocks of ``D``,
        with the scaling undone and within the range of float64.
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
    negative: int | None = None
    condition: float
    distance: float


def lu_determinant(matrix: torch.Tensor) -> Determinant:
    """Return the determinant by LU with partial pivoting (``dgetrf``); the matrix is destroyed.

    Equivalent to ``numpy.linalg.slogdet``.

    Parameters
    ----------
    matrix
        Float64, shape ``(n, n)``, n >= 1, contiguous, finite. That of a GPU is copied to the CPU.
    """
    a = matrix.cpu().numpy().T  # in LAPACK's order without a copy; the determinant is that of the transpose
    if _triangular(a):
        return _of_triangle(a.diagonal())
    rows, cols = _equilibrate(a)
    norm = _one_norm(a)
    factor, pivots, info = lapack.dgetrf(a, overwrite_a=1)
    diagonal = factor.diagonal()
    swaps = int(np.count_nonzero(pivots != np.arange(len(pivots))))
    if info > 0 or not norm or not diagonal.all():
        return _singular(np.abs(diagonal))
    sign = -1 if (swaps + int(np.count_nonzero(diagonal < 0))) % 2 else 1
    inverse = _inverse_norm(lapack.dgecon(factor, norm)[0], norm)
    distance = _gamma(len(a)) * _product_norm(factor) * inverse
    sizes = np.abs(diagonal)
    order = np.arange(len(a))
    for k, other in enumerate(pivots.tolist()):
        order[k], order[other] = order[other], order[k]
    smallest, largest = _extremes(sizes, rows[order] + cols)
    logabs = _sum_of_logs(sizes, int(rows.sum() + cols.sum()))
    return Determinant(
        logabs=logabs,
        sign=sign,
        smallest=smallest,
        largest=largest,
        condition=norm * inverse,
        distance=distance,
    )


def ldl_determinant(matrix: torch.Tensor) -> Determinant:
    """Return the determinant of a symmetric matrix by LDLᵀ (``dsytrf``, Bunch and Kaufman 1977).

    Parameters
    ----------
    matrix
        Float64, shape ``(n, n)``, n >= 1, contiguous, finite, both triangles. Destroyed; that of a GPU is
        copied to the CPU.
    """
    a = matrix.cpu().numpy().T
    powers = _equilibrate_symmetric(a)
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
    smallest, largest = _extremes(sizes, 2 * powers)
    return Determinant(
        logabs=math.fsum([blocks.log_determinant(), 2 * int(powers.sum()) * math.log(2)]),
        sign=-1 if negative % 2 else 1,
        smallest=smallest,
        largest=largest,
        negative=negative,
        condition=norm * inverse,
        distance=distance,
    )


def _triangular(a: Array) -> bool:
    """Whether every entry on one side of the diagonal is 0."""
    n, step = len(a), 64
    lower = upper = True
    for start in range(0, n, step):
        stop = min(n, start + step)
        square = a[start:stop, start:stop]
        upper = upper and not np.tril(square, -1).any() and not a[stop:, start:stop].any()
        lower = lower and not np.triu(square, 1).any() and not a[:start, start:stop].any()
        if not (upper or lower):
            return False
    return True


def _of_triangle(diagonal: Array) -> Determinant:
    """Return the determinant of a triangular matrix, exact but for the logarithms."""
    sizes = np.abs(diagonal)
    if not sizes.all():
        return _singular(sizes)
    sign = -1 if int(np.count_nonzero(diagonal < 0)) % 2 else 1
    low, high = float(sizes.min()), float(sizes.max())
    return Determinant(
        logabs=_sum_of_logs(sizes),
        sign=sign,
        smallest=low,
        largest=high,
        condition=high / low if low > high / 1e300 else math.inf,
        distance=0.0,
    )


def _equilibrate(a: Array) -> tuple[Powers, Powers]:
    """Scale rows, then columns, to maxima near 1 by powers of two, in place; return the exponents.

    Both are applied at once: rows alone could make entries subnormal that columns then enlarge again.
    """
    n, step = len(a), max(1, _STRIP // len(a))
    largest = np.zeros(n)
    for start in range(0, n, step):
        np.maximum(largest, np.abs(a[:, start : start + step]).max(1), out=largest)
    rows = _powers(np.frexp(largest)[1].astype(np.int64), largest > 0)
    highest = np.zeros(n, dtype=np.int64)
    for start in range(0, n, step):
        part = a[:, start : start + step]
        exponents = np.frexp(part)[1] - rows[:, None]
        exponents[part == 0] = _LOWEST
        highest[start : start + step] = exponents.max(0)
    present = highest > _LOWEST
    cols = _powers(np.where(present, highest, 0), present)
    for start in range(0, n, step):
        part = a[:, start : start + step]
        np.ldexp(part, -(rows[:, None] + cols[None, start : start + step]), out=part)
    return rows, cols


def _powers(powers: Powers, present: npt.NDArray[np.bool_]) -> Powers:
    """Return the exponents of maxima; one for all where they are alike, which changes no condition number."""
    known = powers[present]
    if known.size and int(known.max() - known.min()) <= _ALIKE:
        return np.full_like(powers, known.max())
    return powers


def _equilibrate_symmetric(a: Array) -> Powers:
    """Scale rows and columns alike by powers of two, in place, until the maxima are near 1 (Ruiz 2001)."""
    n, step = len(a), max(1, _STRIP // len(a))
    total = np.zeros(n, dtype=np.int64)
    for turn in range(_SCALINGS):
        largest = np.concatenate([np.abs(a[:, start : start + step]).max(0) for start in range(0, n, step)])
        powers = np.frexp(largest)[1].astype(np.int64)
        powers = powers if turn else _powers(powers, largest > 0)
        powers = np.where(largest > 0, powers // 2, 0)
        if not powers.any():
            break
        for start in range(0, n, step):
            part = a[:, start : start + step]
            np.ldexp(part, -(powers[:, None] + powers[None, start : start + step]), out=part)
        total += powers
        if not turn and len(set(powers.tolist())) == 1:
            break  # alike: left as they are, but for one scale
    return total


def _extremes(sizes: Array, powers: Powers) -> tuple[float, float]:
    """Return the extremes of pivots without their scaling, within the range of float64."""
    logs = np.log2(sizes) + powers
    low, high = np.exp2(np.clip([float(logs.min()), float(logs.max())], -1074.0, 1023.99))
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class _Blocks:
    """``D``: its diagonal, and the entry next to it of each 2 x 2 block (0 elsewhere)."""

    diagonal: Array
    subdiagonal: Array

    @classmethod
    def of(cls, factor: Array, pivots: npt.NDArray[np.int32]) -> _Blocks:
        subdiagonal = np.zeros(len(pivots))
        subdiagonal[:-1] = factor.diagonal(-1)
        subdiagonal[~_first_of_two(pivots)] = 0.0
        return cls(factor.diagonal().copy(), subdiagonal)

    def eigenvalues(self) -> Array:
        first = np.flatnonzero(self.subdiagonal)
        values = self.diagonal.copy()
        a, b, o = self.diagonal[first], self.diagonal[first + 1], self.subdiagonal[first]
        middle, radius = (a + b) / 2, np.hypot((a - b) / 2, o)
        far = middle + np.copysign(radius, middle)
        values[first] = far
        values[first + 1] = o * (a / far * (b / o) - o / far)  # their product is a b - o²
        return values

    def log_determinant(self) -> float:
        first = np.flatnonzero(self.subdiagonal)
        alone = np.ones(len(self.diagonal), dtype=bool)
        alone[first] = alone[first + 1] = False
        o = self.subdiagonal[first]
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
    moved[:-1] += np.abs(blocks.subdiagonal[:-1]) * v[1:]
    moved[1:] += np.abs(blocks.subdiagonal[:-1]) * v[:-1]
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


def _sum_of_logs(values: Array, powers: int = 0) -> float:
    """Return the sum of the logarithms of values that are multiplied by ``2**powers`` in all."""
    if not values.size:
        return 0.0
    return float(np.log(values).astype(np.longdouble).sum() + powers * np.log(np.longdouble(2)))


def _singular(sizes: Array, negative: int | None = None) -> Determinant:
    largest = float(sizes.max())
    return Determinant(
        logabs=-math.inf,
        sign=0,
        smallest=float(sizes.min()),
        largest=largest,
        negative=negative,
        condition=math.inf,
        distance=math.inf,
    )
