"""The figure of a forecast of random-feature regression: errors against width, and against sample size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rmtaudit.names import display_name
from rmtaudit.report.plots.canvas import BLUE, GREEN, GREY, VERMILION, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

_LINE = 110  # characters


def ridge_figure(document: Mapping[str, Any]) -> Figure:
    """Return the figure of a document of ``rmtaudit forecast ridge``."""
    subject, network = document["subject"], document["network"]
    figure = new_figure(7.2, 3.4)
    left, right = figure.subplots(1, 2)
    title = f"{display_name(subject['path'] or 'arrays', longest=_LINE)}: {subject['samples']} samples"
    figure.suptitle(title, fontsize=8.5, x=0.01, ha="left")
    rows = document["width"]
    widths = [row["width"] for row in rows]
    ridge = f"γ = {network['ridge']:.2g}"
    left.plot(widths, [row["train"] for row in rows], color=BLUE, label=f"train, {ridge}")
    _band(left, widths, [row["test"] for row in rows], VERMILION, f"test, {ridge}")
    _band(left, widths, [row["tuned"]["test"] for row in rows], GREEN, "test, best γ")
    for row in document["check"]["rows"]:
        for name, colour in (("train", BLUE), ("test", VERMILION)):
            left.errorbar(row["width"], row[name]["mean"], 2 * row[name]["se"], fmt="o", ms=3, color=colour)
    left.axvline(subject["samples"], color=GREY, linewidth=0.8, linestyle=":")
    left.set_xlabel("units")
    left.set_ylabel("mean squared error")
    left.set_ylim(bottom=_floor(rows))
    by_size = document["samples"]
    sizes = [row["samples"] for row in by_size]
    _band(right, sizes, [row["test"] for row in by_size], VERMILION, f"test, {network['width']} units")
    twice = document["answers"]["data"]["same_factor"]
    if twice is not None:
        right.plot(2 * sizes[-1], twice, "o", mfc="none", color=VERMILION, label="if the factor stays")
    right.set_xlabel("training samples")
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_yscale("log")
        _plain(axes.xaxis, decades=False)
        _plain(axes.yaxis, decades=axes is left)
        axes.legend(loc="best")
    return figure


def _band(
    axes: Axes, x: Sequence[float], numbers: Sequence[Mapping[str, Any]], colour: str, label: str
) -> None:
    axes.plot(x, [number["value"] for number in numbers], color=colour, marker=".", markersize=3, label=label)
    low, high = ([max(number["ci"][end], 1e-300) for number in numbers] for end in (0, 1))
    axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)


def _plain(axis: Axis, *, decades: bool) -> None:
    """Give a logarithmic axis a few ticks, with labels that are no formulas."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=(1.0,) if decades else (1.0, 2.0, 5.0), numticks=9))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_tick_params(labelsize=7)


def _floor(rows: Sequence[Mapping[str, Any]]) -> float:
    """Return where the axis ends: training errors go to 0, test errors do not."""
    least = 1e-3 * min(row["test"]["value"] for row in rows)
    return float(max(min(row["train"] for row in rows), least))
