"""A number along the depth of a model: one strip for each role that its repeated blocks have."""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rmtaudit.matrices.roles import role
from rmtaudit.matrices.skips import SkipReason
from rmtaudit.names import display_name
from rmtaudit.report.model import LayerResult, Report
from rmtaudit.report.ordering import natural_key
from rmtaudit.report.verdict import Integrity

_LEAST = 4
"""Layers of one role that make a strip."""

_DEEPEST = 10_000
_NUMBERS = re.compile(r"\d+")
_RATIO = {"alpha": "vs_noise"}
"""What a strip draws of a metric: alpha against that of noise of the same shape, where that is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One cell of a strip, a block or several: the number that is drawn, and the worst integrity."""

    value: float | None
    integrity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """The layers of one role, in the order of the depth.

    Attributes
    ----------
    role
        The name without the number of the block.
    names
        The names of the layers.
    first, last
        The numbers of the first and the last block; ``None`` where more than one number counts.
    places
        One for each block; ``None`` where the model has no such layer.
    least, median, greatest
        Of the metric over the layers that have it; ``None`` where none has.
    """

    role: str
    names: tuple[str, ...]
    first: int | None
    last: int | None
    places: tuple[Place | None, ...]
    least: float | None
    median: float | None
    greatest: float | None

    def narrowed(self, width: int) -> Strip:
        """Return the strip in at most ``width`` cells: each stands for the median of as many blocks."""
        count = -(-len(self.places) // max(width, 1))
        groups = [self.places[start : start + count] for start in range(0, len(self.places), count)]
        return Strip(
            role=self.role,
            names=self.names,
            first=self.first,
            last=self.last,
            places=tuple(map(_joined, groups)),
            least=self.least,
            median=self.median,
            greatest=self.greatest,
        )


def strips_of(report: Report, texts: Mapping[str, str]) -> tuple[Strip, ...]:
    """Return the strips of a report by :func:`ranged_metric`, in the order of their first layers.

    ``texts`` are those that a table shows for the names.
    """
    groups: defaultdict[tuple[str, str], list[LayerResult]] = defaultdict(list)
    for layer in report.layers:
        if _NUMBERS.search(layer.name) and layer.skip != SkipReason.EXCLUDED:
            groups[layer.kind, role(layer.name)].append(layer)
    metric, drawn = ranged_metric(report), drawn_metric(report)
    return tuple(_strip(group, metric, drawn, texts) for group in groups.values() if len(group) >= _LEAST)


def ranged_metric(report: Report) -> str:
    """Return the metric whose range the strips state: that of the order, or the first in a column."""
    wanted = (report.tool["sort"], *report.tool["columns"], *report.metrics)
    return next((name for name in wanted if name in report.metrics), "")


def drawn_metric(report: Report) -> str:
    """Return the metric that the strips draw: that of the order, or its ratio to noise."""
    metric = ranged_metric(report)
    ratio = _RATIO.get(metric)
    known = ratio is not None and any(compared(layer, ratio) is not None for layer in report.layers)
    return ratio if ratio is not None and known else metric


def scale_of(strips: Sequence[Strip]) -> tuple[float, float]:
    """Return the least and the greatest number that the strips draw."""
    values = [place.value for each in strips for place in each.places if place and place.value is not None]
    return min(values, default=0.0), max(values, default=1.0)


def compared(layer: LayerResult, metric: str) -> float | None:
    """Return a number of a layer; ``vs_noise`` also of reports that are older than it."""
    value = layer.number(metric)
    if value is None and metric == "vs_noise":
        alpha, noise = layer.number("alpha"), layer.number("alpha_null")
        return alpha / noise if alpha is not None and noise else None
    return value


def _strip(group: Sequence[LayerResult], metric: str, drawn: str, texts: Mapping[str, str]) -> Strip:
    ordered = sorted(group, key=lambda layer: natural_key(layer.name))
    places: list[Place | None] = [
        Place(value=compared(layer, drawn), integrity=layer.integrity.word) for layer in ordered
    ]
    depths = [_depth(layer.name) for layer in ordered]
    first = last = None
    numbers = [depth for depth in depths if depth is not None]
    if len(numbers) == len(set(numbers)) == len(ordered) and max(numbers) <= _DEEPEST:
        first, last = min(numbers), max(numbers)
        by_depth = dict(zip(numbers, places, strict=True))
        places = [by_depth.get(depth) for depth in range(first, last + 1)]
    values = [value for layer in ordered if (value := layer.number(metric)) is not None]
    shown = role(texts[ordered[0].name])
    if shown == "#":  # the only role: nothing but the number is left of its names
        shown = display_name(role(ordered[0].name))
    return Strip(
        role=shown.removeprefix("#.") if shown.count("#") == 1 else shown,
        names=tuple(layer.name for layer in ordered),
        first=first,
        last=last,
        places=tuple(places),
        least=min(values, default=None),
        median=statistics.median(values) if values else None,
        greatest=max(values, default=None),
    )


def _depth(name: str) -> int | None:
    """Return the one number that counts blocks in a name; ``None`` where there is none or more than one."""
    parts, roles = re.split(r"[./:]", name), re.split(r"[./:]", role(name))
    counted = [part for part, other in zip(parts, roles, strict=True) if "#" in other and "#" not in part]
    numbers = [number for part in counted for number in _NUMBERS.findall(part)]
    return int(numbers[0]) if len(numbers) == 1 and len(numbers[0]) <= 6 else None


_WORST = (Integrity.DAMAGED, Integrity.WARNING, Integrity.UNJUDGED, Integrity.OK)


def _joined(places: Sequence[Place | None]) -> Place | None:
    known = [place for place in places if place is not None]
    if not known:
        return None
    values = [place.value for place in known if place.value is not None]
    words = {place.integrity for place in known}
    worst = next((word for word in _WORST if word in words), Integrity.OK)
    return Place(value=statistics.median(values) if values else None, integrity=str(worst))
