"""Matrices of any shape by their products: what every kernel here is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from rmtaudit.kernels.spectra.gram import row_blocks

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
    fast
        The same products to the precision of float32, where they cost much less: for finding a basis, after
        which exact ones judge it.
    """

    rows: int
    cols: int
    matmul: Product
    transposed: Product
    energy: float | None = None
    device: torch.device | str = "cpu"
    fast: Linear | None = None

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

    # columns as rows, so that a block is read along its own
    def matmul(X: torch.Tensor) -> torch.Tensor:
        rows_ = X.T.contiguous()
        total = torch.empty(X.shape[1], rows, dtype=torch.float64, device=matrix.device)
        for band, block in blocks():
            # into place: results kept between the blocks would keep the blocks' memory from being used again
            total[:, band] = rows_ @ block.T
        return total.T

    def transposed(Y: torch.Tensor) -> torch.Tensor:
        rows_ = Y.T.contiguous()
        total = torch.zeros(Y.shape[1], cols, dtype=torch.float64, device=matrix.device)
        for band, block in blocks():
            total += rows_[:, band] @ block
        return total.T

    def blocks() -> Iterator[tuple[slice, torch.Tensor]]:
        return iter([(slice(None), matrix)]) if matrix.dtype == torch.float64 else row_blocks(matrix)

    energy = sum(float(torch.linalg.vector_norm(block)) ** 2 for _, block in blocks())
    fast = None
    if matrix.dtype == torch.float32:
        fast = Linear(
            rows,
            cols,
            lambda X: (X.T.to(torch.float32) @ matrix.T).T.to(torch.float64),
            lambda Y: (Y.T.to(torch.float32) @ matrix).T.to(torch.float64),
            device=matrix.device,
        )
    return Linear(rows, cols, matmul, transposed, energy, matrix.device, fast)


def symmetric(matmul: Product, size: int, *, device: torch.device | str = "cpu") -> Linear:
    """Return the operator of a symmetric matrix known by its product alone."""
    return Linear(size, size, matmul, matmul, None, device)
