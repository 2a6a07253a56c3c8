"""The shipped tables: known exponents of noise, and p-values that hold on fresh noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import eigvalsh_tridiagonal

from rmtaudit.kernels.noise.marchenko_pastur import fit_bulk
from rmtaudit.kernels.noise.table import alpha_null, bulk_p_value, deterministic_alpha
from rmtaudit.kernels.powerlaw.fit import PowerLawFit, fit_power_law


def gaussian_eigenvalues(rows: int, cols: int, rng: np.random.Generator) -> torch.Tensor:
    """Of ``WᵀW`` for Gaussian ``W``, through its bidiagonal form (Dumitriu, Edelman 2002)."""
    diagonal = np.sqrt(rng.chisquare(rows - np.arange(cols)))
    below = np.sqrt(rng.chisquare(cols - 1 - np.arange(cols - 1)))
    square = diagonal**2
    square[1:] += below**2
    return torch.from_numpy(
        np.abs(eigvalsh_tridiagonal(square, diagonal[:-1] * below, lapack_driver="sterf"))
    )


@pytest.mark.parametrize(
    ("rows", "cols", "alpha"),
    [(128, 128, 5.6), (384, 384, 7.6), (768, 768, 10.4), (1536, 384, 12.1), (30522, 384, 36.6)],
)
def test_the_alpha_of_noise_as_measured_with_the_peer(rows: int, cols: int, alpha: float) -> None:
    """Medians that WeightWatcher's own fit gives on noise; its tails may be shorter, so to 20 %."""
    found = alpha_null(5.0, rows, cols)
    assert found.median == pytest.approx(alpha, rel=0.2)
    assert found.low < found.median < found.high


def test_alpha_p_values_hold_on_fresh_noise() -> None:
    rng = np.random.default_rng(99)
    shares = []
    for _ in range(200):
        fit = fit_power_law(gaussian_eigenvalues(150, 100, rng), min_tail=8, stability=False)
        assert isinstance(fit, PowerLawFit)
        shares.append(alpha_null(fit.alpha, 150, 100).p_value)
    for level in (0.05, 0.25, 0.5):
        share = np.mean(np.array(shares) <= level)
        # four binomial errors, and as much again for the table's own sampling and interpolation
        assert share == pytest.approx(level, abs=8 * math.sqrt(level * (1 - level) / 200) / 1.4)


def test_bulk_p_values_are_conservative_on_gaussian_noise() -> None:
    rng = np.random.default_rng(3)
    values = [gaussian_eigenvalues(150, 100, rng) for _ in range(200)]
    p_values = np.array([bulk_p_value(fit_bulk(one, 150, 100).n_ks, 150, 100) for one in values])
    assert np.mean(p_values < 0.05) <= 0.05
    assert np.median(p_values) < 0.95  # conservative, not silent


@settings(deadline=None, max_examples=60)
@given(st.floats(0, 500), st.floats(0, 500), st.integers(8, 5000), st.integers(8, 50_000))
def test_bulk_p_values_fall_with_distance(one: float, other: float, rows: int, cols: int) -> None:
    near, far = sorted((one, other))
    assert 1 >= bulk_p_value(near, rows, cols) >= bulk_p_value(far, rows, cols) > 0
    assert bulk_p_value(near, rows, cols) == bulk_p_value(near, cols, rows)


@settings(deadline=None, max_examples=30)
@given(st.floats(1.01, 100), st.integers(16, 400), st.floats(1, 90))
def test_alpha_p_values_grow_with_alpha(alpha: float, cols: int, aspect: float) -> None:
    rows = round(cols * aspect)
    first, second = alpha_null(alpha, rows, cols), alpha_null(alpha + 1, rows, cols)
    assert first.floor <= first.p_value <= second.p_value <= 1


def test_the_deterministic_alpha_depends_on_the_shape_alone() -> None:
    assert deterministic_alpha(300, 100) == deterministic_alpha(100, 300)
    with pytest.raises(ValueError, match="smaller side is 7"):
        deterministic_alpha(7, 100)
