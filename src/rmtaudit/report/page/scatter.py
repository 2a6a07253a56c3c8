"""Scatter plots of models: one number of each against another, families told apart by colour and shape."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from rmtaudit.names import display_name
from rmtaudit.report.plots.chart import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PINK,
    VERMILION,
    Axis,
    Chart,
    Panel,
    Points,
    span,
)
from rmtaudit.report.plots.svg import chart_svg

_MOST_FAMILIES = 5
_LEAST = 3
"""Points that make a figure."""

_COLOURS = (BLUE, VERMILION, GREEN, PINK, ORANGE)


@dataclass(frozen=True, slots=True)
class Plot:
    """A scatter plot with its heading."""

    caption: str
    drawing: Markup


class Point(NamedTuple):
    """A model: its family, empty where none is given, and its two numbers."""

    family: str
    x: float
    y: float


class Scale(NamedTuple):
    """What an axis shows, and whether it is logarithmic."""

    name: str
    logarithmic: bool = False


def scatter_plot(points: Sequence[Point], across: Scale, up: Scale) -> Plot | None:
    """Return a scatter plot; ``None`` of fewer than three models.

    The largest families have a colour and a shape of their own.
    """
    if len(points) < _LEAST:
        return None
    families = Counter(point.family for point in points)
    largest = [name for name, _ in families.most_common(_MOST_FAMILIES)] if len(families) > 1 else []
    marks = []
    for place, family in enumerate([*largest, None]):
        own = [
            point
            for point in points
            if (point.family == family if family is not None else point.family not in largest)
        ]
        if not own:
            continue
        label = (display_name(family, longest=24) or "no family") if family is not None else "other families"
        marks.append(
            Points(
                x=np.array([point.x for point in own]),
                y=np.array([point.y for point in own]),
                colour=GREY if family is None and largest else _COLOURS[place],
                radius=2.1,
                square=place % 2 == 1,
                label=label if largest else None,
            )
        )
    panel = Panel(
        title="",
        x=_axis(across, [point.x for point in points]),
        y=_axis(up, [point.y for point in points]),
        marks=tuple(marks),
        grid=True,
    )
    chart = Chart(title="", rows=((panel,),), width=300, row_height=170, left=58)
    caption = f"{up.name} against {across.name}, {len(points)} models"
    prefix = f"z{zlib.crc32(caption.encode(errors='surrogatepass'))}-"
    return Plot(caption, Markup(chart_svg(chart, prefix, display_name(caption, longest=120))))


def _axis(scale: Scale, values: Sequence[float]) -> Axis:
    low, high = span([np.array(values)], logarithmic=scale.logarithmic)
    return Axis(label=display_name(scale.name, longest=40), low=low, high=high, logarithmic=scale.logarithmic)
