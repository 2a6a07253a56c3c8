"""Tests of a change of law and of the rounding floor."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rmtaudit.kernels.flodance.checks import recursive_residuals, regime_change, rounding_floor
from rmtaudit.kernels.flodance.series import MinorSeries

SIZES = np.arange(1.0, 801)
LAW = 1 - 2 * np.log(SIZES)


def p_values(increments: list[np.ndarray], order: int = 0) -> np.ndarray:
    tests = [regime_change(SIZES, np.cumsum(x), order) for x in increments]
    return np.array([test.p_value for test in tests if test is not None])


def test_recursive_residuals_keep_the_sum_of_squares() -> None:
    """Their squares add up to those of the regression, and each is the forecast error it claims to be."""
    generator = np.random.default_rng(0)
    rows, target = generator.standard_normal((60, 3)), generator.standard_normal(60)
    errors = recursive_residuals(rows, target)
    coefficients, remainder, _, _ = np.linalg.lstsq(rows, target, rcond=None)
    assert float(errors @ errors) == pytest.approx(float(remainder[0]))
    assert len(coefficients) == 3
    before = np.linalg.lstsq(rows[:30], target[:30], rcond=None)[0]
    leverage = rows[30] @ np.linalg.solve(rows[:30].T @ rows[:30], rows[30])
    assert errors[27] == pytest.approx((target[30] - rows[30] @ before) / np.sqrt(1 + leverage))


@pytest.mark.parametrize("order", [0, 2])
def test_false_alarms_are_at_the_level(order: int) -> None:
    generator = np.random.default_rng(1)
    found = p_values([LAW + generator.standard_normal(800) for _ in range(300)], order)
    # 15 expected below 5 %; a binomial exceeds 27 once in a thousand.
    assert (found < 0.05).sum() <= 27
    assert (found < 0.01).sum() <= 10


@pytest.mark.parametrize("at", [150, 400, 650, 760])
def test_change_is_found_early_and_late(at: int) -> None:
    generator = np.random.default_rng(2)
    changed = LAW + 1.5 * (at < SIZES)
    found = p_values([changed + generator.standard_normal(800) for _ in range(20)])
    assert (found < 0.01).sum() >= 18


def test_late_change_is_seen_going_backward() -> None:
    noise = np.random.default_rng(3).standard_normal(800)
    test = regime_change(SIZES, np.cumsum(LAW + 3 * (SIZES > 760) + noise), 0)
    assert test is not None
    assert test.backward
    assert test.changed
    assert 700 < test.size <= 800


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


def test_pivots_of_a_smooth_kernel_reach_the_floor() -> None:
    """A Gaussian kernel is singular to working precision long before a Cholesky factorisation breaks down."""
    at = torch.linspace(0, 1, 30, dtype=torch.float64)
    kernel = torch.exp(-((at[:, None] - at) ** 2) / 0.05)
    kernel += 1e-15 * torch.eye(30, dtype=torch.float64)
    for size in range(30, 2, -1):
        factor, failed = torch.linalg.cholesky_ex(kernel[:size, :size])
        if not int(failed):
            break
    floor = rounding_floor(MinorSeries.from_minors(2 * factor.diagonal().log().cumsum(0)))
    assert floor is not None
    assert floor.reached
