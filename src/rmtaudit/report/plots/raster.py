"""A chart as PNG, by matplotlib: the same layout as :mod:`rmtaudit.report.plots.svg`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rmtaudit.report.plots.canvas import png, style
from rmtaudit.report.plots.chart import Axis, Chart, Corner, Dash, Line, Mark, Panel, Points, Steps, Upright
from rmtaudit.report.plots.svg import legend_rows, panel_boxes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis as MatplotlibAxis

_CORNERS = {
    Corner.TOP_RIGHT: (0.98, 0.96, "right", "top"),
    Corner.BOTTOM_LEFT: (0.02, 0.04, "left", "bottom"),
    Corner.CENTRE: (0.5, 0.5, "center", "center"),
}


def chart_png(chart: Chart) -> bytes:
    """Return a chart as PNG. It needs matplotlib."""
    with style():
        from matplotlib.figure import Figure

        height, boxes = panel_boxes(chart)
        figure = Figure(figsize=(chart.width / 72, height / 72))
        figure.suptitle(chart.title, fontsize=9, y=1 - 6 / height, va="top")
        handles: dict[str, Any] = {}
        for number, (row, places) in enumerate(zip(chart.rows, boxes, strict=True)):
            bare = chart.shared_x and number < len(chart.rows) - 1
            for panel, (left, top, wide, high) in zip(row, places, strict=True):
                place = (left / chart.width, 1 - (top + high) / height, wide / chart.width, high / height)
                axes = figure.add_axes(place)
                _draw(axes, panel, bare=bare)
                for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
                    handles.setdefault(label, handle)
        if handles:
            labels = [label for row in legend_rows(chart) for _, label in row]
            figure.legend(
                [handles[label] for label in labels],
                labels,
                loc="lower center",
                ncols=max(map(len, legend_rows(chart))),
                borderaxespad=0.1,
                borderpad=0.1,
                columnspacing=1.2,
            )
        return png(figure)


def _draw(axes: Axes, panel: Panel, *, bare: bool) -> None:
    axes.set_title(panel.title, loc="left")
    for mark in panel.marks:
        _add(axes, mark)
    axes.set_xscale("log" if panel.x.logarithmic else "linear")
    axes.set_yscale("log" if panel.y.logarithmic else "linear")
    _mark_ticks(axes.xaxis, panel.x)
    _mark_ticks(axes.yaxis, panel.y)
    axes.set_xlim(panel.x.low, panel.x.high)
    axes.set_ylim(panel.y.low, panel.y.high)
    axes.tick_params(axis="x", rotation=90 if panel.x.turned else 0, labelbottom=not bare)
    axes.set_xlabel("" if bare else panel.x.label)
    axes.set_ylabel(panel.y.label)
    if panel.grid:
        axes.grid(axis="y", linewidth=0.3)
    for corner, note in panel.notes:
        x, y, across, down = _CORNERS[corner]
        axes.text(x, y, note, transform=axes.transAxes, ha=across, va=down, fontsize=7.5)


def _mark_ticks(axis: MatplotlibAxis, wanted: Axis) -> None:
    from matplotlib.ticker import NullLocator

    places = wanted.marked()
    axis.set_ticks([value for value, _ in places], [label for _, label in places])
    axis.set_minor_locator(NullLocator())


def _add(axes: Axes, mark: Mark) -> None:
    match mark:
        case Line():
            dash: Any = "-" if mark.dash is Dash.SOLID else (0, mark.dash.value)
            axes.plot(
                mark.x, mark.y, color=mark.colour, linestyle=dash, linewidth=mark.width, label=mark.label
            )
        case Points():
            look: Any = {
                "fmt": "s" if mark.square else "o",
                "markersize": 2 * mark.radius,
                "label": mark.label,
            }
            axes.errorbar(mark.x, mark.y, mark.errors, color=mark.colour, elinewidth=0.8, **look)
        case Steps():
            axes.stairs(mark.heights, mark.edges, fill=True, color=mark.colour, alpha=0.55)
        case Upright():
            axes.axvline(mark.x, color=mark.colour, linewidth=0.8, linestyle=":", label=mark.label)
