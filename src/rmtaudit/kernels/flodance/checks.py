r"""Two reasons not to trust an extrapolation: the law changed on the way, or the values are rounding noise.

NumPy on the CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rmtaudit.kernels.flodance.regression import basis, long_run_ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rmtaudit.kernels.flodance.series import MinorSeries

    Vector = NDArray[np.float64]

LEVEL = 0.01
MIN_INCREMENTS = 20
MOST_GROUPS = 128
MOST_PLACES = 48
NULL_DRAWS = 999


@dataclass(frozen=True, slots=True)
class RegimeTest:
    """Whether one set of coefficients holds over the whole window of a regression.

    Attributes
    ----------
    p_value
        Probability of so large a gain from changing the coefficients once, if nothing changed.
    size
        After which size the change gains most.
    """

    p_value: float
    size: int

    @property
    def changed(self) -> bool:
        """Whether so large a gain has a probability below 1 %."""
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
    """Test for one change of all coefficients, at whatever size it gains most.

    The statistic is the largest ``F`` over up to 48 sizes of the change that leave at least a twentieth of
    the window on either side. Its null distribution, for these very columns, is drawn from 999 Gaussian
    vectors of a fixed seed: tables of it assume columns that do not grow. Adjacent increments are first
    pooled to at most 128 groups, which takes up short correlations; what is left of them divides ``F``.

    Returns
    -------
    RegimeTest or None
        ``None``, if fewer than 20 increments are left after the coefficients.

    References
    ----------
    Andrews, Econometrica 61 (1993) 821, for the statistic; Dufour, J. Econometrics 133 (2006) 443, for the
    Monte Carlo test.
    """
    observations = len(sizes) - 1
    if observations - (order + 2) < MIN_INCREMENTS:
        return None
    edges = np.unique(np.linspace(0, observations, min(observations, MOST_GROUPS) + 1).round().astype(int))
    sizes, logdets = sizes[edges], logdets[edges]
    step = np.sqrt(np.diff(sizes))
    rows = np.diff(basis(sizes, order), axis=0) / step[:, None]
    target = np.diff(logdets) / step
    whole, _ = np.linalg.qr(rows / np.linalg.norm(rows, axis=0))
    count, columns = whole.shape
    margin = max(columns + 1, count // 20)
    last = count - margin
    places = np.unique(np.linspace(margin, last, min(last - margin + 1, MOST_PLACES)).round().astype(int))
    # What a change adds to the columns: the same columns, zero before it, made orthogonal to the whole.
    after = np.where(np.arange(count)[None, :, None] >= places[:, None, None], whole[None], 0.0)
    after -= whole @ (whole.T @ after)
    extra, _ = np.linalg.qr(after - whole @ (whole.T @ after))
    flat = np.ascontiguousarray(extra.transpose(0, 2, 1)).reshape(-1, count)

    def gains(values: Vector) -> tuple[Vector, Vector]:
        left = values - whole @ (whole.T @ values)
        explained = ((flat @ left) ** 2).reshape(len(places), columns, -1).sum(axis=1)
        return explained / ((left**2).sum(axis=0) - explained), left

    statistics, residual = gains(target[:, None])
    best = int(statistics[:, 0].argmax())
    added = extra[best]
    remainder = residual[:, 0] - added @ (added.T @ residual[:, 0])
    found = float(statistics[best, 0]) / long_run_ratio(remainder)
    null = gains(np.random.default_rng(0).standard_normal((count, NULL_DRAWS)))[0].max(axis=0)
    p_value = (1 + int((null >= found).sum())) / (NULL_DRAWS + 1)
    return RegimeTest(p_value, int(sizes[places[best]]))
