"""Spectra of matrices whose entries were shuffled, and how far a spectrum is from one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from rmtaudit.kernels.spectra.eigenvalues import gram_eigenvalues

if TYPE_CHECKING:
    from collections.abc import Iterable


def shuffled_eigenvalues(
    matrices: Iterable[torch.Tensor], factor: float, generator: torch.Generator
) -> torch.Tensor:
    """Return the eigenvalues of ``WᵀW``, times ``factor``, of each ``W`` with its entries permuted at random.

    Parameters
    ----------
    matrices
        Each 2-D, floating, on any device. Not changed.
    factor
        As in :func:`rmtaudit.kernels.ww.scale.combined_eigenvalues`.
    generator
        On the CPU, so that the numbers do not depend on the device of the matrices.

    Returns
    -------
    torch.Tensor
        Shape ``(n,)``, float64, ascending, in (weight units)².
    """
    spectra = [gram_eigenvalues(_shuffle(matrix, generator)).eigenvalues for matrix in matrices]
    return torch.cat(spectra).sort().values * factor


def jensen_shannon_distance(first: torch.Tensor, second: torch.Tensor) -> float:
    """Return ``sqrt((KL(p|m) + KL(q|m))/2)`` of two ascending spectra of equal length, each scaled to sum 1.

    The peer's definition: a distance between sorted eigenvalues taken as probabilities by rank, with ``m``
    the normalised sum of the *unscaled* spectra; not a distance between densities, and ``m`` is the mean of
    ``p`` and ``q`` only for spectra of one sum.
    """
    p, q, m = (values / values.sum() for values in (first, second, first + second))
    divergence = (torch.xlogy(p, p / m).nansum() + torch.xlogy(q, q / m).nansum()) / 2
    return math.sqrt(max(0.0, float(divergence)))


def _shuffle(matrix: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    # int32 halves the memory of the permutation, which is larger than the matrix
    small = matrix.numel() <= torch.iinfo(torch.int32).max
    order = torch.randperm(matrix.numel(), generator=generator, dtype=torch.int32 if small else torch.int64)
    flat = matrix.detach().reshape(-1)
    return flat.index_select(0, order.to(flat.device)).reshape(matrix.shape)
