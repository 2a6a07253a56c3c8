"""Two-sided bounds of the spectral norm from a few Krylov steps: below for certain, above with a probability.

The largest Ritz value is never above the norm. From above: if ``A`` had a singular value ``x`` or larger,
the spectral measure of ``AᵀA`` in a Gaussian vector ``ω`` would have a mass of at least ``(v·ω)²`` there, the
square of a standard normal number. The largest mass at ``x²`` and beyond that agrees with ``l`` Krylov steps
is ``|ω|²/Σ p_k(x²)²``, the Christoffel function of the measure (Szegő 1975, section 3.41), which falls
exponentially in ``l`` beyond the spectrum. Where the sum of these masses over the probes is less than a low
quantile of chi-squared, ``x`` is above the norm with that quantile's probability, whatever ``A`` is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.special import chdtri

from rmtaudit.kernels.counter import normals
from rmtaudit.kernels.lanczos import Jacobi, start
from rmtaudit.kernels.operators import Gram, Linear, Symmetric

_NORM = 4  # purpose of a random stream, see rmtaudit.kernels.counter.stream
_ROUNDING = 64 * 2.0**-52  # relative, of the quadratic forms
_GRID, _ROUNDS = 34, 10  # points and refinements of the search of a root: 33^10 exceeds 2^50


@dataclass(frozen=True, slots=True)
class NormBounds:
    """Bounds of a spectral norm (or of a largest eigenvalue).

    Attributes
    ----------
    lower
        Never above the truth but for rounding.
    upper
        Above the truth with probability ``1 - failure``.
    failure
        Probability that ``upper`` is too low.
    products
        Products with single vectors that it took.
    """

    lower: float
    upper: float
    failure: float
    products: int


def norm_bounds(
    operator: Linear, seed: int, *, steps: int = 12, probes: int = 4, failure: float = 1e-3
) -> NormBounds:
    """Return bounds of the spectral norm, by Golub-Kahan bidiagonalisation from Gaussian vectors.

    Parameters
    ----------
    seed
        Of the probes, which must be independent of the matrix: not one that it was built from.
    steps
        Krylov steps: each is a product with the matrix and one with its transpose, for every probe.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import operators, randnla
    >>> matrix = torch.diag(torch.linspace(-5, 3, 50, dtype=torch.float64))
    >>> bounds = randnla.norm_bounds(operators.linear(matrix), seed=0)
    >>> bounds.lower <= 5 <= bounds.upper
    True
    """
    gram = Gram(
        rows=operator.rows,
        cols=operator.cols,
        matmul=operator.matmul,
        transposed=operator.transposed,
        device=operator.device,
    )
    rows, lengths = _gaussian(operator.rank, seed, probes)
    jacobi = start(gram, rows).extend(steps)
    lower, upper = _extreme(jacobi, lengths, _quantile(probes, failure))
    return NormBounds(lower**0.5, upper**0.5, failure, 2 * probes * jacobi.diagonal.shape[1])


def eigenvalue_bounds(
    operator: Linear,
    seed: int,
    *,
    steps: int = 20,
    probes: int = 4,
    failure: float = 1e-3,
    floor: float = 0.0,
) -> NormBounds:
    """Return bounds of the largest eigenvalue (not in modulus) of a symmetric matrix, by Lanczos.

    ``floor`` is the size of the products' rounding where that is more than their own: of a small rest of a
    large matrix.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import operators, randnla
    >>> matrix = torch.diag(torch.linspace(-5, 3, 50, dtype=torch.float64))
    >>> bounds = randnla.eigenvalue_bounds(operators.linear(matrix), seed=0)
    >>> bounds.lower <= 3 <= bounds.upper
    True
    """
    if operator.rows != operator.cols:
        raise ValueError(f"a symmetric matrix is square, not {operator.rows} x {operator.cols}")
    rows, lengths = _gaussian(operator.rows, seed, probes)
    accuracy = 0.0
    if floor:
        size = float(torch.linalg.vector_norm(operator.matmul(rows.T.to(operator.device)), dim=0).max())
        accuracy = min(1.0, floor / max(size, floor))
    whole = Symmetric(size=operator.rows, matmul=operator.matmul, device=operator.device, accuracy=accuracy)
    jacobi = start(whole, rows).extend(steps)
    lower, upper = _extreme(jacobi, lengths, _quantile(probes, failure))
    products = probes * (jacobi.diagonal.shape[1] + bool(floor))
    return NormBounds(lower, upper + floor, failure, products)


def singular_bounds(
    operator: Linear, seed: int, *, steps: int = 24, probes: int = 4, failure: float = 1e-3
) -> tuple[float, float]:
    """Return bounds of all singular values of a tall matrix, below and above, that hold together.

    The lower one is 0 where the steps do not distinguish the smallest from 0; ``failure`` is for both.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import operators, randnla
    >>> matrix = torch.randn(400, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> low, high = randnla.singular_bounds(operators.linear(matrix), seed=0)
    >>> sigma = torch.linalg.svdvals(matrix)
    >>> low <= float(sigma[-1]) and float(sigma[0]) <= high
    True
    """
    if operator.rows < operator.cols:
        raise ValueError(f"a tall matrix is needed, not {operator.rows} x {operator.cols}")
    gram = Gram(
        rows=operator.rows,
        cols=operator.cols,
        matmul=operator.matmul,
        transposed=operator.transposed,
        device=operator.device,
    )
    rows, lengths = _gaussian(operator.rank, seed, probes)
    jacobi = start(gram, rows).extend(steps)
    quantile = _quantile(probes, failure / 2)
    _, high = _extreme(jacobi, lengths, quantile)
    _, low = _extreme(Jacobi(-jacobi.diagonal, jacobi.off, jacobi.next), lengths, quantile)
    return max(-low, 0.0) ** 0.5, high**0.5


def _quantile(probes: int, failure: float) -> float:
    if not 0 < failure < 1 or probes < 1:
        raise ValueError("at least one probe, and a chance of failure between 0 and 1, are needed")
    return float(chdtri(probes, 1 - failure))


def _gaussian(size: int, seed: int, probes: int) -> tuple[torch.Tensor, torch.Tensor]:
    rows = normals(seed, _NORM, range(probes), size)
    lengths = torch.linalg.vector_norm(rows, dim=1)
    return rows / lengths[:, None], lengths**2


def _extreme(jacobi: Jacobi, lengths: torch.Tensor, quantile: float) -> tuple[float, float]:
    tridiagonal = torch.diag_embed(jacobi.diagonal)
    tridiagonal += torch.diag_embed(jacobi.off, 1) + torch.diag_embed(jacobi.off, -1)
    ritz = torch.linalg.eigvalsh(tridiagonal)
    lower = float(ritz[:, -1].max())
    scale = float(ritz.abs().max())
    if scale == 0:
        return 0.0, 0.0
    # the mass falls beyond the largest Ritz value: a bracket of the place where it meets the quantile
    low, high = lower, lower + scale
    while float(_mass(jacobi, lengths, torch.tensor([high], dtype=torch.float64))) > quantile:
        low, high = high, high + 4 * (high - lower)
        if high > 1e12 * scale:
            raise ArithmeticError("so few steps give no bound on the norm: more are needed")
    for _ in range(_ROUNDS):
        grid = low + (high - low) * torch.linspace(0, 1, _GRID, dtype=torch.float64)
        over = int((_mass(jacobi, lengths, grid[1:-1]) > quantile).sum())
        low, high = float(grid[over]), float(grid[over + 1])
    return lower, high + _ROUNDING * scale


def _mass(jacobi: Jacobi, lengths: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return the largest mass at each ``x`` and beyond that the moments allow, summed over the probes."""
    off = torch.cat([jacobi.off, jacobi.next[:, None]], dim=1)
    before = torch.zeros(len(lengths), len(x), dtype=torch.float64)
    now = torch.ones_like(before)
    total = now.clone()
    for k in range(jacobi.diagonal.shape[1]):
        beta = off[:, k, None]
        after = (x - jacobi.diagonal[:, k, None]) * now
        if k:
            after = after - off[:, k - 1, None] * before
        # an exhausted probe has seen all of its measure: none of it lies beyond
        after = torch.where((beta > 0) & torch.isfinite(now), after / beta.clamp(min=1e-300), torch.inf)
        total += after**2
        before, now = now, after
    return (lengths[:, None] / total).sum(dim=0)
