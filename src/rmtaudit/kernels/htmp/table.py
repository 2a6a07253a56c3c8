"""A law on the half-line as a table: distribution, quantiles and means, from its density.

Below the median the logarithm of the distribution function, and above it that of what is left, are
polynomials of degree 7 between the points, as the logarithm of the density is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rmtaudit.kernels.htmp.density import Array, Density, derivatives, hermite, horner, of_wave
from rmtaudit.kernels.htmp.wave import solve

_GAUSS = np.polynomial.legendre.leggauss(8)
_SHARES, _WEIGHTS = (_GAUSS[0] + 1) / 2, _GAUSS[1] / 2
_NEWTON, _CLOSE = 6, 1e-14  # most steps to a quantile, and the accuracy of its level that ends them
_LOW_PANELS = np.linspace(-40.0, 0.0, 9)  # of the part under the first point, in log of its mass


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The law of one ``c`` and ``delta``, mean ``c + delta``; made by :func:`tabulate`.

    Attributes
    ----------
    density
        The density.
    mass
        Coefficients, as the density has them, of ``log F`` in the intervals before ``split`` and of
        ``log(1 - F)`` from there on.
    split
        The first interval of the upper half.
    nodes, weights
        Points ``y`` and weights of a quadrature over the whole law; the weights sum to 1 to 1e-13.
    """

    density: Density
    mass: Array
    split: int
    nodes: Array
    weights: Array

    def log_density(self, y: Array) -> Array:
        """Return ``log f``; minus infinity where ``y <= 0``."""
        positive = y > 0
        u = np.log(np.where(positive, y, 1.0))
        return np.where(positive, self.density.at(u) - u, -math.inf)

    def cdf(self, y: Array) -> Array:
        """Return ``F(y)``."""
        below, upper = self._log_mass(y)
        return np.where(upper, -np.expm1(below), np.exp(below))

    def sf(self, y: Array) -> Array:
        """Return ``1 - F(y)``."""
        below, upper = self._log_mass(y)
        return np.where(upper, np.exp(below), -np.expm1(below))

    def ppf(self, q: Array) -> Array:
        """Return the quantiles at ``0 <= q <= 1``: infinity at 1."""
        quantiles = np.empty_like(q)
        law = self.density
        under = q < self._under(law.u[:1])[0]
        if under.any():
            # F = arg(1 + turn s)/(pi c), s = (y/y_0)^delta
            angle = math.pi * law.c * q[under]
            modulus, argument = abs(law.turn), np.angle(law.turn)
            s = np.sin(angle) / (modulus * np.sin(argument - angle))
            with np.errstate(divide="ignore", under="ignore"):
                quantiles[under] = np.exp(law.u[0] + np.log(s) / law.delta)
        quantiles[~under] = np.exp(self._newton(q[~under]))
        quantiles[q >= 1] = math.inf
        return quantiles

    def mean_of(self, values: Array) -> Array:
        """Return the mean of a function given at the ``nodes`` along the last axis."""
        return np.asarray(values @ self.weights)

    def _log_mass(self, y: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Return ``log F`` or ``log(1 - F)``, and where it is the second."""
        positive = ~(y <= 0)
        log_mass, upper = self._at(np.log(np.where(positive, y, 1.0)))
        return np.where(positive, log_mass, -math.inf), upper & positive

    def _at(self, u: Array) -> tuple[Array, NDArray[np.bool_]]:
        index, share, inside = self.density.locate(u)
        log_mass = horner(self.mass, index, share)
        upper = index >= self.split
        if not inside.all():
            low, high = u < self.density.u[0], u > self.density.u[-1]
            with np.errstate(divide="ignore"):
                log_mass[low] = np.log(self._under(u[low]))
            upper[low] = False
            log_mass[high] = float(self.mass[:, -1].sum()) + self.density.fall(u[high])
            log_mass[np.isnan(u)] = math.nan
        return log_mass, upper

    def _under(self, u: Array) -> Array:
        """Return ``F`` below the first point, in closed form: the phase that ``U`` has turned by."""
        turned = np.angle(1 + self.density.turn * self.density.power(u))
        return np.asarray(turned / (math.pi * self.density.c))

    def _newton(self, q: Array) -> Array:
        with np.errstate(divide="ignore"):
            below, above = np.log(q), np.log1p(-q)
        points = self.density.u[1:-1]
        at, upper = self._at(points)
        u = np.where(
            q < (-np.expm1(at[upper][0]) if upper.any() else 2.0),
            np.interp(below, at[~upper], points[~upper]) if not upper.all() else points[0],
            np.interp(-above, -at[upper], points[upper]) if upper.any() else points[-1],
        )
        low, high = np.full_like(u, self.density.u[0]), np.full_like(u, self.density.u[-1])
        for _ in range(_NEWTON):
            mass, upper = self._at(u)
            # Newton's steps on log F, or on log(1 - F): either is nearly straight in its tail
            excess = np.where(upper, above - mass, mass - below)
            slope = np.exp(self.density.at(u) - mass)
            low, high = np.where(excess < 0, u, low), np.where(excess >= 0, u, high)
            moved = u - excess / slope
            u = np.where((moved >= low) & (moved <= high), moved, (low + high) / 2)
            if (np.abs(excess) < _CLOSE).all():
                break
        return u


@lru_cache(maxsize=16)
def tabulate(c: float, delta: float) -> Table:
    """Return the table of the law of ``c > 0`` and ``delta > 0`` (kept for the last few pairs)."""
    wave = solve(c, delta)
    density = of_wave(wave, c, delta)
    steps = np.diff(wave.u)
    slope, slope_1, _ = derivatives(wave)
    under = float(np.angle(1 + density.turn)) / (math.pi * c)
    height = np.exp(_powers(_SHARES) @ density.coefficients)  # (8, n-1)
    pieces = steps * (_WEIGHTS @ height)
    beyond = math.exp(wave.log_density[-1]) / -slope[-1]
    below = under + np.concatenate([[0.0], np.cumsum(pieces)])
    above = beyond + np.concatenate([np.cumsum(pieces[::-1])[::-1], [0.0]])
    split = int(np.searchsorted(below, 0.5))
    split = min(max(split - 1, 0), steps.size)
    mass = np.hstack(
        [
            _of_mass(
                steps[:split],
                wave.log_density[: split + 1],
                below[: split + 1],
                slope=slope,
                slope_1=slope_1,
                sign=1.0,
            ),
            _of_mass(
                steps[split:],
                wave.log_density[split:],
                above[split:],
                slope=slope[split:],
                slope_1=slope_1[split:],
                sign=-1.0,
            ),
        ]
    )
    y = np.exp(wave.u[:-1] + steps * _SHARES[:, None])
    low_y, low_weights = _low_quadrature(density, under)
    nodes = np.concatenate([low_y, y.ravel()])
    weights = np.concatenate([low_weights, (steps * _WEIGHTS[:, None] * height).ravel()])
    for array in (density.u, density.coefficients, mass, nodes, weights):
        array.flags.writeable = False
    return Table(density=density, mass=mass, split=split, nodes=nodes, weights=weights)


def _low_quadrature(density: Density, under: float) -> tuple[Array, Array]:
    steps = np.diff(_LOW_PANELS)
    w = (_LOW_PANELS[:-1] + steps * _SHARES[:, None]).ravel()
    weights = (steps * _WEIGHTS[:, None]).ravel() * np.exp(w) / np.abs(1 + density.turn * np.exp(w)) ** 2
    with np.errstate(under="ignore"):
        y = np.exp(density.u[0] + w / density.delta)
    return y, weights * (under / weights.sum())


def _of_mass(
    steps: Array, log_density: Array, mass: Array, slope: Array, slope_1: Array, sign: float
) -> Array:
    """Return the coefficients of the logarithm of a mass whose derivative is ``sign`` times the density."""
    count = steps.size + 1
    ratio = sign * np.exp(log_density - np.log(mass))
    lean = slope[:count] - ratio
    ratio_1 = ratio * lean
    ratio_2 = ratio_1 * lean + ratio * (slope_1[:count] - ratio_1)
    return hermite(steps, np.log(mass), ratio, ratio_1, ratio_2)


def _powers(share: Array) -> Array:
    return share[:, None] ** np.arange(8)
