"""Norm bounds: never the wrong side below, at most as often as stated above."""

from __future__ import annotations

import pytest
import torch
from decays import DECAYS, rectangular, semidefinite, singular_values
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.operators import linear, symmetric
from rmtaudit.kernels.randnla.norms import eigenvalue_bounds, norm_bounds, singular_bounds
from rmtaudit.kernels.randnla.residual import residual_norm


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("steps", [3, 12])
def test_the_norm_is_bracketed(decay: str, steps: int) -> None:
    operator = linear(rectangular(90, 60, singular_values(decay, 60)))
    for seed in range(5):
        found = norm_bounds(operator, seed, steps=steps)
        assert found.lower <= 1 + 1e-12
        assert found.upper >= 1 - 1e-12
        if steps == 12:
            assert found.upper - found.lower < 0.05


def test_the_upper_end_fails_as_often_as_is_allowed_at_most() -> None:
    # one step in a space of two dimensions, where the argument is nearly sharp
    operator = linear(torch.diag(torch.tensor([1.0, 0.999], dtype=torch.float64)))
    failures = sum(
        norm_bounds(operator, seed, steps=1, probes=1, failure=0.2).upper < 1 for seed in range(150)
    )
    assert failures <= 30 + 3.5 * (150 * 0.2 * 0.8) ** 0.5
    wide = linear(rectangular(200, 200, torch.cat([torch.ones(1), 0.9 * torch.ones(199)]).double()))
    failures = sum(norm_bounds(wide, seed, steps=2, probes=1, failure=0.2).upper < 1 for seed in range(100))
    assert failures <= 20 + 3.5 * (100 * 0.2 * 0.8) ** 0.5


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=15), st.integers(0, 2**62))
def test_the_largest_eigenvalue_of_any_small_spectrum(values: list[int], seed: int) -> None:
    matrix = semidefinite(torch.tensor(values, dtype=torch.float64))
    found = eigenvalue_bounds(symmetric(lambda X: matrix @ X, len(values)), seed)
    slack = 1e-11 * max(abs(value) for value in values)
    assert found.lower - slack <= max(values) <= found.upper + slack


@pytest.mark.parametrize("condition", [1.5, 1e3])
def test_both_ends(condition: float) -> None:
    sigma = torch.linspace(1, 1 / condition, 50, dtype=torch.float64)
    low, high = singular_bounds(linear(rectangular(80, 50, sigma)), 0)
    assert 0 <= low <= 1 / condition
    assert 1 <= high < 1.02
    if condition == 1.5:
        assert low > 0.65
    with pytest.raises(ValueError, match="tall"):
        singular_bounds(linear(torch.ones(2, 5)), 0)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="probe"):
        norm_bounds(linear(torch.ones(3, 3)), 0, failure=0.0)
    with pytest.raises(ValueError, match="square"):
        eigenvalue_bounds(linear(torch.ones(3, 2)), 0)
    with pytest.raises(ValueError, match="failure"):
        residual_norm(lambda X: X, 3, 0, failure=0.5)


@pytest.mark.parametrize("decay", DECAYS)
def test_residual_norms(decay: str) -> None:
    sigma = singular_values(decay, 60)
    matrix = semidefinite(sigma)
    frobenius = float((sigma**2).sum().sqrt())
    found = [residual_norm(lambda X: matrix @ X, 60, seed, powers=2) for seed in range(20)]
    assert all(each.frobenius_bound >= frobenius and each.spectral_bound >= 1 - 1e-12 for each in found)
    mean = sum(each.frobenius**2 for each in found) / 20
    # the spread of a quadratic form in Gaussians: 2 Σ σ⁴
    spread = (2 * float((sigma**4).sum()) / (20 * 10)) ** 0.5
    assert abs(mean - frobenius**2) <= 4 * spread
