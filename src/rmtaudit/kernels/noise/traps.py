"""Spectra of randomised layers: what the entries do once their arrangement or their signs are lost."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from rmtaudit.kernels.noise.marchenko_pastur import fit_bulk
from rmtaudit.kernels.noise.shuffle import shuffled
from rmtaudit.kernels.noise.sign_flip import flipped_gram, largest_eigenvalue
from rmtaudit.kernels.noise.table import LEAST_P
from rmtaudit.kernels.noise.tracy_widom import sf, soft_edge
from rmtaudit.kernels.noise.variance_profile import Profile
from rmtaudit.kernels.spectra.gram import eigenvalues, gram, tall


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
    mean = float(matrix.mean(dtype=torch.float64))
    largest = max(abs(float(bound) - mean) for bound in torch.aminmax(matrix))
    if not largest > abs(mean) * 1e-7:
        raise ArithmeticError("all entries are equal: a shuffle changes nothing")
    unit = 1 / largest
    values = eigenvalues(gram(shuffled(long, generator), lambda block, _band: block.sub_(mean).mul_(unit)))
    variance = float(values.sum()) / (n * p)
    centre, width = soft_edge(n, p)
    top = float(values[-1]) / variance
    return Randomised(
        ratio=top / (math.sqrt(n) + math.sqrt(p)) ** 2,
        p_value=max(LEAST_P, sf((top - centre) / width)),
        outliers=fit_bulk(values, n, p).spikes,
        mean=mean,
        variance=variance * largest * largest,
    )


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
    unit = 1 / float(matrix.abs().max())
    flat = Profile(
        torch.full((n,), unit, dtype=torch.float64, device=long.device),
        torch.ones(p, dtype=torch.float64, device=long.device),
    )
    product = flipped_gram(long, flat, generator).double()
    mean_square = float(product.trace()) / (n * p)
    return largest_eigenvalue(product) / (mean_square * (math.sqrt(n) + math.sqrt(p)) ** 2)
