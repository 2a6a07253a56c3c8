"""Spectra of randomised layers: what the entries do once their arrangement or their signs are lost."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from rmtaudit.kernels.noise.largest import largest_squared
from rmtaudit.kernels.noise.marchenko_pastur import fit_bulk
from rmtaudit.kernels.noise.shuffle import shuffled
from rmtaudit.kernels.noise.sign_flip import flipped, working_dtype
from rmtaudit.kernels.noise.table import LEAST_P
from rmtaudit.kernels.noise.tracy_widom import sf, soft_edge
from rmtaudit.kernels.spectra.gram import eigenvalues, gram, row_bands, tall

_RANGE = 1e-15, 1e15
"""Largest entries between which fourth powers stay in float32."""
_DOMINANT = 100.0
"""Square of the largest entry over the edge of noise, from which float32 is too coarse for the bulk."""
_INSIDE, _LIGHT = 1.0, 0.5
"""Where no eigenvalue is more Tracy-Widom widths above the edge than the first, and the fourth moment moves
the scale of the bulk by no more widths than the second, there is no outlier: those are beyond 3.3 widths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Randomised:
    """The spectrum of a shuffled layer against noise.

    Attributes
    ----------
    ratio
        Largest eigenvalue over the edge ``σ²(√n + √p)²``, with ``σ²`` the variance of the entries.
    p_value
        Tracy-Widom chance of a largest eigenvalue as large, for light-tailed entries.
    outliers
        Eigenvalues beyond the edge of the bulk fitted to the shuffled spectrum.
    mean, variance
        Of the entries, in weight units and their square.
    """

    ratio: float
    p_value: float
    outliers: int
    mean: float
    variance: float


def randomised_by_shuffle(matrix: torch.Tensor, generator: torch.Generator) -> Randomised:
    """Shuffle the entries of a matrix and compare the largest eigenvalue with the edge of noise.

    The mean of the entries is taken off first: it would be a direction of its own that a shuffle keeps.

    Parameters
    ----------
    matrix
        Shape ``(rows, cols)``, floating, finite, on any device. Not changed.
    generator
        On the CPU.

    Raises
    ------
    ArithmeticError
        If all entries are equal, or most of them are, so that the shuffled spectrum has no bulk.

    References
    ----------
    Martin, Mahoney, *Implicit self-regularization in deep neural networks*, JMLR 22 (2021), section 5, for
    the shuffle as a check; Johnstone 2001 for the law of the largest eigenvalue.
    """
    long = tall(matrix)
    n, p = long.shape
    low, high = (float(bound) for bound in torch.aminmax(matrix))
    moderate = _RANGE[0] < max(-low, high) < _RANGE[1]
    dealt = shuffled(long, generator).to(working_dtype(matrix) if moderate else torch.float64)
    mean = _take_off_mean(dealt)
    largest = max(high - mean, mean - low)
    if not largest > abs(mean) * 1e-7:
        raise ArithmeticError("all entries are equal: a shuffle changes nothing")
    variance, fourth = _even_moments(dealt.mul_(1 / largest))
    centre, width = soft_edge(n, p)
    light = fourth <= _LIGHT * (n + p) * width / centre * variance**2
    top = largest_squared(dealt) / variance if light else math.inf
    outliers = 0
    if top > centre + _INSIDE * width:
        exact = _DOMINANT * variance * centre < 1
        values = eigenvalues(gram(dealt, dtype=torch.float64 if exact else dealt.dtype))
        top, outliers = float(values[-1]) / variance, fit_bulk(values, n, p).spikes
    return Randomised(
        ratio=top / (math.sqrt(n) + math.sqrt(p)) ** 2,
        p_value=max(LEAST_P, sf((top - centre) / width)),
        outliers=outliers,
        mean=mean,
        variance=variance * largest * largest,
    )


def _take_off_mean(matrix: torch.Tensor) -> float:
    """Subtract the mean of the entries in place, in two steps of which the second mends the rounding."""
    mean = 0.0
    for _ in range(2):
        step = float(matrix.mean(1).to(torch.float64).mean().to(matrix.dtype))
        matrix.sub_(step)
        mean += step
    return mean


def _even_moments(matrix: torch.Tensor) -> tuple[float, float]:
    """Return the means of the squares and of the fourth powers of the entries."""
    second, fourth = 0.0, 0.0
    for band in row_bands(matrix.shape):
        squares = matrix[band].square()
        second += float(squares.sum(1).double().sum())
        fourth += float(squares.square_().sum(1).double().sum())
    return second / matrix.numel(), fourth / matrix.numel()


def randomised_by_signs(matrix: torch.Tensor, generator: torch.Generator) -> float:
    """Return the largest eigenvalue with random signs over the edge of noise of the same mean square.

    Every entry stays where it is. (Flipping whole rows and columns would change no eigenvalue.) About 1 where
    rows and columns are even; above it where a few of them are large, or a few entries are.

    Parameters
    ----------
    matrix, generator
        As for :func:`randomised_by_shuffle`; not all zero.
    """
    long = tall(matrix)
    n, p = long.shape
    unit = 1 / max(abs(float(bound)) for bound in torch.aminmax(matrix))
    signed = flipped(long, unit, generator)
    mean_square, _ = _even_moments(signed)
    return largest_squared(signed) / (mean_square * (math.sqrt(n) + math.sqrt(p)) ** 2)
