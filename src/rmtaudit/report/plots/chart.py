"""What a figure shows, apart from how it is drawn: panels of lines, points and steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

BLUE, ORANGE, GREEN, PINK, SKY, YELLOW, VERMILION = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#F0E442", "#D55E00",
)  # fmt: skip
"""Okabe and Ito's colours, which the colour-blind can tell apart."""
GREY = "#6e6e6e"

_TICKS = 6
_DECADE = math.log(10)


class Dash(Enum):
    """Pattern of a line."""

    SOLID = ()
    DASHED = (5.0, 3.0)
    DOTTED = (1.5, 2.5)
    DASH_DOT = (6.0, 2.5, 1.5, 2.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line through points; ``label`` puts it into the legend."""

    x: Array
    y: Array
    colour: str
    dash: Dash = Dash.SOLID
    width: float = 1.3
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Dots or squares, with error bars where ``errors`` gives half their height."""

    x: Array
    y: Array
    colour: str
    radius: float = 1.7
    square: bool = False
    errors: Array | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """A filled histogram: ``heights`` between the ``edges``."""

    edges: Array
    heights: Array
    colour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Upright:
    """A vertical line from bottom to top."""

    x: float
    colour: str
    label: str | None = None


Mark = Line | Points | Steps | Upright


class Corner(Enum):
    """Where a note stands inside a panel."""

    TOP_RIGHT = "top right"
    BOTTOM_LEFT = "bottom left"
    CENTRE = "centre"


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """An axis from ``low`` to ``high``. ``ticks`` are positions and labels; empty: none are shown."""

    label: str
    low: float
    high: float
    logarithmic: bool = False
    ticks: tuple[tuple[float, str], ...] | None = None
    turned: bool = False
    """Whether the labels of the ticks are written upwards, because they are long."""

    def position(self, values: Array) -> Array:
        """Return where values lie, 0 at the low end and 1 at the high one."""
        if self.logarithmic:
            low, high = math.log(self.low), math.log(self.high)
            positive = np.maximum(values, np.finfo(np.float64).tiny)
            return np.asarray((np.log(positive) - low) / (high - low))
        return np.asarray((values - self.low) / (self.high - self.low))

    def marked(self) -> tuple[tuple[float, str], ...]:
        """Return the ticks: those given, else round numbers, about five."""
        if self.ticks is not None:
            return self.ticks
        places = _decades(self.low, self.high) if self.logarithmic else _round(self.low, self.high)
        return tuple((value, f"{value:.6g}") for value in places)


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One pair of axes and what is drawn on them, in order."""

    title: str
    x: Axis
    y: Axis
    marks: tuple[Mark, ...] = ()
    notes: tuple[tuple[Corner, str], ...] = ()
    grid: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Panels in rows, under a title and over a legend; sizes in points of 1/72 inch."""

    title: str
    rows: tuple[tuple[Panel, ...], ...]
    width: float
    row_height: float
    left: float = 52.0
    """Width left of each panel, for the labels of its ticks."""
    bottom: float = 36.0
    """Height below the last row of panels, and below every row of a chart of several columns."""
    shared_x: bool = False
    """Whether the rows share their horizontal axis, so that it is labelled once, at the bottom."""

    def legend(self) -> dict[str, Mark]:
        """Return the labels with the first mark of each, in order."""
        labelled: dict[str, Mark] = {}
        for row in self.rows:
            for panel in row:
                for mark in panel.marks:
                    if not isinstance(mark, Steps) and mark.label is not None:
                        labelled.setdefault(mark.label, mark)
        return labelled


def span(parts: Sequence[Array], *, logarithmic: bool = False) -> tuple[float, float]:
    """Return the least and largest value of arrays with a margin of 5 %, so that no axis is empty."""
    values = np.concatenate([part[np.isfinite(part) & (part > 0)] if logarithmic else part for part in parts])
    low, high = float(values.min()), float(values.max())
    if logarithmic:
        factor = (high / low) ** 0.05 * 1.02
        return low / factor, high * factor
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def _round(low: float, high: float) -> list[float]:
    """Return multiples of 1, 2 or 5 times a power of ten between two numbers."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def _decades(low: float, high: float) -> list[float]:
    """Return powers of ten between two numbers, or round numbers where fewer than two lie there."""
    first, last = math.ceil(math.log(low) / _DECADE - 1e-9), math.floor(math.log(high) / _DECADE + 1e-9)
    if last - first >= 1:
        stride = (last - first) // _TICKS + 1
        return [10.0**power for power in range(first, last + 1, stride)]
    places = [
        factor * 10.0**power
        for power in range(first - 1, last + 1)
        for factor in (1, 2, 5)
        if low <= factor * 10.0**power <= high
    ]
    return places if len(places) > 1 else [value for value in _round(low, high) if value > 0]
