"""From the sums of a merge to its kind: a plain weighted sum, or what else was done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch

from rmtaudit.kernels.merges.patterns import PatternSums
from rmtaudit.kernels.merges.regression import Regression
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
        Coefficients of changes against the sign of the weighted sum over those with it: 1 in a weighted sum,
        0 where signs are elected. ``None`` where it is not resolved.
    slope
        Coefficient of the smallest tenth of the changes over that of the largest; 1 in a weighted sum.
        ``None`` where it is not resolved.
    """

    kind: MergeKind
    excess: float
    unchanged: tuple[float, float] | None
    rejected: float | None
    slope: float | None


ARITHMETIC = 6.0
"""Excess that arithmetic in the target's own float dtype makes: each product and each sum is rounded, too."""

CODES = 1.2
"""Excess of codes, whose step is coarser than all arithmetic: 1.0 to 1.1 in ``benchmarks/merges.py``."""

_FLAT = (0.5, 2.0)
"""Ratio of unchanged shares, large over small changes, of a mask drawn at random: 1 but for chance."""

_SHARE = 0.003
"""Smallest share of unchanged entries that is called a mask: dropping 5 % of two parents leaves .0025."""

_ELECTED = 0.35
"""Between 0, where signs are elected, and 1, where they are not."""

_TRIMMED = 0.1
"""Share of unchanged entries in the lowest bin: a density of .9 with two parents leaves .1."""

_SUM = 0.05
"""Room for the sum of the coefficients around 1; a missing parent of less weight goes unnoticed."""

_VISIBLE = 0.2
"""Share of visible entries below which masks cannot be seen, and are not ruled out."""

_PRECISE = 0.1
"""Largest standard error of a ratio that decides: 6 of them lie between its limit and 1."""

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
    noise = regression.residual / max(entries, 1)
    rejected, slope = _rejected(patterns, noise), _slope(patterns, noise)

    def verdict(kind: MergeKind) -> MergeVerdict:
        return MergeVerdict(kind=kind, excess=excess, unchanged=unchanged, rejected=rejected, slope=slope)

    if regression.r_squared is None:
        return verdict(MergeKind.UNCHANGED)
    parents = any(c.p_value < _LEVEL and abs(c.value) > 0 for c in regression.coefficients)
    if excess <= allowance:
        return verdict(MergeKind.LINEAR if parents else MergeKind.UNCHANGED)
    if slerps:
        left, resolution = sum(s.residual for s in slerps), sum(s.resolution for s in slerps)
        if left <= allowance * floor + resolution:
            return verdict(MergeKind.SLERP)
    if not parents:
        return verdict(MergeKind.NO_PARENT)
    small, large = unchanged or (0.0, 0.0)
    elected = rejected is not None and rejected < _ELECTED
    if large > _SHARE and _FLAT[0] < large / max(small, 1e-12) < _FLAT[1]:
        return verdict(MergeKind.DARE_TIES if elected else MergeKind.DARE)
    trimmed = _lowest(patterns) > _TRIMMED or (slope is not None and slope < _ELECTED)
    if elected or (trimmed and large < _FLAT[0] * small):
        return verdict(MergeKind.TIES)
    if visible < _VISIBLE:
        return verdict(MergeKind.UNEXPLAINED)
    total = regression.total
    room = _SUM + 2 * total.standard_error
    if abs(total.value - 1) <= room:
        return verdict(MergeKind.TRAINED_AFTERWARDS)
    return verdict(MergeKind.MISSING_PARENT if 0 < total.value < 1 else MergeKind.UNEXPLAINED)


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


def _rejected(patterns: PatternSums, noise: float) -> float | None:
    parents = len(patterns.conflict_xy) // 2
    sizes = patterns.conflict_xx.diagonal()
    if parents < 2 or float(sizes.min()) <= 0:
        return None
    inverse = torch.linalg.pinv(patterns.conflict_xx, hermitian=True)
    fit = inverse @ patterns.conflict_xy
    weights = torch.stack([sizes * (torch.arange(2 * parents) // parents == half) for half in (0, 1)])
    weights = weights / weights.sum(1, keepdim=True)
    kept, dropped = (float(value) for value in weights @ fit)
    error = float((noise * (weights[1] @ inverse @ weights[1])).clamp(min=0).sqrt())
    return dropped / kept if kept and error < _PRECISE * abs(kept) else None


def _slope(patterns: PatternSums, noise: float) -> float | None:
    if float(patterns.weighted_xx[0]) <= 0 or float(patterns.weighted_xx[-1]) <= 0:
        return None
    low, high = (float(patterns.weighted_xy[i] / patterns.weighted_xx[i]) for i in (0, -1))
    error = (noise / float(patterns.weighted_xx[0])) ** 0.5
    return low / high if high and error < _PRECISE * abs(high) else None
