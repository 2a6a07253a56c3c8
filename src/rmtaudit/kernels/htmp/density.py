"""The density of a law on the half-line as polynomials between points.

Between the points of :class:`~rmtaudit.kernels.htmp.wave.Wave` the logarithm of the density is a polynomial
of degree 7 in ``log y`` that agrees with the law in value and three derivatives at both ends. It is smooth
where the density itself falls by orders of magnitude, so both tails keep their relative accuracy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmtaudit.kernels.htmp.wave import Wave, solve

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Density:
    """The density of the law of one ``c`` and ``delta``; made by :func:`density_of`. No array may be changed.

    Attributes
    ----------
    u
        Points in ``log y``, shape ``(n,)``.
    coefficients
        Of ``log(y f)`` in every interval, lowest power of the share of the interval first: ``(8, n-1)``.
    turn
        Complex: ``q/p`` of ``|U| ~ |p + q (y/y_0)^delta|`` below the first point ``y_0``.
    """

    c: float
    delta: float
    u: Array
    coefficients: Array
    turn: complex

    def at(self, u: Array) -> Array:
        """Return ``log(y f(y))`` at ``u = log y``."""
        index, share, inside = self.locate(u)
        values = horner(self.coefficients, index, share)
        if not inside.all():
            low, high = u < self.u[0], u > self.u[-1]
            with np.errstate(under="ignore", invalid="ignore"):
                bent = np.abs((1 + self.turn * self.power(u[low])) / (1 + self.turn))
                values[low] = self.coefficients[0, 0] - 2 * np.log(bent) + self.delta * (u[low] - self.u[0])
                values[high] = float(self.coefficients[:, -1].sum()) + self.fall(u[high])
        return values

    def slopes(self, u: Array) -> tuple[Array, Array]:
        """Return the first two derivatives of :meth:`at`."""
        index, share, _ = self.locate(u)
        width = self.u[index + 1] - self.u[index]
        value, slope, bend = self.coefficients[7].take(index), np.zeros_like(u), np.zeros_like(u)
        for row in self.coefficients[6::-1]:  # Horner's scheme with its derivatives
            bend *= share
            bend += slope
            slope *= share
            slope += value
            value *= share
            value += row.take(index)
        slope, bend = slope / width, 2 * bend / width**2
        beyond = u > self.u[-1]
        if beyond.any():
            y = np.exp(u[beyond])
            slope[beyond], bend[beyond] = self.delta + 2 * self.c - y, -y
        return slope, bend

    def power(self, u: Array) -> Array:
        """Return ``(y/y_0)^delta`` below the first point."""
        with np.errstate(under="ignore"):
            return np.asarray(np.exp(self.delta * (u - self.u[0])))

    def fall(self, u: Array) -> Array:
        """Return by how much ``log(y f)`` falls beyond the last point, to leading order."""
        last = self.u[-1]
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray((self.delta + 2 * self.c) * (u - last) - (np.exp(u) - math.exp(last)))

    def locate(self, u: Array) -> tuple[NDArray[np.intp], Array, NDArray[np.bool_]]:
        """Return the interval of every ``u``, its share of it in [0, 1], and whether it lies in one."""
        index = np.searchsorted(self.u[1:-1], u, side="right")
        inside = (u >= self.u[0]) & (u < self.u[-1])
        left = self.u.take(index)
        share = (u - left) / (self.u[1:].take(index) - left)
        # np.clip takes several times as long on a few hundred values
        np.maximum(share, 0.0, out=share)
        return index, np.minimum(share, 1.0, out=share), inside


def density_of(c: float, delta: float, within: tuple[float, float] = (-math.inf, math.inf)) -> Density:
    """Return the density of the law of ``c > 0`` and ``delta > 0``, whose mean is their sum.

    With bounds ``within`` in ``log y``, it is that of the law between its first and last point only.
    """
    return of_wave(solve(c, delta, within), c, delta)


def of_wave(wave: Wave, c: float, delta: float) -> Density:
    """Return the density of a solved equation."""
    slope, slope_1, slope_2 = derivatives(wave)
    coefficients = hermite(np.diff(wave.u), wave.log_density, slope, slope_1, slope_2)
    return Density(c=c, delta=delta, u=wave.u, coefficients=coefficients, turn=_turn(wave, delta))


def derivatives(wave: Wave) -> tuple[Array, Array, Array]:
    """Return the first three derivatives of ``log(y f)`` in ``log y`` at the points."""
    return 1 - 2 * wave.slope.real, -2 * wave.slope_1.real, -2 * wave.slope_2.real


def _turn(wave: Wave, delta: float) -> complex:
    """Return ``q/p`` of ``U ~ p + q (y/y_0)^delta`` below the first point.

    Near 0 the equation has constant coefficients in ``log y``:  ``y v'/v = (1-delta)/2 + delta q/(p+q)`` at
    ``y_0``. The imaginary part of that is of the sign of minus the phase of ``U``.
    """
    share = (complex(wave.slope[0]) - (1 - delta) / 2).conjugate() / delta
    return share / (1 - share)


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


def horner(coefficients: NDArray[Any], index: NDArray[np.intp], share: NDArray[Any]) -> NDArray[Any]:
    """Return the polynomials of the intervals ``index`` at a ``share`` (real or complex) of their length."""
    values: NDArray[Any] = coefficients[7].take(index)
    for row in coefficients[6::-1]:
        values *= share
        values += row.take(index)
    return values
