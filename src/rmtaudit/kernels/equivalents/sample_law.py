"""The spectrum of a sample covariance in the limit: the generalised Marchenko-Pastur law of a population."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch

from rmtaudit.kernels.equivalents.companion import companion_transform
from rmtaudit.kernels.equivalents.population import Population, population
from rmtaudit.kernels.equivalents.support import Band, support_bands

_HEIGHT = 1e-10
"""A convention: densities are read off this far above the real line, in units of the upper edge; at a
distance ``d`` from an edge, in the same units, that is off by a share of 1e-10/d."""
_NODES = 400
"""A convention: points a band, evenly spaced in the angle, behind quantiles."""


@dataclass(frozen=True)
class SampleLaw:
    """The law of the eigenvalues of ``S = Σ^(1/2) Z Zᵀ Σ^(1/2)/n``, ``Z`` of shape ``p x n``.

    Attributes
    ----------
    population
        ``H``, the spectrum of ``Σ``.
    ratio
        ``c = p/n``, positive.

    References
    ----------
    Marchenko, Pastur (1967); Silverstein, *Strong convergence of the empirical distribution of eigenvalues of
    large dimensional random matrices*, J. Multivariate Anal. 55 (1995).

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import equivalents
    >>> law = equivalents.SampleLaw(equivalents.population(torch.tensor([1.0])), 0.25)
    >>> [(round(band.low, 6), round(band.high, 6)) for band in law.bands]  # (1 ± √c)²
    [(0.25, 2.25)]
    """

    population: Population
    ratio: float

    @cached_property
    def bands(self) -> tuple[Band, ...]:
        """The intervals of the support above 0, from the lowest, with their masses."""
        return support_bands(self.population, self.ratio)

    @property
    def zeros(self) -> float:
        """Share of eigenvalues that are 0."""
        return max(0.0, 1 - sum(band.mass for band in self.bands))

    def stieltjes(self, z: torch.Tensor) -> torch.Tensor:
        """Return ``m(z) = ∫ dF(x)/(x - z)``, complex128, above the real line or on the real line below 0.

        Raises as :func:`companion_transform`.
        """
        points = z.to(torch.complex128)
        # m is real below the support, where a point just above the real line differs in its imaginary part
        below = (points.imag == 0) & (points.real < 0)
        lifted = torch.where(below, torch.complex(points.real, points.real.abs() * 1e-9), points)
        companion = companion_transform(self.population, self.ratio, lifted).values
        value = companion / self.ratio + (1 - self.ratio) / (self.ratio * lifted)
        return torch.where(below, value.real.to(value.dtype), value)

    def pdf(self, x: torch.Tensor) -> torch.Tensor:
        """Return the density at real ``x > 0``, in the shape of ``x``, float64; 0 outside the bands."""
        points = x.double()
        density = torch.zeros_like(points)
        inside = torch.zeros_like(points, dtype=torch.bool)
        for band in self.bands:
            inside |= (points > band.low) & (points < band.high)
        z = torch.complex(points[inside], torch.full_like(points[inside], _HEIGHT * self.bands[-1].high))
        solution = companion_transform(self.population, self.ratio, z)
        density[inside] = solution.values.imag / (math.pi * self.ratio)
        return density

    def cdf(self, x: torch.Tensor) -> torch.Tensor:
        """Return the share of eigenvalues up to ``x``, float64, in the shape of ``x``."""
        return _interpolated(x.double(), *self._table)

    def ppf(self, levels: torch.Tensor) -> torch.Tensor:
        """Return the quantiles at ``levels`` between 0 and 1, float64, in the shape of ``levels``."""
        if not bool(((levels >= 0) & (levels <= 1)).all()):
            raise ValueError("levels must lie between 0 and 1")
        x, share = self._table
        inner = _interpolated(levels.double(), share, x)
        return torch.where(levels < share[0], 0.0, inner)

    def quantiles(self, count: int) -> Population:
        """Return the law of ``count`` quantiles, at the middles of equal shares."""
        levels = torch.arange(count, dtype=torch.float64, device=self.population.values.device)
        return population(self.ppf((levels + 0.5) / count))

    @cached_property
    def _table(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return points and shares, both ascending."""
        points, shares = [], []
        held = self.zeros
        angle = torch.linspace(0, math.pi, _NODES, dtype=torch.float64, device=self.population.values.device)
        for band in self.bands:
            # in the angle the density has no root at the edges, nor a pole at a hard one
            x = (band.low + band.high) / 2 - (band.high - band.low) / 2 * angle.cos()
            weight = self.pdf(x) * angle.sin()
            total = torch.cumulative_trapezoid(weight, angle)
            points.append(x)
            share = torch.cat([total.new_zeros(1), total / total[-1]])
            shares.append(held + band.mass * share)
            held += band.mass
        return torch.cat(points), torch.cat(shares).clamp(max=1.0)


def _interpolated(at: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    right = torch.searchsorted(x, at.contiguous()).clamp(1, len(x) - 1)
    low, high = x[right - 1], x[right]
    share = ((at - low) / (high - low).clamp(min=1e-300)).clamp(0, 1)
    return y[right - 1] + share * (y[right] - y[right - 1])


def marchenko_pastur_stieltjes(z: torch.Tensor, ratio: float, variance: float = 1.0) -> torch.Tensor:
    """Return ``m(z) = ∫ dF(x)/(x - z)`` of the Marchenko-Pastur law, in closed form.

    Parameters
    ----------
    z
        Any shape, complex, above the real line or on the real line below 0.
    ratio
        ``c = p/n``, positive.
    variance
        Variance of the entries, positive.

    Raises
    ------
    ValueError
        For a ratio or a variance that is not positive, or another ``z``.

    References
    ----------
    Marchenko, Pastur (1967). ``m`` is the root of ``c z m² + (z + c - 1) m + 1 = 0`` (variance 1) in the
    upper half-plane, positive on the real line below 0.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import equivalents
    >>> m = equivalents.marchenko_pastur_stieltjes(torch.tensor([-1.0]), ratio=1.0)
    >>> round(float(m.real), 6)  # (√5 - 1)/2
    0.618034
    """
    if not (ratio > 0 and variance > 0):
        raise ValueError("ratio and variance must be positive")
    points = z.to(torch.complex128) / variance
    if not bool(((points.imag > 0) | ((points.imag == 0) & (points.real < 0))).all()):
        raise ValueError("z must lie above the real line, or on it below 0")
    low, high = (1 - ratio**0.5) ** 2, (1 + ratio**0.5) ** 2
    # a product of two roots has its cut on the support alone
    root = (points - low).sqrt() * (points - high).sqrt()
    negative = points.imag == 0
    root = torch.where(
        negative, -((points.real - low) * (points.real - high)).abs().sqrt().to(root.dtype), root
    )
    linear = points + ratio - 1
    # the sum of the larger size, and the other root from the product of both
    large = torch.where((linear.conj() * root).real >= 0, -(linear + root), -(linear - root))
    first, second = large / (2 * ratio * points), 2 / large
    wanted = torch.where((linear.conj() * root).real >= 0, second, first)
    return wanted / variance
