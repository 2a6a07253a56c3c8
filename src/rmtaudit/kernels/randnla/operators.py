"""Matrices of any shape by their products: what every kernel here is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from rmtaudit.kernels.gram import row_blocks

Product = Callable[[torch.Tensor], torch.Tensor]
"""From a block of float64 columns to the product with each."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A matrix ``A`` of ``rows`` x ``cols`` by ``X -> A X`` and ``Y -> Aᵀ Y``.

    Attributes
    ----------
    energy
        Squared Frobenius norm where it is known exactly; ``None`` where only products are.
    device
        Where the blocks of columns live.
    """

    rows: int
    cols: int
    matmul: Product
    transposed: Product
    energy: float | None = None
    device: torch.device | str = "cpu"

    @property
    def rank(self) -> int:
        """Largest possible rank, ``min(rows, cols)``."""
        return min(self.rows, self.cols)


def linear(matrix: torch.Tensor) -> Linear:
    """Return the operator of a matrix in memory, any floating dtype; products and the energy in float64.

    The matrix is widened block by block: there is never a second copy of it.
    """
    if matrix.ndim != 2 or not matrix.numel():
        raise ValueError(f"a matrix with at least one entry is needed, not shape {tuple(matrix.shape)}")
    rows, cols = matrix.shape

    def matmul(X: torch.Tensor) -> torch.Tensor:
        if matrix.dtype == torch.float64:
            return matrix @ X
        return torch.cat([block @ X for _, block in row_blocks(matrix)])

    def transposed(Y: torch.Tensor) -> torch.Tensor:
        if matrix.dtype == torch.float64:
            return matrix.T @ Y
        total = torch.zeros(cols, Y.shape[1], dtype=torch.float64, device=matrix.device)
        for band, block in row_blocks(matrix):
            total += block.T @ Y[band]
        return total

    energy = sum(float(torch.linalg.vector_norm(block)) ** 2 for _, block in row_blocks(matrix))
    return Linear(rows, cols, matmul, transposed, energy, matrix.device)


def symmetric(matmul: Product, size: int, *, device: torch.device | str = "cpu") -> Linear:
    """Return the operator of a symmetric matrix known by its product alone."""
    return Linear(size, size, matmul, matmul, None, device)
