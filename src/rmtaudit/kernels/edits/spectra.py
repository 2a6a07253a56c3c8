"""Truncation and pruning of a weight, and how far an edit takes it."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Distortion:
    """How far an edited weight is from the weight.

    Attributes
    ----------
    relative_error
        Frobenius norm of the difference over that of the weight.
    spectral_error
        Largest singular value of the difference over that of the weight.
    kept
        Share of the singular directions of the weight that still stand out of the difference: those with a
        singular value above its largest one. 1 without a difference.
    """

    relative_error: float
    spectral_error: float
    kept: float


def distortion(weight: torch.Tensor, edited: torch.Tensor) -> Distortion:
    """Return how far an edit takes a weight. The share kept takes the edit's error for noise.

    Parameters
    ----------
    weight, edited
        Shape ``(rows, cols)``, real floating dtype, finite.
    """
    W, E = weight.double(), edited.double() - weight.double()
    size = float(W.norm())
    if size == 0:
        return Distortion(relative_error=0.0, spectral_error=0.0, kept=1.0)
    values = torch.linalg.eigvalsh(_gram(W)).clamp(min=0).sqrt()
    largest = float(torch.linalg.eigvalsh(_gram(E))[-1].clamp(min=0).sqrt())
    resolved = values > max(W.shape) * 2.0**-52 * float(values[-1])
    kept = float((values > largest)[resolved].double().mean()) if largest else 1.0
    return Distortion(
        relative_error=float(E.norm()) / size, spectral_error=largest / float(values[-1]), kept=kept
    )


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


def _gram(matrix: torch.Tensor) -> torch.Tensor:
    return matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
