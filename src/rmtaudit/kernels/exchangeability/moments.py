"""Exact moments of sums over a random permutation of fixed scores, and the tails that follow from them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class PermutationMoments:
    """Joint moments of centred scores that are dealt to ``count`` places in random order.

    With ``a, b, c, d`` the scores at four different places: ``e2 = E a²``, ``e11 = E ab``, ``e4 = E a⁴``,
    ``e31 = E a³b``, ``e22 = E a²b²``, ``e211 = E a²bc`` and ``e1111 = E abcd``.
    """

    count: int
    e2: float
    e11: float
    e4: float
    e31: float
    e22: float
    e211: float
    e1111: float


def permutation_moments(scores: torch.Tensor) -> PermutationMoments:
    """Return the moments of scores that sum to 0.

    Parameters
    ----------
    scores
        Any shape with at least 4 entries, float64, centred.

    Notes
    -----
    Each follows from the one before by summing over the last place, because the scores sum to 0.
    """
    count = scores.numel()
    squares = scores.square()
    e2 = float(squares.mean())
    e4 = float(squares.square().mean())
    e31 = -e4 / (count - 1)
    e22 = (count * e2 * e2 - e4) / (count - 1)
    e211 = -(e31 + e22) / (count - 2)
    return PermutationMoments(
        count=count,
        e2=e2,
        e11=-e2 / (count - 1),
        e4=e4,
        e31=e31,
        e22=e22,
        e211=e211,
        e1111=-3 * e211 / (count - 3),
    )


def squared_group_sums(moments: PermutationMoments, sizes: torch.Tensor) -> tuple[float, float]:
    """Return mean and variance of ``Σ_g S_g²/k_g`` over random permutations.

    ``S_g`` is the sum of the scores in group ``g``, which has ``k_g`` places; groups do not overlap.

    Parameters
    ----------
    sizes
        The sizes ``k_g``, shape ``(groups,)``, at least 1 each.
    """
    k = sizes.double()
    weight, pairs = 1 / k, k - 1  # pairs: ordered pairs of places in a group, over its size
    mean = float((moments.e2 + pairs * moments.e11).sum())
    own = (
        k * moments.e4
        + 4 * k * pairs * moments.e31
        + 3 * k * pairs * moments.e22
        + 6 * k * pairs * (k - 2) * moments.e211
        + k * pairs * (k - 2) * (k - 3) * moments.e1111
    )
    groups, total = len(k), float(pairs.sum())
    between = (
        groups * (groups - 1) * moments.e22
        + 2 * (groups * total - total) * moments.e211
        + (total * total - float(pairs.square().sum())) * moments.e1111
    )
    return mean, float((weight.square() * own).sum()) + between - mean * mean


def neighbour_products(moments: PermutationMoments, length: int) -> tuple[float, float]:
    """Return mean and variance of ``Σ a_t a_{t+1}`` along an axis of this length, over random permutations.

    The places form ``count/length`` lines along the axis.
    """
    lines = moments.count // length
    edges, touching = lines * (length - 1), lines * max(0, length - 2)
    mean = edges * moments.e11
    apart = edges * (edges - 1) - 2 * touching
    second = edges * moments.e22 + 2 * touching * moments.e211 + apart * moments.e1111
    return mean, second - mean * mean


def gamma_p_value(statistic: float, mean: float, variance: float) -> float:
    """Return twice the smaller tail of the gamma law with this mean and variance, at most 1."""
    from scipy.special import gammainc, gammaincc

    if not variance > 0 or not mean > 0:
        return 1.0
    shape, at = mean * mean / variance, max(0.0, statistic) * mean / variance
    return float(min(1.0, 2 * min(gammainc(shape, at), gammaincc(shape, at))))


def normal_p_value(statistic: float, mean: float, variance: float) -> float:
    """Return the two-sided tail of the normal law with this mean and variance."""
    return math.erfc(abs(statistic - mean) / math.sqrt(2 * variance)) if variance > 0 else 1.0
