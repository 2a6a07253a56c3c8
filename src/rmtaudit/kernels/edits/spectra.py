"""Truncation and pruning of a weight."""

from __future__ import annotations

import torch


def truncated(weight: torch.Tensor, *, rank: int | None = None, energy: float | None = None) -> torch.Tensor:
    """Return a weight with its largest singular values alone: ``rank`` of them, or a share of their squares.

    Parameters
    ----------
    weight
        Shape ``(rows, cols)``, real floating dtype, finite.
    rank, energy
        One of the two: a number of at least 1, or a share above 0 and at most 1.
    """
    U, S, Vh = torch.linalg.svd(weight.double(), full_matrices=False)
    if rank is None:
        shares = S.square().cumsum(0) / S.square().sum().clamp(min=torch.finfo(torch.float64).tiny)
        rank = int((shares < (1.0 if energy is None else energy)).sum()) + 1
    kept: torch.Tensor = (U[:, :rank] * S[:rank]) @ Vh[:rank]
    return kept


def pruned(weight: torch.Tensor, share: float) -> torch.Tensor:
    """Return a weight with a share of its entries, the smallest, set to 0."""
    count = int(share * weight.numel())
    if count == 0:
        return weight
    order = weight.abs().reshape(-1).argsort(stable=True)
    flat = weight.reshape(-1).clone()
    flat[order[:count]] = 0
    return flat.reshape(weight.shape)
