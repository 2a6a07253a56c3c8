"""Matrices that are known by their products alone: symmetric ones, Gram matrices, and those of any shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from rmtaudit.kernels.spectra.gram import row_blocks

Product = Callable[[torch.Tensor], torch.Tensor]
"""From a block of columns, shape ``(n, s)``, to the product with each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Symmetric:
    """A symmetric matrix ``A`` by ``X -> A X``.

    Attributes
    ----------
    size
        Order n.
    matmul
        From shape ``(n, s)`` to ``(n, s)``, of ``dtype`` on ``device``. That it is symmetric is checked on
        the first block of probes.
    smallest, largest
        Bounds of the spectrum where they are known: ``smallest <= λ_min`` and ``largest >= λ_max``.
    accuracy
        Relative accuracy of the products, in units of the norm; 0 for the round-off of ``dtype``.
    """

    size: int
    matmul: Product
    smallest: float | None = None
    largest: float | None = None
    dtype: torch.dtype = torch.float64
    device: torch.device | str = "cpu"
    accuracy: float = 0.0

    @property
    def epsilon(self) -> float:
        """Unit round-off of the products: of their dtype, or worse where that was said."""
        return max(self.accuracy, 2.0**-52, torch.finfo(self.dtype).eps)

    @property
    def zeros(self) -> int:
        """Eigenvalues known to be 0 beside the ``size`` that are looked at."""
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Gram:
    """``WᵀW`` or ``WWᵀ`` by products with ``W`` and ``Wᵀ``, never formed.

    Attributes
    ----------
    rows, cols
        Shape of ``W``.
    matmul, transposed
        ``X -> W X`` and ``Y -> Wᵀ Y``.
    side
        Which Gram matrix: ``smaller`` (the one of the smaller side, of order ``min(rows, cols)``), ``cols``
        (``WᵀW``) or ``rows`` (``WWᵀ``). The larger one has the same eigenvalues and zeros beside them.
    smallest, largest
        Bounds of the eigenvalues of the smaller one, where they are known.
    """

    rows: int
    cols: int
    matmul: Product
    transposed: Product
    side: Literal["smaller", "cols", "rows"] = "smaller"
    smallest: float | None = None
    largest: float | None = None
    dtype: torch.dtype = torch.float64
    device: torch.device | str = "cpu"

    @property
    def epsilon(self) -> float:
        """Unit round-off of the products."""
        return max(2.0**-52, torch.finfo(self.dtype).eps)

    @property
    def size(self) -> int:
        """Order of the smaller Gram matrix, in which the probes live."""
        return min(self.rows, self.cols)

    @property
    def zeros(self) -> int:
        """Eigenvalues of the Gram matrix of this side that are 0 because of the shape."""
        order = {"smaller": self.size, "cols": self.cols, "rows": self.rows}[self.side]
        return order - self.size


Operator = Symmetric | Gram


def dense(matrix: torch.Tensor, *, smallest: float | None = None, largest: float | None = None) -> Symmetric:
    """Return the operator of a symmetric matrix in memory, shape ``(n, n)``; products in its dtype.

    Raises
    ------
    ValueError
        If it is not square.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import operators
    >>> operator = operators.dense(torch.diag(torch.tensor([1.0, 2.0])), smallest=1.0)
    >>> operator.size, operator.matmul(torch.ones(2, 1)).tolist()
    (2, [[1.0], [2.0]])
    """
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"a square matrix is needed, not shape {tuple(matrix.shape)}")
    # probes as rows: A is read along its rows. torch's product and not NumPy's, a third faster on some
    # processors: its bits do not depend on the number of threads
    return Symmetric(
        size=matrix.shape[0],
        matmul=lambda X: (X.T @ matrix).T,
        smallest=smallest,
        largest=largest,
        dtype=matrix.dtype,
        device=matrix.device,
    )


def gram(
    matrix: torch.Tensor,
    side: Literal["smaller", "cols", "rows"] = "smaller",
    *,
    smallest: float | None = None,
    largest: float | None = None,
) -> Gram:
    """Return the Gram operator of a matrix in memory, shape ``(rows, cols)``; products in its dtype.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import operators
    >>> operator = operators.gram(torch.ones(5, 2, dtype=torch.float64), "cols")
    >>> product = operator.transposed(operator.matmul(torch.ones(2, 1, dtype=torch.float64)))
    >>> operator.size, product.flatten().tolist()
    (2, [10.0, 10.0])
    """
    if matrix.ndim != 2 or not matrix.numel():
        raise ValueError(f"a matrix with at least one entry is needed, not shape {tuple(matrix.shape)}")
    rows, cols = matrix.shape
    return Gram(
        rows=rows,
        cols=cols,
        matmul=lambda X: (X.T @ matrix.T).T,
        transposed=lambda Y: (Y.T @ matrix).T,
        side=side,
        smallest=smallest,
        largest=largest,
        dtype=matrix.dtype,
        device=matrix.device,
    )


def shifted(operator: Symmetric, shift: float) -> Symmetric:
    """Return ``A + t I``.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import operators
    >>> operator = operators.shifted(operators.dense(torch.eye(2), smallest=1.0), 0.5)
    >>> operator.smallest, operator.matmul(torch.ones(2, 1)).tolist()
    (1.5, [[1.5], [1.5]])
    """
    return Symmetric(
        size=operator.size,
        matmul=lambda X: operator.matmul(X) + shift * X,
        smallest=None if operator.smallest is None else operator.smallest + shift,
        largest=None if operator.largest is None else operator.largest + shift,
        dtype=operator.dtype,
        device=operator.device,
        accuracy=operator.accuracy,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
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

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import operators
    >>> operator = operators.linear(torch.ones(5, 2))
    >>> operator.rows, operator.cols, round(operator.energy, 9)  # the squared Frobenius norm
    (5, 2, 10.0)
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
            rows=rows,
            cols=cols,
            matmul=lambda X: (X.T.to(torch.float32) @ matrix.T).T.to(torch.float64),
            transposed=lambda Y: (Y.T.to(torch.float32) @ matrix).T.to(torch.float64),
            device=matrix.device,
        )
    return Linear(
        rows=rows,
        cols=cols,
        matmul=matmul,
        transposed=transposed,
        energy=energy,
        device=matrix.device,
        fast=fast,
    )


def symmetric(matmul: Product, size: int, *, device: torch.device | str = "cpu") -> Linear:
    """Return the operator of a symmetric matrix known by its product alone.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import operators
    >>> operator = operators.symmetric(lambda block: 2 * block, 3)
    >>> operator.matmul(torch.ones(3, 1, dtype=torch.float64)).flatten().tolist()
    [2.0, 2.0, 2.0]
    """
    return Linear(rows=size, cols=size, matmul=matmul, transposed=matmul, energy=None, device=device)
