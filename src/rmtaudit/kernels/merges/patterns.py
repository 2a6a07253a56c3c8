"""What the entries of a merge show beyond its coefficients: trimmed, dropped and sign-elected entries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

BINS = 10
"""Bins of entries by the size of their largest change among the parents, as ranks within the matrix."""

_VISIBLE = 5.0
"""Roundings that the expected change of an entry must exceed for the entry to be counted.

A convention: an entry that is changed as expected is then further from the base than three roundings, which
is where "unchanged" and "changed by one step" are counted.
"""

_EDGE = 1.01
"""A convention: room for the arithmetic of the rounding itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternSums:
    """Counts and sums over entries, added up over matrices.

    Attributes
    ----------
    visible, unchanged, nearby
        Of each bin: entries whose expected change is visible; those of them that did not change; and those
        that changed by one step of rounding, of which there are twice as many as unchanged ones if the
        changes have a smooth density at zero. Shape ``(bins,)``, int64.
    weighted_xx, weighted_xy
        Of each bin: the sums of ``p^2`` and of ``p y`` for the fitted change ``p``. Shape ``(bins,)``.
    conflict_xx, conflict_xy
        Sums over the entries where the weighted parents disagree in sign, with ``2 p`` regressors: first the
        parents where they agree with the sign of the weighted sum, then where they do not. Shapes
        ``(2 p, 2 p)`` and ``(2 p,)``.
    """

    visible: torch.Tensor
    unchanged: torch.Tensor
    nearby: torch.Tensor
    weighted_xx: torch.Tensor
    weighted_xy: torch.Tensor
    conflict_xx: torch.Tensor
    conflict_xy: torch.Tensor

    def __add__(self, other: PatternSums) -> PatternSums:
        return PatternSums(
            visible=self.visible + other.visible,
            unchanged=self.unchanged + other.unchanged,
            nearby=self.nearby + other.nearby,
            weighted_xx=self.weighted_xx + other.weighted_xx,
            weighted_xy=self.weighted_xy + other.weighted_xy,
            conflict_xx=self.conflict_xx + other.conflict_xx,
            conflict_xy=self.conflict_xy + other.conflict_xy,
        )


def pattern_sums(
    change: torch.Tensor,
    parents: Sequence[torch.Tensor],
    coefficients: Sequence[float],
    rounding: torch.Tensor,
) -> PatternSums:
    """Return the pattern sums of one matrix.

    Parameters
    ----------
    change
        Target minus base, shape ``(rows, cols)``, real floating dtype, finite.
    parents
        Each parent minus base, of the same shape.
    coefficients
        Of the regression over all matrices, in the order of the parents.
    rounding
        Largest rounding error of each entry of the target, of the same shape.
    """
    y = change.reshape(-1).double()
    X = torch.stack([parent.reshape(-1).double() for parent in parents])
    room = rounding.reshape(-1).double()
    weights = torch.tensor(list(coefficients), dtype=torch.float64, device=X.device)
    weighted = weights[:, None] * X
    fitted = weighted.sum(0)
    # Trimming keeps the entries of the highest ranks: the largest rank among the parents decides.
    ranks = torch.zeros_like(y)
    steps = torch.arange(y.numel(), dtype=torch.float64, device=y.device) / y.numel()
    for row in X:
        own = torch.empty_like(y)
        own[row.abs().argsort()] = steps
        ranks = torch.maximum(ranks, own)
    bins = (ranks ** len(X) * BINS).long()  # independent ranks make bins of equal counts
    visible = fitted.abs() > _VISIBLE * room
    unchanged = visible & (y.abs() <= _EDGE * room)
    nearby = visible & (y.abs() <= 3 * _EDGE * room) & ~unchanged
    signs = torch.sign(fitted)
    agrees = weighted * signs > 0
    conflict = visible & ~agrees.all(0)
    split = torch.cat([X * agrees, X * ~agrees])[:, conflict]
    return PatternSums(
        visible=torch.bincount(bins[visible], minlength=BINS).cpu(),
        unchanged=torch.bincount(bins[unchanged], minlength=BINS).cpu(),
        nearby=torch.bincount(bins[nearby], minlength=BINS).cpu(),
        weighted_xx=torch.bincount(bins, weights=fitted * fitted, minlength=BINS).cpu(),
        weighted_xy=torch.bincount(bins, weights=fitted * y, minlength=BINS).cpu(),
        conflict_xx=(split @ split.T).cpu(),
        conflict_xy=(split @ y[conflict]).cpu(),
    )
