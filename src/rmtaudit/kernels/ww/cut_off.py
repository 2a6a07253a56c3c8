"""The power law with an exponential cut-off as powerlaw 1.5 fits it (WeightWatcher's TPL and E_TPL)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from rmtaudit.kernels.exponential_integral import scaled_exponential_integral
from rmtaudit.kernels.nelder_mead import minimise
from rmtaudit.kernels.ww.candidates import Candidate, possible_starts

if TYPE_CHECKING:
    from numpy.typing import NDArray

_IMPOSSIBLE = math.log(
    1e-307
)  # log-likelihood of one value, for parameters that are not allowed: powerlaw 1.5


def fit_cut_off(
    values: NDArray[np.float64], *, xmax: float | None = None, window: tuple[float, float] | None = None
) -> Candidate:
    """Fit ``p(x) ∝ x^(-alpha) exp(-Lambda x)``, ``x >= xmin``, ``alpha > 1``, ``Lambda > 0``.

    Parameters
    ----------
    values, xmax, window
        As in :func:`rmtaudit.kernels.ww.candidates.fit_truncated`.

    Returns
    -------
    Candidate
        With ``Lambda``; ``sigma`` is NaN, since powerlaw has none for this law.

    Raises
    ------
    ArithmeticError
        Where fewer than 2 different values may be ``xmin``, or nothing about the law is finite.

    Notes
    -----
    For every candidate ``xmin`` the likelihood is maximised by a simplex search that starts at the power law
    without cut-off and the reciprocal of the tail's mean; its tolerance is 1e-4, and the result is that of
    the search rather than of the maximum. A maximum on the border ``alpha = 1`` ends just above it.
    """
    first, start = possible_starts(values, window)
    logs = np.log(values)
    candidates = []
    for index in start:
        tail, steps = values[index:], first[first >= index]
        alpha, rate = _maximise(tail, float(logs[index:].sum()))
        law = _law(values[steps], alpha, rate, xmax)
        distance = float(np.abs(law - (steps - index) / tail.size).max())
        if not math.isfinite(distance):
            continue
        end = float(values[-1]) if xmax is None else xmax
        candidates.append(
            Candidate(alpha=alpha, xmin=float(tail[0]), xmax=end, D=distance, sigma=math.nan, Lambda=rate)
        )
    if not candidates:
        raise ArithmeticError("the law with a cut-off cannot be computed for any xmin")
    return min(candidates, key=lambda candidate: candidate.D)


def _maximise(tail: NDArray[np.float64], sum_of_logs: float) -> tuple[float, float]:
    """Return ``alpha, Lambda`` of the greatest likelihood of a tail, ``xmin`` its first value."""
    size, xmin, total = tail.size, float(tail[0]), float(tail.sum())
    excess = sum_of_logs - size * math.log(xmin)

    def cost(point: tuple[float, ...]) -> float:
        alpha, rate = point
        if not (rate > 0 and alpha > 1):
            return -size * _IMPOSSIBLE
        # p = xmin^(alpha-1) x^(-alpha) exp(-Lambda x) / E_alpha(Lambda xmin)
        norm = math.log(scaled_exponential_integral(alpha, rate * xmin)) - rate * xmin
        return alpha * excess + size * math.log(xmin) + rate * total + size * norm

    alpha, rate = minimise(cost, (1 + size / excess, size / total))
    return alpha, rate


def _law(points: NDArray[np.float64], alpha: float, rate: float, xmax: float | None) -> NDArray[np.float64]:
    """Return ``F(x)`` at ascending points, the first of which is ``xmin``.

    As in the peer, it is a difference of numbers near 1 where ``xmin^(1 - alpha)`` is small: digits are lost.
    """
    ends = points if xmax is None else np.append(points, xmax)
    scaled = np.array([scaled_exponential_integral(alpha, rate * x) for x in ends.tolist()])
    with np.errstate(over="ignore", invalid="ignore"):
        base = 1 - ends ** (1 - alpha) * np.exp(-rate * ends) * scaled
        if base[0] == 1:  # no digit is left
            return np.ones_like(points)
        whole = 1 - base[0] if xmax is None else 1 - base[0] - (1 - base[-1])
        law: NDArray[np.float64] = (base[: points.size] - base[0]) / whole
    return law
