"""Random signs: what a matrix would look like if only its magnitudes meant anything.

If the entries of a layer are independent and symmetric about 0, whatever their sizes, then giving every
entry a random sign changes nothing. So a statistic can be compared with its distribution over random signs,
the magnitudes held: an exact test of noise with any variance profile and any tails.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from rmtaudit.kernels.gamma_law import gamma_two_sided
from rmtaudit.kernels.noise.tracy_widom import MEAN, STANDARD_DEVIATION, sf
from rmtaudit.kernels.noise.variance_profile import Profile
from rmtaudit.kernels.spectra.gram import eigenvalues, gram, row_blocks, squared_norm

_FULL = 640
"""Up to this size all eigenvalues are as cheap as the largest by iteration."""
_BLOCK, _DEPTH = 12, 14
"""Columns and steps of the block Krylov space in which the largest eigenvalue is sought: a convention."""
_BAND = 256
"""Rows that are multiplied at once."""

_SKETCH_FROM = 1536
"""Columns from which the standard deviation over random signs is estimated where that is exact enough."""
_PROBES, _STANDARD_ERRORS, _SKETCH_ERROR = 64, 4.0, 3e-4
"""Random vectors, and the relative error of the variance that this many standard errors may reach. On
12 layers of sides from 1600 to 4096 the error was 8e-5 at most. The error of ``z`` is half of it."""


@dataclass(frozen=True, slots=True)
class RectangleTest:
    """How much the columns of a matrix agree with each other, beyond what random signs give.

    Attributes
    ----------
    z
        ``Σ_{i<j} (wᵢ·wⱼ)²`` less its mean, over its standard deviation, both exact over random signs.
    p_value
        Two-sided, by a gamma law with the statistic's skewness. A large positive ``z`` is structure; a large
        negative one is columns more orthogonal than noise, which is no noise either.
    """

    z: float
    p_value: float


@dataclass(frozen=True, slots=True)
class EdgeTest:
    """The largest eigenvalue against the largest ones under random signs.

    Attributes
    ----------
    largest
        Of ``ŴᵀŴ``.
    draws
        The largest eigenvalue under each draw of signs; none where the law of the edge is enough.
    p_exact
        Randomisation p-value ``(1 + #{draws >= largest})/(1 + #draws)``; never below ``1/(1 + #draws)``.
    p_value
        The same continued: the draws' mean locates a Tracy-Widom law of the known width.
    """

    largest: float
    draws: tuple[float, ...]
    p_exact: float
    p_value: float


def rectangle_test(matrix: torch.Tensor, profile: Profile, product: torch.Tensor) -> RectangleTest:
    r"""Test ``Ŵ`` for any dependence between its entries' signs.

    The centred statistic is twice the sum, over all ``2 x 2`` minors ``(i, j; k, l)``, of the product of
    the four entries. Under random signs those products are uncorrelated, so mean and variance given the
    magnitudes are sums of powers of the entries, without any draw. From 1536 columns on the variance is
    estimated where four standard errors of that are at most 3e-4 of it.

    Parameters
    ----------
    matrix
        ``W``, shape ``(n, p)`` with ``n >= p``, floating; float32 is computed in float32, so with entries
        between 1e-15 and 1e15 at the largest.
    profile
        Scales of rows and columns; they must depend on the magnitudes alone, as Sinkhorn's do.
    product
        ``ŴᵀŴ`` of the scaled matrix, shape ``(p, p)``, float64 or float32.

    Raises
    ------
    ArithmeticError
        If no two columns share two rows (a diagonal, a permutation): then signs mean nothing.

    References
    ----------
    The statistic is that of Schott, *Testing for complete independence in high dimensions*, Biometrika 92
    (2005), on unstandardised columns; its exact moments over random signs are elementary.
    """
    dtype = working_dtype(matrix)
    magnitudes = _Magnitudes(profile, dtype)
    variance, error = 0.0, math.inf
    if matrix.shape[1] >= _SKETCH_FROM:
        blocks = (magnitudes(block, band) for band, block in row_blocks(matrix, dtype, _BAND))
        off, error = _squared_off_diagonal(blocks, profile.cols)
        variance = off - magnitudes.same_rows
    if not _STANDARD_ERRORS * error < _SKETCH_ERROR * variance:
        magnitudes = _Magnitudes(profile, dtype)
        off = squared_norm(gram(matrix, magnitudes, dtype=dtype).fill_diagonal_(0))
        variance = off - magnitudes.same_rows
    mean = magnitudes.pairs / 2
    # of a diagonal or a permutation nothing is left but rounding
    if not variance > off * 1e-5:
        raise ArithmeticError("no two columns share two rows, so random signs change nothing")
    statistic = (squared_norm(product) - float(product.diagonal().double().square().sum())) / 2
    z = (statistic - mean) / math.sqrt(variance)
    n, p = profile.support
    return RectangleTest(z, _two_sided(z, 4 * (n + p) / (n * p)))


class _Magnitudes:
    """Squares blocks of rows of the scaled matrix, and sums powers of them, once every row was seen."""

    def __init__(self, profile: Profile, dtype: torch.dtype) -> None:
        self._rows, self._cols = profile.rows.to(dtype), profile.cols.to(dtype)
        self.pairs, self.fourth, self.eighth = 0.0, 0.0, 0.0

    def __call__(self, block: torch.Tensor, band: slice) -> torch.Tensor:
        block.mul_(self._rows[band, None]).mul_(self._cols).square_()
        power = block.square()
        in_row = power.sum(1).double()
        # E Σ_{i<j}(wᵢ·wⱼ)² = ½ Σ_k [(Σᵢ w²)² - Σᵢ w⁴]
        self.pairs += float((block.sum(1).double().square() - in_row).sum())
        self.fourth += float(in_row.square().sum())
        self.eighth += float(power.square_().sum(1).double().sum())
        return block

    @property
    def same_rows(self) -> float:
        """Part of the squares of inner products that falls on equal rows."""
        return self.fourth - self.eighth


def _squared_off_diagonal(blocks: Iterable[torch.Tensor], cols: torch.Tensor) -> tuple[float, float]:
    """Estimate ``Σ_{i≠j} (QᵀQ)ᵢⱼ²`` for a matrix of squares; return that and its standard error.

    Almost all of it is along the one direction in which all entries add up, where it is computed; the rest is
    estimated from its products with random vectors.

    Parameters
    ----------
    blocks
        The rows of ``Q``, shape ``(b, p)``, float32 or float64, read once.
    cols
        Scales of the columns, shape ``(p,)``: those that hold anything are not 0.

    References
    ----------
    Meyer, Musco, Musco, Woodruff, *Hutch++: optimal stochastic trace estimation*, SOSA 2021.
    """
    size = len(cols)
    common = (cols != 0).double()
    common /= torch.linalg.vector_norm(common)
    probes = torch.randn(size, _PROBES, generator=torch.Generator().manual_seed(size)).to(common)
    vectors = torch.cat([common[:, None], probes - torch.outer(common, common @ probes)], 1)
    products, diagonal = torch.zeros_like(vectors), torch.zeros_like(common)
    for block in blocks:
        narrow = vectors.to(block.dtype)
        products += block.T @ (block @ narrow)
        diagonal += block.square().sum(0)
    along = common @ products
    rest = (products - torch.outer(common, along)).square().sum(0)[1:]  # of each probe: its mean is sought
    first = products[:, 0]
    off = float(2 * first.square().sum() - along[0] ** 2 + rest.mean() - diagonal.square().sum())
    return off, float(rest.std()) / math.sqrt(_PROBES)


def edge_test(
    matrix: torch.Tensor,
    profile: Profile,
    largest: float,
    *,
    draws: int,
    width: float,
    generator: torch.Generator,
) -> EdgeTest:
    """Compare the largest eigenvalue of ``ŴᵀŴ`` with those under random signs.

    Parameters
    ----------
    matrix, profile
        As for :func:`rectangle_test`.
    largest
        The largest eigenvalue of ``ŴᵀŴ``.
    draws
        Draws of signs, at least 1.
    width
        Tracy-Widom width of the largest eigenvalue (:func:`rmtaudit.kernels.noise.tracy_widom.soft_edge`).
    generator
        On the CPU.

    Raises
    ------
    ValueError
        If there is no draw.
    """
    if draws < 1:
        raise ValueError(f"at least one draw of signs is needed, not {draws}")
    tops = tuple(largest_eigenvalue(flipped_gram(matrix, profile, generator)) for _ in range(draws))
    reached = sum(top >= largest for top in tops)
    located = sum(tops) / draws
    # the mean of the draws is itself uncertain by 1/√draws of a standard deviation
    spread = STANDARD_DEVIATION * width * math.sqrt(1 + 1 / draws)
    standard = (largest - located) / spread
    return EdgeTest(largest, tops, (1 + reached) / (1 + draws), sf(MEAN + STANDARD_DEVIATION * standard))


def flipped_gram(matrix: torch.Tensor, profile: Profile, generator: torch.Generator) -> torch.Tensor:
    """Return the Gram matrix of ``Ŵ`` with random signs, ``(p, p)``, float32 unless ``W`` is float64."""
    dtype = working_dtype(matrix)
    rows, cols = profile.rows.to(dtype), profile.cols.to(dtype)

    def flip(block: torch.Tensor, band: slice) -> torch.Tensor:
        return _flip(block.mul_(rows[band, None]).mul_(cols), generator)

    return gram(matrix, flip, dtype=dtype)


def flipped(matrix: torch.Tensor, unit: float, generator: torch.Generator) -> torch.Tensor:
    """Return a copy of a matrix times ``unit`` with random signs, float32 unless the matrix is float64."""
    dtype = working_dtype(matrix)
    result = torch.empty(matrix.shape, dtype=dtype, device=matrix.device)
    for band, block in row_blocks(matrix, dtype):
        result[band] = _flip(block.mul_(unit), generator)
    return result


def _flip(block: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    signs = random_signs(block.numel(), generator).to(block.device)
    return block.mul_(signs.view_as(block))


def random_signs(count: int, generator: torch.Generator) -> torch.Tensor:
    """Return ``count`` independent signs, +1 or -1, int8, one random bit each."""
    packed = torch.randint(0, 256, ((count + 7) // 8,), dtype=torch.uint8, generator=generator)
    bits = np.unpackbits(packed.numpy(), count=count).view(np.int8)
    return torch.from_numpy(bits).mul_(2).sub_(1)


def largest_eigenvalue(symmetric: torch.Tensor) -> float:
    """Return the largest eigenvalue of a Gram matrix, by block Krylov where that is cheaper.

    It may be float32 or float64. The subspace has 168 dimensions; on the edge of a noise bulk of 4096 it
    finds the top to a few 1e-6, a small part of the Tracy-Widom width. The value never exceeds the true one.
    """
    size = len(symmetric)
    if size <= _FULL:
        return float(eigenvalues(symmetric)[-1])
    # a fixed start: it need only not be orthogonal to the top, and then no generator is spent
    start = torch.randn(size, _BLOCK, dtype=torch.float64, generator=torch.Generator().manual_seed(size))
    block = start.to(symmetric.device)
    space, products = (block.new_empty(size, _BLOCK * _DEPTH) for _ in range(2))
    for step in range(_DEPTH):
        known, band = space[:, : step * _BLOCK], slice(step * _BLOCK, (step + 1) * _BLOCK)
        for _ in range(2 if step else 0):  # twice is enough: the second pass removes what rounding left
            block = block - known @ (known.T @ block)
        space[:, band] = torch.linalg.qr(block).Q
        products[:, band] = block = (symmetric @ space[:, band].to(symmetric.dtype)).double()
    return float(torch.linalg.eigvalsh(space.T @ products)[-1])


def working_dtype(matrix: torch.Tensor) -> torch.dtype:
    """Return what sums over an equalised matrix are taken in: squares have mean 1, so float32 is enough."""
    return torch.float64 if matrix.dtype == torch.float64 else torch.float32


def _two_sided(z: float, skewness: float) -> float:
    """Return twice the smaller tail of the gamma law of mean 0, variance 1 and this skewness, at most 1."""
    shape = 4 / skewness**2
    return gamma_two_sided(shape, max(0.0, shape + z * math.sqrt(shape)))
