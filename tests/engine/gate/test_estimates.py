from __future__ import annotations

import math
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmtaudit.engine.gate.estimates import Estimate, Limits, aggregated, change_of, estimate_of
from rmtaudit.report.layer import MetricResult

NUMBERS = st.floats(-1e6, 1e6)
WIDTHS = st.floats(0, 1e3)


@st.composite
def estimates(draw: st.DrawFn) -> Estimate:
    value = draw(NUMBERS)
    return Estimate(value, value - draw(WIDTHS), value + draw(WIDTHS))


def result(value: float | str | bool | None, **changes: object) -> MetricResult:
    given = {"value": value, "se": None, "ci": None, "status": "ok", "reason": ""} | changes
    return MetricResult(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (2.0, 3.0, "passed"),
        (1.5, 8.0, "passed"),
        (7.9, 8.1, "inconclusive"),
        (1.4, 1.6, "inconclusive"),
        (1.0, 9.0, "inconclusive"),
        (8.1, 9.0, "failed"),
        (0.1, 1.4, "failed"),
    ],
)
def test_a_number_is_judged_with_its_whole_interval(low: float, high: float, outcome: str) -> None:
    assert Limits(1.5, 8.0).outcome(Estimate((low + high) / 2, low, high)) == outcome


@given(estimates(), NUMBERS, WIDTHS)
def test_what_fails_or_passes_does_so_for_every_value_of_the_interval(
    estimate: Estimate, low: float, width: float
) -> None:
    limits = Limits(low, low + width)
    outcome = limits.outcome(estimate)
    ends = {limits.outcome(Estimate(each, each, each)) for each in (estimate.low, estimate.high)}
    if outcome == "passed":
        assert ends == {"passed"}
    if outcome == "failed":
        assert ends == {"failed"}


def ends(estimate: Estimate | None) -> tuple[float, float, float]:
    assert estimate is not None
    return (estimate.value, estimate.low, estimate.high)


def test_the_confidence_of_an_interval() -> None:
    z90, z99 = (NormalDist().inv_cdf((1 + level) / 2) for level in (0.9, 0.99))
    only_se = estimate_of(result(3.0, se=0.5), 0.9)
    assert ends(only_se) == pytest.approx((3, 3 - 0.5 * z90, 3 + 0.5 * z90))
    both = estimate_of(result(3.0, se=0.5, ci=(2.0, 5.0)), 0.99)
    assert ends(both) == pytest.approx((3, 3 - z99 / z90, 3 + 2 * z99 / z90))
    assert ends(estimate_of(result(3.0, se=0.5, ci=(2.0, 5.0)), 0.9)) == pytest.approx((3, 2, 5))
    assert ends(estimate_of(result(5, ci=(5, 40)), 0.5)) == (5, 5, 40)
    assert ends(estimate_of(result(3.0, se=0.5, ci=(2.0, 5.0)), 0)) == (3, 3, 3)
    assert estimate_of(result("word"), 0.9) is None
    assert ends(estimate_of(result(True), 0.9)) == (1, 1, 1)


def test_a_change_with_both_errors() -> None:
    change = change_of(Estimate(5, 2, 9), Estimate(2, -2, 5), relative=False)
    assert ends(change) == pytest.approx((3, 3 - math.hypot(3, 3), 3 + math.hypot(4, 4)))
    assert change_of(Estimate(5, 5, 5), Estimate(-2, -2, -2), relative=True) == Estimate(3.5, 3.5, 3.5)
    assert change_of(Estimate(5, 5, 5), Estimate(0, 0, 0), relative=True).value == math.inf


@given(estimates())
def test_equal_weights_have_no_change_whatever_the_interval(estimate: Estimate) -> None:
    assert change_of(estimate, estimate, relative=True) == Estimate(0, 0, 0)


@given(
    st.lists(estimates(), min_size=1, max_size=8), st.sampled_from(["mean", "median", "lowest", "highest"])
)
def test_an_aggregate_lies_within_its_interval(each: list[Estimate], how: str) -> None:
    total = aggregated(each, how)
    assert total.low <= total.value + 1e-6
    assert total.value <= total.high + 1e-6
