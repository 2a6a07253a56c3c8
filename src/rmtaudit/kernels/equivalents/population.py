"""The spectrum of a population covariance: a discrete law on the half-line."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Population:
    """A law of finitely many eigenvalues.

    Attributes
    ----------
    values
        Shape ``(k,)``, float64, ascending, distinct, not negative, at least one above 0.
    weights
        Shape ``(k,)``, float64, positive; they sum to 1.
    """

    values: torch.Tensor
    weights: torch.Tensor

    @property
    def mean(self) -> float:
        """The mean eigenvalue."""
        return float(self.values @ self.weights)

    def affine(self, factor: float, offset: float) -> Population:
        """Return the law of ``factor * t + offset``, for a factor and an offset that are not negative."""
        return population(factor * self.values + offset, self.weights)


def population(eigenvalues: torch.Tensor, weights: torch.Tensor | None = None) -> Population:
    """Return the law of eigenvalues: equal ones are merged, and weights are scaled to sum to 1.

    Parameters
    ----------
    eigenvalues
        Shape ``(k,)``, not negative, finite, at least one above 0.
    weights
        Shape ``(k,)``, not negative, not all 0; equal where ``None``.

    Raises
    ------
    ValueError
        For other eigenvalues or weights.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import equivalents
    >>> law = equivalents.population(torch.tensor([3.0, 1.0, 3.0, 1.0]))
    >>> law.values.tolist(), law.weights.tolist()
    ([1.0, 3.0], [0.5, 0.5])
    """
    values = eigenvalues.double()
    shares = torch.ones_like(values) if weights is None else weights.double()
    if values.ndim != 1 or not len(values) or values.shape != shares.shape:
        raise ValueError("eigenvalues and weights must be lists of the same length, at least 1")
    if not bool((values >= 0).all() and (values < torch.inf).all() and (values > 0).any()):
        raise ValueError("eigenvalues must be finite and not negative, and one must be above 0")
    if not bool((shares >= 0).all() and (0 < shares.sum() < torch.inf)):
        raise ValueError("weights must be finite and not negative, and one must be above 0")
    distinct, index = torch.unique(values, return_inverse=True)
    merged = torch.zeros_like(distinct).index_add_(0, index, shares / shares.sum())
    return Population(distinct[merged > 0], merged[merged > 0])
