"""Norms, ranks and entropy of a spectrum as WeightWatcher 0.7.7 defines them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from rmtaudit.kernels.spectra.eigenvalues import EPSILON

if TYPE_CHECKING:
    from rmtaudit.kernels.spectra.spectrum import Spectrum

_ENTROPY_EPSILON = 1e-10
"""Added to the shares and to the rank, as in WeightWatcher 0.7.7."""
WEAK = 1e-6
"""Eigenvalues below this, an absolute bound, count as a weak loss of rank in WeightWatcher 0.7.7."""


def combined_eigenvalues(
    parts: tuple[Spectrum, ...], factor: float, *, inverse: bool = False
) -> torch.Tensor:
    """Return the eigenvalues of a layer's matrices together, times ``factor``.

    Parameters
    ----------
    parts
        One spectrum a matrix, in the peer's order.
    factor
        1, or the convention of convolutions: half the number of kernel positions in the row's matrix.
    inverse
        ``1/λ`` for ``λ``. As in the peer, the inversion runs again over everything collected so far at each
        matrix: of several matrices, those at odd distance from the last one end up not inverted.

    Returns
    -------
    torch.Tensor
        Shape ``(n,)``, float64, ascending, in (weight units)² or, inverted, its reciprocal.

    Raises
    ------
    ArithmeticError
        For the inverse of a zero eigenvalue.
    """
    eigenvalues = []
    for place, part in enumerate(reversed(parts)):
        values = part.eigenvalues * factor
        if inverse and not bool((values > 0).all()):
            raise ArithmeticError("an eigenvalue is 0: it has no inverse")
        eigenvalues.append(values.reciprocal() if inverse and place % 2 == 0 else values)
    return torch.cat(eigenvalues).sort().values


def singular_range(parts: tuple[Spectrum, ...], factor: float) -> tuple[float, float]:
    """Return the largest singular value, and the largest of the matrices' smallest ones (the peer's rule)."""
    largest = max(float(part.eigenvalues[-1]) for part in parts)
    smallest = max(float(part.eigenvalues[0]) for part in parts)
    return math.sqrt(largest * factor), math.sqrt(smallest * factor)


def matrix_rank(eigenvalues: torch.Tensor, longest: int) -> int:
    """Return ``#{√λ > max √λ · N · 2⁻⁵²}``, for eigenvalues of a matrix whose longer side is ``N``."""
    singular = eigenvalues.sqrt()
    return int((singular > singular.max() * (longest * EPSILON)).sum())


def rank_loss(parts: tuple[Spectrum, ...], longest: int) -> int:
    """Return the eigenvalues that :func:`matrix_rank` does not count, matrix by matrix."""
    return sum(len(part.eigenvalues) - matrix_rank(part.eigenvalues, longest) for part in parts)


def weak_rank_loss(eigenvalues: torch.Tensor) -> int:
    """Return ``#{λ < 1e-6}``."""
    return int((eigenvalues < WEAK).sum())


def matrix_entropy(eigenvalues: torch.Tensor, longest: int) -> float:
    """Return ``-Σ p log p / log(rank + ε)``, ``p = λ/Σλ + ε``, ``ε = 1e-10``.

    The peer's formula: at rank 1 the denominator is the log of ``1 + ε``, and the value can exceed 1.
    """
    share = eigenvalues / eigenvalues.sum() + _ENTROPY_EPSILON
    return float(-(share * share.log()).sum()) / math.log(
        matrix_rank(eigenvalues, longest) + _ENTROPY_EPSILON
    )


def log_alpha_norm(eigenvalues: torch.Tensor, alpha: float) -> float:
    """Return ``log10 Σ λ^alpha``, in log space: the peer's is infinite where a power exceeds 1e308."""
    return float(torch.logsumexp(eigenvalues.log() * alpha, 0)) / math.log(10)
