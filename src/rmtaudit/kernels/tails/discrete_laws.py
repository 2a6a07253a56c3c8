"""The five laws of a tail for whole numbers: ``P(x)`` in proportion to the density, for ``x >= xmin``.

They nest as the continuous ones do: the truncated power law, the lognormal and the stretched exponential have
the discrete power law as a limit. Sums over all ``x`` are taken term by term at first, and as integrals from
half a step lower after that. Computed with numpy and scipy on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import scipy.optimize

from rmtaudit.kernels.tails.bent import Bend, bend_of
from rmtaudit.kernels.tails.discrete import exponents, log_tail
from rmtaudit.kernels.tails.laws import Law, LawFit, Parameter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vector = NDArray[np.float64]

_TERMS = 256  # summed one by one; half a step lower, the integral then has 5 digits of what is left
_PANELS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)  # of the logarithm
_NODES = 12
"""Of Gauss and Legendre in each panel: exact up to degree 23."""
_NEGLIGIBLE = 1e-8  # nats by which a bend lowers the largest value: then it is none
_GRID = 8192
"""A convention: points of the logarithm at which a distribution function is tabulated."""
_STRENGTHS = (-6.0, 3.0)
"""A convention: the interval of the logarithm of the strength, in units of the mean of ``y``."""
_STRENGTH_STEP = 1e-8
"""Of the logarithm: the likelihood is flat there, and exact to the square."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Support:
    """Nodes of the sum: ``v = log(x/xmin)`` and the logarithm of weight over ``x``; and the data's ``v``.

    ``distinct`` and ``shares`` are the different values of ``data`` and how many of them there are.
    """

    xmin: float
    v: Vector
    weight: Vector
    data: Vector
    distinct: Vector
    shares: Vector


def fit_discrete_laws(tail: Vector, xmin: float) -> tuple[LawFit, ...]:
    """Fit the five laws to whole numbers ``>= xmin >= 1``, as :func:`~rmtaudit.kernels.tails.laws.fit_laws`.

    ``rate``, ``mu`` and ``strength`` are those of the continuous formula in the same unit.

    Raises
    ------
    ValueError
        For other values.
    ArithmeticError
        Where a law cannot be fitted in floats.
    """
    if not (xmin >= 1 and tail.size >= 2 and np.isfinite(tail).all() and tail.min() >= xmin):
        raise ValueError("a tail must have at least two finite values, all at least xmin >= 1")
    if not tail.max() > xmin:
        raise ValueError("all values of the tail are equal")
    distinct, counts = np.unique(tail, return_counts=True)
    logs, shares = np.log(distinct / xmin), counts / tail.size
    support = _support(np.log(tail / xmin), float(xmin), logs, shares)
    power = _power_law(support)
    return (
        power,
        _bent(support, "truncated_power_law", "cut-off", power),
        _bent(support, "lognormal", "lognormal", power),
        _stretched_exponential(support, power),
        _exponential(support),
    )


def discrete_distances(laws: Sequence[LawFit], tail: Vector, xmin: float) -> dict[Law, float]:
    """Return the Kolmogorov-Smirnov distance of each law from the tail."""
    values, counts = np.unique(tail, return_counts=True)
    sizes = np.append(np.cumsum(counts[::-1])[::-1], 0) / tail.size
    distances: dict[Law, float] = {}
    for fit in laws:
        here, after = (_tails(fit, at, xmin) for at in (values, values + 1))
        distances[fit.law] = float(max(np.abs(here - sizes[:-1]).max(), np.abs(after - sizes[1:]).max()))
    return distances


def _support(data: Vector, xmin: float, distinct: Vector, shares: Vector) -> _Support:
    terms = xmin + np.arange(_TERMS)
    nodes, weights = _gauss()
    ends = np.array(_PANELS)
    half = np.diff(ends) / 2
    t = (ends[:-1] + half)[:, None] + half[:, None] * nodes
    start = xmin + _TERMS - 0.5
    # over x, the integral of f dx is that of f x dt, and weight/x is that of dt alone
    v = np.concatenate((np.log(terms / xmin), (math.log(start / xmin) + t).ravel()))
    weight = np.concatenate((-np.log(terms), np.log(half[:, None] * weights).ravel()))
    return _Support(xmin=xmin, v=v, weight=weight, data=data, distinct=distinct, shares=shares)


@cache
def _gauss() -> tuple[Vector, Vector]:
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return nodes, weights


def _log_mass(support: _Support, exponent: Vector) -> tuple[float, Vector]:
    """Return the logarithm of the sum of ``e^exponent/x`` and the shares of the nodes."""
    logs = support.weight + exponent
    peak = float(logs.max())
    shares = np.exp(logs - peak)
    total = float(shares.sum())
    return peak + math.log(total), shares / total


def _law(
    support: _Support, law: Law, parameters: dict[str, Parameter], exponent: Vector, log_mass: float
) -> LawFit:
    pointwise = exponent - np.log(support.xmin) - support.data - log_mass
    return LawFit(
        law=law,
        parameters=parameters,
        log_likelihood=float(pointwise.sum()),
        degenerate=False,
        pointwise=pointwise,
    )


def _power_law(support: _Support) -> LawFit:
    alpha, variance = exponents(np.array([support.data.mean()]), np.array([support.xmin]))
    slope = float(alpha[0]) - 1
    log_mass, _ = _log_mass(support, -slope * support.v)
    se = 1 / math.sqrt(support.data.size * float(variance[0]))
    parameters = {"alpha": Parameter(1 + slope, se)}
    return _law(support, "power_law", parameters, -slope * support.data, log_mass)


def _limit(law: Law, power: LawFit) -> LawFit:
    return LawFit(
        law=law,
        parameters=power.parameters,
        log_likelihood=power.log_likelihood,
        degenerate=True,
        pointwise=power.pointwise,
    )


def _bent(support: _Support, law: Law, bend: Bend, power: LawFit) -> LawFit:
    statistics = np.stack([support.v, bend_of(support.v, bend)])
    distinct = np.stack([support.distinct, bend_of(support.distinct, bend)])
    point = np.array([power.parameters["alpha"].value - 1, 0.0])
    _, shares = _log_mass(support, -point @ statistics)
    target = distinct @ support.shares
    # the power law is the best member where the likelihood falls from there
    if target[1] >= statistics[1] @ shares:
        return _limit(law, power)
    solution = _newton(support, statistics, target, np.array([0.5 / target[0], 0.5 / target[1]]))
    if solution is None or solution[0][1] * distinct[1].max() < _NEGLIGIBLE:
        return _limit(law, power)
    point, log_mass, information = solution
    slope, curvature = float(point[0]), float(point[1])
    covariance = np.linalg.inv(information) / support.data.size
    if law == "truncated_power_law":
        turn = np.array([1.0, -1.0])
        parameters = {
            "alpha": Parameter(1 + slope - curvature, _se(turn, covariance)),
            "rate": Parameter(curvature / support.xmin, _se(np.array([0, 1 / support.xmin]), covariance)),
        }
    else:
        mean, sigma = -slope / (2 * curvature), 1 / math.sqrt(2 * curvature)
        by_mean = np.array([-1 / (2 * curvature), -mean / curvature])
        parameters = {
            "mu": Parameter(math.log(support.xmin) + mean, _se(by_mean, covariance)),
            "sigma": Parameter(sigma, _se(np.array([0.0, -sigma / (2 * curvature)]), covariance)),
        }
    data = np.stack([support.data, bend_of(support.data, bend)])
    return _law(support, law, parameters, -point @ data, log_mass)


def _newton(
    support: _Support, statistics: Vector, target: Vector, point: Vector
) -> tuple[Vector, float, Vector] | None:
    """Ascend the concave likelihood; ``None`` where it ends on the boundary of the second parameter."""
    log_mass, shares = _log_mass(support, -point @ statistics)
    for _ in range(200):
        moments = statistics @ shares
        centred = statistics - moments[:, None]
        information = (centred * shares) @ centred.T
        gradient = moments - target
        try:
            step = np.linalg.solve(information, gradient)
        except np.linalg.LinAlgError as error:
            raise ArithmeticError("a law of the tail cannot be represented in floating point") from error
        gain = float(gradient @ step)
        if gain < 1e-14:
            return point, log_mass, information
        if point[1] < 1e-14:
            return None
        length = 1.0 if step[1] > -0.9 * point[1] else -0.9 * float(point[1] / step[1])
        value = -float(point @ target) - log_mass
        while length > 1e-10:
            trial = point + length * step
            trial_log_mass, trial_shares = _log_mass(support, -trial @ statistics)
            if -float(trial @ target) - trial_log_mass >= value + 0.1 * length * gain - 1e-14 * (
                1 + abs(value)
            ):
                break
            length /= 2
        else:
            return point, log_mass, information
        point, log_mass, shares = trial, trial_log_mass, trial_shares
    raise ArithmeticError("a law of the tail could not be fitted")


def _stretched_exponential(support: _Support, power: LawFit) -> LawFit:
    def at(beta: float, strength: float) -> float:
        log_mass, _ = _log_mass(support, _stretched(support.v, beta, strength))
        return float(_stretched(support.distinct, beta, strength) @ support.shares) - log_mass

    near = 0.0  # strength times the mean, at the last exponent: it changes little

    def best_strength(beta: float) -> float:
        nonlocal near
        grown = float(np.expm1(beta * support.distinct) @ support.shares)
        near = _strength(support, beta, grown, near)
        return math.exp(near) / grown

    solution = scipy.optimize.minimize_scalar(
        lambda log: -at(math.exp(log), best_strength(math.exp(log))),
        bounds=(math.log(0.01), math.log(8.0)),
        method="bounded",
        options={"xatol": 1e-4},
    )
    beta = math.exp(float(solution.x))
    strength = best_strength(beta)
    size = support.data.size
    if size * at(beta, strength) <= power.log_likelihood + float(support.data.sum()) + size * math.log(
        support.xmin
    ):
        return _limit("stretched_exponential", power)
    errors = _errors(at, beta, strength, size)
    parameters = {"beta": Parameter(beta, errors[0]), "strength": Parameter(strength, errors[1])}
    log_mass, _ = _log_mass(support, _stretched(support.v, beta, strength))
    exponent = _stretched(support.data, beta, strength)
    return _law(support, "stretched_exponential", parameters, exponent, log_mass)


def _strength(support: _Support, beta: float, grown: float, near: float) -> float:
    """Return the logarithm of the most likely strength for ``beta``, times the mean ``grown`` of ``y``.

    With ``y = e^(beta v) - 1`` the law is an exponential family in the strength, so that the likelihood is
    concave: Newton's method in its logarithm, kept between -6 and 3 as it halves the interval where it must.
    """
    with np.errstate(over="ignore"):
        y = np.expm1(beta * support.v) / grown
    base = support.weight + beta * support.v
    low, high = _STRENGTHS
    log = min(max(near, low), high)
    for _ in range(60):
        scale = math.exp(log)
        logs = base - scale * y
        shares = np.exp(logs - logs.max())
        shares /= shares.sum()
        held = shares > 0  # y may be infinite where there is no mass
        mean = float(shares[held] @ y[held])
        slope = scale * (mean - 1)  # of the mean log-likelihood, in the logarithm
        low, high = (log, high) if slope > 0 else (low, log)
        spread = float(shares[held] @ (y[held] - mean) ** 2)
        curvature = scale * scale * spread - slope
        step = slope / curvature if curvature > 0 else math.copysign(1.0, slope)
        moved = log + min(max(step, -2.0), 2.0)
        moved = moved if low < moved < high else (low + high) / 2
        if abs(moved - log) < _STRENGTH_STEP:
            return moved
        log = moved
    return log


def _stretched(v: Vector, beta: float, strength: float) -> Vector:
    with np.errstate(over="ignore"):
        result: Vector = beta * v - strength * np.expm1(beta * v)
    return result


def _errors(at: object, beta: float, strength: float, size: int) -> tuple[float | None, float | None]:
    """Return standard errors from the second differences of the mean log-likelihood."""
    assert callable(at)
    step = 1e-3
    grid = np.array(
        [[at(beta * (1 + i * step), strength * (1 + j * step)) for j in (-1, 0, 1)] for i in (-1, 0, 1)]
    )
    first = (2 * grid[1, 1] - grid[0, 1] - grid[2, 1]) / step**2
    second = (2 * grid[1, 1] - grid[1, 0] - grid[1, 2]) / step**2
    mixed = -(grid[2, 2] - grid[2, 0] - grid[0, 2] + grid[0, 0]) / (4 * step**2)
    determinant = first * second - mixed * mixed
    if not (determinant > 0 and first > 0):
        return None, None
    return (
        beta * math.sqrt(second / determinant / size),
        strength * math.sqrt(first / determinant / size),
    )


def _exponential(support: _Support) -> LawFit:
    above = np.expm1(support.data) * support.xmin  # x - xmin: the law is the geometric one
    mean = float(above.mean())
    rate = math.log1p(1 / mean)
    pointwise = -rate * above + math.log(-math.expm1(-rate))
    se = 1 / math.sqrt(support.data.size * mean * (1 + mean))
    return LawFit(
        law="exponential",
        parameters={"rate": Parameter(rate, se)},
        log_likelihood=float(pointwise.sum()),
        degenerate=False,
        pointwise=pointwise,
    )


def _se(direction: Vector, covariance: Vector) -> float:
    return math.sqrt(max(float(direction @ covariance @ direction), 0.0))


def _tails(fit: LawFit, at: Vector, xmin: float) -> Vector:
    """Return ``P(X >= at)``, ``at`` ascending."""
    of = {name: parameter.value for name, parameter in fit.parameters.items()}
    if fit.law == "power_law" or fit.degenerate:
        power: Vector = np.exp(log_tail(of["alpha"], xmin, at))
        return power
    if fit.law == "exponential":
        falling: Vector = np.exp(-of["rate"] * (at - xmin))
        return falling
    support = _support(np.zeros(1), xmin, np.zeros(1), np.ones(1))
    log_mass, shares = _log_mass(support, _exponent(fit.law, of, support.v, xmin))
    near = 1 - np.append(0.0, np.cumsum(shares[:_TERMS]))
    result: Vector = np.interp(at, xmin + np.arange(_TERMS + 1), near)
    beyond = at > xmin + _TERMS
    if beyond.any():
        start = math.log((xmin + _TERMS - 0.5) / xmin)
        ends = np.log((at[beyond] - 0.5) / xmin)
        grid = np.linspace(start, float(ends[-1]), _GRID)
        density = np.exp(_exponent(fit.law, of, grid, xmin) - log_mass)
        mass = np.append(0.0, np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(grid)))
        result[beyond] = np.maximum(near[-1] - np.interp(ends, grid, mass), 0.0)
    return result


def _exponent(law: Law, of: dict[str, float], v: Vector, xmin: float) -> Vector:
    with np.errstate(over="ignore"):
        if law == "truncated_power_law":
            result: Vector = (1 - of["alpha"]) * v - of["rate"] * xmin * np.expm1(v)
        elif law == "lognormal":
            centre = of["mu"] - math.log(xmin)
            result = -((v - centre) ** 2 - centre**2) / (2 * of["sigma"] ** 2)
        else:
            result = _stretched(v, of["beta"], of["strength"])
    return result
