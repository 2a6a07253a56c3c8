"""The figure of a predicted spectrum: its density and its share below, with bands, and simpler laws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from rmtaudit.names import display_name
from rmtaudit.report.plots.canvas import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PINK,
    SKY,
    VERMILION,
    new_figure,
    plain_logarithms,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_BINS = 80
_DECADES = 100.0
_LINE = 110  # characters
_BASELINES = {2: PINK, 3: ORANGE, 4: VERMILION}


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A line, where it has one its band, and the width over which it is smoothed."""

    x: Array
    y: Array
    low: Array | None = None
    high: Array | None = None
    width: Array | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DensityPicture:
    """What is drawn.

    Attributes
    ----------
    title, verdict
        Two lines above.
    block
        Eigenvalues that were seen, all blocks together.
    density, share
        The prediction: density against eigenvalue, and eigenvalue against share below (a band in ``x`` is
        that of the quantiles); ``None`` where nothing is predicted.
    baselines
        Densities of the laws of 2, 3 and 4 free cumulants.
    polynomial
        The kernel polynomial density of the matrix itself, if it is shown.
    truth
        Eigenvalues of the large matrix, if they are known.
    spikes
        Outliers of the block, and where each goes.
    block_label
        What the eigenvalues of ``block`` are called in the legend.
    """

    title: str
    verdict: str
    block: Array
    density: Curve | None = None
    share: Curve | None = None
    baselines: Mapping[int, Curve] = field(default_factory=dict)
    polynomial: Curve | None = None
    truth: Array | None = None
    spikes: tuple[tuple[float, float | None], ...] = ()
    block_label: str = "block"


def density_figure(picture: DensityPicture) -> Figure:
    """Return the figure; on logarithms where the prediction is positive over more than two decades."""
    figure = new_figure(7.2, 3.6)
    left, right = figure.subplots(1, 2)
    verdict = wrap(display_name(picture.verdict, longest=2 * _LINE), _LINE)
    figure.suptitle(
        "\n".join([display_name(picture.title, longest=_LINE), *verdict]),
        fontsize=8.5,
        x=0.01,
        ha="left",
    )
    low, high, logarithmic = _range(picture)
    _densities(left, picture, low, high, logarithmic)
    _shares(right, picture, low, high, logarithmic)
    return figure


def _densities(axes: Axes, picture: DensityPicture, low: float, high: float, logarithmic: bool) -> None:
    """Draw densities; on logarithms those of the logarithm, so that areas stay shares."""
    edges = np.geomspace(low, high, _BINS) if logarithmic else np.linspace(low, high, _BINS)
    widths = np.diff(np.log(edges)) if logarithmic else np.diff(edges)
    counted = np.histogram(picture.block, edges)[0] / (len(picture.block) * widths)
    axes.stairs(counted, edges, fill=True, color=SKY, alpha=0.45, label=picture.block_label)
    if picture.truth is not None:
        true = np.histogram(picture.truth, edges)[0] / (len(picture.truth) * widths)
        axes.stairs(true, edges, color=GREY, linewidth=0.9, label="true")
    for order, curve in picture.baselines.items():
        style: Any = {"color": _BASELINES[order], "linewidth": 0.8, "linestyle": "--"}
        _line(axes, curve, logarithmic, label=f"{order} cumulants", **style)
    if picture.polynomial is not None:
        label = "KPM of the matrix itself"
        _line(axes, picture.polynomial, logarithmic, color=GREEN, linewidth=1.0, label=label)
    if picture.density is not None:
        _line(axes, picture.density, logarithmic, color=BLUE, label="predicted, 90 % band")
    for value, place in picture.spikes:
        axes.axvline(value, color=SKY, linewidth=0.8, linestyle=":")
        if place is not None:
            axes.axvline(place, color=BLUE, linewidth=0.8, linestyle=":")
    axes.set_xlim(low, high)
    axes.set_ylim(0, _top(picture, counted, logarithmic))
    axes.set_xlabel("eigenvalue")
    axes.set_ylabel("density of its logarithm" if logarithmic else "density")
    if logarithmic:
        axes.set_xscale("log")
        _plain(axes)
    axes.legend(loc="best")


def _line(axes: Axes, curve: Curve, logarithmic: bool, **look: Any) -> None:
    kept = curve.x > 0 if logarithmic else np.ones(len(curve.x), dtype=bool)
    if logarithmic and curve.width is not None:
        kept &= curve.width < curve.x / 2  # a curve smoothed over more than its own abscissa is left out
    x = curve.x[kept]
    by = x if logarithmic else np.ones_like(x)
    axes.plot(x, curve.y[kept] * by, **look)
    if curve.low is not None and curve.high is not None:
        axes.fill_between(
            x, curve.low[kept] * by, curve.high[kept] * by, color=look["color"], alpha=0.2, linewidth=0
        )


def _shares(axes: Axes, picture: DensityPicture, low: float, high: float, logarithmic: bool) -> None:
    for values, colour, label in ((picture.block, SKY, picture.block_label), (picture.truth, GREY, "true")):
        if values is not None:
            ordered = np.sort(values)
            kept = np.unique(np.linspace(0, len(ordered) - 1, 400).astype(int))
            axes.plot(ordered[kept], (kept + 0.5) / len(ordered), color=colour, linewidth=1.1, label=label)
    if picture.share is not None:
        curve = picture.share
        axes.plot(
            curve.x, curve.y, color=BLUE, label="90 % bounds" if picture.density is None else "predicted"
        )
        if curve.low is not None and curve.high is not None:
            axes.fill_betweenx(curve.y, curve.low, curve.high, color=BLUE, alpha=0.2, linewidth=0)
    axes.set_xlim(low, high)
    axes.set_ylim(0, 1)
    axes.set_xlabel("eigenvalue")
    axes.set_ylabel("share at or below")
    if logarithmic:
        axes.set_xscale("log")
        _plain(axes)


def _plain(axes: Axes) -> None:
    """Label the logarithmic axis plainly, and leave the other one as it is."""
    from matplotlib.ticker import MaxNLocator, ScalarFormatter

    plain_logarithms(axes)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(ScalarFormatter())


def _range(picture: DensityPicture) -> tuple[float, float, bool]:
    """Return the ends of the axis, and whether it is logarithmic."""
    values = [picture.block]
    if picture.share is not None:
        values.append(picture.share.x)
    if picture.truth is not None:
        values.append(picture.truth)
    low = min(float(one.min()) for one in values)
    high = max(float(one.max()) for one in values)
    drawn = values[0] if picture.share is None else picture.share.x
    positive = drawn[drawn > 0]
    if low >= 0 and len(positive) > len(drawn) // 2:
        ends = np.quantile(positive, [0.02, 0.98])
        if ends[1] > _DECADES * ends[0]:
            least = min(float(np.quantile(one[one > 0], 0.005)) for one in values)
            return least / 1.3, high * 1.3, True
    margin = 0.03 * (high - low) or 1.0
    return low - margin, high + margin, False


def _top(picture: DensityPicture, counted: Array, logarithmic: bool) -> float:
    """Return the height that shows the prediction: the block may have a far higher peak."""
    highest = float(counted.max())
    curve = picture.density
    if curve is None:
        usual = float(np.quantile(counted[counted > 0], 0.9))
        return 1.15 * min(highest, 2.5 * usual)
    by = np.clip(curve.x, 0, None) if logarithmic else 1.0
    # an inverse square root at a hard edge has no highest point
    drawn = float(np.quantile(curve.y * by, 0.98))
    return 1.15 * max(drawn, min(highest, 2.5 * drawn))
