"""A spectrum predicted from parts of itself: how smooth, of which class, and whether a simple law does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from rmtaudit.kernels.free.cumulants import cumulant_laws
from rmtaudit.kernels.free.evolution import EvolvedLaw, evolve
from rmtaudit.kernels.free.fit import SLACKS, fit_levy
from rmtaudit.kernels.free.measure import LevyMeasure

_PART, _DRAWS = 4, 3
"""A convention: quarters of the block predict it, three of them on average."""
_POINTS, _CELLS = 300, 64
"""Of the fits to quarters: finer ones chose the same smoothness for all ten samples of the log-NTK."""
_SMALLEST = 32
"""As many eigenvalues as a fit of a spectrum needs."""
_TOLERANCE = 1.25
"""The smoothest fit whose score is within this factor of the best is taken: noise grows with the factor."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What nested validation came to.

    Attributes
    ----------
    slack
        The smoothness chosen.
    score
        Its mean Wasserstein distance between the prediction from a quarter and the spectrum, in standard
        deviations of the spectrum.
    scores
        That of every slack tried.
    baselines
        That of the laws of 2, 3 and 4 free cumulants, where they exist at that factor.
    """

    slack: float
    score: float
    scores: Mapping[float, float]
    baselines: Mapping[int, float]


def choose(
    eigenvalues: torch.Tensor, *, positive: bool, index: float, generator: torch.Generator
) -> Choice | None:
    """Choose the smoothness by predicting the spectrum from random free blocks a quarter of its size.

    Nothing but the eigenvalues is needed: a block of ``QΛQᵀ`` with ``Q`` uniform is what a block of a free
    matrix would be. Returns ``None`` for fewer than 128 eigenvalues: a quarter is too little for a fit.

    Parameters
    ----------
    eigenvalues
        Shape ``(n,)``, float64.
    positive, index
        The class, as of :func:`rmtaudit.kernels.free.fit.fit_levy`.
    generator
        Source of the blocks.
    """
    values = eigenvalues.double().sort().values
    n = len(values)
    part = n // _PART
    if part < _SMALLEST:
        return None
    spread = float(values.std(correction=0))
    factor = n / part
    fits: dict[float, list[float]] = {slack: [] for slack in SLACKS}
    simple: dict[int, list[float]] = {}
    for _ in range(_DRAWS):
        block = free_block(values, part, generator)
        # the index is that of the whole: a quarter is four times further from the end
        inner = index / factor
        for fit in fit_levy(block, positive=positive, slacks=SLACKS, index=inner, cells=_CELLS):
            fits[fit.slack].append(_distance(fit.measure, factor, values) / spread)
        for order, law in cumulant_laws(block).items():
            if law.index * factor < 1:
                simple.setdefault(order, []).append(_distance(law, factor, values) / spread)
    scores = {slack: sum(misses) / len(misses) for slack, misses in fits.items()}
    best = min(scores.values())
    slack = max(slack for slack, score in scores.items() if score <= _TOLERANCE * best)
    baselines = {
        order: sum(misses) / len(misses) for order, misses in sorted(simple.items()) if len(misses) == _DRAWS
    }
    return Choice(slack, scores[slack], scores, baselines)


def free_block(eigenvalues: torch.Tensor, size: int, generator: torch.Generator) -> torch.Tensor:
    """Return the eigenvalues of a principal block of ``QΛQᵀ``, ``Q`` uniform orthogonal.

    Parameters
    ----------
    eigenvalues
        Shape ``(n,)``, float64.
    size
        Size of the block, at most ``n``.
    generator
        Source of ``Q``, on the CPU.
    """
    n = len(eigenvalues)
    noise = torch.randn(n, size, generator=generator, dtype=torch.float64).to(eigenvalues.device)
    columns = torch.linalg.qr(noise).Q
    block = torch.linalg.eigvalsh(columns.T @ (eigenvalues[:, None] * columns))
    # a matrix of less than full rank has zeros that rounding hides
    rounding = 1e-13 * n * float(eigenvalues.abs().max())
    return torch.where(block.abs() <= rounding, 0.0, block)


def ks_distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """Return the largest difference of the distribution functions of two samples."""
    both = torch.cat([one, other])
    first = torch.searchsorted(one.sort().values, both, right=True).double() / len(one)
    second = torch.searchsorted(other.sort().values, both, right=True).double() / len(other)
    return float((first - second).abs().max())


@dataclass(frozen=True, slots=True)
class Freeness:
    """Real nested blocks against those of a free matrix with the same spectrum.

    Attributes
    ----------
    distance
        Kolmogorov-Smirnov distance between pooled real blocks and pooled free ones, at the worse of the two
        sizes ``n/2`` and ``n/4``.
    noise
        The same distance between two pools of free blocks: what chance alone gives.
    diagonal_share
        Share of the variance of the spectrum that is the variance of the diagonal: 0 for a free matrix, up
        to ``O(1/n)``.
    """

    distance: float
    noise: float
    diagonal_share: float

    @property
    def free(self) -> bool:
        """Whether the matrix passes: three times the noise and half a percent, and a share below a fifth."""
        return self.distance <= 3 * self.noise + 0.005 and self.diagonal_share < 0.2


def freeness(matrix: torch.Tensor, generator: torch.Generator, draws: int = 4) -> Freeness:
    """Test whether a symmetric matrix is free from its coordinate projections, as decompression assumes.

    Parameters
    ----------
    matrix
        Shape ``(n, n)``, symmetric, float64.
    generator
        Source of the blocks.
    draws
        Blocks of each size in each pool.

    References
    ----------
    Nica, Speicher 2006, theorem 14.10: the spectrum of the block of a free matrix.
    """
    matrix = matrix.double()
    n = len(matrix)
    eigenvalues = torch.linalg.eigvalsh(matrix)
    worst = (-1.0, 0.0, 0.0)
    for size in (n // 2, n // 4):
        pools: tuple[list[torch.Tensor], ...] = ([], [], [])
        for _ in range(draws):
            chosen = torch.randperm(n, generator=generator)[:size]
            pools[0].append(torch.linalg.eigvalsh(matrix[chosen][:, chosen]))
            pools[1].append(free_block(eigenvalues, size, generator))
            pools[2].append(free_block(eigenvalues, size, generator))
        real, first, second = (torch.cat(pool) for pool in pools)
        distance, noise = ks_distance(real, torch.cat([first, second])), ks_distance(first, second)
        worst = max(worst, (distance - 3 * noise, distance, noise))
    variance = float(eigenvalues.var(correction=0))
    share = float(matrix.diagonal().var(correction=0)) / variance if variance > 0 else 0.0
    return Freeness(worst[1], worst[2], share)


def wasserstein(law: EvolvedLaw, ascending: torch.Tensor) -> float:
    """Return the Wasserstein distance between a law and an ascending sample, by quantiles."""
    return float((law.quantiles(len(ascending)) - ascending).abs().mean())


def _distance(measure: LevyMeasure, factor: float, ascending: torch.Tensor) -> float:
    return wasserstein(evolve(measure, factor, _POINTS), ascending)
