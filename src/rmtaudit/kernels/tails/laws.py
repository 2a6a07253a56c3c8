"""Five laws of a tail, each fitted by maximum likelihood to the same values above the same ``xmin``.

Every density is that of the whole law given ``x >= xmin``, so that likelihoods can be compared. Computed with
numpy and scipy on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import scipy.optimize

from rmtaudit.kernels.tails.bent import Bend, bend_of, fit_bent

if TYPE_CHECKING:
    from numpy.typing import NDArray

Law = Literal["power_law", "truncated_power_law", "lognormal", "stretched_exponential", "exponential"]

LAWS: tuple[Law, ...] = (
    "power_law",
    "truncated_power_law",
    "lognormal",
    "stretched_exponential",
    "exponential",
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """An estimate and its standard error for a known ``xmin``; ``se`` is ``None`` on a boundary."""

    value: float
    se: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LawFit:
    """One law fitted to a tail.

    Attributes
    ----------
    law
        Which.
    parameters
        ``power_law``: ``alpha``. ``truncated_power_law``, ``x^(-alpha) e^(-rate x)``: ``alpha``, any real
        number, and ``rate``, per unit of the values. ``lognormal``: ``mu`` and ``sigma`` of ``log x``.
        ``stretched_exponential``, survival ``e^(-(x/scale)^beta)``: ``beta`` and
        ``strength = (xmin/scale)^beta``. ``exponential``: ``rate``. Where ``degenerate``: ``alpha`` alone.
    log_likelihood
        Of all the values of the tail, in nats; it depends on the unit of the values as that of the other
        laws does.
    degenerate
        The most likely member of the law is its limit, the power law: it is the same density.
    pointwise
        Shape ``(n,)``, the terms of ``log_likelihood``, in the order of the values.
    """

    law: Law
    parameters: Mapping[str, Parameter]
    log_likelihood: float
    degenerate: bool
    pointwise: NDArray[np.float64] = field(repr=False, compare=False)


def fit_laws(tail: NDArray[np.float64], xmin: float) -> tuple[LawFit, ...]:
    """Fit the five laws to the values of a tail, in the order of ``LAWS``.

    Parameters
    ----------
    tail
        Shape ``(n,)``, float64, finite, all ``>= xmin > 0``, not all equal to ``xmin``.
    xmin
        Where the laws are cut off, in the unit of the values.

    Raises
    ------
    ValueError
        For other values.
    ArithmeticError
        Where the largest value is more than ``e^700`` times the smallest.

    References
    ----------
    Clauset, Shalizi, Newman, SIAM Review 51 (2009), tables 2.1 and appendix B.
    """
    if not (xmin > 0 and tail.size >= 2 and np.isfinite(tail).all() and tail.min() >= xmin):
        raise ValueError("a tail must have at least two finite values, all at least xmin > 0")
    xmin = float(xmin)
    with np.errstate(over="ignore"):
        v = np.log1p((tail - xmin) / xmin)
    if not v.max() > 0:
        raise ValueError("all values of the tail are equal")
    if v.max() > 700:
        raise ArithmeticError("the largest value is more than e^700 times the smallest")
    return (
        _power_law(v, xmin),
        _truncated_power_law(v, xmin),
        _lognormal(v, xmin),
        _stretched_exponential(v, xmin),
        _exponential(v, xmin),
    )


def _law(
    law: Law,
    parameters: Mapping[str, Parameter],
    of_v: NDArray[np.float64],
    v: NDArray[np.float64],
    xmin: float,
) -> LawFit:
    """From the logarithm of the density of ``v`` to that of ``x``."""
    pointwise = of_v - v - math.log(xmin)
    return LawFit(
        law=law,
        parameters=parameters,
        log_likelihood=float(pointwise.sum()),
        degenerate=False,
        pointwise=pointwise,
    )


def _power_law(v: NDArray[np.float64], xmin: float) -> LawFit:
    rate = 1 / float(v.mean())
    parameters = {"alpha": Parameter(1 + rate, rate / math.sqrt(v.size))}
    return _law("power_law", parameters, math.log(rate) - rate * v, v, xmin)


def _degenerate(law: Law, v: NDArray[np.float64], xmin: float) -> LawFit:
    limit = _power_law(v, xmin)
    return LawFit(
        law=law,
        parameters=limit.parameters,
        log_likelihood=limit.log_likelihood,
        degenerate=True,
        pointwise=limit.pointwise,
    )


def _bent(
    v: NDArray[np.float64], bend: Bend
) -> tuple[float, float, NDArray[np.float64], NDArray[np.float64]]:
    fit = fit_bent(v, bend)
    density = -fit.slope * v - fit.curvature * bend_of(v, bend) - fit.log_mass
    return fit.slope, fit.curvature, fit.covariance, density


def _truncated_power_law(v: NDArray[np.float64], xmin: float) -> LawFit:
    slope, curvature, covariance, density = _bent(v, "cut-off")
    if curvature == 0:
        return _degenerate("truncated_power_law", v, xmin)
    # slope = alpha - 1 + curvature
    variance = float(covariance[0, 0] - 2 * covariance[0, 1] + covariance[1, 1])
    parameters = {
        "alpha": Parameter(1 + slope - curvature, _root(variance)),
        "rate": Parameter(curvature / xmin, _root(covariance[1, 1]) / xmin),
    }
    return _law("truncated_power_law", parameters, density, v, xmin)


def _lognormal(v: NDArray[np.float64], xmin: float) -> LawFit:
    slope, curvature, covariance, density = _bent(v, "lognormal")
    if curvature == 0:
        return _degenerate("lognormal", v, xmin)
    # the density of v is that of a normal law: curvature = 1/(2 sigma²), slope = -mean/sigma²
    mean, sigma = -slope / (2 * curvature), 1 / math.sqrt(2 * curvature)
    by_mean = np.array([-1 / (2 * curvature), -mean / curvature])
    by_sigma = np.array([0.0, -sigma / (2 * curvature)])
    parameters = {
        "mu": Parameter(math.log(xmin) + mean, _root(float(by_mean @ covariance @ by_mean))),
        "sigma": Parameter(sigma, _root(float(by_sigma @ covariance @ by_sigma))),
    }
    return _law("lognormal", parameters, density, v, xmin)


def _stretched_exponential(v: NDArray[np.float64], xmin: float) -> LawFit:
    """Fit ``beta`` alone: for a given one, ``strength = 1/mean(e^(beta v) - 1)``."""
    mean, greatest = float(v.mean()), float(v.max())
    # the derivative of the likelihood at beta = 0, where the law is the power law
    if float((v * v).mean()) >= 2 * mean * mean:
        return _degenerate("stretched_exponential", v, xmin)

    def score(beta: float) -> float:
        grown = np.exp(beta * (v - greatest))  # all sums are scaled by the largest term
        less = -np.expm1(-beta * v) * grown
        return 1 / beta + mean - float((v * grown).sum() / less.sum())

    # the score is positive next to 0 (to rounding) and falls to mean - greatest < 0
    low, high = 1e-4 / mean, 1 / mean
    if score(low) <= 0:
        return _degenerate("stretched_exponential", v, xmin)
    while score(high) > 0:
        low, high = high, 2 * high
    beta = float(scipy.optimize.brentq(score, low, high, xtol=1e-13 * high, rtol=1e-12))
    with np.errstate(over="ignore"):
        stretched = np.expm1(beta * v)
    total = float(stretched.mean())
    if not math.isfinite(total) or total == 0:
        raise ArithmeticError("the stretched exponential of the tail cannot be represented in floating point")
    strength = 1 / total
    first = float((v * (stretched + 1)).mean())
    second = float((v * v * (stretched + 1)).mean())
    # observed information of (beta, log strength) for one value
    information = np.array([[1 / beta**2 + strength * second, strength * first], [strength * first, 1.0]])
    covariance = np.linalg.inv(information) / v.size
    parameters = {
        "beta": Parameter(beta, _root(covariance[0, 0])),
        "strength": Parameter(strength, _root(covariance[1, 1] * strength**2)),
    }
    density = math.log(beta * strength) + beta * v - strength * stretched
    return _law("stretched_exponential", parameters, density, v, xmin)


def _exponential(v: NDArray[np.float64], xmin: float) -> LawFit:
    above = np.expm1(v)  # x/xmin - 1
    rate = 1 / float(above.mean())
    parameters = {"rate": Parameter(rate / xmin, rate / xmin / math.sqrt(v.size))}
    return _law("exponential", parameters, math.log(rate) - rate * above + v, v, xmin)


def _root(variance: float) -> float:
    return math.sqrt(max(float(variance), 0.0))  # rounding may take a variance of next to nothing below 0
