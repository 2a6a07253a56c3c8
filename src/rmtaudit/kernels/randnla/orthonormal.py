"""Growing an orthonormal basis by blocks, without taking rounding for new directions."""

from __future__ import annotations

import torch


def beyond(basis: torch.Tensor, block: torch.Tensor, floor: float) -> torch.Tensor:
    """Return orthonormal columns that span what a block has beyond a basis.

    Parameters
    ----------
    basis
        Orthonormal columns, shape ``(n, k)``; k may be 0.
    block
        Shape ``(n, b)``, float64.
    floor
        Directions of the remainder that are no longer than this are rounding, and are dropped: normalised,
        they would not be orthogonal to the basis.

    Returns
    -------
    torch.Tensor
        Shape ``(n, c)``, c from 0 to the smaller of b and ``n - k``.
    """
    rest = block
    for _ in range(2):
        rest = rest - basis @ (basis.T @ rest)
    orthogonal, triangle = torch.linalg.qr(rest)
    left, sizes, _ = torch.linalg.svd(triangle)
    kept = int((sizes > floor).sum())
    kept = min(kept, basis.shape[0] - basis.shape[1])
    fresh: torch.Tensor = orthogonal @ left[:, :kept]
    for _ in range(2):
        fresh = torch.linalg.qr(fresh - basis @ (basis.T @ fresh))[0]
    return fresh
