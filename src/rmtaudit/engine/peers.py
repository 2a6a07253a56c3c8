"""A layer among its peers: whether its scale is that of the other layers of its kind."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence

from rmtaudit.analyzers.base import Observation
from rmtaudit.report.model import LayerResult

_METRIC = "log10_rms"
_LEAST_PEERS = 7
_NARROWEST = 0.15
"""Decades: the least spread that layers of one kind are taken to have."""

_FREEDOM = 4
_CONSISTENT = 1.4826
"""From the median absolute deviation to the standard deviation of a normal law."""


def out_of_scale(rows: Sequence[LayerResult]) -> dict[int, list[Observation]]:
    """Return observations RA-MO-002, by the place of the row.

    Each layer's decimal logarithm of the root mean square is compared with the median and the spread (median
    absolute deviation) of the *other* layers of its kind, of which there must be at least 7. Layers differ
    for good reasons and the spread is estimated from few, so the p-value is that of Student's t with 4
    degrees of freedom, not of a normal law.
    """
    groups: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
    for index, row in enumerate(rows):
        result = row.metrics.get(_METRIC)
        if result is not None and isinstance(result.value, float):
            groups[row.kind].append((index, result.value))
    observed: dict[int, list[Observation]] = {}
    for members in groups.values():
        for index, value in members if len(members) > _LEAST_PEERS else ():
            others = [other for place, other in members if place != index]
            middle = statistics.median(others)
            spread = _CONSISTENT * statistics.median(abs(other - middle) for other in others)
            distance = (value - middle) / max(spread, _NARROWEST)
            if abs(distance) > 5:
                observed[index] = [_observation(value, middle, distance, len(others))]
    return observed


def _observation(value: float, middle: float, distance: float, peers: int) -> Observation:
    factor = 10 ** abs(value - middle)
    way = "larger" if value > middle else "smaller"
    return Observation(
        "RA-MO-002",
        f"The weights are {factor:.3g} times {way} than those of the other {peers} layers of the kind "
        f"(root mean square {10**value:.3g} against {10**middle:.3g}).",
        {"log10_rms": value, "median_of_peers": middle, "distance": distance, "peers": peers},
        p_value=_two_sided(distance),
    )


def _two_sided(distance: float) -> float:
    """Return the chance that Student's t with 4 degrees of freedom is as far from 0 (closed form)."""
    x = abs(distance) / math.sqrt(_FREEDOM + distance * distance)
    # 1 - x (3 - x²) / 2 with x near 1, written without cancellation
    gap = _FREEDOM / ((_FREEDOM + distance * distance) * (1 + x))
    return gap * gap * (2 + x) / 2
