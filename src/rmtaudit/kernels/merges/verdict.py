"""From the sums of a merge to its kind: a plain weighted sum, or what else was done."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from rmtaudit.kernels.merges.patterns import PatternSums
from rmtaudit.kernels.merges.regression import MergeSums, Regression, fit_merge
from rmtaudit.kernels.merges.slerp import Slerp


class MergeKind(StrEnum):
    """What a target is, as far as base and parents explain it."""

    UNCHANGED = "unchanged"
    """The target is the base."""
    LINEAR = "linear"
    """The weighted sum explains the target down to the rounding of its storage."""
    SLERP = "slerp"
    TIES = "ties"
    """Small changes are trimmed, or only those of the elected sign are kept (Yadav et al. 2023)."""
    DARE = "dare"
    """Changes were dropped at random (Yu et al. 2024)."""
    DARE_TIES = "dare with sign election"
    MISSING_PARENT = "missing parent"
    """A dense update is left, and the coefficients sum to less than 1."""
    TRAINED_AFTERWARDS = "trained afterwards"
    """A dense update is left, and the coefficients sum to 1."""
    NO_PARENT = "no parent"
    """No candidate has a coefficient that differs from 0."""
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeVerdict:
    """The kind of a merge and the numbers that it was decided on.

    Attributes
    ----------
    kind
        The answer.
    excess
        Mean squared residual over what the rounding of the target's storage makes.
    unchanged
        Share of the entries with a visible expected change that are exactly as in the base, beyond those by
        chance: of the smaller changes and of the larger. ``None`` where too few are visible.
    rejected
        Coefficient of changes against the sign of the weighted sum over that of changes with it: 1 in a
        weighted sum, less where signs are elected. ``None`` where it is not resolved.
    slope
        Coefficient of the smallest tenth of the changes over that of the largest; 1 in a weighted sum, less
        where small changes are trimmed. ``None`` where it is not resolved.
    spread
        Share of the variance of the residuals that is in proportion to the squared changes: 1 where changes
        are dropped at random, about 0 for a dense update. ``None`` where it is not resolved.
    """

    kind: MergeKind
    excess: float
    unchanged: tuple[float, float] | None
    rejected: float | None
    slope: float | None
    spread: float | None


ARITHMETIC = 6.0
"""Excess that arithmetic in the target's own float dtype makes: each product and each sum is rounded, too."""

CODES = 1.2
"""Excess of codes, whose step is coarser than all arithmetic: 1.0 to 1.1 in ``benchmarks/merges.py``."""

_FLAT = (0.5, 2.0)
"""Ratio of unchanged shares, large over small changes, of a mask drawn at random: 1 but for chance."""

_SHARE = 0.003
"""Smallest share of unchanged entries that is called a mask: dropping 5 % of two parents leaves .0025."""

_BELOW_ONE = 0.95
"""Convention: a ratio that is 1 in a weighted sum is below it if four standard errors keep it under this."""

_ERRORS = 4.0
"""Standard errors by which a ratio must be off a limit."""

_MET = 0.75
"""Coefficient of the products of changes below which opposing ones were rejected, by four standard errors.

It is 1 for masks of each parent's own, and about -.2 with sign election in ``benchmarks/merges.py``."""

_TRIMMED = 0.1
"""Share of unchanged entries in the lowest bin: a density of .9 with two parents leaves .1."""

_SPREAD = (0.3, 0.8)
"""Between the shares of a dense update, at most .05 in ``benchmarks/merges.py``, and of random masks, 1."""

_SUM = 0.05
"""Room for the sum of the coefficients around 1; a missing parent of less weight goes unnoticed."""

_VISIBLE = 0.2
"""Share of visible entries below which masks cannot be seen, and are not ruled out by their absence."""

_PRECISE = 0.05
"""Largest standard error of a ratio that is reported and that decides."""

_BETTER = 0.003
"""Convention: share of the rounding by which slerp must fit better than the weighted sum, or worse."""

_OVERFITTED = 10.0
"""Convention: the same for each matrix, in variances of one entry: slerp has a parameter in each."""

_LEVEL = 0.01


def merge_verdict(
    regression: Regression,
    patterns: PatternSums,
    slerps: Sequence[Slerp],
    *,
    floor: float,
    entries: int,
    allowance: float,
) -> MergeVerdict:
    """Return what a merge is.

    A missing parent and training after the merge leave the same thing, a dense update that the candidates
    do not explain. They are told apart by the convention that the weights of a merge sum to 1; for sums of
    task vectors with other weights the two words are not to be relied on.

    Parameters
    ----------
    regression, patterns
        Of all matrices together.
    slerps
        Of each matrix, with two parents; else empty.
    floor
        Sum over all entries of the variance that the rounding of the target's storage makes.
    entries
        Number of entries.
    allowance
        Excess up to which a residual is called rounding: :data:`ARITHMETIC` or :data:`CODES`.
    """
    excess = regression.residual / floor if floor > 0 else (float("inf") if regression.residual else 0.0)
    visible = float(patterns.visible.sum()) / max(entries, 1)
    unchanged = _unchanged(patterns) if visible > 0 else None
    rejected, slope = _ratio(patterns.conflict, above=1, below=0), _ratio(patterns.extremes, above=0, below=1)
    spread = _spread(patterns.spread)

    def verdict(kind: MergeKind) -> MergeVerdict:
        return MergeVerdict(
            kind=kind,
            excess=excess,
            unchanged=unchanged,
            rejected=None if rejected is None else rejected.value,
            slope=None if slope is None else slope.value,
            spread=None if spread is None else spread.value,
        )

    if regression.r_squared is None:
        return verdict(MergeKind.UNCHANGED)
    parents = any(c.p_value < _LEVEL and abs(c.value) > 0 for c in regression.coefficients)
    if slerps and _is_slerp(
        slerps, within=patterns.within, floor=floor, entries=entries, allowance=allowance
    ):
        return verdict(MergeKind.SLERP)
    if excess <= allowance:
        return verdict(MergeKind.LINEAR if parents else MergeKind.UNCHANGED)
    if not parents:
        return verdict(MergeKind.NO_PARENT)
    if patterns.within <= allowance * floor:
        return verdict(MergeKind.UNEXPLAINED)  # a weighted sum with coefficients that differ between layers
    masked = _masked(unchanged or (0.0, 0.0))
    elected = (rejected is not None and rejected.is_below_one) or _never_met(patterns.products)
    trimmed = _lowest(patterns) > _TRIMMED or (slope is not None and slope.is_below_one)
    if masked:
        return verdict(MergeKind.DARE_TIES if elected else MergeKind.DARE)
    if elected or trimmed:
        return verdict(MergeKind.TIES if trimmed or visible >= _VISIBLE else MergeKind.UNEXPLAINED)
    several = len(regression.coefficients) > 1
    if spread is None or (rejected is None and several):
        return verdict(MergeKind.UNEXPLAINED)
    if spread.value > _SPREAD[1]:
        # Masks of more than two parents seldom leave an entry unchanged; those of fewer would have been seen.
        unseen = visible < _VISIBLE or len(regression.coefficients) > 2
        return verdict(MergeKind.DARE if unseen else MergeKind.UNEXPLAINED)
    if spread.value > _SPREAD[0]:
        return verdict(MergeKind.UNEXPLAINED)
    total = regression.total
    room = _SUM + 2 * total.standard_error
    if abs(total.value - 1) <= room:
        return verdict(MergeKind.TRAINED_AFTERWARDS)
    return verdict(MergeKind.MISSING_PARENT if 0 < total.value < 1 else MergeKind.UNEXPLAINED)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ratio:
    value: float
    standard_error: float

    @property
    def is_below_one(self) -> bool:
        return self.value + _ERRORS * self.standard_error < _BELOW_ONE


def _is_slerp(
    slerps: Sequence[Slerp], *, within: float, floor: float, entries: int, allowance: float
) -> bool:
    """Return whether slerp explains the target, and better than a weighted sum of its own in each matrix."""
    left, resolution = sum(s.residual for s in slerps), sum(s.resolution for s in slerps)
    chance = _OVERFITTED * len(slerps) * floor / max(entries, 1)
    margin = max(_BETTER * floor, chance) + resolution
    return left <= allowance * floor + resolution and left + margin < within


def _masked(unchanged: tuple[float, float]) -> bool:
    small, large = unchanged
    return large > _SHARE and _FLAT[0] < large / max(small, 1e-12) < _FLAT[1]


def _unchanged(patterns: PatternSums) -> tuple[float, float]:
    """Return the shares of the lower and of the upper half of the bins, chance taken off."""
    beyond = patterns.unchanged.double() - patterns.nearby.double() / 2
    half = len(beyond) // 2
    small = float(beyond[:half].sum()) / max(1, int(patterns.visible[:half].sum()))
    large = float(beyond[half:].sum()) / max(1, int(patterns.visible[half:].sum()))
    return max(0.0, small), max(0.0, large)


def _lowest(patterns: PatternSums) -> float:
    beyond = float(patterns.unchanged[0]) - float(patterns.nearby[0]) / 2
    return beyond / max(1, int(patterns.visible[0]))


def _ratio(sums: MergeSums, *, above: int, below: int) -> _Ratio | None:
    """Return the ratio of two coefficients, with an error by the rows as clusters (the delta method)."""
    fit = fit_merge(sums)
    if fit is None:
        return None
    numerator, denominator = fit.coefficients[above], fit.coefficients[below]
    if denominator.value <= 0:
        return None
    value = numerator.value / denominator.value
    error = math.hypot(numerator.standard_error, value * denominator.standard_error) / denominator.value
    return _Ratio(value=value, standard_error=error) if error < _PRECISE else None


def _never_met(sums: MergeSums) -> bool:
    """Return whether changes of opposite sign were not added to each other where they met."""
    fit = fit_merge(sums)
    if fit is None:
        return False
    products = fit.coefficients[-1]
    return products.value + _ERRORS * products.standard_error < _MET


def _spread(sums: MergeSums) -> _Ratio | None:
    fit = fit_merge(sums)
    if fit is None or float(sums.xy[0]) <= 0:
        return None
    share = float(sums.xx[0, 1] / sums.xy[0])
    slope = fit.coefficients[1]
    error = slope.standard_error * share
    return _Ratio(value=slope.value * share, standard_error=error) if error < _PRECISE else None
