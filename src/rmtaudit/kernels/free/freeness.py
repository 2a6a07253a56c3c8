"""Whether a symmetric matrix is free of its coordinates, as decompression assumes: a level and two effects.

The level is a p-value: it says whether a departure is there, not whether it matters. Trained layers depart
nearly always, and some of them are still predicted well. The effects say how far a prediction may go: what
nested blocks miss grows with the square of the factor, and what a diagonal that varies adds grows with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from scipy import fft, stats

LEVEL = 0.05
"""Departures that are not significant at this level do not limit the factor."""
_EXCESS, _SHARE, _RANK_SHARE = 0.16, 0.3, 0.24
"""Chosen on blocks of trained layers. Limits chosen with one series of models left out at a time still passed
blocks of that series that were predicted badly: a block that passes need not be predicted well, and
``benchmarks/adversaries.py --kinds layer`` measures how often it is.
"""
_DRAWS = 4
"""A convention: blocks drawn of the matrix, and of its rotation, for each test."""
_ROUNDS = 2
"""A convention: random signs and cosine transforms in turn."""
_SMALLEST = 8
"""A convention: the least order whose halves and quarters have a spectrum."""


class RankTest(NamedTuple):
    """The rank statistic and its two-sided p-value."""

    statistic: float
    p_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FreenessEvidence:
    """What a block shows about the freeness of the matrix from its coordinates.

    Attributes
    ----------
    size
        Order of the block.
    p_value
        Of :func:`rank_statistic`.
    distance
        Kolmogorov-Smirnov distance between pooled nested blocks and those of rotated copies of the block,
        at the worse of the orders ``n/2`` and ``n/4``.
    chance
        The same distance between two pools of rotated copies.
    diagonal_share
        Variance of the diagonal over the variance of the spectrum: ``2/(n + 2)`` on average if free.
    rank_share
        The same of the matrix whose eigenvalues are replaced by their ranks: a few large eigenvalues, which
        hold most of the variance, do not hide the rest.
    """

    size: int
    p_value: float
    distance: float
    chance: float
    diagonal_share: float
    rank_share: float = 0.0

    @property
    def excess(self) -> float:
        """The distance beyond chance, not negative."""
        return max(0.0, self.distance - self.chance)

    @property
    def rejected(self) -> bool:
        """Whether the departure from freeness is significant at :data:`LEVEL`."""
        return self.p_value < LEVEL

    @property
    def largest_factor(self) -> float:
        """The largest factor of decompression that the effects allow; infinite without a departure."""
        return largest_factor(self) if self.rejected else math.inf


def largest_factor(evidence: FreenessEvidence) -> float:
    """Return the largest factor at which a departure of this size is tolerable, whatever its p-value.

    A factor ``α`` is allowed where ``excess α² <= 0.16``, ``diagonal_share α <= 0.3`` and ``rank_share α <=
    0.24``, with the shares beyond those of a free matrix. None alone is enough: the diagonal of a Laplacian
    does not vary, nested blocks show less than a larger factor does, and outliers hide a share of the rest.
    """
    by_excess = math.sqrt(_EXCESS / evidence.excess) if evidence.excess > 0 else math.inf
    by_shares = [
        limit / (share - 2 / (evidence.size + 2)) if share > 2 / (evidence.size + 2) else math.inf
        for share, limit in ((evidence.diagonal_share, _SHARE), (evidence.rank_share, _RANK_SHARE))
    ]
    return min(by_excess, *by_shares)


def rank_statistic(eigenvectors: torch.Tensor, eigenvalues: torch.Tensor) -> RankTest:
    """Test whether eigenvectors are uniform on the orthogonal group, by the diagonal of a function of ranks.

    With the standardised ranks ``f_k`` of the eigenvalues, ``d_i = Σ_k f_k V_ik²`` is the diagonal of
    ``f(A)``. For uniform ``V`` its variance is ``2/(n + 2)`` exactly, and ``S = (n - 1)/n · (n + 2)/2 ·
    Σ d_i²`` follows ``χ²`` with ``n - 1`` degrees of freedom closely: at 5 % each tail rejects 3.7 to 5.8 %
    for n from 32 to 600. Both tails count: a diagonal that varies makes it large, a translation-invariant
    matrix makes it small.

    Parameters
    ----------
    eigenvectors
        Shape ``(n, n)``, float64: one eigenvector a column.
    eigenvalues
        Shape ``(n,)``, float64, in the order of the columns. Values that agree up to rounding share a rank,
        because their eigenvectors are arbitrary.

    Returns
    -------
    RankTest
        ``S`` and its two-sided p-value; ``n - 1`` and 1 where all eigenvalues agree.

    Raises
    ------
    ValueError
        If the shapes disagree.
    """
    n = len(eigenvalues)
    if eigenvectors.shape != (n, n):
        raise ValueError(
            f"{n} eigenvalues do not belong to eigenvectors of shape {tuple(eigenvectors.shape)}"
        )
    scores = _standardised_ranks(eigenvalues)
    if scores is None:
        return RankTest(float(n - 1), 1.0)
    diagonal = (eigenvectors.double() ** 2) @ scores
    statistic = float((diagonal**2).sum()) * (n + 2) * (n - 1) / (2 * n)
    tail = min(float(stats.chi2.sf(statistic, n - 1)), float(stats.chi2.cdf(statistic, n - 1)))
    return RankTest(statistic, min(1.0, 2 * tail))


def freeness_evidence(
    matrix: torch.Tensor, generator: torch.Generator, draws: int = _DRAWS
) -> FreenessEvidence:
    """Measure how far a symmetric matrix is from free of its coordinates.

    Parameters
    ----------
    matrix
        Shape ``(n, n)``, float64, symmetric, n at least 8: the block.
    generator
        Source of nested blocks and rotations, on the CPU.
    draws
        Nested blocks of each order in each pool.

    Raises
    ------
    ValueError
        If the matrix is not square or smaller than 8.

    References
    ----------
    Nica, Speicher 2006, theorem 14.10: the spectrum of a block of a free matrix. Anderson, Farrell 2014,
    *Asymptotically liberating sequences of random unitary matrices*: random signs and a fixed transform make
    a matrix free of its coordinates.
    """
    n = len(matrix)
    if matrix.shape != (n, n) or n < _SMALLEST:
        raise ValueError(f"a square matrix of order {_SMALLEST} or more is needed, not {tuple(matrix.shape)}")
    matrix = matrix.double()
    largest = float(matrix.abs().max())
    matrix = matrix / largest if largest > 0 else matrix
    values, vectors = torch.linalg.eigh(matrix)
    test = rank_statistic(vectors, values)
    del vectors
    copies = (matrix, rotated(matrix, generator), rotated(matrix, generator))
    tolerance = n * torch.finfo(torch.float64).eps * float(values.abs().max())
    worst = (-1.0, 0.0, 0.0)
    for size in (n // 2, n // 4):
        real, first, second = (_pool(copy, size, draws, generator) for copy in copies)
        distance = _distance(real, torch.cat([first, second]), 8 * tolerance)
        chance = _distance(first, second, 8 * tolerance)
        worst = max(worst, (distance - chance, distance, chance))
    variance = float(values.var(correction=0))
    # a spectrum of one point has no variance but rounding
    share = float(matrix.diagonal().var(correction=0)) / variance if variance > tolerance**2 else 0.0
    # S of the ranks is (n - 1)(n + 2)/2 where the diagonal holds all
    ranks = 2 * test.statistic / ((n - 1) * (n + 2))
    return FreenessEvidence(
        size=n,
        p_value=test.p_value,
        distance=worst[1],
        chance=worst[2],
        diagonal_share=share,
        rank_share=ranks,
    )


def rotated(matrix: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return ``Q A Qᵀ`` with ``Q`` a product of random signs and cosine transforms: free of its coordinates.

    Costs ``O(n² log n)`` where a uniform orthogonal matrix takes ``O(n³)``.

    Parameters
    ----------
    matrix
        Shape ``(n, n)``, float64, symmetric.
    generator
        Source of the signs, on the CPU.
    """
    entries = matrix.cpu().numpy()
    n = len(entries)
    for _ in range(_ROUNDS):
        signs = (2 * torch.randint(2, (n,), generator=generator) - 1).double().numpy()
        entries = fft.dctn(signs[:, None] * entries * signs, axes=(0, 1), norm="ortho")
    signs = (2 * torch.randint(2, (n,), generator=generator) - 1).double().numpy()
    out = torch.from_numpy(signs[:, None] * entries * signs).to(matrix.device)
    return (out + out.T) / 2


def _standardised_ranks(eigenvalues: torch.Tensor) -> torch.Tensor | None:
    """Return ranks with mean 0 and mean square 1, ties averaged; ``None`` where all are tied."""
    values = eigenvalues.double()
    n = len(values)
    order = values.argsort()
    ascending = values[order]
    tolerance = n * torch.finfo(torch.float64).eps * float(values.abs().max())
    group = torch.zeros(n, dtype=torch.long, device=values.device)
    group[1:] = (torch.diff(ascending) > tolerance).long().cumsum(0)
    count = torch.bincount(group).double()
    if len(count) < 2:
        return None
    last = count.cumsum(0)
    ranks = torch.empty_like(values)
    ranks[order] = (last - (count - 1) / 2)[group]
    centred = ranks - ranks.mean()
    scores: torch.Tensor = centred / (centred**2).mean().sqrt()
    return scores


def _pool(matrix: torch.Tensor, size: int, draws: int, generator: torch.Generator) -> torch.Tensor:
    """Return the eigenvalues of random principal blocks."""
    spectra = []
    for _ in range(draws):
        chosen = torch.randperm(len(matrix), generator=generator)[:size]
        spectra.append(torch.linalg.eigvalsh(matrix[chosen][:, chosen]))
    return torch.cat(spectra)


def _distance(one: torch.Tensor, other: torch.Tensor, tolerance: float) -> float:
    """Return the Kolmogorov-Smirnov distance of two samples after shifts of ``tolerance``, for rounding."""
    both = torch.cat([one, other]).sort().values
    shares = []
    for sample in (one.sort().values, other.sort().values):
        for moved in (both, both + tolerance):
            shares.append(torch.searchsorted(sample, moved, right=True).double() / len(sample))
    first, first_moved, second, second_moved = shares
    return max(0.0, float((first - second_moved).max()), float((second - first_moved).max()))
