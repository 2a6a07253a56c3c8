"""Exact moments of sums over a random permutation of fixed scores, and the tails that follow from them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from rmtaudit.kernels.gamma_law import gamma_tails, gamma_two_sided

BAND = 1 << 16
"""Scores that are raised to powers at once: a convention."""
_SYMMETRIC = 1e-4
"""Below this skewness the normal tail is used: the gamma law is nearly the same and loses precision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PermutationMoments:
    """Joint moments of centred scores that are dealt to ``count`` places in random order.

    With ``a, b, c, d`` the scores at four different places: ``e2 = E a²``, ``e11 = E ab``, ``e3 = E a³``,
    ``e4 = E a⁴``, ``e6 = E a⁶``, ``e31 = E a³b``, ``e22 = E a²b²``, ``e211 = E a²bc`` and ``e1111 = E abcd``.
    """

    count: int
    e2: float
    e11: float
    e3: float
    e4: float
    e6: float
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
    sums = []
    flat = scores.reshape(-1)
    for start in range(0, count, BAND):  # bands that stay in a core's cache
        part = flat[start : start + BAND]
        squares = part.square()
        cubes = squares * part
        powers = squares, cubes, squares.square(), cubes.square()
        sums.append(torch.stack([power.sum() for power in powers]))
    e2, e3, e4, e6 = (torch.stack(sums).sum(0) / count).tolist()
    e31 = -e4 / (count - 1)
    e22 = (count * e2 * e2 - e4) / (count - 1)
    e211 = -(e31 + e22) / (count - 2)
    return PermutationMoments(
        count=count,
        e2=e2,
        e11=-e2 / (count - 1),
        e3=e3,
        e4=e4,
        e6=e6,
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


def neighbour_products(moments: PermutationMoments, length: int) -> tuple[float, float, float]:
    """Return mean, variance and skewness of ``Σ a_t a_{t+1}`` along an axis, over random permutations.

    The places form ``count/length`` lines of ``length`` places along the axis; there are at least 6 places.
    """
    lines = moments.count // length
    edges, touching, paths = (lines * max(0, length - less) for less in (1, 2, 3))
    mean = edges * moments.e11
    apart = edges * (edges - 1) - 2 * touching
    second = edges * moments.e22 + 2 * touching * moments.e211 + apart * moments.e1111
    variance = second - mean * mean
    if not variance > 0:
        return mean, variance, 0.0
    sixth = _sixth_moments(moments)
    one_touch = touching * (edges - 2) - 2 * paths  # triples of edges of which exactly two touch
    no_touch = edges * (edges - 1) * (edges - 2) // 6 - one_touch - paths
    third = (
        edges * sixth.e33
        + 6 * touching * sixth.e321
        + (3 * apart + 6 * paths) * sixth.e2211
        + 6 * one_touch * sixth.e21111
        + 6 * no_touch * sixth.e111111
    )
    central = third - 3 * mean * second + 2 * mean**3
    return mean, variance, central / variance**1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class _SixthMoments:
    """Joint moments of degree six, named as in :class:`PermutationMoments`."""

    e33: float
    e321: float
    e2211: float
    e21111: float
    e111111: float


def _sixth_moments(moments: PermutationMoments) -> _SixthMoments:
    """Return the moments of degree six, each by summing over the last place: the scores sum to 0."""
    count, e6 = moments.count, moments.e6
    e51 = -e6 / (count - 1)
    e42 = (count * moments.e4 * moments.e2 - e6) / (count - 1)
    e33 = (count * moments.e3 * moments.e3 - e6) / (count - 1)
    e411 = -(e51 + e42) / (count - 2)
    e321 = -(e42 + e33) / (count - 2)
    e222 = (count * moments.e2 * moments.e22 - 2 * e42) / (count - 2)
    e3111 = -(e411 + 2 * e321) / (count - 3)
    e2211 = -(2 * e321 + e222) / (count - 3)
    e21111 = -(e3111 + 3 * e2211) / (count - 4)
    return _SixthMoments(e33=e33, e321=e321, e2211=e2211, e21111=e21111, e111111=-5 * e21111 / (count - 5))


def gamma_p_value(statistic: float, mean: float, variance: float) -> float:
    """Return twice the smaller tail of the gamma law with this mean and variance, at most 1."""
    if not variance > 0 or not mean > 0:
        return 1.0
    return gamma_two_sided(mean * mean / variance, max(0.0, statistic) * mean / variance)


def skewed_p_value(statistic: float, mean: float, variance: float, skewness: float) -> float:
    """Return twice the tail beyond the statistic, at most 1, for a law with these three moments.

    The long tail is that of the shifted gamma law (Pearson's type III). The short one is the normal tail: the
    gamma law ends on that side, where the statistic need not, and the normal tail is the larger one.

    Parameters
    ----------
    skewness
        Third standardised moment. The long tail is on its side.
    """
    if not variance > 0:
        return 1.0
    z = math.copysign(1.0, skewness) * (statistic - mean) / math.sqrt(variance)
    if z <= 0 or abs(skewness) < _SYMMETRIC:
        return math.erfc(abs(z) / math.sqrt(2))
    root = 2 / abs(skewness)
    return min(1.0, 2 * gamma_tails(root * root, root * root + z * root).upper)
