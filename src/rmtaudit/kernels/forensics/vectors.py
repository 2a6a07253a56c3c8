"""Singular vectors that one entry pulls onto itself."""

from __future__ import annotations

import torch

_STEPS = 4


def localised_direction(matrix: torch.Tensor, column: int) -> tuple[float, float]:
    """Return the singular value near a column's direction and its inverse participation ratio.

    A few steps of power iteration on ``WᵀW`` from the unit vector of the column. The inverse participation
    ratio ``Σ v⁴`` of the right vector is 1 if it is one coordinate, and about ``3/n`` if it is spread over
    all ``n``.

    Parameters
    ----------
    matrix
        Shape ``(rows, cols)``, float32 or float64.
    column
        Where to start.
    """
    vector = torch.zeros(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
    vector[column] = 1.0
    for _ in range(_STEPS):
        vector = matrix.T @ (matrix @ vector)
        vector = vector / torch.linalg.vector_norm(vector)
    sigma = float(torch.linalg.vector_norm(matrix @ vector))
    return sigma, float(vector.double().pow(4).sum())
