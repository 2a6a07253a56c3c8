"""Spectra in float32, where the precision that the weights are stored in leaves nothing to lose by it.

Rounding the entries of a matrix to a dtype of unit round-off ``ε`` moves its singular values by up to about
``τ (√n + √p)``, the norm of the rounding errors, with ``τ = ε/√3`` times the root mean square of the entries
(:func:`rmtaudit.kernels.spectra.scale.numerical_rank` has the same). A float32 Gram matrix and its
eigenvalues are off by at most ``floor = c ε₃₂ λ₁``, and a singular value ``σ`` by ``floor/(2σ)``. Where the
second is the smaller of the two, float64 would compute digits that the stored weights do not have.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from rmtaudit.kernels.spectra import openblas
from rmtaudit.kernels.spectra.accuracy import Accuracy
from rmtaudit.kernels.spectra.gram import squared_norm
from rmtaudit.kernels.spectra.scale import numerical_rank
from rmtaudit.kernels.spectra.smallest import smallest_singular_values
from rmtaudit.kernels.spectra.spectrum import Spectrum

LEAST_SIDE = 1024
"""Smaller side from which float32 is worth it: below, a spectrum takes less than 0.1 s."""

SQUARE_FROM = 2048
"""Side of a square matrix from which it is, with its smallest singular values computed apart."""

_EPSILON = float(np.finfo(np.float32).eps)
_RANGE = 1e-12, 1e12
"""Largest entries between which float32 holds the squares of all that matter."""

_FEW, _SHARE = 8, 0.02
"""Singular values that float32 need not resolve: those of a square matrix are computed apart, and nobody who
asks for large ones misses them."""

_BOUND = 32.0
"""Error of a float32 eigenvalue over ``ε₃₂ λ₁`` for n up to 4096; beyond, ``√n / 2``. The largest that was
measured is 7.5 (docs/spectra.md)."""

_STEPS = 4
_MARGIN = 1.5
_CLOSE = 0.05
"""Share of the rounding errors of the stored entries that the error of a small singular value may have."""


def float32_spectrum(
    matrix: torch.Tensor, *, accuracy: Accuracy, epsilon: float, smallest_normal: float = 0.0
) -> Spectrum | None:
    """Return the spectrum of ``WᵀW`` in float32 arithmetic, or ``None`` where that is not accurate enough.

    ``error`` bounds the errors of all eigenvalues. The smallest ones of a square matrix, which float32 does
    not resolve, are computed apart (:mod:`~rmtaudit.kernels.spectra.smallest`); ``floor`` is what is resolved
    then.

    Parameters
    ----------
    matrix
        ``W``, shape ``(rows, cols)``, float32, finite, on the CPU; its entries are numbers of a dtype of
        unit round-off ``epsilon``. Not changed.
    accuracy
        What the eigenvalues are for. ``STORED``: there is a spectrum if every singular value is as exact as
        the stored precision allows, none is below the floor, the numerical rank is the same at both ends of
        all error bounds, and the matrix is not nearly orthogonal. ``LARGE``: if at most 8, or 2 %, are less
        exact. ``FULL``: never.
    epsilon, smallest_normal
        Unit round-off and smallest normal number of the dtype that the matrix was stored in.

    Raises
    ------
    ArithmeticError
        If the solver does not converge.
    """
    library = openblas.load()
    if accuracy is Accuracy.FULL or library is None or matrix.dtype != torch.float32 or matrix.is_cuda:
        return None
    low, high = (float(bound) for bound in torch.aminmax(matrix))
    if not _RANGE[0] < max(-low, high) < _RANGE[1]:
        return None
    n, long = sorted(matrix.shape)
    rms = math.sqrt(squared_norm(matrix) / matrix.numel())
    rounding = epsilon / math.sqrt(3) * rms * (math.sqrt(n) + math.sqrt(long))
    apart = accuracy is Accuracy.STORED
    spare = 0 if apart and not n == long >= SQUARE_FROM else max(_FEW, int(_SHARE * n))
    bound = max(_BOUND, math.sqrt(n) / 2) * _EPSILON
    least = _least_exact(bound * _largest_eigenvalue(matrix), rounding, apart=apart)
    if _expected_below(_MARGIN * least / rms, n, long) > spare:
        return None

    product = np.zeros((n, n), dtype=np.float32)
    wide = matrix.shape[0] < matrix.shape[1]
    library.accumulate_gram(matrix.detach().contiguous().numpy(), product, of_rows=wide)
    values = torch.from_numpy(library.float32_eigenvalues(product))
    del product
    error = bound * float(values[-1])
    few = int((values < _least_exact(error, rounding, apart=apart) ** 2).sum())
    if few > spare:
        return None
    floor, errors = error, torch.full_like(values, error)
    if apart and few:
        small = smallest_singular_values(matrix, few, library, tolerance=_CLOSE * rounding)
        if small is None or float((small.values.square() - values[:few]).abs().max()) > error:
            return None
        values[:few], errors[:few] = small.values.square(), (2 * small.values + small.errors) * small.errors
        floor = float(small.errors[0]) ** 2
        values, order = values.sort()
        errors = errors[order]
    unresolved = int((values <= floor).sum())
    values[:unresolved] = 0.0
    spectrum = Spectrum(
        eigenvalues=values,
        rows=matrix.shape[0],
        cols=matrix.shape[1],
        method="exact",
        floor=floor,
        unresolved=unresolved,
        precision="float32",
        error=error,
    )
    if apart and not _is_clear(spectrum, errors, epsilon, smallest_normal):
        return None
    return spectrum


def _least_exact(error: float, rounding: float, *, apart: bool) -> float:
    """Return the singular value from which on float32 is as exact as the stored entries, and resolves it."""
    return max(error / (2 * rounding), math.sqrt(2 * error) if apart else 0.0)


def _largest_eigenvalue(matrix: torch.Tensor) -> float:
    """Return a lower bound of ``λ₁`` by power iteration: enough to tell whether float32 can be tried."""
    draws = torch.Generator().manual_seed(matrix.shape[1])
    vector = torch.randn(matrix.shape[1], generator=draws)
    growth = 0.0
    for _ in range(_STEPS):
        vector = vector / torch.linalg.vector_norm(vector)
        vector = matrix.T @ (matrix @ vector)
        growth = float(torch.linalg.vector_norm(vector))
    return growth


def _expected_below(bound: float, n: int, long: int) -> float:
    """Return how many singular values of ``n x long`` noise of variance 1 are about below a bound."""
    edge = math.sqrt(long) - math.sqrt(n)
    return 0.0 if bound < edge else n * min(1.0, 2 / math.pi * bound / math.sqrt(long))


def _is_clear(spectrum: Spectrum, errors: torch.Tensor, epsilon: float, smallest_normal: float) -> bool:
    """Whether no error within its bound changes the rank, all values are resolved, and they are not equal."""
    values = spectrum.eigenvalues
    if not 2 * spectrum.floor < float(values[0]) < 0.5 * float(values[-1]):
        return False
    ranks = {
        numerical_rank(
            replace(spectrum, eigenvalues=(values + sign * errors).clamp_min(0), floor=0.0),
            epsilon=epsilon,
            smallest_normal=smallest_normal,
        )
        for sign in (-1, 1)
    }
    return len(ranks) == 1
