r"""Two reasons not to trust an extrapolation: the law changed on the way, or the values are rounding noise.

NumPy on the CPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from rmtaudit.kernels.flodance.regression import basis, long_run_ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rmtaudit.kernels.flodance.series import MinorSeries

    Vector = NDArray[np.float64]

LEVEL = 0.01
MIN_RECURSIVE = 20
MOST_GROUPS = 128


@dataclass(frozen=True, slots=True)
class RegimeTest:
    """Whether one set of coefficients holds over the whole window of a regression.

    Attributes
    ----------
    p_value
        Probability of so large an excursion if nothing changed, corrected for looking both ways in time.
    size
        Where the excursion is largest: the change lies before it, forward, or after it, backward.
    backward
        Whether the recursion from the end found it, as for a change shortly before the end.
    """

    p_value: float
    size: int
    backward: bool

    @property
    def changed(self) -> bool:
        """Whether so large an excursion has a probability below 1 %."""
        return self.p_value < LEVEL


@dataclass(frozen=True, slots=True)
class RoundingFloor:
    """Where the smallest pivot or eigenvalue stands against the rounding error of a factorisation.

    Attributes
    ----------
    smallest
        Bound of the spectrum from below, as the series gave it.
    floor
        ``m·ε·largest``: an eigenvalue or pivot of an ``m``-row matrix is not known better than that.
    reached
        Whether ``smallest`` is at or below the floor: then some terms of the sum ``Σ log λ`` are noise.
    """

    smallest: float
    floor: float
    reached: bool


def rounding_floor(series: MinorSeries) -> RoundingFloor | None:
    """Compare the extremes of a series with double-precision rounding; ``None`` if they are not known.

    References
    ----------
    Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed. (2002), theorem 10.3: the computed
    factor is that of a matrix off by about ``m·ε`` in norm, which moves every eigenvalue by as much (Weyl).
    """
    if series.smallest is None or series.largest is None:
        return None
    rows = series.last_size * series.outputs
    floor = rows * float(np.finfo(np.float64).eps) * abs(series.largest)
    return RoundingFloor(series.smallest, floor, not series.smallest > floor)


def regime_change(sizes: Vector, logdets: Vector, order: int) -> RegimeTest | None:
    """Test for a change of the coefficients by the cumulative sum of recursive residuals, both ways in time.

    Each increment is forecast from those before it; under one law the scaled errors are independent, and
    their sum leaves ``±a(√T + 2t/√T)`` with a known probability. Adjacent increments are first pooled to at
    most 128 groups, which also takes up short correlations. ``None`` with less than 20 errors.

    References
    ----------
    Brown, Durbin, Evans, J. R. Stat. Soc. B 37 (1975) 149, section 2.3 (and 2.4 for going backward).
    """
    observations = len(sizes) - 1
    if observations - (order + 2) < MIN_RECURSIVE:
        return None
    edges = np.unique(np.linspace(0, observations, min(observations, MOST_GROUPS) + 1).round().astype(int))
    sizes, logdets = sizes[edges], logdets[edges]
    step = np.sqrt(np.diff(sizes))
    rows = np.diff(basis(sizes, order), axis=0) / step[:, None]
    q, _ = np.linalg.qr(rows / np.linalg.norm(rows, axis=0))
    target = np.diff(logdets) / step
    found = []
    for backward in (False, True):
        way = slice(None, None, -1) if backward else slice(None)
        errors = recursive_residuals(q[way], target[way])
        p_value, place = _boundary(errors)
        at = sizes[1:][way][place + order + 2]
        found.append(RegimeTest(min(1.0, 2 * p_value), int(at), backward))
    return min(found, key=lambda test: test.p_value)


def recursive_residuals(rows: Vector, target: Vector) -> Vector:
    """Return the scaled errors of forecasting each observation from all before it: shape ``(n - columns,)``.

    Under the linear model with white errors they are white too, with the same variance.
    """
    count, columns = rows.shape
    # One triangular factor for each beginning, all in one call: what comes later is set to zero.
    bordered = np.column_stack([rows, target])
    known = np.arange(count)[None, :] < np.arange(columns, count)[:, None]
    factors = np.linalg.qr(np.where(known[:, :, None], bordered[None], 0.0), mode="r")
    triangles, right = factors[:, :columns, :columns], factors[:, :columns, columns]
    leverage = np.linalg.solve(triangles.transpose(0, 2, 1), rows[columns:, :, None])[:, :, 0]
    forecast = (leverage * right).sum(axis=1)
    errors: Vector = (target[columns:] - forecast) / np.sqrt(1 + (leverage**2).sum(axis=1))
    return errors


def _boundary(errors: Vector) -> tuple[float, int]:
    """Return the probability of crossing as far as was crossed, and the place of the largest excursion."""
    count = len(errors)
    scale = math.sqrt(float(errors.var(ddof=1)) * long_run_ratio(errors - errors.mean()))
    if scale == 0:
        return 1.0, 0
    path = np.abs(np.cumsum(errors)) / (scale * math.sqrt(count))
    excess = path / (1 + 2 * np.arange(1, count + 1) / count)
    place = int(excess.argmax())
    a = float(excess[place])
    tail = stats.norm.sf(3 * a) + math.exp(-4 * a * a) * stats.norm.cdf(a)
    return min(1.0, 2 * float(tail)), place
