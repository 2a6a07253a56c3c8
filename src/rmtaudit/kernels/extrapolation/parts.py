"""Parts of a block, and how much of its spread its diagonal holds."""

from __future__ import annotations

import torch


def principal_part(matrix: torch.Tensor, size: int, generator: torch.Generator) -> torch.Tensor:
    """Return a random principal block, shape (size, size); the matrix itself for its own size."""
    if size == len(matrix):
        return matrix
    chosen = torch.randperm(len(matrix), generator=generator)[:size]
    return matrix[chosen][:, chosen]


def diagonal_share(matrix: torch.Tensor, rows: torch.Tensor) -> float:
    """Return the variance of the diagonal over that of ``rows[0]``, the eigenvalues; 0 if they are equal."""
    variance = float(rows[0].var(correction=0))
    return float(matrix.diagonal().var(correction=0)) / variance if variance > 0 else 0.0
