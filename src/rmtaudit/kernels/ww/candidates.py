"""One power-law fit as the peers make it: WeightWatcher 0.7.7's own, and that of powerlaw 1.5.

Both are maximum likelihood above ``xmin`` with ``xmin`` at the least distance ``D``, and both measure ``D``
at the foot of every step of the empirical distribution only. They differ in small samples, in ties, and in
what powerlaw can restrict: the candidates for ``xmin``, and the end of the law.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rmtaudit.kernels.powerlaw.fit import NoFit, fit_sorted

if TYPE_CHECKING:
    from numpy.typing import NDArray

# As in WeightWatcher 0.7.7, but for _EQUAL, which stands in for its rounding.
_SMALL = 20  # fewer values than this: the small-sample rule
_LEAST_TAIL = 8  # of the small-sample rule
_EQUAL = 1e-12  # Σ log(x/xmin) up to here: the values of a small sample count as equal


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A fit: density ``∝ x^-alpha exp(-Lambda x)`` from ``xmin`` to ``xmax``, and ``sigma`` of alpha.

    ``D`` is its distance from the data; ``Lambda`` is 0 for a power law without cut-off.
    """

    alpha: float
    xmin: float
    xmax: float
    D: float
    sigma: float
    Lambda: float = 0.0


def fit_small_or_large(values: NDArray[np.float64]) -> Candidate:
    """Return WeightWatcher's own fit.

    From 20 values on, it is :func:`rmtaudit.kernels.powerlaw.fit.fit_power_law` with ``ecdf="lower"``. Below,
    ``alpha = 1 + (m - 1)/Σ log(x/xmin)`` for tails of ``m >= 8`` values; fewer than 8 values are one tail.

    Parameters
    ----------
    values
        Shape ``(n,)``, ascending, positive.

    Raises
    ------
    ArithmeticError
        For fewer than 2 values, or values that are all equal.
    """
    if values.size < 2:
        raise ArithmeticError(f"{values.size} eigenvalues are above the bound of the fit, fewer than 2")
    return _plain(values) if values.size >= _SMALL else _small(values)


def fit_truncated(
    values: NDArray[np.float64],
    *,
    xmax: float | None = None,
    window: tuple[float, float] | None = None,
) -> Candidate:
    """Return the continuous fit of powerlaw 1.5.

    Parameters
    ----------
    values
        Shape ``(n,)``, ascending, positive.
    xmax
        The law ends here: ``D`` is against ``F(x)/F(xmax)``. The exponent is not: powerlaw maximises a
        likelihood that ignores the end, so it stays the one of the law without it.
    window
        ``xmin`` is looked for among the values in this closed interval, except the largest of them.

    Raises
    ------
    ArithmeticError
        Where fewer than 2 different values may be ``xmin``.
    """
    first, start = possible_starts(values, window)
    if xmax is None and window is None and first.size == values.size:
        return _plain(values)
    alphas = np.empty(start.size)
    distances = np.empty(start.size)
    for row, index in enumerate(start):
        tail = values[index:]
        size = tail.size
        alphas[row] = 1 + size / np.log(tail / tail[0]).sum()
        steps = first[first >= index]
        law = 1 - (values[steps] / tail[0]) ** (1 - alphas[row])
        if xmax is not None:
            law /= 1 - (xmax / tail[0]) ** (1 - alphas[row])
        distances[row] = np.abs(law - (steps - index) / size).max()
    best = int(np.argmin(distances))
    size = values.size - int(start[best])
    alpha = float(alphas[best])
    return Candidate(
        alpha=alpha,
        xmin=float(values[start[best]]),
        xmax=float(values[-1]) if xmax is None else xmax,
        D=float(distances[best]),
        sigma=(alpha - 1) / math.sqrt(size),
    )


def possible_starts(
    values: NDArray[np.float64], window: tuple[float, float] | None
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return where each different value of ``values`` begins, and those of them that may be ``xmin``.

    Raises ``ArithmeticError`` where there are none.
    """
    distinct, first = np.unique(values, return_index=True)
    low, high = (-math.inf, math.inf) if window is None else window
    start = first[(distinct >= low) & (distinct <= high)][:-1]
    if not start.size:
        raise ArithmeticError("fewer than 2 distinct eigenvalues can serve as xmin")
    return first, start


def _plain(values: NDArray[np.float64]) -> Candidate:
    fit = fit_sorted(values, excluded=0, min_tail=2, ecdf="lower", margin=None)
    if isinstance(fit, NoFit):
        raise ArithmeticError(fit.reason)  # noqa: TRY004  the values are at fault, not a type
    return Candidate(
        alpha=fit.alpha, xmin=fit.xmin, xmax=float(values[-1]), D=fit.ks_distance, sigma=fit.sigma
    )


def _small(values: NDArray[np.float64]) -> Candidate:
    """Return the fit of 2 to 19 values.

    The peer's documented choice of ``xmin``, by ``D - 0.868/sqrt(m)``, has no effect there: the least ``D``
    is taken after it. Its sigma of fewer than 8 values is computed from an exponent of 0.
    """
    n = values.size
    logs = np.log(values)
    best: Candidate | None = None
    for start in range(max(1, n - _LEAST_TAIL + 1)):
        size = n - start
        total = float(logs[start:].sum() - size * logs[start])
        if total <= _EQUAL:
            continue
        alpha = 1 + (size - 1) / total
        law = 1 - (values[start:] / values[start]) ** (1 - alpha)
        distance = float(np.abs(np.arange(size) / size - law).max())
        if best is None or distance < best.D:
            sigma = (alpha - 1) / math.sqrt(size) if n >= _LEAST_TAIL else -1 / math.sqrt(size)
            best = Candidate(
                alpha=alpha, xmin=float(values[start]), xmax=float(values[-1]), D=distance, sigma=sigma
            )
    if best is None:
        raise ArithmeticError("in every tail, all values are equal")
    return best
