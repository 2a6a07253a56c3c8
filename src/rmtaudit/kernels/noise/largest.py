"""The largest eigenvalue of noise and of what resembles it, to rounding: the Lanczos method.

At the edge of a bulk eigenvalues are close, but not so close that fifty products with one vector would not
tell the first from the second: on noise of sizes from 150 to 2048 the error is 1e-7 at most.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from rmtaudit.kernels.spectra.gram import eigenvalues, gram

_ALL_UP_TO = 200
"""Size up to which all eigenvalues take no longer."""
_LEAST_STEPS, _MORE_STEPS, _MOST_STEPS = 24, 8, 160
"""Products before the first check, between checks, and at most: a convention."""
_RESIDUAL = 1e-4
"""Residual of the eigenvector, over the eigenvalue, that ends the search. The error of the eigenvalue is of
the order of its square over the gap to the next one, and at most the residual."""
_BAND = 256
"""Rows that are multiplied at once: they are still in the cache when their transpose is."""


def largest_squared(matrix: torch.Tensor) -> float:
    """Return the largest eigenvalue of ``AᵀA``, the square of the largest singular value of ``A``.

    Parameters
    ----------
    matrix
        ``A``, shape ``(n, p)``, float32 or float64, finite. Products are in its dtype.
    """
    n, p = matrix.shape
    if p > _ALL_UP_TO:
        # rates that were measured: one product costs as much as a column of the Gram matrix times 28/45 of
        # its size, and with a Gram matrix the products are those of p x p
        product = gram(matrix, dtype=matrix.dtype) if p / 45 + 28 * p / n < 28 else None

        def multiply(vector: torch.Tensor) -> torch.Tensor:
            return _multiplied(matrix, vector) if product is None else product @ vector

        top = _largest(multiply, matrix.new_empty(p))
        if top is not None:
            return top
    return float(eigenvalues(gram(matrix, dtype=matrix.dtype))[-1])


def _multiplied(matrix: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    total = torch.zeros_like(vector)
    for first in range(0, len(matrix), _BAND):
        band = matrix[first : first + _BAND]
        total.addmv_(band.T, band @ vector)
    return total


def _largest(multiply: Callable[[torch.Tensor], torch.Tensor], like: torch.Tensor) -> float | None:
    """Return the largest eigenvalue of a positive operator, or ``None`` if it does not converge."""
    size = len(like)
    most = min(_MOST_STEPS, size)
    # a fixed start: it need only not be orthogonal to the top, and then no generator is spent
    start = torch.randn(size, dtype=torch.float64, generator=torch.Generator().manual_seed(size)).to(like)
    basis = like.new_empty(most, size)
    basis[0] = start / torch.linalg.vector_norm(start)
    diagonal, beside = [], []
    for step in range(1, most + 1):
        known = basis[:step]
        vector = multiply(known[-1])
        inner = known @ vector
        vector = torch.addmv(vector, known.T, inner, alpha=-1)
        vector = torch.addmv(vector, known.T, known @ vector, alpha=-1)  # what rounding left
        length = torch.linalg.vector_norm(vector)
        diagonal.append(inner[-1])
        beside.append(length)
        if step >= _LEAST_STEPS and step % _MORE_STEPS == 0:
            entries = torch.stack(diagonal + beside).double().cpu()
            tridiagonal = torch.diag(entries[:step]) + torch.diag(entries[step:-1], -1)
            values, vectors = torch.linalg.eigh(tridiagonal)
            if float(entries[-1] * vectors[-1, -1].abs()) <= _RESIDUAL * float(values[-1]):
                return float(values[-1])
        if step < most:
            basis[step] = vector / length.clamp(min=torch.finfo(like.dtype).tiny)
    return None
