"""Forecasts of eigenvalues at the ends of the range of float64."""

from __future__ import annotations

import math

import pytest

import rmtaudit
from rmtaudit.errors import NothingAuditableError


@pytest.mark.parametrize("values", [[0.0, 0.0], [0.0, 5e-324], [1e-310, 1e-309], [1.0, 1e308]])
def test_eigenvalues_out_of_range_are_refused(values: list[float]) -> None:
    with pytest.raises(NothingAuditableError) as raised:
        rmtaudit.forecast(values, matrix="covariance")
    assert raised.value.code == "RA-NA-003"


@pytest.mark.parametrize("scale", [1e-290, 1.0, 1e290])
def test_the_bias_is_that_of_its_definition_at_any_scale(scale: float) -> None:
    values = [scale * step for step in (0.2, 0.5, 1.0, 2.0, 4.0)]
    found = rmtaudit.forecast(values, shape=(40, 5), points=5, bootstrap=0)
    for row in found["empirical"]:
        truth = sum(1 / (1 + value / row["mu"]) ** 2 for value in values) / len(values)
        assert row["bias"]["value"] == pytest.approx(truth, rel=1e-12)
        assert row["risk"] is None or math.isfinite(row["risk"]["value"])
    assert (
        found["isotropy"]["verdict"]
        == rmtaudit.forecast([value / scale for value in values], shape=(40, 5), points=5, bootstrap=0)[
            "isotropy"
        ]["verdict"]
    )
