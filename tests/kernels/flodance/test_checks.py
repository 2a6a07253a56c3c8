"""Tests of a change of law and of the rounding floor."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rmtaudit.kernels.flodance import Status, extrapolate
from rmtaudit.kernels.flodance.checks import regime_change, rounding_floor
from rmtaudit.kernels.flodance.regression import basis
from rmtaudit.kernels.flodance.series import MinorSeries

SIZES = np.arange(1.0, 801)
LAW = 1 - 2 * np.log(SIZES)


def p_values(increments: list[np.ndarray], order: int = 0) -> np.ndarray:
    tests = [regime_change(SIZES, np.cumsum(x), order) for x in increments]
    return np.array([test.p_value for test in tests if test is not None])


@pytest.mark.parametrize("order", [0, 2])
def test_false_alarms_are_at_most_at_the_level(order: int) -> None:
    generator = np.random.default_rng(1)
    found = p_values([LAW + generator.standard_normal(800) for _ in range(80)], order)
    # 4 and 0.8 expected; a binomial exceeds 11 and 4 once in a thousand.
    assert (found < 0.05).sum() <= 11
    assert (found < 0.01).sum() <= 4


@pytest.mark.parametrize("at", [100, 400, 740])
@pytest.mark.parametrize("height", [1.5, 10.0])
def test_change_is_found_early_and_late_small_and_large(at: int, height: float) -> None:
    """A large change must not hide in the scale that is estimated from it."""
    generator = np.random.default_rng(2)
    changed = np.cumsum(LAW + height * (at < SIZES) + generator.standard_normal(800))
    test = regime_change(SIZES, changed, 0)
    assert test is not None
    assert test.changed
    assert abs(test.size - at) < 40


def test_statistic_is_that_of_two_regressions() -> None:
    """The gain at the place found is the fall of the sum of squares when both sides have coefficients."""
    sizes = np.arange(1.0, 61)
    series = np.cumsum(np.where(sizes > 30, 3.0, 0.0) + np.random.default_rng(4).standard_normal(60))
    test = regime_change(sizes, series, 0)
    assert test is not None
    increments, rows = np.diff(series), np.diff(basis(sizes, 0), axis=0)

    def remainder(part: slice) -> float:
        return float(np.linalg.lstsq(rows[part], increments[part], rcond=None)[1][0])

    places = range(3, 57)
    split = {k: remainder(slice(None, k)) + remainder(slice(k, None)) for k in places}
    best = min(split, key=lambda k: split[k])
    assert abs(test.size - sizes[best]) <= 2


def test_too_few_increments_are_not_tested() -> None:
    assert regime_change(SIZES[:20], np.cumsum(LAW[:20]), 0) is None


def test_floor_of_a_factorisation() -> None:
    eps = float(np.finfo(np.float64).eps)
    series = MinorSeries.of([10, 20], [1.0, 2.0], outputs=5, smallest=1e-13, largest=10.0)
    floor = rounding_floor(series)
    assert floor is not None
    assert floor.floor == pytest.approx(100 * eps * 10)
    assert floor.reached
    assert rounding_floor(MinorSeries.of([10, 20], [1.0, 2.0])) is None


@pytest.mark.parametrize(("nugget", "reached"), [(2e-14, True), (1e-11, False)])
def test_pivots_of_a_smooth_kernel_reach_the_floor(nugget: float, reached: bool) -> None:
    """A Gaussian kernel is singular to working precision where a Cholesky factorisation still succeeds."""
    at = torch.rand(200, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    kernel = torch.exp(-((at[:, None] - at) ** 2) / 0.5) + nugget * torch.eye(200, dtype=torch.float64)
    pivots = torch.linalg.cholesky(kernel).diagonal().square()
    series = MinorSeries.from_minors(pivots.log().cumsum(0))
    floor = rounding_floor(series)
    assert floor is not None
    assert floor.reached is reached
    assert (extrapolate(series, 400).status is Status.ROUNDING_FLOOR) is reached
