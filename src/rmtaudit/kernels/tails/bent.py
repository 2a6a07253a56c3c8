"""Bent power laws: exponential families on a half-line that have the power law on their boundary.

With ``v = log(x/xmin) >= 0`` a power law is the exponential law ``e^(-a v)``, ``a = alpha - 1``. Two laws
bend it by one more term, ``e^(-a v - c s(v))`` with ``c >= 0``:

* ``s(v) = e^v - 1``: the power law with exponential cut-off, ``x^(-alpha) e^(-rate x)``, which is a gamma law
  cut off on the left, and on ``1/x`` an inverse gamma law near zero;
* ``s(v) = v²``: the lognormal law, cut off on the left.

Both are exponential families, so the likelihood is concave, the fit unique, and it matches two means. It is
found by Newton's method with the moments from Gauss-Legendre quadrature, which holds for every real ``alpha``
(``scipy.special.gammaincc`` does not). Computed with numpy on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Bend = Literal["cut-off", "lognormal"]

_NODES = 128
"""A convention: of Gauss and Legendre, over the 42 nats of a smooth bump."""
_DOUBLINGS = 200
"""Doublings of an interval: they span 60 decades."""
_DROP = 42.0  # nats below the peak at which the quadrature ends: e^-42 is under the rounding of the integral
_ITERATIONS = 200
"""A convention: damped Newton steps on a concave likelihood; not to converge is an error."""
_NEGLIGIBLE = 1e-8  # nats by which the bend lowers the density of the largest value: then it is none
_TOLERANCE = 1e-8  # of the matched means, in their standard deviations: the likelihood is exact to its square


@dataclass(frozen=True, slots=True, kw_only=True)
class BentFit:
    """The density ``e^(-slope v - curvature t(v)) / e^log_mass`` of ``v = log(x/xmin)``.

    ``t(v) = e^v - 1 - v`` for the cut-off and ``v²`` for the lognormal law: the bend without its tangent at
    0, so that ``slope`` is one less than the local exponent at ``xmin``.

    Attributes
    ----------
    slope, curvature
        Parameters; ``curvature`` is 0 where the power law itself is the most likely member.
    log_mass
        Logarithm of the integral.
    covariance
        Of the two estimates, from the Fisher information; shape ``(2, 2)``. On the boundary it is that of the
        power law, with nothing known of ``curvature``: its entries are not finite.
    mean_log_likelihood
        Of a value of ``v``, in nats.
    """

    slope: float
    curvature: float
    log_mass: float
    covariance: NDArray[np.float64]
    mean_log_likelihood: float


def bend_of(v: NDArray[np.float64], bend: Bend) -> NDArray[np.float64]:
    """Return ``t(v)`` of :class:`BentFit`."""
    with np.errstate(over="ignore"):
        if bend == "lognormal":
            return v * v
        series = v * v / 2 * (1 + v / 3 * (1 + v / 4 * (1 + v / 5 * (1 + v / 6))))
        return np.where(v < 0.01, series, np.expm1(v) - v)  # the difference of two close numbers


def fit_bent(v: NDArray[np.float64], bend: Bend) -> BentFit:
    """Fit the two parameters to ``v = log(x/xmin)`` by maximum likelihood.

    Parameters
    ----------
    v
        Shape ``(n,)``, ``>= 0``, at least two different values.
    bend
        Which of the two laws.

    Raises
    ------
    ArithmeticError
        Where the means are not finite (``v`` beyond 700) or not matched after 200 steps.

    References
    ----------
    del Castillo, *The singly truncated normal distribution: a non-steep exponential family*, Annals of the
    Institute of Statistical Mathematics 46 (1994): the boundary is the most likely member if and only if the
    derivative there points out of the family.
    """
    mean = float(v.mean())
    mean_bend = float(bend_of(v, bend).mean())
    if not (math.isfinite(mean_bend) and mean > 0):
        raise ArithmeticError("the values of the tail are too far apart, or all equal")
    expected = (
        2 * mean * mean if bend == "lognormal" else (mean / (1 - mean) - mean if mean < 1 else math.inf)
    )
    if mean_bend >= expected:
        return _boundary(mean, v.size)
    least = _NEGLIGIBLE / float(bend_of(v.max(), bend))
    return _newton(mean, mean_bend, bend, v.size, least)


def _boundary(mean: float, size: int) -> BentFit:
    covariance = np.full((2, 2), math.inf)
    covariance[0, 0] = 1 / (mean * mean * size)
    return BentFit(
        slope=1 / mean,
        curvature=0.0,
        log_mass=math.log(mean),
        covariance=covariance,
        mean_log_likelihood=-1 - math.log(mean),
    )


def _newton(mean: float, mean_bend: float, bend: Bend, size: int, least: float) -> BentFit:
    """Ascend the concave likelihood; a ``curvature`` under ``least`` is taken for 0."""
    target = np.array([mean, mean_bend])
    point = np.array([0.5 / mean, 0.5 / mean_bend])
    log_mass, moments, covariance = _moments(point, bend)
    if not np.isfinite(covariance).all():
        raise ArithmeticError("the values of the tail are too far apart")
    value = -float(point @ target) - log_mass
    for _ in range(_ITERATIONS):
        gradient = moments - target
        spread = np.sqrt(np.diag(covariance))
        correlation = covariance[0, 1] / (spread[0] * spread[1])
        scaled = gradient / spread
        # the inverse of [[1, r], [r, 1]] by hand: its determinant keeps its digits where r is next to ±1
        determinant = (1 - correlation) * (1 + correlation)
        step = np.array([scaled[0] - correlation * scaled[1], scaled[1] - correlation * scaled[0]])
        step /= determinant * spread
        gain = float(gradient @ step)
        if gain < _TOLERANCE**2:
            information = np.linalg.inv(covariance)
            return BentFit(
                slope=float(point[0]),
                curvature=float(point[1]),
                log_mass=log_mass,
                covariance=information / size,
                mean_log_likelihood=value,
            )
        # the bend stays positive: at most nine tenths of the way to the boundary
        length = 1.0 if step[1] > -0.9 * point[1] else -0.9 * point[1] / step[1]
        while True:
            trial = point + length * step
            moments_there = _moments(trial, bend)
            reached = -float(trial @ target) - moments_there[0]
            in_range = bool(np.isfinite(moments_there[2]).all())
            wanted = value + 0.1 * length * gain - 1e-14 * (1 + abs(value))
            if in_range and (reached >= wanted or length < 1e-8):
                break
            if length < 1e-300:
                raise ArithmeticError("the values of the tail are too far apart")
            length /= 2
        point, value = trial, reached
        if point[1] < least:
            return _boundary(mean, size)
        log_mass, moments, covariance = moments_there
    raise ArithmeticError("the most likely bent power law was not found")


def _moments(
    point: NDArray[np.float64], bend: Bend
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Return the logarithm of the mass, the means of ``(v, t)`` and their covariance."""
    slope, curvature = float(point[0]), float(point[1])
    low, high = _support(slope, curvature, bend)
    nodes, weights = _legendre()
    v = low + (high - low) * nodes
    bent = bend_of(v, bend)
    exponent = -slope * v - curvature * bent
    peak = float(exponent.max())
    density = weights * np.exp(exponent - peak)
    mass = float(density.sum())
    density /= mass
    first, second = float(density @ v), float(density @ bent)
    centred, bent_centred = v - first, bent - second
    with np.errstate(over="ignore"):
        cross = float(density @ (centred * bent_centred))
        squares = float(density @ centred**2), float(density @ bent_centred**2)
    covariance = np.array([[squares[0], cross], [cross, squares[1]]])
    return peak + math.log(mass * (high - low)), np.array([first, second]), covariance


def _support(slope: float, curvature: float, bend: Bend) -> tuple[float, float]:
    """Return the interval outside which nothing counts in the integrals of the moments.

    The longest tail is that of ``t²``: it grows as ``e^(2v)`` up to the cut-off.
    """

    def exponent(v: float, slope: float) -> float:
        return slope * v + curvature * (v * v if bend == "lognormal" else math.expm1(min(v, 700.0)) - v)

    def peak(slope: float) -> float:
        if slope >= 0:
            return 0.0
        return -slope / (2 * curvature) if bend == "lognormal" else math.log1p(-slope / curvature)

    def right(slope: float) -> float:
        top = peak(slope)
        limit = exponent(top, slope) + _DROP
        # the curvature at the peak gives the scale of the first step
        width = 1 / math.sqrt(curvature * (2.0 if bend == "lognormal" else math.exp(min(top, 700.0))))
        step = min(width, 1 / slope) if slope > 0 else width
        return _crossing(lambda v: exponent(v, slope), limit, top, step)

    top = peak(slope)
    low = _left(lambda v: exponent(v, slope), exponent(top, slope) + _DROP, top)
    return low, right(slope) if bend == "lognormal" else max(right(slope), right(slope - 2))


def _crossing(exponent: Callable[[float], float], limit: float, peak: float, step: float) -> float:
    inside, outside = peak, peak + step
    for _ in range(_DOUBLINGS):
        if not exponent(outside) < limit:
            break
        inside, step = outside, 2 * step
        outside = peak + step
    else:  # the cut-off lies beyond the range of floats
        raise ArithmeticError("the values of the tail are too far apart")
    for _ in range(6):  # the interval may be a little too long, never too short
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if exponent(middle) >= limit else (middle, outside)
    return outside


def _left(exponent: Callable[[float], float], limit: float, peak: float) -> float:
    if peak == 0 or exponent(0.0) <= limit:
        return 0.0
    outside, inside = 0.0, peak
    for _ in range(30):
        middle = (inside + outside) / 2
        outside, inside = (middle, inside) if exponent(middle) >= limit else (outside, middle)
    return outside


@cache
def _legendre() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return (nodes + 1) / 2, weights / 2
