"""The discrete power law: whole numbers with ``P(x) = x^(-alpha)/zeta(alpha, xmin)``, ``x >= xmin``.

A continuous law fitted to counts is biased wherever the step of 1 is not small beside ``xmin``. As in
:mod:`rmtaudit.kernels.powerlaw.fit`, ``xmin`` is the value whose tail has the least Kolmogorov-Smirnov
distance, and a lower bound of every candidate's distance leaves few to compute. Computed with numpy on the
CPU.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from rmtaudit.kernels.powerlaw.fit import NoFit, PowerLawFit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vector = NDArray[np.float64]

GREATEST = 2.0**53
"""Above it, floats are no longer all the whole numbers."""

_HEAD = 20  # terms summed one by one, after which the Euler-Maclaurin series has its 13 digits
_MOVES = np.array([[-1.0], [0.0], [1.0]])
"""The three points of a central difference."""
_STEP = 1e-4  # of the numerical derivative in alpha: errors of 1e-9
_STEEPEST = 2.0
"""Alpha - 1 over start + 20, up to which the series holds; steeper tails are one or two values."""
_AT_ONCE = 4096  # exponents whose terms are summed as one array: faster, and then the memory matters
_QUANTILES = 8
"""A convention: values at which every distance is first bounded, as for continuous tails."""
_TABLE = 512
"""A convention: values drawn from their exact probabilities; beyond, the discrete law is the rounded
continuous one, up to about the square of ``1/512``."""


def log_scaled_zeta(alpha: Vector, start: Vector, steps: Vector | None = None) -> Vector:
    """Return ``log(start^alpha · zeta(alpha, start))``: the sum over ``(1 + j/start)^(-alpha)``.

    Parameters
    ----------
    alpha, start
        Broadcast against each other; ``alpha > 1``, ``start >= 1``.
    steps
        ``head_steps`` of the starts, where several exponents share them: shape ``(20, k)``, for ``k`` starts
        on the last axis of ``alpha``.

    References
    ----------
    The Euler-Maclaurin formula: NIST Digital Library of Mathematical Functions, 25.11.5.
    """
    alpha, start = np.broadcast_arrays(alpha, start)
    if alpha.size <= _AT_ONCE:
        shape = (_HEAD, *(1,) * (alpha.ndim - 1), -1)
        logs = head_steps(start) if steps is None else steps.reshape(shape)
        total = np.exp(-alpha * logs).sum(0)
    else:
        total = np.zeros(alpha.shape)
        for each in range(_HEAD):
            total += np.exp(-alpha * np.log1p(each / start))
    end = start + _HEAD
    series = end / (alpha - 1) + 0.5
    term = alpha / end
    for order, bernoulli in ((0, 1 / 12), (1, -1 / 720), (2, 1 / 30240), (3, -1 / 1209600)):
        series += bernoulli * term
        term = term * (alpha + 2 * order + 1) * (alpha + 2 * order + 2) / (end * end)
    total += np.exp(-alpha * np.log1p(_HEAD / start)) * series
    result: Vector = np.log(total)
    return result


def head_steps(start: Vector) -> Vector:
    """Return ``log(1 + j/start)`` of the terms that are summed one by one, shape ``(20, *start.shape)``."""
    index = np.arange(_HEAD, dtype=np.float64).reshape(-1, *(1,) * start.ndim)
    steps: Vector = np.log1p(index / start)
    return steps


def log_tail(alpha: float, xmin: float, at: Vector) -> Vector:
    """Return ``log P(X >= at)`` of the law that starts at ``xmin``; ``at >= xmin``."""
    exponent = np.full_like(at, alpha)
    start = log_scaled_zeta(np.array([alpha]), np.array([xmin]))
    result: Vector = log_scaled_zeta(exponent, at) - alpha * np.log(at / xmin) - start
    return result


def exponents(mean_log: Vector, start: Vector) -> tuple[Vector, Vector]:
    """Return the most likely ``alpha`` and the variance of ``log x`` under it, per candidate.

    Parameters
    ----------
    mean_log
        Means of ``log(x/start)``, positive.
    start
        The candidates for ``xmin``. Where ``alpha - 1`` would exceed ``2 (start + 20)``, that is returned.
    """
    # the continuous law that starts half a step lower is close, but for small starts
    theta = -np.log(np.maximum(mean_log + np.log(start / (start - 0.5)), 1e-4))
    steepest = np.log(_STEEPEST * (start + _HEAD))
    theta = np.minimum(theta, steepest)
    steps = head_steps(start) if start.size <= _AT_ONCE else None
    variance = np.ones_like(theta)
    for _ in range(30):
        alpha = 1 + np.exp(theta)
        step = _STEP * np.minimum(alpha - 1, 1.0)
        low, middle, high = log_scaled_zeta(alpha + _MOVES * step, start, steps)
        slope = (high - low) / (2 * step) + mean_log
        variance = np.maximum((high - 2 * middle + low) / step**2, 1e-12)
        # Newton's method in log(alpha - 1), where the likelihood is nearly a parabola
        rate = alpha - 1
        change = -slope / (variance * rate)
        moved = np.clip(theta + np.clip(change, -1, 1), -12, steepest)
        theta, done = moved, np.abs(moved - theta).max() < 1e-8
        if done:
            break
    return 1 + np.exp(theta), variance


def fit_discrete(
    x: Vector, *, excluded: int = 0, min_tail: int = 8, margin: float | None = None
) -> PowerLawFit | NoFit:
    """Fit ``x``: ascending whole numbers from 1 to ``GREATEST``.

    The result is that of :func:`~rmtaudit.kernels.powerlaw.fit.fit_power_law`, for the discrete law.
    ``margin`` finds the range of ``alpha`` over the starts whose distance is greater by no more than that.

    References
    ----------
    Clauset, Shalizi, Newman, SIAM Review 51 (2009), equations 3.5 and 3.9 and appendix B.
    """
    if x.size < min_tail:
        return NoFit(
            f"{x.size} positive values, fewer than the minimum of {min_tail} in a tail", x.size, excluded
        )
    values, counts = np.unique(x, return_counts=True)
    sizes = np.cumsum(counts[::-1])[::-1].astype(np.float64)
    logs = np.log(values)
    sums = np.cumsum((counts * logs)[::-1])[::-1]
    candidates = np.flatnonzero((sizes >= min_tail) & (np.arange(values.size) < values.size - 1))
    if not candidates.size:
        return NoFit("in every tail, all values are equal", x.size, excluded)
    mean_log = sums[candidates] / sizes[candidates] - logs[candidates]
    alpha, variance = exponents(mean_log, values[candidates])
    steps = head_steps(values) if values.size <= _AT_ONCE else None
    sound = alpha - 1 < (1 - 1e-9) * _STEEPEST * (values[candidates] + _HEAD)
    if not sound.any():
        return NoFit("no tail is wide enough for its exponent to be known", x.size, excluded)
    candidates, alpha, variance = candidates[sound], alpha[sound], variance[sound]
    bounds = _bounds(values, sizes, candidates, alpha)
    best, least, within = -1, math.inf, {}
    slack = 0.0 if margin is None else margin
    for position in np.argsort(bounds):
        if bounds[position] > least + slack:
            break
        start = int(candidates[position])
        distance = _distance(
            values[start:],
            logs[start:],
            sizes[start:],
            float(alpha[position]),
            None if steps is None else steps[:, start:],
        )
        within[int(position)] = distance
        if (distance, start) < (least, int(candidates[best]) if best >= 0 else values.size):
            best, least = int(position), distance
    start = int(candidates[best])
    size = int(sizes[start])
    near = [float(alpha[position]) for position, distance in within.items() if distance <= least + slack]
    return PowerLawFit(
        alpha=float(alpha[best]),
        xmin=float(values[start]),
        ks_distance=least,
        tail_size=size,
        sigma=1 / math.sqrt(size * float(variance[best])),
        size=x.size,
        excluded=excluded,
        min_tail=min_tail,
        ecdf="both",
        alpha_low=None if margin is None else min(near),
        alpha_high=None if margin is None else max(near),
    )


def draw_discrete(alpha: float, xmin: float, uniform: Vector) -> Vector:
    """Return the values of the law whose tails have the probabilities ``uniform``, in (0, 1]."""
    table: Vector = xmin + np.arange(_TABLE, dtype=np.float64)
    above = np.exp(log_tail(alpha, xmin, table))
    index = _TABLE - np.searchsorted(above[::-1], uniform, side="left")
    drawn: Vector = table[np.maximum(index, 1) - 1]
    beyond = uniform < above[-1]
    with np.errstate(over="ignore"):
        far = (table[-1] - 0.5) * (uniform[beyond] / above[-1]) ** (-1 / (alpha - 1)) + 0.5
    drawn[beyond] = np.minimum(np.floor(far), GREATEST)
    return drawn


def _distance(values: Vector, logs: Vector, sizes: Vector, alpha: float, steps: Vector | None) -> float:
    """Return the distance of one tail: law and data on both sides of every value.

    ``logs`` are those of ``values``, ``steps`` their :func:`head_steps`.
    """
    empirical = sizes / sizes[0]
    scaled = log_scaled_zeta(np.array([alpha]), values, steps)
    falling = -alpha * (logs - logs[0]) - scaled[0]
    here = np.exp(scaled + falling)
    after = here - np.exp(falling)  # P(X > x) = P(X >= x) - P(x)
    return float(max(np.abs(here - empirical).max(), np.abs(after - np.append(empirical[1:], 0.0)).max()))


def _bounds(values: Vector, sizes: Vector, candidates: NDArray[np.intp], alpha: Vector) -> Vector:
    """Return the deviation at a few quantiles of every candidate's tail: no distance is less."""
    start = values[candidates]
    base = log_scaled_zeta(alpha, start)
    fraction = np.linspace(0, 1, _QUANTILES)[:, None]
    position = candidates + (fraction * (values.size - 1 - candidates)).astype(np.intp)
    at = values[position]
    law = np.exp(log_scaled_zeta(alpha, at) - alpha * np.log(at / start) - base)
    bounds: Vector = np.abs(law - sizes[position] / sizes[candidates]).max(0)
    return bounds - 1e-12
