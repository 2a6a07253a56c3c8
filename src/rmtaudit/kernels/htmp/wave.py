"""The density behind HTMP at chosen points, from the differential equation that its Tricomi function solves.

In the unit where the mean is ``a = c + delta`` the law has the density (Ismail, Letessier, Valent 1988)

    f(y) = y^(delta-1) e^(-y) / (G(c+1) G(a) |U(c, 1-delta, -y)|²) = constant / |v(y)|²,
    v'' = (1/4 - C/y + (delta² - 1)/(4y²)) v,        C = c + (delta-1)/2,

with ``v = y^((1-delta)/2) e^(y/2) U`` complex and entire but for 0. So nothing special is evaluated: ``v`` is
carried from point to point by the Taylor series of its equation, all intervals at once. It starts in the bulk
from ``v'/v``, which is the Stieltjes transform (a continued fraction off the axis, then the same series down
to the axis). Going outwards ``|v|`` grows faster than any error does, so the density keeps its relative
accuracy into both tails. Integer ``delta``, where Kummer's connection formula breaks, is nothing special.
"""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TERMS, _START_TERMS = 22, 30  # of the series: enough for a phase of 2.5 in an interval
_PHASE = 2.5  # of the solution in an interval, at most
_SPACING = 0.2  # of the points in log y, at most
_EDGE = 6.0  # intervals for every factor of e in the distance to an edge of the bulk
_FALL = 200.0  # the density is followed until it has fallen by this in its logarithm
_LIFT = 40.0  # the fraction is evaluated this much of phase off the axis
_LOST = 40.0  # and to this accuracy, in its logarithm
_EVEN, _NEAR_EDGE = np.linspace(0, 1, 400), np.sinh(np.linspace(-6, 6, 80))  # where spacings are computed
_EULER = 1e-16  # below this over C + c + 1 the density is that of an equation with constant coefficients


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """The density at points of increasing ``y``. All arrays have shape ``(n,)``, ``n >= 5``.

    Attributes
    ----------
    u
        ``log y``.
    log_density
        ``log(y f(y))``: of the density with respect to ``u``.
    slope
        ``rho = y v'/v``, complex: the first derivative of ``log_density`` is ``1 - 2 Re rho``.
    slope_1, slope_2
        First and second derivative of ``rho`` in ``u``.
    """

    u: NDArray[np.float64]
    log_density: NDArray[np.float64]
    slope: NDArray[np.complex128]
    slope_1: NDArray[np.complex128]
    slope_2: NDArray[np.complex128]


def solve(c: float, delta: float, within: tuple[float, float] = (-math.inf, math.inf)) -> Wave:
    """Return the density of the law of ``c > 0`` and ``delta > 0`` at some hundreds of points.

    ``within`` are bounds in ``log y``: outside of them, and of some surroundings of the mean, no point is
    needed.

    Relative accuracy 1e-12 wherever it was compared with 40 digits. The number of points, and the time, grow
    as ``c`` once that is above a hundred: a point for every 2.5 of phase, of which there are ``pi c``.
    """
    equation = _Equation(c, delta)
    middle = max(c + delta, 1.0)
    ratio = _ratio_at(equation, middle)
    u, first = _points(equation, middle, within)
    y = np.exp(u)
    y[first] = middle
    v, w = _carry(equation, y, first, ratio)
    density = -ratio.imag / (math.pi * c)  # Im v'/v = c Im S = -pi c f
    log_density = math.log(density) - 2 * np.log(np.abs(v)) + u
    # the imaginary part is lost in the quotient where the density is small, but known from it
    rho = (y * w / v).real - 1j * (math.pi * c) * np.exp(log_density)
    rho_1 = equation.rate(y) + rho - rho**2
    rho_2 = y * (y / 2 - equation.bend) + rho_1 * (1 - 2 * rho)
    return Wave(u=u, log_density=log_density, slope=rho, slope_1=rho_1, slope_2=rho_2)


@dataclass(frozen=True, slots=True)
class _Equation:
    """``y² v'' = (y²/4 - C y + k) v``."""

    c: float
    delta: float

    @property
    def bend(self) -> float:
        """``C``."""
        return self.c + (self.delta - 1) / 2

    @property
    def k(self) -> float:
        return (self.delta - 1) * (self.delta + 1) / 4

    def rate(self, y: Any) -> Any:
        """Return ``y²/4 - C y + k``."""
        return y * (y / 4 - self.bend) + self.k

    def edges(self) -> list[tuple[float, float]]:
        """Return ``log y`` where the rate is 0, and the width there over which the solution turns."""
        root = self.bend**2 - self.k
        if root <= 0 or self.bend <= 0:
            return []
        upper = 2 * (self.bend + math.sqrt(root))
        edges = []
        for y in (4 * self.k / upper, upper):
            if y > 0:
                steep = abs(y * (y / 2 - self.bend))
                edges.append((math.log(y), min(max(steep, 1e-3) ** (-1 / 3), 1.0)))
        return edges


def _ratio_at(equation: _Equation, y: float) -> complex:
    """Return ``v'/v`` on the axis, at a ``y`` in the bulk."""
    c, delta = equation.c, equation.delta
    rate = math.sqrt(abs(equation.rate(y))) / y + 1 / y
    height = min(y, _LIFT / rate)
    stieltjes = _fraction(c, c + delta, complex(-y, height))
    at = complex(y, -height)
    v, w = 1 + 0j, c * stieltjes - (delta - 1) / (2 * at) + 0.5
    steps = max(4, math.ceil(height * rate / _PHASE))
    path = y + 1j * np.linspace(-height, 0.0, steps + 1)
    moves = _transfers(equation, path[:-1], np.diff(path), _START_TERMS)
    for p, q, r, s in zip(*(move.tolist() for move in moves), strict=True):
        v, w = p * v + q * w, r * v + s * w
        # only the quotient matters, and both may grow without bound
        v, w = 1 + 0j, w / v
    return w


def _fraction(c: float, a: float, t: complex) -> complex:
    """Return ``S(t) = E 1/(y+t)`` by its continued fraction, ``t`` in the upper half-plane.

    ``S = 1/X_0``, ``X_k = t + (a+k)/(1 + (c+k+1)/X_(k+1))``, ended by the fixed point of the last step.
    """
    decay = cmath.sqrt(t).real
    depth = int((math.sqrt(c) + _LOST / (4 * decay)) ** 2 - c) + 8
    linear = (c + depth + 1) - t - (a + depth)
    root = cmath.sqrt(linear**2 + 4 * t * (c + depth + 1))
    x = max((root - linear) / 2, (-root - linear) / 2, key=lambda value: value.imag)
    for k in range(depth - 1, -1, -1):
        x = t + (a + k) * x / (x + (c + k + 1))
    return 1 / x


def _points(
    equation: _Equation, middle: float, within: tuple[float, float]
) -> tuple[NDArray[np.float64], int]:
    """Return the points in ``log y`` and the position among them of ``log(middle)``.

    Their density is what the series needs (phase), what interpolation needs (edges, where the density turns
    over a short way), and a constant.
    """
    edges = equation.edges()
    low = min(_EULER / (abs(equation.bend) + equation.c + 1), middle / 10)
    highest = max([math.exp(edges[-1][0]) if edges else 0.0, middle])
    start, end, centre = math.log(low), math.log(4 * highest + 2 * _FALL), math.log(middle)
    start, end = max(start, min(within[0], centre - 1)), min(end, max(within[1], centre + 1))
    grids = [start + (end - start) * _EVEN, np.array([centre])]
    grids += [edge + width * _NEAR_EDGE for edge, width in edges]
    u = np.sort(np.concatenate(grids))
    u = u[(u >= start) & (u <= end)]
    squared = equation.rate(np.exp(u)) + 0.25
    needed = np.sqrt(np.abs(squared)) / _PHASE + 1 / _SPACING
    for edge, width in edges:
        away = u - edge
        needed += _EDGE / np.sqrt(away**2 + width**2) * np.exp(-np.abs(away))
    count, fall = _integral(needed, u), 2 * _integral(np.sqrt(np.maximum(squared, 0)), u)
    at = int(np.searchsorted(u, centre))
    kept = np.flatnonzero(np.abs(fall - fall[at]) < _FALL)
    sides = []
    for last in (int(kept[0]), int(kept[-1])):
        number = max(2, math.ceil(abs(count[last] - count[at])))
        levels = np.linspace(count[at], count[last], number + 1)
        sides.append(np.interp(levels, count, u))
    left, right = sides
    return np.concatenate([left[::-1], right[1:]]), left.size - 1


def _integral(values: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([[0.0], np.cumsum((values[1:] + values[:-1]) / 2 * (at[1:] - at[:-1]))])


def _carry(
    equation: _Equation, y: NDArray[np.float64], first: int, ratio: complex
) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """Return ``v`` and ``v'`` at every point, from ``v = 1`` and ``v' = ratio`` at the first."""
    moves = _transfers(equation, y[:-1], np.diff(y), _TERMS)
    p, q, r, s = (move.tolist() for move in moves)
    v, w = [1 + 0j] * y.size, [ratio] * y.size
    for k in range(first, y.size - 1):
        v[k + 1], w[k + 1] = p[k] * v[k] + q[k] * w[k], r[k] * v[k] + s[k] * w[k]
    for k in range(first - 1, -1, -1):  # backwards by the inverse: the determinant is 1
        v[k], w[k] = s[k] * v[k + 1] - q[k] * w[k + 1], p[k] * w[k + 1] - r[k] * v[k + 1]
    return np.array(v), np.array(w)


def _transfers(
    equation: _Equation, y: NDArray[Any], step: NDArray[Any], terms: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return the matrices ``[[p, q], [r, s]]`` that take ``(v, v')`` from ``y`` to ``y + step``.

    The two solutions ``(1, 0)`` and ``(0, 1)`` are expanded in powers of the share of the step.
    """
    relative = step / y
    square = relative**2
    constant = equation.rate(y) * square
    linear, quadratic = step * (y / 2 - equation.bend) * square, step**2 / 4 * square
    # the coefficient of share^(k+2) from the four before it
    k = np.arange(terms)[:, None]
    weights = np.empty((terms, 4, 1, y.size), dtype=y.dtype)
    weights[:, 0, 0], weights[:, 1, 0] = quadratic, linear
    weights[:, 2, 0], weights[:, 3, 0] = constant - square * (k * (k - 1)), -2 * k * (k + 1) * relative
    weights /= ((k + 2) * (k + 1))[:, :, None, None]
    series = np.zeros((terms + 4, 2, y.size), dtype=y.dtype)
    series[2, 0], series[3, 1] = 1.0, 1.0
    products = np.empty((4, 2, y.size), dtype=y.dtype)
    for index in range(terms):
        np.multiply(weights[index], series[index : index + 4], out=products)
        np.add.reduce(products, axis=0, out=series[index + 4])
    value = np.add.reduce(series, axis=0)
    powers = np.arange(-2.0, terms + 2)  # the first two coefficients are 0
    slope = (powers @ series.reshape(terms + 4, -1)).reshape(2, y.size)
    return value[0], value[1] * step, slope[0] / step, slope[1]
