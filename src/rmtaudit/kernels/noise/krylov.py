"""How many eigenvalues of a large Gram matrix exceed a number, from products with a few vectors."""

from __future__ import annotations

from collections.abc import Callable

import torch

_BLOCK = 64
"""Columns of a product: fewer leave the arithmetic units waiting for memory."""
_CONVERGED = 0.05
"""Residual of a Ritz pair, over the threshold, at which all eigenvalues above it are taken for found."""
_SHARE = 4
"""The subspace grows to this part of the size at most; then other methods cost less."""
_RANDOM_SEED = 64
_ROUNDING = 32.0
"""Distance of a Ritz value to the threshold that rounding may bridge, in unit roundoffs of the largest."""


def largest_count(
    multiply: Callable[[torch.Tensor], torch.Tensor],
    like: torch.Tensor,
    threshold: float,
    *,
    expected: int,
) -> int | None:
    """Return the number of eigenvalues above a threshold, or ``None`` if they are too many or too near to it.

    Block Lanczos with full orthogonalisation. Ritz values never exceed the eigenvalues of the same rank, so
    the number is a lower bound whatever the start; it is returned once the largest Ritz value below the
    threshold stays below it with its residual, and all above have converged.

    Parameters
    ----------
    multiply
        From vectors, shape ``(p, b)``, to their products with a symmetric non-negative matrix.
    like
        Any tensor of the dtype and on the device to work on; its last dimension is ``p``.
    threshold
        Positive.
    expected
        A guess at the number: nothing is concluded from a subspace that is hardly larger.

    References
    ----------
    Golub, Underwood, *The block Lanczos method for computing eigenvalues*, 1977; Parlett, *The symmetric
    eigenvalue problem*, 1998, theorem 11.5.1 (residual bound) and section 10.1 (interlacing).
    """
    size = like.shape[-1]
    most = size // _SHARE
    least = expected + expected // 4 + _BLOCK
    if least > most:
        return None
    start = torch.randn(size, _BLOCK, generator=torch.Generator().manual_seed(_RANDOM_SEED))
    basis = torch.empty(size, most + _BLOCK, dtype=like.dtype, device=like.device)
    projected = torch.zeros(most + _BLOCK, most + _BLOCK, dtype=torch.float64)
    new = torch.linalg.qr(start.to(like)).Q
    for begin in range(0, most, _BLOCK):
        end = begin + _BLOCK
        basis[:, begin:end] = new
        known = basis[:, :end]
        product = multiply(new)
        parts = known.T @ product
        rest = product - known @ parts
        again = known.T @ rest  # a second pass removes what rounding left
        new, coupling = torch.linalg.qr(rest - known @ again)
        projected[:end, begin:end] = (parts + again).double().cpu()
        if end < least:
            continue
        count = _settled(projected[:end, :end], coupling.double().cpu(), threshold, like.dtype)
        if count is not None:
            return count
    return None


def _settled(
    projected: torch.Tensor, coupling: torch.Tensor, threshold: float, dtype: torch.dtype
) -> int | None:
    """Return the number of Ritz values above the threshold, if no other can still rise above it."""
    values, vectors = torch.linalg.eigh(projected, UPLO="U")
    values, vectors = values.flip(0), vectors.flip(1)
    rounding = _ROUNDING * torch.finfo(dtype).eps / 2 * float(values[0])
    count = int((values > threshold).sum())
    if count + 1 >= len(values) or float((values - threshold).abs().min()) < rounding:
        return None
    residuals = torch.linalg.vector_norm(coupling @ vectors[-len(coupling) :, : count + 1], dim=0)
    below = float(values[count] + residuals[count])
    if below >= threshold or float(residuals.max()) > _CONVERGED * threshold:
        return None
    return count
