"""How many directions must have been added to noise, whatever the bulk looks like: a lower bound."""

from __future__ import annotations

import torch

from rmtaudit.kernels.noise.sign_flip import flipped_gram, largest_eigenvalue
from rmtaudit.kernels.noise.tracy_widom import MEAN, soft_edge, upper_quantile
from rmtaudit.kernels.noise.variance_profile import Profile
from rmtaudit.kernels.spectra.gram import row_blocks

_CONCENTRATED = 0.1
"""Squared entry over the edge from which random signs are drawn to find it. Of 108 layers of eight trained
models with shares up to 0.11, the largest eigenvalues under random signs lie 2.1 widths below the edge on
average, where the Tracy-Widom law has 1.2, and 1.8 above it at most (``benchmarks/spike_bound.py``)."""

_LEVELS = 1e-100, 1 - 1e-12
"""Levels that the Tracy-Widom quantile is known for."""


def least_spikes(
    matrix: torch.Tensor,
    profile: Profile,
    equalised: torch.Tensor,
    *,
    level: float,
    draws: int,
    generator: torch.Generator,
) -> int:
    """Return the least rank of what was added to independent symmetric noise to make ``matrix``.

    If ``W = S + N`` and ``S`` has rank ``r``, the eigenvalue ``r + 1`` of ``WᵀW`` is at most the largest of
    ``NᵀN`` (Weyl), and ``W`` under random signs has at least as much variance in every row and column as
    ``N``. Once the squared entries have mean 1 in every row and column, its edge is that of Marchenko and
    Pastur, whatever the profile, unless single entries outweigh it: then random signs are drawn.
    The eigenvalues above that edge are counted.

    Parameters
    ----------
    matrix
        ``W``, shape ``(n, p)`` with ``n >= p``, floating, finite.
    profile
        Its scales, from :func:`~rmtaudit.kernels.noise.variance_profile.sinkhorn`.
    equalised
        Eigenvalues of ``ŴᵀŴ`` for the scaled matrix, shape ``(p,)``, float64, ascending.
    level
        Maximum probability that the count exceeds the rank.
    draws
        Matrices with random signs to draw, at least 1, where that is needed.
    generator
        On the CPU.

    References
    ----------
    Hong, Sheng, Dobriban, *Selecting the number of components in PCA via random signflips*, 2020; Landa,
    Zhang, Kluger 2022, theorem 1 (the edge of an even variance profile); Johnstone 2001 (its fluctuation).
    """
    n, p = max(profile.support), min(profile.support)
    values = equalised[-p:]
    variance = float(values.sum()) / (n * p)
    centre, width = soft_edge(n, p)
    if largest_square(matrix, profile) / variance > _CONCENTRATED * centre:
        tops = [largest_eigenvalue(flipped_gram(matrix, profile, generator)) / variance for _ in range(draws)]
        centre = max(centre, max(tops) - MEAN * width)
    reach = upper_quantile(min(max(level, _LEVELS[0]), _LEVELS[1]))
    return int((values / variance > centre + width * reach).sum())


def largest_square(matrix: torch.Tensor, profile: Profile) -> float:
    """Return the largest squared entry of the equalised matrix."""
    return max(
        float(block.mul_(profile.rows[band, None]).mul_(profile.cols).abs().max()) ** 2
        for band, block in row_blocks(matrix)
    )
