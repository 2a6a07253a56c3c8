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
from rmtaudit.kernels.spectra.scale import numerical_rank
from rmtaudit.kernels.spectra.spectrum import Spectrum

LEAST_SIDE = 1024
"""Smaller side from which float32 is worth it: below, a spectrum takes less than 0.1 s."""

_EPSILON = float(np.finfo(np.float32).eps)
_TWO_STAGE_FROM = 1500
"""Size from which ``ssyevd_2stage`` is faster than ``ssyevd``."""

_RANGE = 1e-12, 1e12
"""Largest entries between which float32 holds the squares of all that matter."""

_FEW, _SHARE = 8, 0.02
"""Singular values that may be less exact than the stored precision allows, where only large ones are asked
for."""

_STEPS = 4
_MARGIN = 2.0


def float32_spectrum(
    matrix: torch.Tensor, *, accuracy: Accuracy, epsilon: float, smallest_normal: float = 0.0
) -> Spectrum | None:
    """Return the spectrum of ``WᵀW`` in float32 arithmetic, or ``None`` where that is not accurate enough.

    The error bound of every eigenvalue, ``floor``, is that of float64 arithmetic
    (:func:`~rmtaudit.kernels.spectra.eigenvalues.gram_eigenvalues`) with the round-off of float32.

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
    rms = float(torch.linalg.vector_norm(matrix, dtype=torch.float64)) / math.sqrt(matrix.numel())
    rounding = epsilon / math.sqrt(3) * rms * (math.sqrt(n) + math.sqrt(long))
    relative = max(32.0, 4 * math.sqrt(n)) * _EPSILON
    spare = max(_FEW, _SHARE * n) if accuracy is Accuracy.LARGE else 0
    inexact = relative * _largest_eigenvalue(matrix) / (2 * rounding)
    if _expected_below(_MARGIN * inexact / rms, n, long) > spare:
        return None

    product = np.zeros((n, n), dtype=np.float32)
    wide = matrix.shape[0] < matrix.shape[1]
    library.accumulate_gram(matrix.detach().contiguous().numpy(), product, of_rows=wide)
    driver: openblas.Driver = "ssyevd_2stage" if n >= _TWO_STAGE_FROM else "ssyevd"
    values = library.symmetric_eigenvalues(product, driver).astype(np.float64)
    floor = relative * float(values[-1])
    if int(np.searchsorted(values, (floor / (2 * rounding)) ** 2)) > spare:
        return None
    unresolved = int(np.searchsorted(values, floor, side="right"))
    values[:unresolved] = 0.0
    spectrum = Spectrum(
        eigenvalues=torch.from_numpy(values),
        rows=matrix.shape[0],
        cols=matrix.shape[1],
        method="exact",
        floor=floor,
        unresolved=unresolved,
        precision="float32",
    )
    if accuracy is Accuracy.STORED and not _is_clear(spectrum, epsilon, smallest_normal):
        return None
    return spectrum


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


def _is_clear(spectrum: Spectrum, epsilon: float, smallest_normal: float) -> bool:
    """Whether no error within the bound changes the rank, or whether the matrix is orthogonal."""
    values, floor = spectrum.eigenvalues, spectrum.floor
    if not 2 * floor < float(values[0]) < 0.5 * float(values[-1]):
        return False
    ranks = {
        numerical_rank(
            replace(spectrum, eigenvalues=values + shift, floor=0.0),
            epsilon=epsilon,
            smallest_normal=smallest_normal,
        )
        for shift in (-floor, floor)
    }
    return len(ranks) == 1
