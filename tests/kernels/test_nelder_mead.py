"""The simplex search takes scipy's steps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from rmtaudit.kernels.nelder_mead import minimise


@given(st.floats(-5, 5), st.floats(0.1, 30), st.floats(-3, 3))
@settings(max_examples=80, deadline=None)
def test_in_one_dimension(centre: float, width: float, start: float) -> None:
    def function(x: float) -> float:
        return width * (x - centre) ** 2 + math.sin(3 * x) + (10.0 if x > 4 else 0.0)

    def of_vector(point: np.ndarray) -> float:
        return function(float(point[0]))

    expected = optimize.fmin(of_vector, start, disp=False)
    (found,) = minimise(lambda point: function(point[0]), [start])
    assert found == pytest.approx(float(expected[0]), rel=1e-12, abs=1e-12)


@given(st.tuples(st.floats(-2, 2), st.floats(-1, 3)))
@settings(max_examples=40, deadline=None)
def test_along_a_curved_valley(start: tuple[float, float]) -> None:
    expected = optimize.fmin(optimize.rosen, start, disp=False, full_output=True)
    if expected[3] < 390:  # evaluations; scipy stops in the midst of an iteration at 400
        assert minimise(optimize.rosen, start) == pytest.approx(tuple(expected[0]), rel=1e-9, abs=1e-9)


def test_it_stays_on_a_plain() -> None:
    assert minimise(lambda _: 7.0, [0.25, 0.0]) == (0.25, 0.0)
