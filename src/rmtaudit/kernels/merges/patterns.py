"""What the entries of a merge show beyond its coefficients: trimmed, dropped and sign-elected entries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rmtaudit.kernels.merges.regression import MergeSums, merge_sums

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
    conflict
        Over the entries where the weighted parents disagree in sign: the change on the part of the fitted
        change with the sign of the weighted sum, then on the part against it. Both coefficients are 1 in a
        weighted sum, whatever the weights are.
    extremes
        The change on the fitted change in the lowest bin, then in the highest.
    spread
        Squared residuals about the matrix's own coefficients, less the variance of the rounding, on a
        constant, then on the sum of the squared weighted parents. Each entry is weighted by the inverse of
        the latter plus its mean, so that heavy tails do not decide.
    products
        Squared changes, less the variance of the rounding, on a constant, on the square of each weighted
        parent and, last, on the products of different ones, weighted as ``spread`` is. The last coefficient
        is 1 in a weighted sum and where each parent has a mask of its own: changes that meet are added.
    within
        Sum of those squared residuals.
    """

    visible: torch.Tensor
    unchanged: torch.Tensor
    nearby: torch.Tensor
    conflict: MergeSums
    extremes: MergeSums
    spread: MergeSums
    products: MergeSums
    within: float

    def __add__(self, other: PatternSums) -> PatternSums:
        return PatternSums(
            visible=self.visible + other.visible,
            unchanged=self.unchanged + other.unchanged,
            nearby=self.nearby + other.nearby,
            conflict=self.conflict + other.conflict,
            extremes=self.extremes + other.extremes,
            spread=self.spread + other.spread,
            products=self.products + other.products,
            within=self.within + other.within,
        )


def pattern_sums(
    change: torch.Tensor,
    parents: Sequence[torch.Tensor],
    rounding: torch.Tensor,
) -> PatternSums:
    """Return the pattern sums of one matrix, with the least-squares coefficients of this matrix.

    Merges whose coefficients differ from layer to layer therefore show no pattern.

    Parameters
    ----------
    change
        Target minus base, shape ``(rows, cols)``, real floating dtype, finite.
    parents
        Each parent minus base, of the same shape.
    rounding
        Largest rounding error of each entry of the target, of the same shape.
    """
    y = change.double()
    X = torch.stack([parent.double() for parent in parents])
    room = rounding.double()
    weighted = _own_coefficients(merge_sums(y, X.unbind())).to(X.device)[:, None, None] * X
    fitted = weighted.sum(0)
    bins = _bins(X)
    visible = fitted.abs() > _VISIBLE * room
    unchanged = visible & (y.abs() <= _EDGE * room)
    nearby = visible & (y.abs() <= 3 * _EDGE * room) & ~unchanged
    agrees = weighted * torch.sign(fitted) > 0
    conflict = ~agrees.all(0) & (weighted != 0).all(0)
    lowest, highest = bins == 0, bins == BINS - 1
    residual = y - fitted
    sizes = weighted.square().sum(0)
    scale = 1 / (sizes + sizes.mean()).clamp(min=torch.finfo(torch.float64).tiny)
    return PatternSums(
        visible=torch.bincount(bins[visible], minlength=BINS).cpu(),
        unchanged=torch.bincount(bins[unchanged], minlength=BINS).cpu(),
        nearby=torch.bincount(bins[nearby], minlength=BINS).cpu(),
        conflict=merge_sums(
            y * conflict, [(weighted * agrees).sum(0) * conflict, (weighted * ~agrees).sum(0) * conflict]
        ),
        extremes=merge_sums(y * (lowest | highest), [fitted * lowest, fitted * highest]),
        spread=merge_sums(scale * (residual.square() - room.square() / 3), [scale, scale * sizes]),
        products=merge_sums(
            scale * (y.square() - room.square() / 3),
            [scale, *(scale * each.square() for each in weighted), scale * (fitted.square() - sizes)],
        ),
        within=float(residual.square().sum()),
    )


def _bins(X: torch.Tensor) -> torch.Tensor:
    """Return the bin of each entry: trimming keeps the highest ranks, so the largest rank decides."""
    count = X[0].numel()
    steps = torch.arange(count, dtype=torch.float64, device=X.device) / count
    ranks = torch.zeros(count, dtype=torch.float64, device=X.device)
    for parent in X.reshape(len(X), -1):
        own = torch.empty_like(ranks)
        own[parent.abs().argsort()] = steps
        ranks = torch.maximum(ranks, own)
    return (ranks ** len(X) * BINS).long().reshape(X.shape[1:])  # independent ranks make bins of equal counts


def _own_coefficients(sums: MergeSums) -> torch.Tensor:
    """Return the least-squares coefficients of one matrix, those of least norm where there are many."""
    inverse: torch.Tensor = torch.linalg.pinv(sums.xx, hermitian=True)
    return inverse @ sums.xy
