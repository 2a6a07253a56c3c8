"""A weighted mixture of Student's t distributions: what several forecasts say together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from scipy import optimize, stats

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from rmtaudit.kernels.flodance.regression import Forecast

    Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """Weights, centres, scales and degrees of freedom, each of shape ``(k,)``."""

    weights: Vector
    means: Vector
    scales: Vector
    dofs: Vector

    @classmethod
    def of(cls, pairs: Iterable[tuple[float, Forecast]]) -> Self:
        """Return the mixture of weighted forecasts; weights are normalised, a scale of 0 becomes the least.

        Raises
        ------
        ValueError
            If there is none, or all weights are zero.
        """
        rows = np.array([(w, f.mean, f.scale, f.dof) for w, f in pairs if w > 0], dtype=np.float64)
        if not len(rows):
            raise ValueError("a mixture needs a component with a positive weight")
        weights, means, scales, dofs = rows.T
        smallest = np.finfo(np.float64).eps * np.maximum(np.abs(means), 1.0)
        return cls(weights / weights.sum(), means, np.maximum(scales, smallest), dofs)

    def cdf(self, value: float) -> float:
        """Return the probability of at most ``value``."""
        return float(self.weights @ stats.t.cdf((value - self.means) / self.scales, self.dofs))

    def quantile(self, level: float) -> float:
        """Return the value below which lies a probability of ``level``."""
        each = self.means + self.scales * stats.t.ppf(level, self.dofs)
        low, high = float(each.min()), float(each.max())
        # The quantile of a mixture lies between those of its components; rounding may put it on an end.
        if self.cdf(low) >= level:
            return low
        if self.cdf(high) <= level:
            return high
        return float(optimize.brentq(lambda x: self.cdf(x) - level, low, high, xtol=1e-12 * max(1, abs(low))))

    @property
    def median(self) -> float:
        """The middle of the distribution."""
        return self.quantile(0.5)

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the two ends outside which equal probabilities lie, ``1 - confidence`` together."""
        tail = (1 - confidence) / 2
        return self.quantile(tail), self.quantile(1 - tail)

    def deviate(self, value: float) -> float:
        """Return the normal deviate with as much probability below it as ``value`` has."""
        below = float(self.weights @ stats.t.cdf((value - self.means) / self.scales, self.dofs))
        above = float(self.weights @ stats.t.sf((value - self.means) / self.scales, self.dofs))
        # The smaller tail keeps its digits.
        return float(stats.norm.ppf(below)) if below < above else float(stats.norm.isf(above))
