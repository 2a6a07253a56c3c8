"""The law of a Gram matrix whose rows have given scales, and of the same matrix with more rows: an oracle.

``WWᵀ/d`` and ``WᵀW/d`` share all eigenvalues but zeros. For ``F = -1/m`` of the latter, the
companion, the equation of Silverstein and Bai reads ``z = F + c Σ w_i h_i + c Σ w_i h_i²/(F - h_i)``: a Levy
measure of atoms at the squared scales. More rows multiply masses and mean, and leave the places.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from rmtaudit.kernels.free.evolution import EvolvedLaw, evolve
from rmtaudit.kernels.free.measure import LevyMeasure


@dataclass(frozen=True, slots=True, eq=False)
class RowScaledLaw:
    """The law of ``WWᵀ/d``, ``W = diag(h)^½ X`` of shape ``N x d``: ``H ⊠ MP_c``.

    Attributes
    ----------
    scales
        Shape ``(K,)``, float64, not negative: squared scales ``h_i`` of the rows.
    weights
        Shape ``(K,)``, float64, positive: shares of the rows; they are brought to the sum 1.
    ratio
        ``c = N/d``, positive.
    companion
        Law of ``WᵀW/d``, computed once.

    References
    ----------
    Marchenko, Pastur 1967; Silverstein, Bai, *On the empirical distribution of eigenvalues of a class of
    large dimensional random matrices*, J. Multivariate Anal. 1995.
    """

    scales: torch.Tensor
    weights: torch.Tensor
    ratio: float
    companion: EvolvedLaw = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not (self.scales.shape == self.weights.shape and self.scales.ndim == 1):
            raise ValueError("every scale needs one weight")
        if not (bool((self.scales >= 0).all()) and bool((self.scales > 0).any())):
            raise ValueError("scales must not be negative, nor all 0")
        if not (self.ratio > 0 and bool((self.weights > 0).all())):
            raise ValueError("ratio and weights must be positive")
        object.__setattr__(self, "companion", evolve(self.companion_levy(), 1.0))

    def companion_levy(self) -> LevyMeasure:
        """Return the Levy measure of the companion: atoms ``c w_i h_i²`` at ``h_i``, mean ``c Σ w_i h_i``."""
        order = torch.argsort(self.scales)
        scales, weights = self.scales.double()[order], self.weights.double()[order]
        mass = self.ratio * weights / weights.sum() * scales
        return LevyMeasure(left=scales, right=scales, mass=mass * scales, mean=float(mass.sum()))

    def decompress(self, factor: float) -> RowScaledLaw:
        """Return the law with ``factor`` times as many rows of the same kind: ``c`` times the factor."""
        return RowScaledLaw(self.scales, self.weights, self.ratio * factor)

    @property
    def zeros(self) -> float:
        """Mass at 0: of rows without scale, or of more rows than columns."""
        present = float(self.weights[self.scales > 0].sum() / self.weights.sum())
        return max(1 - present, 1 - 1 / self.ratio, 0.0)

    def pdf(self, x: torch.Tensor) -> torch.Tensor:
        """Return the density of the continuous part, any shape, float64."""
        return self.companion.pdf(x) / self.ratio

    def cdf(self, x: torch.Tensor) -> torch.Tensor:
        """Return the distribution function, any shape, float64."""
        # both matrices have the same eigenvalues above any x >= 0
        above = (1 - self.companion.cdf(x)) / self.ratio
        return torch.where(x < 0, 0.0, (1 - above).clamp(0, 1))

    def ppf(self, q: torch.Tensor) -> torch.Tensor:
        """Return the quantiles at the levels ``q`` in [0, 1], any shape, float64."""
        inner = (1 - (1 - q.double()) * self.ratio).clamp(0, 1)
        return torch.where(q <= self.zeros, 0.0, self.companion.ppf(inner).clamp(min=0))

    def quantiles(self, count: int) -> torch.Tensor:
        """Return ``count`` quantiles at the levels ``(i + 1/2)/count``."""
        levels = (torch.arange(count, dtype=torch.float64, device=self.scales.device) + 0.5) / count
        return self.ppf(levels)

    def sample_matrix(self, size: int, generator: torch.Generator) -> torch.Tensor:
        """Return a random ``size x size`` matrix ``WWᵀ/d`` of Gaussian rows, ``d`` the nearest to ``size/c``.

        The scales stand in the shares given, as far as the size allows, in order.
        """
        cols = max(1, round(size / self.ratio))
        shares = torch.cumsum(self.weights.double().cpu(), 0)
        middle = (torch.arange(size, dtype=torch.float64) + 0.5) / size * shares[-1]
        scales = self.scales.double().cpu()[torch.searchsorted(shares, middle).clamp(max=len(shares) - 1)]
        rows = torch.randn(size, cols, generator=generator, dtype=torch.float64) * scales.sqrt()[:, None]
        return rows @ rows.T / cols
