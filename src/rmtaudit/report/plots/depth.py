"""The chart of a model: what its layers come to, in the order in which they are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rmtaudit.names import display_name
from rmtaudit.report.labels import labels_of
from rmtaudit.report.plots.chart import BLUE, GREEN, PINK, VERMILION, Axis, Chart, Panel, Points, span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rmtaudit.report.model import LayerResult, Report

_NUMBERS = (
    ("alpha", "alpha", VERMILION),
    ("kappa_full", "kappa, all eigenvalues", BLUE),
    ("kappa_bulk", "kappa, bulk", GREEN),
)
_ORDER = (
    "undecided",
    "none",
    "rank-collapse",
    "random-like",
    "bleeding-out",
    "bulk+spikes",
    "bulk-decay",
    "heavy-tailed",
)
_WIDTH, _HEIGHT, _LEFT = 640.0, 110.0, 78.0
_NAMED, _LONGEST = 60, 36
"""Most layers whose names fit below the chart, and the longest name there."""
_LETTER = 4.9


def depth_chart(report: Report) -> Chart | None:
    """Return the chart of ``alpha``, ``kappa`` and ``phase`` along the layers; ``None`` if it has none."""
    rows = [row for row in report.layers if row.status == "ok"]
    numbers = [series for series in _NUMBERS if any(row.value(series[0]) is not None for row in rows)]
    with_phase = any(row.value("phase") is not None for row in rows)
    if not numbers and not with_phase:
        return None
    across = _layers(rows)
    panels = [_number(rows, across, name, label, colour) for name, label, colour in numbers]
    if with_phase:
        panels.append(_phase(rows, across))
    longest = max((len(label) for _, label in across.marked()), default=0)
    return Chart(
        title="Layers that were analysed, in stored order",
        rows=tuple((panel,) for panel in panels),
        width=_WIDTH,
        row_height=_HEIGHT,
        left=_LEFT,
        bottom=14 + _LETTER * longest,
        shared_x=True,
    )


def _layers(rows: Sequence[LayerResult]) -> Axis:
    """Return the axis of layers, with the name of every one, or of every second, third and so on."""
    stride = -(-len(rows) // _NAMED)
    names = labels_of([row.name for row in rows]).fitted(_LONGEST)
    ticks = tuple((float(at), display_name(names[at])) for at in range(0, len(rows), stride))
    return Axis(label="", low=-0.7, high=len(rows) - 0.3, ticks=ticks, turned=True)


def _number(rows: Sequence[LayerResult], across: Axis, name: str, label: str, colour: str) -> Panel:
    points = [(at, row.metrics[name]) for at, row in enumerate(rows) if row.value(name) is not None]
    values = np.array([float(metric.value or 0) for _, metric in points])
    errors = np.array([metric.se or 0.0 for _, metric in points])
    logarithmic = bool(values.max() > 20 * values.min() > 0)
    ends = [values] if logarithmic else [values - errors, values + errors]
    low, high = span(ends, logarithmic=logarithmic)
    return Panel(
        title="",
        x=across,
        y=Axis(label=label, low=low, high=high, logarithmic=logarithmic),
        marks=(
            Points(
                x=np.array([at for at, _ in points], dtype=float),
                y=values,
                errors=errors,
                colour=colour,
                radius=1.9,
            ),
        ),
        grid=True,
    )


def _phase(rows: Sequence[LayerResult], across: Axis) -> Panel:
    phases = [(at, str(row.metrics["phase"].value)) for at, row in enumerate(rows) if row.value("phase")]
    names = [name for name in _ORDER if any(phase == name for _, phase in phases)]
    levels = {name: float(level) for level, name in enumerate(names)}
    at = np.array([index for index, phase in phases if phase in levels], dtype=float)
    heights = np.array([levels[phase] for _, phase in phases if phase in levels])
    ticks = tuple((level, name) for name, level in levels.items())
    return Panel(
        title="phase",
        x=across,
        y=Axis(label="", low=-0.6, high=len(names) - 0.4, ticks=ticks),
        marks=(Points(x=at, y=heights, colour=PINK, radius=2.2, square=True),),
        grid=True,
    )
