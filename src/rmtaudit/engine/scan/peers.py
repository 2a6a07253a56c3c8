"""A layer among the others of its role: whether it has their scale, and learned as they did."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence

from rmtaudit.analyzers.base import Observation
from rmtaudit.finding_kind import Severity
from rmtaudit.kernels.signal import Signal, SignalWord
from rmtaudit.matrices.roles import role
from rmtaudit.report.model import LayerResult

_METRIC = "log10_rms"
_LEAST_PEERS = 4
_NARROWEST = 0.15
"""Decades: the least spread that layers of one role are taken to have."""

_FREEDOM = 4
_CONSISTENT = 1.4826
"""From the median absolute deviation to the standard deviation of a normal law."""

_APART, _EXTREME, _BROKEN = 5.0, 30.0, 1000.0
"""Factor beyond *all* peers from which a scale is reported, may be a warning, and may be an error. Healthy
layers stay within 4.4 (docs/calibration.md); only a layer far above its peers can be an error, because weight
decay lets the scale of an unused branch shrink without end."""


def out_of_scale(rows: Sequence[LayerResult]) -> dict[int, list[Observation]]:
    """Return observations RA-MO-002, by the place of the row.

    The root mean square of each layer is compared with the *other* layers of its kind and role (see
    :func:`rmtaudit.matrices.roles.role`), of which there must be at least 4: a state matrix is no peer of a
    projection. A layer is out of scale if it is more than 5 times larger, or smaller, than all of them. The
    p-value is that of the distance between its decimal logarithm and their median, in median absolute
    deviations. The spread is estimated from few, so the law is Student's t with 4 degrees of freedom, not a
    normal one.
    """
    groups: defaultdict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
    for index, row in enumerate(rows):
        result = row.metrics.get(_METRIC)
        if result is not None and isinstance(result.value, float):
            groups[row.kind, role(row.name)].append((index, result.value))
    observed: dict[int, list[Observation]] = {}
    for members in groups.values():
        for index, value in members if len(members) > _LEAST_PEERS else ():
            others = [other for place, other in members if place != index]
            beyond = max(value - max(others), min(others) - value)
            if beyond > math.log10(_APART):
                observed[index] = [_observation(value, others, 10**beyond)]
    return observed


def constants_among_trained(
    rows: Sequence[LayerResult], signals: Mapping[int, Signal]
) -> dict[int, list[Observation]]:
    """Return observations RA-MO-003, by the place of the row.

    A constant of the architecture is one in every block. A layer that holds one, while at least 4 layers of
    its kind and role learned something, and more than hold constants, was overwritten or never loaded.
    """
    groups: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        groups[row.kind, role(row.name)].append(index)
    observed: dict[int, list[Observation]] = {}
    for members in groups.values():
        words = {index: signals[index].word for index in members if index in signals}
        constants = [index for index, word in words.items() if word is SignalWord.CONSTANT]
        trained = sum(word in (SignalWord.STRUCTURED, SignalWord.SCALES) for word in words.values())
        if trained < max(_LEAST_PEERS, len(constants) + 1):
            continue
        for index in constants:
            observed[index] = [_overwritten(signals[index].detail, trained)]
    return observed


def _overwritten(constant: str, trained: int) -> Observation:
    return Observation(
        code="RA-MO-003",
        message=f"The layer holds a constant ({constant}), but {trained} layers of the same role are "
        "trained.",
        evidence={"constant": constant, "trained_peers": trained},
    )


def _observation(value: float, others: Sequence[float], beyond: float) -> Observation:
    middle = statistics.median(others)
    spread = _CONSISTENT * statistics.median(abs(other - middle) for other in others)
    distance = (value - middle) / max(spread, _NARROWEST)
    larger = value > middle
    severity: Severity = "info" if beyond < _EXTREME else "warning"
    if larger and beyond >= _BROKEN:
        severity = "error"
    return Observation(
        code="RA-MO-002",
        message=f"The weights are {10 ** abs(value - middle):.3g} times {'larger' if larger else 'smaller'} "
        f"than those of the other {len(others)} layers of the same role (root mean square {10**value:.3g} "
        f"against {10**middle:.3g}).",
        evidence={
            "log10_rms": value,
            "median_of_peers": middle,
            "factor_beyond_all": beyond,
            "distance": distance,
            "peers": len(others),
        },
        p_value=_two_sided(distance),
        severity=severity,
    )


def _two_sided(distance: float) -> float:
    """Return the probability that Student's t with 4 degrees of freedom is as far from 0 (closed form)."""
    x = abs(distance) / math.sqrt(_FREEDOM + distance * distance)
    # 1 - x (3 - x²) / 2 with x near 1, written without cancellation
    gap = _FREEDOM / ((_FREEDOM + distance * distance) * (1 + x))
    return gap * gap * (2 + x) / 2
