"""The figure of a model: what its layers come to, in the order in which they are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmtaudit.report.plots.canvas import BLUE, GREEN, PINK, VERMILION, new_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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


def depth_figure(report: Report) -> Figure | None:
    """Return the figure of ``alpha``, ``kappa`` and ``phase`` along the layers; ``None`` if it has none."""
    rows = [row for row in report.layers if row.status == "ok"]
    numbers = [series for series in _NUMBERS if any(row.value(series[0]) is not None for row in rows)]
    with_phase = any(row.value("phase") is not None for row in rows)
    panels = len(numbers) + with_phase
    if not panels:
        return None
    figure = new_figure(7.2, 0.7 + 1.9 * panels)
    axes = figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0]
    for panel, (name, label, colour) in zip(axes, numbers, strict=False):
        _draw_number(panel, rows, name, label, colour)
    if with_phase:
        _draw_phase(axes[-1], rows)
    axes[-1].set_xlabel("layers that were analysed, in stored order")
    return figure


def _draw_number(axes: Axes, rows: Sequence[LayerResult], name: str, label: str, colour: str) -> None:
    points = [(at, row.metrics[name]) for at, row in enumerate(rows) if row.value(name) is not None]
    at = [index for index, _ in points]
    values = [float(metric.value or 0) for _, metric in points]
    errors = [metric.se or 0.0 for _, metric in points]
    axes.errorbar(at, values, errors, fmt="o", markersize=3.5, elinewidth=0.8, color=colour)
    axes.set_ylabel(label)
    if max(values) > 20 * min(values) > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
    axes.grid(axis="y", linewidth=0.3)


def _draw_phase(axes: Axes, rows: Sequence[LayerResult]) -> None:
    phases = [(at, str(row.metrics["phase"].value)) for at, row in enumerate(rows) if row.value("phase")]
    names = [name for name in _ORDER if any(phase == name for _, phase in phases)]
    for level, name in enumerate(names):
        at = [index for index, phase in phases if phase == name]
        axes.plot(at, [level] * len(at), "s", markersize=4.5, color=PINK)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_ylabel("phase")
    axes.grid(axis="y", linewidth=0.3)
