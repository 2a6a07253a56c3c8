"""The ridge log-determinant and the effective dimension of the large matrix, in closed form.

Left of the spectrum characteristics are real: a scalar root, no density, no second sheet. What it cannot see
are ridges below ``r_min``, the resolvable scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

_STEPS = 200
"""Halvings at most; they end earlier, where neighbouring numbers of float64 are reached."""


@dataclass(frozen=True, slots=True)
class RidgeValue:
    """Of a matrix ``factor`` times as large as the block.

    Attributes
    ----------
    log_det
        ``(1/N) log det(A + rI)``.
    effective_dimension
        ``(1/N) tr A(A + rI)⁻¹``.
    block_ridge
        ``r₀``, the ridge of the block that stands for ``r``.
    """

    log_det: float
    effective_dimension: float
    block_ridge: float


def resolvable_scale(eigenvalues: torch.Tensor, factor: float) -> float:
    """Return ``r_min = (α - 1)/m_n(0)``, the smallest ridge that the block resolves; 0 for a singular block.

    Parameters
    ----------
    eigenvalues
        Shape ``(n,)``, float64, not negative.
    factor
        ``α = N/n >= 1``.
    """
    if bool((eigenvalues <= 0).any()):
        return 0.0
    return (factor - 1) / float((1 / eigenvalues).mean())


def ridge_log_det(eigenvalues: torch.Tensor, factor: float, ridge: float) -> RidgeValue:
    """Return log-determinant and effective dimension of the large matrix plus ``ridge`` times the identity.

    ``r = r₀ + (α - 1)/m_n(-r₀)``, ``m_N(-r) = m_n(-r₀)/α`` and ``(1/N) log det(A_N + rI) = (1/α)(1/n) log
    det(A_n + r₀I) + (1 - 1/α) log(1/m_n(-r₀)) + log α``.

    Raises
    ------
    ValueError
        If the ridge lies below the resolvable scale, the factor below 1, or an eigenvalue below 0.

    References
    ----------
    Derived from the characteristics of Ameli et al., arXiv 2506.11994, section 3; the same identity as the
    effective ridge of generalised cross-validation (Hastie et al. 2022).

    Examples
    --------
    >>> import math
    >>> import torch
    >>> from rmtaudit.linalg import free
    >>> value = free.ridge_log_det(torch.ones(10, dtype=torch.float64), factor=1.0, ridge=1.0)
    >>> round(math.exp(value.log_det), 9), round(value.effective_dimension, 9)  # of each dimension
    (2.0, 0.5)
    """
    values = eigenvalues.double()
    if factor < 1:
        raise ValueError(f"the factor must be at least 1, not {factor}")
    if bool((values < 0).any()):
        raise ValueError("the eigenvalues must not be negative")
    least = resolvable_scale(values, factor)
    if not (ridge > least or (factor == 1 and ridge >= 0)):
        raise ValueError(f"the ridge {ridge:g} is not above the resolvable scale {least:g}")
    low, high = 0.0, ridge
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        # r₀ + (α - 1)/m(-r₀) increases with r₀
        if middle + (factor - 1) / float((1 / (values + middle)).mean()) < ridge:
            low = middle
        else:
            high = middle
    transform = float((1 / (values + high)).mean())
    block = float((values + high).log().mean())
    log_det = block / factor - (1 - 1 / factor) * math.log(transform) + math.log(factor)
    return RidgeValue(log_det, 1 - ridge * transform / factor, high)
