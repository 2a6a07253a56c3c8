"""A law on the half-line as a table: density, distribution, quantiles and means by interpolation.

Between the points of :class:`~rmtaudit.kernels.htmp.wave.Wave` the logarithms of the density, of the
distribution function (below the median) and of what is left above (beyond it) are polynomials of degree 7 in
``log y`` that agree with the law in value and three derivatives at both ends. Logarithms are smooth where the
functions themselves fall by orders of magnitude, so both tails keep their relative accuracy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmtaudit.kernels.htmp.wave import Wave, solve

Array = NDArray[np.float64]

_GAUSS = np.polynomial.legendre.leggauss(8)
_SHARES, _WEIGHTS = (_GAUSS[0] + 1) / 2, _GAUSS[1] / 2
_NEWTON, _CLOSE = 6, 1e-14
_LOW_PANELS = np.linspace(-40.0, 0.0, 9)  # of the part under the first point, in log of its mass


@dataclass(frozen=True, slots=True)
class Table:
    """The law of one ``c`` and ``delta``, mean ``c + delta``; made by :func:`tabulate`.

    Attributes
    ----------
    u
        Points in ``log y``, shape ``(n,)``.
    density
        Coefficients of ``log(y f)`` in every interval, lowest power of the share first, shape ``(8, n-1)``.
    mass
        The same of ``log F`` in the intervals before ``split`` and of ``log(1 - F)`` from there on.
    split
        The first interval of the upper half.
    turn
        Complex: ``q/p`` of ``|U| ~ |p + q (y/y_0)^delta|`` below the first point ``y_0``.
    nodes, weights
        Points ``y`` and weights of a quadrature over the whole law; the weights sum to 1 to 1e-13.
    """

    c: float
    delta: float
    u: Array
    density: Array
    mass: Array
    split: int
    turn: complex
    nodes: Array
    weights: Array

    def log_density(self, y: Array) -> Array:
        """Return ``log f``; minus infinity where ``y <= 0``."""
        u, index, share, inside = self._locate(y)
        found = horner(self.density, index, share) - u
        if not inside.all():
            self._extend_density(found, u, y)
        return found

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
        found = np.empty_like(q)
        under = q < self._under(self.u[:1])[0]
        if under.any():
            # F = arg(1 + turn s)/(pi c), s = (y/y_0)^delta
            angle = math.pi * self.c * q[under]
            modulus, argument = abs(self.turn), np.angle(self.turn)
            s = np.sin(angle) / (modulus * np.sin(argument - angle))
            with np.errstate(divide="ignore", under="ignore"):
                found[under] = np.exp(self.u[0] + np.log(s) / self.delta)
        found[~under] = np.exp(self._newton(q[~under]))
        found[q >= 1] = math.inf
        return found

    def mean_of(self, values: Array) -> Array:
        """Return the mean of a function given at the ``nodes`` along the last axis."""
        return np.asarray(values @ self.weights)

    def _locate(self, y: Array) -> tuple[Array, NDArray[np.intp], Array, NDArray[np.bool_]]:
        with np.errstate(divide="ignore", invalid="ignore"):
            u = np.log(y)
        index = np.searchsorted(self.u, u, side="right") - 1
        inside = (index >= 0) & (index < self.u.size - 1)
        index = np.clip(index, 0, self.u.size - 2)
        left = self.u[index]
        share = np.clip((u - left) / (self.u[index + 1] - left), 0.0, 1.0)
        return u, index, share, inside

    def _extend_density(self, found: Array, u: Array, y: Array) -> None:
        low, high = u < self.u[0], u > self.u[-1]
        if low.any():
            with np.errstate(under="ignore", invalid="ignore"):
                s = np.exp(self.delta * (u[low] - self.u[0]))
            shape = -2 * np.log(np.abs((1 + self.turn * s) / (1 + self.turn)))
            found[low] = self.density[0, 0] + shape + (self.delta - 1) * u[low] - self.delta * self.u[0]
            if self.delta == 1:
                found[low] = self.density[0, 0] + shape - self.u[0]
        if high.any():
            found[high] = self._end(0) + self._fall(u[high], y[high]) - u[high]
        found[~(y > 0)] = -math.inf

    def _end(self, which: int) -> float:
        return float((self.density if which == 0 else self.mass)[:, -1].sum())

    def _fall(self, u: Array, y: Array) -> Array:
        """Return by how much ``log(y f)`` falls beyond the last point, to leading order."""
        last = self.u[-1]
        return np.asarray((self.delta + 2 * self.c) * (u - last) - (y - math.exp(last)))

    def _log_mass(self, y: Array) -> tuple[Array, NDArray[np.bool_]]:
        u, index, share, inside = self._locate(y)
        found = horner(self.mass, index, share)
        upper = index >= self.split
        if not inside.all():
            low, high = u < self.u[0], u > self.u[-1]
            with np.errstate(divide="ignore"):
                found[low] = np.log(self._under(u[low]))
            upper[low] = False
            found[high] = self._end(1) + self._fall(u[high], y[high])
            found[~(y > 0)] = -math.inf
            upper[~(y > 0)] = False
            found[np.isnan(y)] = math.nan
        return found, upper

    def _under(self, u: Array) -> Array:
        """Return ``F`` below the first point, in closed form: the phase that ``U`` has turned by."""
        with np.errstate(under="ignore"):
            s = np.exp(self.delta * (u - self.u[0]))
        return np.asarray(np.angle(1 + self.turn * s) / (math.pi * self.c))

    def _newton(self, q: Array) -> Array:
        with np.errstate(divide="ignore"):
            below, above = np.log(q), np.log1p(-q)
        at, upper = self._log_mass(np.exp(self.u[1:-1]))
        u = np.where(
            q < (-np.expm1(at[upper][0]) if upper.any() else 2.0),
            np.interp(below, at[~upper], self.u[1:-1][~upper]) if not upper.all() else self.u[0],
            np.interp(-above, -at[upper], self.u[1:-1][upper]) if upper.any() else self.u[-1],
        )
        low, high = np.full_like(u, self.u[0]), np.full_like(u, self.u[-1])
        for _ in range(_NEWTON):
            y = np.exp(u)
            mass, upper = self._log_mass(y)
            # Newton's steps on log F, or on log(1 - F): either is nearly straight in its tail
            excess = np.where(upper, above - mass, mass - below)
            slope = np.exp(self.log_density(y) + u - mass)
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
    steps = np.diff(wave.u)
    slope, slope_1, slope_2 = 1 - 2 * wave.slope.real, -2 * wave.slope_1.real, -2 * wave.slope_2.real
    density = hermite(steps, wave.log_density, slope, slope_1, slope_2)
    turn, under = _turn(wave, c, delta)
    height = np.exp(_powers(_SHARES) @ density)  # (8, n-1)
    pieces = steps * (_WEIGHTS @ height)
    beyond = math.exp(wave.log_density[-1]) / -slope[-1]
    below = under + np.concatenate([[0.0], np.cumsum(pieces)])
    above = beyond + np.concatenate([np.cumsum(pieces[::-1])[::-1], [0.0]])
    split = int(np.searchsorted(below, 0.5))
    split = min(max(split - 1, 0), steps.size)
    mass = np.hstack(
        [
            _of_mass(steps[:split], wave.log_density[: split + 1], below[: split + 1], slope, slope_1, 1.0),
            _of_mass(
                steps[split:], wave.log_density[split:], above[split:], slope[split:], slope_1[split:], -1.0
            ),
        ]
    )
    y = np.exp(wave.u[:-1] + steps * _SHARES[:, None])
    low_y, low_weights = _low_quadrature(wave.u[0], delta, turn, under)
    nodes = np.concatenate([low_y, y.ravel()])
    weights = np.concatenate([low_weights, (steps * _WEIGHTS[:, None] * height).ravel()])
    table = Table(c, delta, wave.u, density, mass, split, turn, nodes, weights)
    for array in (table.u, density, mass, nodes, weights):
        array.flags.writeable = False
    return table


def _turn(wave: Wave, c: float, delta: float) -> tuple[complex, float]:
    """Return ``q/p`` of ``U ~ p + q (y/y_0)^delta`` below the first point, and the mass there.

    Near 0 the equation has constant coefficients in ``log y``:  ``y v'/v = (1-delta)/2 + delta q/(p+q)`` at
    ``y_0``. The imaginary part of that is of the sign of minus the phase of ``U``.
    """
    share = (complex(wave.slope[0]) - (1 - delta) / 2).conjugate() / delta
    turn = share / (1 - share)
    return turn, float(np.angle(1 + turn)) / (math.pi * c)


def _low_quadrature(u: float, delta: float, turn: complex, under: float) -> tuple[Array, Array]:
    steps = np.diff(_LOW_PANELS)
    w = (_LOW_PANELS[:-1] + steps * _SHARES[:, None]).ravel()
    weights = (steps * _WEIGHTS[:, None]).ravel() * np.exp(w) / np.abs(1 + turn * np.exp(w)) ** 2
    with np.errstate(under="ignore"):
        y = np.exp(u + w / delta)
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


def hermite(
    steps: Array, value: NDArray[Any], first: NDArray[Any], second: NDArray[Any], third: NDArray[Any]
) -> NDArray[Any]:
    """Return the polynomial of degree 7 of every interval with these values and derivatives at its ends."""
    h1, h2, h3 = steps, steps**2 / 2, steps**3 / 6
    low = (value[:-1], h1 * first[:-1], h2 * second[:-1], h3 * third[:-1])
    c0, c1, c2, c3 = low
    d0 = value[1:] - (c0 + c1 + c2 + c3)
    d1 = h1 * first[1:] - (c1 + 2 * c2 + 3 * c3)
    d2 = h2 * second[1:] - (c2 + 3 * c3)
    d3 = h3 * third[1:] - c3
    high = (
        35 * d0 - 15 * d1 + 5 * d2 - d3,
        -84 * d0 + 39 * d1 - 14 * d2 + 3 * d3,
        70 * d0 - 34 * d1 + 13 * d2 - 3 * d3,
        -20 * d0 + 10 * d1 - 4 * d2 + d3,
    )
    return np.array([*low, *high])


def _powers(share: Array) -> Array:
    return share[:, None] ** np.arange(8)


def horner(coefficients: NDArray[Any], index: NDArray[np.intp], share: NDArray[Any]) -> NDArray[Any]:
    """Return the polynomials of the intervals ``index`` at a ``share`` (real or complex) of their length."""
    found: NDArray[Any] = coefficients[7].take(index)
    for row in coefficients[6::-1]:
        found *= share
        found += row.take(index)
    return found
