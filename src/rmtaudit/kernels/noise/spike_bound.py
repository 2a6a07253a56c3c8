"""How large the eigenvalues of noise can be, whatever its bulk looks like: what lies above is signal."""

from __future__ import annotations

import torch

from rmtaudit.kernels.noise.sign_flip import EdgeTest, flipped_gram, largest_eigenvalue, working_dtype
from rmtaudit.kernels.noise.tracy_widom import MEAN, sf, soft_edge, upper_quantile
from rmtaudit.kernels.noise.variance_profile import Profile
from rmtaudit.kernels.spectra.gram import row_blocks

_CONCENTRATED = 0.1
"""Squared entry over the edge from which random signs are drawn to find it. Of 108 layers of eight trained
models with shares up to 0.11, the largest eigenvalues under random signs lie 2.1 widths below the edge on
average, where the Tracy-Widom law has 1.2, and 1.8 above it at most (``benchmarks/spike_bound.py``)."""

_LEVELS = 1e-100, 1 - 1e-12
"""Levels that the Tracy-Widom quantile is known for."""


def noise_ceiling(
    matrix: torch.Tensor, profile: Profile, *, level: float, draws: int, generator: torch.Generator
) -> float:
    """Return what no eigenvalue of ``ŴᵀŴ`` exceeds where ``W`` is independent symmetric noise.

    If ``W = S + N`` and ``S`` has rank ``r``, the eigenvalue ``r + 1`` of ``WᵀW`` is at most the largest of
    ``NᵀN`` (Weyl), and ``W`` under random signs has at least as much variance in every row and column as
    ``N``. Once the squared entries have mean 1 in every row and column, its edge is that of Marchenko and
    Pastur, whatever the profile, unless single entries outweigh it: then random signs are drawn. So the
    number of eigenvalues above is a lower bound of the rank of what was added to the noise.

    Parameters
    ----------
    matrix
        ``W``, shape ``(n, p)`` with ``n >= p``, floating, finite.
    profile
        Its scales, from :func:`~rmtaudit.kernels.noise.variance_profile.sinkhorn`.
    level
        Maximum probability that the number exceeds the rank.
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
    largest, total = equalised_squares(matrix, profile)
    variance = total / (n * p)
    centre, width = soft_edge(n, p)
    if largest / variance > _CONCENTRATED * centre:
        for _ in range(draws):
            product = flipped_gram(matrix, profile, generator)
            # most draws stay below, and to know that costs a tenth of their largest eigenvalue
            if not _is_below(product, variance * (centre + MEAN * width)):
                centre = max(centre, largest_eigenvalue(product) / variance - MEAN * width)
    reach = upper_quantile(min(max(level, _LEVELS[0]), _LEVELS[1]))
    return variance * (centre + width * reach)


def _is_below(symmetric: torch.Tensor, bound: float) -> bool:
    """Return whether all eigenvalues of a matrix lie below a bound: whether what is missing has a root."""
    rest = -symmetric
    rest.diagonal().add_(bound)
    return int(torch.linalg.cholesky_ex(rest).info) == 0


def edge_without_draws(matrix: torch.Tensor, profile: Profile, largest: float) -> EdgeTest | None:
    """Return the test of the largest eigenvalue by the law of the edge alone, where it is clearly inside.

    That is at most at the edge, which 17 % of noise exceeds, and no entry outweighs the rest. Random signs
    would find no less than about 1 %. ``None``: they have to be drawn.

    Parameters
    ----------
    matrix, profile
        As for :func:`noise_ceiling`.
    largest
        The largest eigenvalue of ``ŴᵀŴ``.
    """
    n, p = max(profile.support), min(profile.support)
    entry, total = equalised_squares(matrix, profile)
    variance = total / (n * p)
    centre, width = soft_edge(n, p)
    if largest > variance * centre or entry / variance > _CONCENTRATED * centre:
        return None
    return EdgeTest(largest, (), 1.0, sf((largest / variance - centre) / width))


def equalised_squares(matrix: torch.Tensor, profile: Profile) -> tuple[float, float]:
    """Return the largest squared entry of the equalised matrix, and the sum of all."""
    dtype = working_dtype(matrix)
    rows, cols = profile.rows.to(dtype), profile.cols.to(dtype)
    largest, total = 0.0, 0.0
    for band, block in row_blocks(matrix, dtype):
        block.mul_(rows[band, None]).mul_(cols)
        low, high = (float(bound) for bound in torch.aminmax(block))
        largest = max(largest, low * low, high * high)
        total += float(torch.linalg.vector_norm(block, dtype=torch.float64)) ** 2
    return largest, total
