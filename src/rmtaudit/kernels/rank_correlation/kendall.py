"""Kendall's tau-b within strata, and partial tau given a third variable.

A pair of items counts only where both are of one stratum. With one stratum tau is that of
``scipy.stats.kendalltau``.

Sources: Kendall (1938), "A new measure of rank correlation", Biometrika 30; Kendall (1942), "Partial rank
correlation", Biometrika 32, equation 4.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_LARGE = 300
"""Strata of more items are counted in ``O(n log n)``, without a list of their pairs."""


def pairs_within(strata: Integers) -> tuple[Integers, Integers]:
    """Return the pairs of places, the first below the second, whose strata (shape ``(n,)``) are equal."""
    order = np.argsort(strata, kind="stable")
    starts = np.flatnonzero(np.diff(strata[order], prepend=strata[order][:1] - 1))
    counts = np.diff(np.append(starts, len(strata)))
    first, second = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for count in np.unique(counts[counts > 1]):  # all strata of one size at once
        members = order[starts[counts == count][:, None] + np.arange(count)]
        one, other = np.triu_indices(count, 1)
        first.append(members[:, one].ravel())
        second.append(members[:, other].ravel())
    return np.concatenate(first), np.concatenate(second)


def random_part(
    strata: Integers, *, largest_stratum: int, most_pairs: int, generator: np.random.Generator
) -> Integers:
    """Return the places of a random part of the items, ascending; all of them where they are few.

    Of a stratum at most so many items, and as many strata as have so many pairs, one at least.
    """
    kept: list[Integers] = []
    pairs = 0
    for label in generator.permutation(np.unique(strata)):
        places = np.flatnonzero(strata == label)
        if len(places) > largest_stratum:
            places = generator.choice(places, largest_stratum, replace=False)
        pairs += len(places) * (len(places) - 1) // 2
        if kept and pairs > most_pairs:
            break
        kept.append(places)
    return np.sort(np.concatenate(kept))


def signs_of_pairs(values: Floats, pairs: tuple[Integers, Integers]) -> Floats:
    """Return the signs of the differences of pairs: ``(..., n)`` to ``(..., pairs)``."""
    return np.sign(values[..., pairs[0]] - values[..., pairs[1]])


def kendall_tau(x: Floats, y: Floats, strata: Integers) -> float:
    """Return tau-b over the pairs within strata.

    ``S / sqrt(n_x n_y)``, where ``S`` is the number of concordant minus that of discordant pairs, and ``n_x``
    and ``n_y`` are those not tied in ``x`` and in ``y``, all within strata.

    Parameters
    ----------
    x, y, strata
        Shape ``(n,)``. Values are finite.

    Returns
    -------
    float
        NaN where all pairs are tied in ``x`` or in ``y``, or no stratum has two items.
    """
    score = untied_x = untied_y = 0.0
    labels, counts = np.unique(strata, return_counts=True)
    for label in labels[counts > _LARGE]:
        inside = strata == label
        counted = _counts(x[inside], y[inside])
        score, untied_x, untied_y = score + counted[0], untied_x + counted[1], untied_y + counted[2]
    small = np.isin(strata, labels[counts <= _LARGE])
    pairs = pairs_within(strata[small])
    sign_x, sign_y = signs_of_pairs(x[small], pairs), signs_of_pairs(y[small], pairs)
    score += float(sign_x @ sign_y)
    return ratio(score, untied_x + float(sign_x @ sign_x), untied_y + float(sign_y @ sign_y))


def _counts(x: Floats, y: Floats) -> tuple[float, float, float]:
    """Return ``S`` and the untied pairs of one large stratum."""
    n = len(x)
    untied_x, untied_y = (n * (n - 1) / 2 - _ties(values) for values in (x, y))
    if untied_x == 0 or untied_y == 0:
        return 0.0, untied_x, untied_y
    tau = float(stats.kendalltau(x, y, method="asymptotic").statistic)
    return round(tau * np.sqrt(untied_x * untied_y)), untied_x, untied_y


def _ties(values: Floats) -> float:
    counts = np.unique(values, return_counts=True)[1].astype(float)
    return float((counts * (counts - 1) / 2).sum())


def ratio(score: float, untied_x: float, untied_y: float) -> float:
    """Return ``score / sqrt(untied_x untied_y)``; NaN where there is none."""
    return score / float(np.sqrt(untied_x * untied_y)) if untied_x > 0 and untied_y > 0 else float("nan")


def partial_tau(xy: Floats, xz: Floats, yz: Floats) -> Floats:
    """Return the partial tau of ``x`` and ``y`` given ``z`` from the three taus, elementwise.

    ``(xy - xz yz) / sqrt((1 - xz²)(1 - yz²))``; NaN where ``z`` orders ``x`` or ``y`` perfectly, so that
    nothing is left to explain.
    """
    left = (1 - xz**2) * (1 - yz**2)
    with np.errstate(invalid="ignore"):
        exists = left > 1e-12
    return np.where(exists, (xy - xz * yz) / np.sqrt(np.where(exists, left, 1.0)), np.nan)
