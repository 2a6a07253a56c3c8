"""How the metrics of models go with their quality: taus, intervals and p-values of one measure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rmtaudit.kernels.rank_correlation.bootstrap import bootstrap_taus, percentile_interval
from rmtaudit.kernels.rank_correlation.kendall import kendall_tau, partial_tau
from rmtaudit.kernels.rank_correlation.permutation import (
    MOST_EXACT,
    partial_p_values,
    permutations_within,
    tau_p_values,
)
from rmtaudit.report.ranking import Association, Comparison

Floats = NDArray[np.float64]

LEAST = 5
"""Models for a p-value: five can be ordered in 120 ways, four in 24, of which no p-value below .08 comes."""

LEAST_INTERVAL, LEAST_PARTIAL_INTERVAL = 8, 12
"""Models for an interval of tau and of partial tau. Below, the intervals were seen to cover less than they
claim: 95 % intervals of 6 items .88 to .98, partial ones of 8 items .75 to .95 (``benchmarks/rank.py``)."""

_NO_PARTIAL = "the number of parameters orders the models perfectly, by quality or by this metric"
_ALL_TIED = "all pairs within families are tied"
_Method = Literal["all permutations", "random permutations"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The models of one measure: ``quality`` with larger values better, ``metrics`` of shape ``(m, n)``.

    A metric that a model does not have is NaN.
    """

    names: tuple[str, ...]
    metrics: Floats
    size: Floats
    quality: Floats
    strata: NDArray[np.int64]


def compare_metrics(
    table: Table, *, draws: int, level: float, generator: np.random.Generator
) -> tuple[Comparison, list[Comparison]]:
    """Return how the number of parameters orders the models, and how each metric does.

    P-values are not adjusted yet.
    """
    groups: defaultdict[bytes, list[int]] = defaultdict(list)
    for place, row in enumerate(table.metrics):
        groups[np.isfinite(row).tobytes()].append(place)
    every = np.ones(len(table.size), dtype=bool)
    groups.setdefault(every.tobytes(), [])
    size: Comparison | None = None
    metrics: dict[int, Comparison] = {}
    for key, places in groups.items():
        inside = np.frombuffer(key, dtype=bool)
        baseline, *compared = _compare(table, inside, places, draws=draws, level=level, generator=generator)
        metrics |= dict(zip(places, compared, strict=True))
        size = baseline if inside.all() else size
    assert size is not None
    return size, [metrics[place] for place in range(len(table.names))]


def _compare(
    table: Table,
    inside: NDArray[np.bool_],
    places: Sequence[int],
    *,
    draws: int,
    level: float,
    generator: np.random.Generator,
) -> list[Comparison]:
    """Return the comparisons of the number of parameters and of the metrics, over some of the models."""
    y, z, strata = table.quality[inside], table.size[inside], table.strata[inside]
    x = np.vstack([z[None], table.metrics[list(places)][:, inside]])
    n = len(y)
    counts = np.unique(strata, return_counts=True)[1]
    pairs = int((counts * (counts - 1) // 2).sum())
    tau = np.array([kendall_tau(row, y, strata) for row in x])
    size_tau = np.array([kendall_tau(row, z, strata) for row in x])
    partial = partial_tau(tau, size_tau, tau[:1])
    alone: list[tuple[float, float] | None] = [None] * len(x)
    given: list[tuple[float, float] | None] = [None] * len(x)
    p_alone, p_given = np.full(len(x), np.nan), np.full(len(x), np.nan)
    method: _Method | None = None
    if n >= LEAST_INTERVAL:
        replicates = bootstrap_taus(x, y, z, strata, draws=draws, generator=generator)
        spans = {"scale": replicates.scale, "level": level}
        alone = [
            percentile_interval(column, value, **spans)
            for column, value in zip(replicates.xy.T, tau, strict=True)
        ]
        if n >= LEAST_PARTIAL_INTERVAL:
            given = [
                percentile_interval(column, value, **spans)
                for column, value in zip(replicates.partial.T, partial, strict=True)
            ]
    if n >= LEAST and pairs:
        method = "all permutations" if permutations_within(strata) <= MOST_EXACT else "random permutations"
        p_alone = tau_p_values(x, y, strata, generator=generator)
        p_given = partial_p_values(x, y, z, strata, generator=generator)
    result = []
    for place, row in enumerate(x):
        pooled = _number(kendall_tau(row, y, np.zeros(n, dtype=np.int64)))
        known = _number(tau[place])
        result.append(
            Comparison(
                metric="parameters" if place == 0 else table.names[places[place - 1]],
                models=n,
                pairs=pairs,
                alone=_association(
                    known,
                    ci=alone[place],
                    p=p_alone[place],
                    method=method,
                    n=n,
                    missing=_ALL_TIED,
                    least=LEAST_INTERVAL,
                ),
                given_size=None
                if place == 0
                else _association(
                    _number(partial[place]),
                    ci=given[place],
                    p=p_given[place],
                    method=method,
                    n=n,
                    missing=_ALL_TIED if known is None else _NO_PARTIAL,
                    least=LEAST_PARTIAL_INTERVAL,
                ),
                pooled=pooled,
                reversed=bool(len(counts) > 1 and known and pooled and known * pooled < 0),
            )
        )
    return result


def _association(
    tau: float | None,
    *,
    ci: tuple[float, float] | None,
    p: float,
    method: _Method | None,
    n: int,
    missing: str,
    least: int,
) -> Association:
    if tau is None:
        reason, ci, p = missing, None, np.nan
    elif n < LEAST:
        reason = f"{n} models: a p-value needs {LEAST}, an interval {least}"
    elif n < least:
        reason = f"{n} models: an interval needs {least}"
    else:
        reason = "" if ci is not None else ("too many bootstrap draws in which the value does not exist")
    known = bool(np.isfinite(p))
    return Association(
        tau=tau,
        ci=ci,
        p=float(p) if known else None,
        p_adjusted=None,
        p_method=method if known else None,
        reason=reason,
    )


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
