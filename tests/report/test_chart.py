"""Ticks, ranges and places of a chart, and the numbers in its SVG."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rmtaudit.report.plots.chart import Axis, Chart, Line, Panel, Points, Steps, span
from rmtaudit.report.plots.svg import chart_svg, panel_boxes

LOW = st.floats(1e-12, 1e12)


@given(LOW, st.floats(1.001, 1e15), st.booleans())
def test_ticks_lie_on_the_axis_and_are_few_and_different(low: float, ratio: float, logarithmic: bool) -> None:
    axis = Axis(label="", low=low, high=low * ratio, logarithmic=logarithmic)
    values = [value for value, _ in axis.marked()]
    assert 1 <= len(values) <= 12
    nearly = 1e-6 * low * ratio
    assert all(low - nearly <= value <= low * ratio + nearly for value in values)
    assert values == sorted(set(values))


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_a_span_holds_every_value_and_is_not_empty(values: list[float]) -> None:
    low, high = span([np.array(values)])
    assert low < min(values) <= max(values) < high


def test_positions_run_from_end_to_end() -> None:
    axis = Axis(label="", low=1e-3, high=10.0, logarithmic=True)
    assert np.allclose(axis.position(np.array([1e-3, 0.1, 10.0])), [0, 0.5, 1])
    assert axis.position(np.array([0.0]))[0] < -50
    assert np.allclose(Axis(label="", low=-1, high=3).position(np.array([-1.0, 1.0, 3.0])), [0, 0.5, 1])


def chart(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Chart:
    at = np.arange(len(values), dtype=float)
    panel = Panel(
        title="<title> & more",
        x=Axis(label="x", low=0, high=len(values)),
        y=Axis(label="y", low=0, high=1),
        marks=(
            Line(x=at, y=values, colour="#000", label="a line"),
            Points(x=at, y=values, colour="#000", errors=np.abs(values)),
            Steps(edges=np.arange(len(values) + 1.0), heights=values, colour="#000"),
        ),
    )
    return Chart(title="]]> \x1b\u202e", rows=((panel, panel), (panel, panel)), width=520, row_height=100)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=8))
def test_numbers_of_any_size_make_an_svg_that_can_be_drawn(values: list[float]) -> None:
    numbers = np.array(values)
    finite = np.nan_to_num(numbers, nan=0.0, posinf=1e300, neginf=-1e300)
    for drawn in (numbers, finite):
        with np.errstate(over="ignore", invalid="ignore"):
            text = chart_svg(chart(drawn), "p-")
        ElementTree.fromstring(text.replace("\x1b", ""))
        assert not re.search(r"\d(nan|inf)|[ML] ?(nan|inf)|V(nan|inf)", text)
        coordinates = [abs(float(number)) for number in re.findall(r"[MLHV](-?[\d.]+)", text)]
        assert max(coordinates) <= 1e4 + 1
        assert not any(math.isnan(number) for number in coordinates)


def test_panels_lie_inside_the_chart_without_touching() -> None:
    picture = chart(np.ones(3))
    height, boxes = panel_boxes(picture)
    flat = [box for row in boxes for box in row]
    assert all(left >= 0 and top >= 0 for left, top, _, _ in flat)
    assert all(left + width <= picture.width and top + tall <= height for left, top, width, tall in flat)
    assert boxes[0][0][0] + boxes[0][0][2] < boxes[0][1][0]
    assert boxes[0][0][1] + boxes[0][0][3] < boxes[1][0][1]
