"""A chart as an ``<svg>`` element, in milliseconds and without any other package.

Many can stand on one page: there is no external reference, ids are its own, and there is no style sheet.
Text is text. The same chart gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from rmtaudit.report.plots.chart import Axis, Chart, Corner, Dash, Line, Mark, Panel, Points, Steps, Upright

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_TOP, _HEAD, _RIGHT = 22.0, 16.0, 10.0
"""Height of the chart's title and of a panel's, and the space right of a panel."""
_GAP = 6.0
_ENTRY, _CHARACTER = 15.0, 4.3
"""Height of a row of the legend, and the usual width of a character at 7.5 points."""
_FONT = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif"
Box = tuple[float, float, float, float]
_FAR = 1e4
"""Coordinates are cut here, so that no viewer meets a number that it cannot hold."""


def chart_svg(chart: Chart, prefix: str, label: str = "") -> str:
    """Return a chart as an ``<svg>`` element.

    Parameters
    ----------
    chart
        What is drawn. Its title is also what a screen reader says.
    prefix
        Of every id; letters, digits and ``-``, starting with a letter. Different for figures on one page.
    label
        What a screen reader says instead of the title, for a chart that has none.
    """
    height, boxes = panel_boxes(chart)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" id="{prefix}svg" width="{chart.width:g}pt" '
        f'height="{height:g}pt" viewBox="0 0 {chart.width:g} {height:g}" role="img" '
        f'aria-label="{escape(label or chart.title, quote=True)}" font-family="{_FONT}" font-size="7.5">',
        f'<rect width="{chart.width:g}" height="{height:g}" fill="#fff"/>',
    ]
    if chart.title:
        parts.append(_text(chart.width / 2, 14, chart.title, anchor="middle", size=9))
    index = 0
    for row_number, row in enumerate(chart.rows):
        for panel, box in zip(row, boxes[row_number], strict=True):
            bare = chart.shared_x and row_number < len(chart.rows) - 1
            parts += _panel(panel, box, clip=f"{prefix}clip{index}", bare=bare)
            index += 1
    parts += _legend(chart, height)
    parts.append("</svg>\n")
    return "\n".join(parts)


def panel_boxes(chart: Chart) -> tuple[float, list[list[Box]]]:
    """Return the height of a chart, and for each panel left, top, width and height of its axes, in points."""
    boxes: list[list[Box]] = []
    top = _TOP if chart.title else _GAP
    for number, row in enumerate(chart.rows):
        below = chart.bottom if not chart.shared_x or number == len(chart.rows) - 1 else _GAP
        head = _HEAD if any(panel.title for panel in row) else _GAP
        wide = chart.width / len(row)
        boxes.append(
            [
                (column * wide + chart.left, top + head, wide - chart.left - _RIGHT, chart.row_height)
                for column in range(len(row))
            ]
        )
        top += head + chart.row_height + below
    return top + _ENTRY * len(legend_rows(chart)), boxes


def _panel(panel: Panel, box: Box, clip: str, *, bare: bool) -> Iterator[str]:
    left, top, width, height = box
    inside = f'<rect x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}"/>'
    yield f'<clipPath id="{clip}">{inside}</clipPath>'
    if panel.title:
        yield _text(left, top - 5, panel.title, size=8.5)
    if panel.grid:
        for value, _ in panel.y.marked():
            y = _down(panel.y, value, box)
            yield _stroke(f"M{left:.1f} {y:.1f}h{width:.1f}", "#d0d0d0", 0.4)
    yield f'<g clip-path="url(#{clip})">'
    for mark in panel.marks:
        yield from _mark(mark, panel, box)
    yield "</g>"
    yield _stroke(f"M{left:.1f} {top:.1f}v{height:.1f}h{width:.1f}", "#000", 0.7)
    yield from _ticks(panel, box, bare=bare)
    for corner, note in panel.notes:
        if corner is Corner.TOP_RIGHT:
            yield _text(left + width - 3, top + 9, note, anchor="end")
        elif corner is Corner.BOTTOM_LEFT:
            yield _text(left + 4, top + height - 5, note)
        else:
            yield _text(left + width / 2, top + height / 2, note, anchor="middle")


def _ticks(panel: Panel, box: Box, *, bare: bool) -> Iterator[str]:
    left, top, width, height = box
    path = []
    for value, label in panel.x.marked():
        x = left + width * float(panel.x.position(np.array(value)))
        path.append(f"M{x:.1f} {top + height:.1f}v3")
        if bare:
            continue
        if panel.x.turned:
            yield _text(x + 2.5, top + height + 6, label, anchor="end", turn=-90)
        else:
            yield _text(x, top + height + 11, label, anchor="middle")
    for value, label in panel.y.marked():
        y = _down(panel.y, value, box)
        path.append(f"M{left:.1f} {y:.1f}h-3")
        yield _text(left - 5, y + 2.7, label, anchor="end")
    if path:
        yield _stroke("".join(path), "#000", 0.7)
    if panel.x.label and not bare:
        deep = top + height + (24 if not panel.x.turned else 0)
        yield _text(left + width / 2, deep, panel.x.label, anchor="middle", size=8)
    if panel.y.label:
        yield _text(left - 38, top + height / 2, panel.y.label, anchor="middle", size=8, turn=-90)


def _mark(mark: Mark, panel: Panel, box: Box) -> Iterator[str]:
    left, top, width, height = box
    match mark:
        case Line(x=x, y=y):
            points = _coordinates(x, y, panel, box)
            yield _stroke(_polyline(points), mark.colour, mark.width, mark.dash)
        case Points(x=x, y=y):
            points = _coordinates(x, y, panel, box)
            if mark.errors is not None:
                half = np.nan_to_num(mark.errors)
                low, high = (_coordinates(x, y + sign * half, panel, box) for sign in (-1, 1))
                bars = "".join(
                    f"M{a[0]:.1f} {a[1]:.1f}V{b[1]:.1f}"
                    for a, b in zip(low, high, strict=True)
                    if a[1] != b[1]
                )
                if bars:
                    yield _stroke(bars, mark.colour, 0.8)
            yield _dots(points, mark)
        case Steps(edges=edges, heights=heights):
            x = left + width * panel.x.position(edges)
            y = top + height * (1 - panel.y.position(np.nan_to_num(heights)))
            base = top + height
            path = f"M{x[0]:.1f} {base:.1f}" + "".join(
                f"V{_near(level):.1f}H{_near(end):.1f}" for level, end in zip(y, x[1:], strict=True)
            )
            yield f'<path d="{path}V{base:.1f}Z" fill="{mark.colour}" fill-opacity=".55"/>'
        case Upright(x=place):
            at = left + width * float(panel.x.position(np.array(place)))
            yield _stroke(f"M{_near(at):.1f} {top:.1f}v{height:.1f}", mark.colour, 0.8, Dash.DOTTED)


def _dots(points: Array, mark: Points) -> str:
    """Return dots as one path: a line of no length with round or square ends."""
    path = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points)
    cap = "square" if mark.square else "round"
    return (
        f'<path d="{path}" fill="none" stroke="{mark.colour}" stroke-width="{2 * mark.radius:g}" '
        f'stroke-linecap="{cap}"/>'
    )


def _coordinates(x: Array, y: Array, panel: Panel, box: Box) -> Array:
    left, top, width, height = box
    across = left + width * panel.x.position(np.asarray(x, dtype=float))
    down = top + height * (1 - panel.y.position(np.asarray(y, dtype=float)))
    points = np.column_stack([across, down])
    return np.clip(points[~np.isnan(points).any(axis=1)], -_FAR, _FAR)


def _polyline(points: Array) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) if len(points) else ""


def _down(axis: Axis, value: float, box: Box) -> float:
    return box[1] + box[3] * (1 - float(axis.position(np.array(value))))


def _near(value: float) -> float:
    return float(min(max(value, -_FAR), _FAR))


def _stroke(path: str, colour: str, width: float, dash: Dash = Dash.SOLID) -> str:
    pattern = f' stroke-dasharray="{" ".join(f"{length:g}" for length in dash.value)}"' if dash.value else ""
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width:g}"{pattern}/>'


def _text(
    x: float, y: float, words: str, *, anchor: str = "start", size: float | None = None, turn: int = 0
) -> str:
    more = f' font-size="{size:g}"' if size is not None else ""
    if turn:
        more += f' transform="rotate({turn} {x:.1f} {y:.1f})"'
    if anchor != "start":
        more += f' text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}"{more}>{escape(words, quote=False)}</text>'


def legend_rows(chart: Chart) -> list[list[tuple[Mark, str]]]:
    """Return the marks of the legend with their labels, as many in a row as fit."""
    rows: list[list[tuple[Mark, str]]] = []
    room = 0.0
    for label, mark in chart.legend().items():
        wide = _entry_width(label)
        if wide > room:
            rows.append([])
            room = chart.width - 2 * _RIGHT
        rows[-1].append((mark, label))
        room -= wide
    return rows


def _entry_width(label: str) -> float:
    return 32.0 + _CHARACTER * len(label)


def _legend(chart: Chart, height: float) -> Iterator[str]:
    rows = legend_rows(chart)
    for number, row in enumerate(rows):
        x = (chart.width - sum(_entry_width(label) for _, label in row)) / 2
        y = height - _ENTRY * (len(rows) - number) + 6
        for mark, label in row:
            if isinstance(mark, Points):
                yield _dots(np.array([[x + 10, y - 2.7]]), mark)
            else:
                dash = mark.dash if isinstance(mark, Line) else Dash.DOTTED
                yield _stroke(f"M{x:.1f} {y - 2.7:.1f}h20", mark.colour, 1.3, dash)
            yield _text(x + 24, y, label)
            x += _entry_width(label)
