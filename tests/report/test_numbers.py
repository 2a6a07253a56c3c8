from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmtaudit.report.model import MetricResult
from rmtaudit.report.numbers import format_metric, format_value, human_count, percent


def metric(value: float | str | None, **changes: Any) -> MetricResult:
    return MetricResult(**({"value": value, "se": None, "ci": None, "status": "ok", "reason": ""} | changes))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "—"),
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        (0.0, "0"),
        (12, "12"),
        (3.14159, "3.142"),
        (-45.6789, "-45.68"),
        (123456.7, "123457"),
        (1.5e9, "1.500e+09"),
        (1e-7, "1.000e-07"),
        (0.012345, "0.01235"),
        (0.00035943, "0.0003594"),
        ("over\x1b-trained", r"over\x1b-trained"),
        ("", "—"),
    ],
)
def test_values(value: float | int | str | bool | None, shown: str) -> None:
    assert format_value(value) == shown


@given(st.floats(-1e300, 1e300))
def test_four_digits_are_enough_to_tell_a_value(value: float) -> None:
    assert float(format_value(value)) == pytest.approx(value, rel=6e-4, abs=0)


@pytest.mark.parametrize(
    ("result", "with_se", "shown"),
    [
        (None, True, "—"),
        (metric(None, status="skipped", reason="too few"), True, "—"),
        (metric(None, status="failed", reason="no"), True, "failed"),
        (metric(3.214, se=0.153), True, "3.21 ± 0.15"),
        (metric(3.214, se=0.5, ci=(2.6, 4.25)), True, "3.21 [2.60–4.25]"),
        (metric(3.214, se=0.5, ci=(2.6, 4.25)), False, "3.214"),
        (metric(3.214, se=5e3, ci=(2.6, 1e4)), True, "3.214 ± 5.0e+03"),
        (metric(14, ci=(14, 64)), False, "≥14"),
        (metric(3.214, se=0.153), False, "3.214"),
        (metric(3.214, se=1e-9), True, "3.214 ± 1.0e-09"),
        (metric(3.214, se=0.0), True, "3.214 ± 0.0e+00"),
        (metric(3.214), True, "3.214"),
        (metric("none", se=1.0), True, "none"),
    ],
)
def test_metrics(result: MetricResult | None, with_se: bool, shown: str) -> None:
    assert format_metric(result, with_se=with_se) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1 k"),
        (22_713_216, "22.7 M"),
        (999_999, "1 M"),
        (123_456, "123 k"),
        (7 * 10**9, "7 G"),
        (2 * 10**21, "2000 E"),
    ],
)
def test_counts(count: int, shown: str) -> None:
    assert human_count(count) == shown


@given(st.floats(0, 1))
def test_all_and_nothing_are_said_of_all_and_nothing_only(fraction: float) -> None:
    shown = percent(fraction)
    assert (shown == "100 %") == (fraction == 1)
    assert (shown == "0 %") == (fraction == 0)
    assert math.isclose(float(shown.removesuffix(" %")), 100 * fraction, abs_tol=0.051)
