"""Bootstrap intervals of tau and partial tau: items are drawn anew within their strata."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rmtaudit.kernels.rank_correlation.kendall import (
    Floats,
    Integers,
    pairs_within,
    partial_tau,
    random_part,
    signs_of_pairs,
)

_MOST_PAIRS, _LARGEST_STRATUM = 20_000, 200
_CHUNK = 4_000_000
"""Entries of a matrix of weights of pairs that are held at a time."""


@dataclass(frozen=True, slots=True)
class Replicates:
    """What the resampled data came to.

    Attributes
    ----------
    xy
        Tau of each variable with ``y``, shape ``(B, m)``.
    zy
        Tau of ``z`` with ``y``, shape ``(B,)``.
    partial
        Partial tau of each variable with ``y`` given ``z``, shape ``(B, m)``.
    scale
        Factor by which deviations are too wide, because the replicates rest on a random part of the items.
    """

    xy: Floats
    zy: Floats
    partial: Floats
    scale: float


def bootstrap_taus(
    x: Floats, y: Floats, z: Floats, strata: Integers, *, draws: int, generator: np.random.Generator
) -> Replicates:
    """Draw items with replacement within strata, and return the taus of the draws.

    An item that is drawn twice makes no pair with itself: a tie, which tau-b leaves out. With more than
    20,000 pairs, or strata of more than 200 items, a random part of the items is used; deviations from the
    estimate shrink with the square root of their number.

    Parameters
    ----------
    x
        Shape ``(m, n)``: variables.
    y, z, strata
        Shape ``(n,)``.
    draws, generator
        Number of draws, and their source.
    """
    kept = random_part(strata, largest_stratum=_LARGEST_STRATUM, most_pairs=_MOST_PAIRS, generator=generator)
    inside = strata[kept]
    pairs = pairs_within(inside)
    sign_x = signs_of_pairs(x[:, kept], pairs).T
    sign_y, sign_z = signs_of_pairs(y[kept], pairs), signs_of_pairs(z[kept], pairs)
    products = np.column_stack(
        (
            sign_x * sign_y[:, None],
            sign_x * sign_z[:, None],
            sign_x**2,
            sign_z * sign_y,
            sign_y**2,
            sign_z**2,
        )
    ).astype(np.float32)
    count = len(x)
    sums = np.empty((draws, products.shape[1]))
    step = max(1, _CHUNK // max(len(pairs[0]), 1))
    for start in range(0, draws, step):
        weights = _weights(inside, min(step, draws - start), generator)
        sums[start : start + step] = (weights[:, pairs[0]] * weights[:, pairs[1]]) @ products
    xy, xz, xx = sums[:, :count], sums[:, count : 2 * count], sums[:, 2 * count : 3 * count]
    zy, yy, zz = (sums[:, [3 * count + place]] for place in range(3))
    with np.errstate(invalid="ignore", divide="ignore"):
        tau_xy, tau_xz, tau_zy = xy / np.sqrt(xx * yy), xz / np.sqrt(xx * zz), zy / np.sqrt(zz * yy)
    return Replicates(
        xy=tau_xy,
        zy=tau_zy[:, 0],
        partial=partial_tau(tau_xy, tau_xz, tau_zy),
        scale=float(np.sqrt(len(strata) / len(inside))),
    )


def percentile_interval(
    replicates: Floats, estimate: float, *, scale: float = 1.0, level: float = 0.95, most_missing: float = 0.1
) -> tuple[float, float] | None:
    """Return the percentile interval of replicates, narrowed about the estimate by ``scale``.

    ``None`` where more than ``most_missing`` of the replicates do not exist (a draw in which ``z`` orders the
    items perfectly has no partial tau): what is left is not a sample of them all.
    """
    known = replicates[np.isfinite(replicates)]
    if len(known) < (1 - most_missing) * len(replicates) or not np.isfinite(estimate):
        return None
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    if scale > 1:  # the replicates lie about the tau of a random part, which is not the estimate
        low, high = estimate + np.array([low, high]) - np.median(known)
    return (
        float(max(-1.0, min(estimate, estimate + (low - estimate) / scale))),
        float(min(1.0, max(estimate, estimate + (high - estimate) / scale))),
    )


def _weights(strata: Integers, draws: int, generator: np.random.Generator) -> np.ndarray:
    """Return how often each item is drawn, shape ``(draws, n)``: each stratum keeps its size."""
    weights = np.empty((draws, len(strata)), dtype=np.float32)
    for label in np.unique(strata):
        places = np.flatnonzero(strata == label)
        weights[:, places] = generator.multinomial(
            len(places), np.full(len(places), 1 / len(places)), size=draws
        )
    return weights
