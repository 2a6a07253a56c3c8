"""Power-law fits: maximum likelihood above ``xmin``, ``xmin`` by minimum Kolmogorov-Smirnov distance.

The method is that of Clauset, Shalizi and Newman (2009), for continuous data. Every value is a candidate for
``xmin``; computing the distance of every candidate costs ``O(n²)``. Here the same minimum is found by
branch and bound: the distance at a few quantiles bounds a candidate's distance from below, so only the
candidates whose bound is under the best distance found so far are computed in full.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

Ecdf = Literal["both", "lower"]

STABILITY_MARGIN = 0.01
"""A candidate ``xmin`` is as good as the best for ``alpha_low`` and ``alpha_high`` within this distance:
a convention."""

_QUANTILES = 8  # values at which every distance is first bounded: what is left is a handful of tails
_BLOCK = 1 << 15  # elements worked on at once: the temporaries stay in a core's cache
_ROUNDING = 1e-13  # bounds are lowered by more than the rounding of either evaluation, so none is too high


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerLawFit:
    """The density ``p(x) = (alpha - 1)/xmin · (x/xmin)^(-alpha)`` fitted to the values ``x >= xmin``.

    Attributes
    ----------
    alpha
        Exponent of the density, above 1 and finite.
    xmin
        Where the tail starts: one of the values, in their unit.
    ks_distance
        Kolmogorov-Smirnov distance between the tail and the law, in the sense of ``ecdf``.
    tail_size
        Number of values in the tail.
    sigma
        Standard error of ``alpha`` for a known ``xmin``, ``(alpha - 1)/sqrt(tail_size)``. It leaves out that
        ``xmin`` was chosen from the same values; :func:`bootstrap_power_law` does not.
    size
        Number of values that entered: the positive ones.
    excluded
        Number of values that did not: zeros and negative ones.
    min_tail, ecdf
        As asked.
    alpha_low, alpha_high
        Least and greatest exponent over every candidate ``xmin`` whose distance is at most
        ``ks_distance + 0.01``; ``None`` where not asked.
    """

    alpha: float
    xmin: float
    ks_distance: float
    tail_size: int
    sigma: float
    size: int
    excluded: int
    min_tail: int
    ecdf: Ecdf
    alpha_low: float | None = None
    alpha_high: float | None = None


@dataclass(frozen=True, slots=True)
class NoFit:
    """There is no power law to fit, and why. ``size`` and ``excluded`` as in :class:`PowerLawFit`."""

    reason: str
    size: int
    excluded: int


def fit_power_law(
    values: torch.Tensor, *, min_tail: int = 2, ecdf: Ecdf = "both", stability: bool = True
) -> PowerLawFit | NoFit:
    """Fit a continuous power law to the upper tail of ``values``.

    For the candidate ``xmin = x_i`` of the ascending values, with ``m`` values from there on,
    ``alpha = 1 + m / Σ log(x_j/x_i)``, and the candidate of least distance is taken (of equal ones, the
    smallest). The result does not depend on the unit of the values.

    Parameters
    ----------
    values
        Shape ``(n,)``, any real dtype (computed in float64), in any order, finite. Zeros and negative
        values are excluded and counted.
    min_tail
        Least number of values in a tail, at least 2.
    ecdf
        ``"both"``: the Kolmogorov-Smirnov distance, the supremum over both sides of every step of the
        empirical distribution; every distinct value is a candidate. ``"lower"``: only the foot of every step,
        ``max_k |F(x_(i+k)) - k/m|``, every position a candidate (WeightWatcher 0.7.7 and powerlaw 1.5).
    stability
        Whether to find ``alpha_low`` and ``alpha_high``.

    Returns
    -------
    PowerLawFit or NoFit
        ``NoFit`` where fewer than ``min_tail`` values are positive, or no tail has two different values.

    Raises
    ------
    ValueError
        For values that are not finite or not one-dimensional, or ``min_tail < 2``.

    References
    ----------
    Clauset, Shalizi, Newman, *Power-law distributions in empirical data*, SIAM Review 51 (2009),
    equations 3.1, 3.2 and 3.9.
    """
    if values.ndim != 1:
        raise ValueError(f"values must be one-dimensional, not of shape {tuple(values.shape)}")
    if min_tail < 2:
        raise ValueError(f"min_tail must be at least 2, not {min_tail}")
    array = values.detach().cpu().double().numpy()
    if not np.isfinite(array).all():
        raise ValueError("values must be finite")
    positive = np.sort(array[array > 0])
    return fit_sorted(
        positive,
        excluded=array.size - positive.size,
        min_tail=min_tail,
        ecdf=ecdf,
        margin=STABILITY_MARGIN if stability else None,
    )


def fit_sorted(
    x: NDArray[np.float64], *, excluded: int, min_tail: int, ecdf: Ecdf, margin: float | None
) -> PowerLawFit | NoFit:
    """Fit ``x``: ascending, positive, finite. ``margin=None`` leaves out the stability range."""
    if x.size < min_tail:
        return NoFit(
            f"{x.size} positive values, fewer than the minimum of {min_tail} in a tail", x.size, excluded
        )
    tails = _tails(x, min_tail, ecdf)
    if tails.start.size == 0:
        return NoFit("in every tail, all values are equal", x.size, excluded)
    best, distance, rates = _search(tails, margin)
    start = int(tails.start[best])
    size = x.size - start
    rate = float(tails.rate[best])
    return PowerLawFit(
        alpha=1 + rate,
        xmin=float(x[start]),
        ks_distance=distance,
        tail_size=size,
        sigma=rate / math.sqrt(size),
        size=x.size,
        excluded=excluded,
        min_tail=min_tail,
        ecdf=ecdf,
        alpha_low=None if rates is None else 1 + rates[0],
        alpha_high=None if rates is None else 1 + rates[1],
    )


@dataclass(frozen=True, slots=True)
class _Tails:
    """Every candidate, by its position in ``start``.

    ``logs`` is ``log(x/max x)``, shape ``(n,)``; ``start`` where each tail begins and ``rate`` its
    ``alpha - 1``, shape ``(candidates,)``. ``middle`` is 0 for the foot of a step and 1/2 for both sides:
    ``max(|F - k/m|, |F - (k+1)/m|) = |F - (k + 1/2)/m| + 1/(2m)``.
    """

    logs: NDArray[np.float64]
    start: NDArray[np.intp]
    rate: NDArray[np.float64]
    middle: float


def _tails(x: NDArray[np.float64], min_tail: int, ecdf: Ecdf) -> _Tails:
    n = x.size
    # Σ_{j>=i} log(x_j/x_i) = Σ_{k>=i} (n-1-k) log(x_(k+1)/x_k): a sum of terms that are not negative, so
    # nothing cancels, however close the values or large their unit
    gaps = log_ratio(x[1:], x[:-1])
    sums = np.cumsum((np.arange(n - 1, 0, -1) * gaps[: n - 1])[::-1])[::-1]
    usable = sums[: n - min_tail + 1] > 0  # else the tail is one value: alpha would be infinite
    if ecdf == "both":
        usable[1:] &= gaps[: usable.size - 1] > 0  # a tail holds all the values equal to its xmin
    start = np.flatnonzero(usable)
    return _Tails(
        logs=-log_ratio(x[-1:], x),
        start=start,
        rate=(n - start) / sums[start],
        middle=0.5 if ecdf == "both" else 0.0,
    )


def log_ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``log(above/below)`` to full relative precision where they are close, finite always."""
    with np.errstate(over="ignore"):
        excess = (above - below) / below
    return np.where(np.isfinite(excess), np.log1p(excess), np.log(above) - np.log(below))


def _search(tails: _Tails, margin: float | None) -> tuple[int, float, tuple[float, float] | None]:
    """Return the best candidate, its distance and the range of the rates within ``margin`` of it."""
    search = _Search(tails, margin or 0.0)
    while (position := search.promising()) is not None:
        search.compute(position)
    if margin is None:
        return search.best, search.least, None
    rates = []
    for outermost in (np.argmin, np.argmax):
        while not search.computed[position := int(outermost(tails.rate[search.alive]))]:
            search.compute(position)
        rates.append(float(tails.rate[search.alive[position]]))
    return search.best, search.least, (rates[0], rates[1])


class _Search:
    """The candidates whose distance may still be within ``slack`` of the least, and what is known of them.

    ``bounds`` holds the distance of those in ``computed`` and a lower bound of the others.
    """

    def __init__(self, tails: _Tails, slack: float) -> None:
        self.tails = tails
        self.slack = slack
        self.alive = np.arange(tails.start.size)
        self.computed = np.zeros(tails.start.size, dtype=np.bool_)
        self.bounds = _quantile_bounds(tails)
        self.best, self.least = -1, math.inf

    def promising(self) -> int | None:
        """Return the position of the lowest bound, if a distance not yet computed may be the least."""
        pending = np.where(self.computed, math.inf, self.bounds)
        position = int(np.argmin(pending))
        return position if pending[position] <= self.least and not self.computed[position] else None

    def compute(self, position: int) -> None:
        """Compute the distance at ``position``, sharpen the other bounds by it and drop what is out."""
        candidate = int(self.alive[position])
        distance, highest, lowest = _distance(self.tails, candidate)
        self.least, self.best = min((self.least, self.best), (distance, candidate))
        # Tails that overlap deviate most at the same values: the others are evaluated where this one does
        for index in (highest, lowest):
            reached = np.maximum(index, self.tails.start[self.alive])
            bound = _deviation(self.tails, self.alive, reached) - _ROUNDING
            np.maximum(self.bounds, bound, out=self.bounds)
        self.computed[position] = True
        self.bounds[position] = distance
        keep = self.bounds <= self.least + self.slack
        self.alive, self.computed, self.bounds = self.alive[keep], self.computed[keep], self.bounds[keep]


def _distance(tails: _Tails, candidate: int) -> tuple[float, int, int]:
    """Return the distance of a candidate, and where the law exceeds and falls short of the data most."""
    start = int(tails.start[candidate])
    size = tails.logs.size - start
    excess = tails.logs[start] - tails.logs[start:]
    excess *= tails.rate[candidate]
    np.exp(excess, out=excess)
    excess -= np.arange(size - tails.middle, -tails.middle, -1.0) / size
    highest, lowest = int(excess.argmax()), int(excess.argmin())
    return (
        float(max(excess[highest], -excess[lowest])) + tails.middle / size,
        start + highest,
        start + lowest,
    )


def _quantile_bounds(tails: _Tails) -> NDArray[np.float64]:
    """Return a lower bound of every candidate's distance: its deviation at a few quantiles of its tail."""
    bounds = np.empty(tails.start.size)
    fractions = np.linspace(0.0, 1.0, _QUANTILES)[:, None]
    columns = _BLOCK // _QUANTILES
    for first in range(0, bounds.size, columns):
        block = np.arange(first, min(first + columns, bounds.size))
        start = tails.start[block]
        index = start + (fractions * (tails.logs.size - 1 - start)).astype(np.intp)
        bounds[block] = _deviation(tails, block, index).max(axis=0)
    return bounds - _ROUNDING


def _deviation(tails: _Tails, candidates: NDArray[np.intp], index: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return how far law and data are apart at value ``index`` of the candidates' tails (broadcast)."""
    start = tails.start[candidates]
    size = tails.logs.size - start
    excess = tails.logs[start] - tails.logs[index]
    excess *= tails.rate[candidates]
    np.exp(excess, out=excess)
    excess -= (tails.logs.size - tails.middle - index) / size
    return np.abs(excess, out=excess) + tails.middle / size
