"""P-values of tau and partial tau by permutation within strata, and their adjustment for several tests.

Sources: Freedman and Lane (1983), "A nonstochastic interpretation of reported significance levels", for the
permutation of residuals; Holm (1979), "A simple sequentially rejective multiple test procedure".
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from scipy import stats

from rmtaudit.kernels.rank_correlation.kendall import (
    Floats,
    Integers,
    pairs_within,
    partial_tau,
    random_part,
    signs_of_pairs,
)

MOST_EXACT = 50_000
"""Permutations that are all carried out: one stratum of eight items has 40,320."""

_DRAWS, _DRAWS_OF_MANY, _MANY = 4_999, 999, 5_000
"""Random permutations, and those with so many pairs or more."""

_MOST_PAIRS, _LARGEST_STRATUM = 20_000, 200
_NEIGHBOURS = 10
_LEAST_CUBIC = 8
_SLACK = 1e-9


def permutations_within(strata: Integers) -> float:
    """Return how many permutations there are within strata."""
    counts = np.unique(strata, return_counts=True)[1]
    return math.exp(min(sum(math.lgamma(count + 1) for count in counts), 700.0))


def tau_p_values(x: Floats, y: Floats, strata: Integers, *, generator: np.random.Generator) -> Floats:
    """Return two-sided p-values of tau of each variable with ``y``, given that ``y`` is exchangeable.

    All permutations of ``y`` within strata where these are at most :data:`MOST_EXACT`, else 4,999 random ones
    and the identity. With more than 20,000 pairs, or strata of more than 200 items, the test is that of a
    random part of the items.

    Parameters
    ----------
    x
        Shape ``(m, n)``.
    y, strata
        Shape ``(n,)``.
    """
    kept = _kept(strata, generator)
    x, y, strata = x[:, kept], y[kept], strata[kept]
    pairs = pairs_within(strata)
    sign_x = signs_of_pairs(x, pairs)
    observed = np.abs(sign_x @ signs_of_pairs(y, pairs))
    exceeding, total = np.zeros(len(x)), 0
    for orders in _orders(strata, len(pairs[0]), generator):
        scores = np.abs(signs_of_pairs(y[orders], pairs) @ sign_x.T)
        exceeding += (scores >= observed - _SLACK).sum(axis=0)
        total += len(orders)
    return np.asarray(exceeding / total)


def partial_p_values(
    x: Floats, y: Floats, z: Floats, strata: Integers, *, generator: np.random.Generator
) -> Floats:
    """Return two-sided p-values of the partial tau of each variable with ``y`` given ``z``.

    Normal scores of ``y`` within strata are fitted by a cubic (a line below 8 items) of those of ``z``. The
    residuals are permuted within strata, among about ten neighbours in ``z``, and added to the fit; partial
    tau is computed anew (Freedman and Lane), and the smaller tail counts twice. Partial tau itself is not 0
    where ``x`` and ``y`` follow ``z`` and nothing else (.11 for normal variables that have correlations of .7
    with ``z``), but the permuted data share that. Approximate: exact only where neighbours are exchangeable.
    NaN where partial tau does not exist. Of many items a random part, as in :func:`tau_p_values`.
    """
    kept = _kept(strata, generator)
    x, y, z, strata = x[:, kept], y[kept], z[kept], strata[kept]
    pairs = pairs_within(strata)
    sign_x, sign_z = signs_of_pairs(x, pairs), signs_of_pairs(z, pairs)
    score_y, score_z = _normal_scores(y, strata), _normal_scores(z, strata)
    powers = np.vander(score_z, 4 if len(y) >= _LEAST_CUBIC else 2)
    fit = powers @ np.linalg.lstsq(powers, score_y, rcond=None)[0]
    residuals = score_y - fit
    # Rounded, so that values that are equal but for the order of a sum are tied.
    observed = _partial(sign_x, signs_of_pairs(np.round(score_y, 9), pairs)[None], sign_z)[0]
    below, above, total = np.zeros(len(x)), np.zeros(len(x)), 0
    for orders in _orders(_neighbours(z, strata), len(pairs[0]), generator):
        drawn = np.round(fit + residuals[orders], 9)
        partial = _partial(sign_x, signs_of_pairs(drawn, pairs), sign_z)
        exists = np.isfinite(partial)  # one that does not exist counts on both sides
        below += (~exists | (partial <= observed + _SLACK)).sum(axis=0)
        above += (~exists | (partial >= observed - _SLACK)).sum(axis=0)
        total += len(orders)
    p_values = np.minimum(1.0, 2 * np.minimum(below, above) / total)
    return np.where(np.isfinite(observed), p_values, np.nan)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for their number, in their order: with a level, all errors count once."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for step, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - step) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def _kept(strata: Integers, generator: np.random.Generator) -> Integers:
    return random_part(strata, largest_stratum=_LARGEST_STRATUM, most_pairs=_MOST_PAIRS, generator=generator)


def _partial(sign_x: Floats, sign_y: Floats, sign_z: Floats) -> Floats:
    """Return partial tau, shape ``(B, m)``, for signs of shapes ``(m, P)``, ``(B, P)`` and ``(P,)``."""
    untied_x, untied_y = (sign_x**2).sum(axis=1), (sign_y**2).sum(axis=1)[:, None]
    untied_z = float(sign_z @ sign_z)
    with np.errstate(invalid="ignore", divide="ignore"):
        xy = sign_y @ sign_x.T / np.sqrt(untied_x * untied_y)
        xz = sign_x @ sign_z / np.sqrt(untied_x * untied_z)
        zy = (sign_y @ sign_z)[:, None] / np.sqrt(untied_y * untied_z)
    return partial_tau(xy, xz[None], zy)


def _normal_scores(values: Floats, strata: Integers) -> Floats:
    """Return the normal quantiles of average ranks within strata (Blom 1958)."""
    scores = np.zeros(len(values))
    for label in np.unique(strata):
        inside = strata == label
        scores[inside] = stats.norm.ppf((stats.rankdata(values[inside]) - 0.375) / (inside.sum() + 0.25))
    return scores


def _neighbours(z: Floats, strata: Integers) -> Integers:
    """Return finer strata: about ten items of one stratum that follow each other in ``z``."""
    finer = np.zeros(len(z), dtype=np.int64)
    count = 0
    for label in np.unique(strata):
        places = np.flatnonzero(strata == label)
        blocks = max(1, round(len(places) / _NEIGHBOURS))
        order = places[np.argsort(z[places], kind="stable")]
        finer[order] = count + np.arange(len(places)) * blocks // len(places)
        count += blocks
    return finer


def _orders(strata: Integers, pairs: int, generator: np.random.Generator) -> Iterator[Integers]:
    """Yield permutations within strata in blocks, shape ``(B, n)``: all, or the identity and random ones.

    ``pairs`` is how many signs the caller takes of each, which limits the blocks.
    """
    members = [np.flatnonzero(strata == label) for label in np.unique(strata)]
    size = max(1, 1_000_000 // max(pairs, 1))
    if permutations_within(strata) <= MOST_EXACT * (1 + 1e-9):
        every = itertools.product(*(itertools.permutations(places) for places in members))
        places = np.concatenate(members)
        while block := list(itertools.islice(every, size)):
            orders = np.empty((len(block), len(strata)), dtype=np.int64)
            orders[:, places] = [list(itertools.chain.from_iterable(each)) for each in block]
            yield orders
        return
    yield np.arange(len(strata))[None]
    draws = _DRAWS if pairs < _MANY else _DRAWS_OF_MANY
    for start in range(0, draws, size):
        count = min(size, draws - start)
        orders = np.empty((count, len(strata)), dtype=np.int64)
        for inside in members:
            orders[:, inside] = generator.permuted(np.tile(inside, (count, 1)), axis=1)
        yield orders
