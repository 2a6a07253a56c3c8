"""Tracy-Widom of order 1 against Painlevé II, published numbers and simulated edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.special import airy

from rmtaudit.kernels.noise.tracy_widom import (
    MEAN,
    STANDARD_DEVIATION,
    _airy,
    cdf,
    sf,
    soft_edge,
    upper_quantile,
)


def painleve(points: list[float]) -> list[float]:
    """F₁ by the Hastings-McLeod solution of Painlevé II, integrated down from its Airy asymptote."""
    start = 8.0
    ai, derivative = airy(start)[:2]

    def slope(s: float, y: np.ndarray) -> list[float]:
        q, dq, _, _, square = y  # q, q', ∫ q, ∫ (x - s) q² and its negative derivative ∫ q²
        return [dq, s * q + 2 * q**3, -q, -square, -(q**2)]

    first = [ai, derivative, 0.0, 0.0, 0.0]
    found = solve_ivp(
        slope, (start, min(points)), first, t_eval=sorted(points, reverse=True), rtol=1e-12, atol=1e-15
    )
    by_point = {
        round(float(s), 6): math.exp(-(linear + double) / 2)
        for s, linear, double in zip(found.t, found.y[2], found.y[3], strict=True)
    }
    return [by_point[round(point, 6)] for point in points]


def test_agrees_with_painleve() -> None:
    points = [-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0]
    for point, value in zip(points, painleve(points), strict=True):
        assert cdf(point) == pytest.approx(value, abs=1e-7)


@pytest.mark.parametrize(("probability", "quantile"), [(0.1, 0.4501), (0.05, 0.9793), (0.01, 2.0234)])
def test_published_quantiles(probability: float, quantile: float) -> None:
    """Johnstone 2001, table 1."""
    assert upper_quantile(probability) == pytest.approx(quantile, abs=6e-5)


def test_mean_and_standard_deviation() -> None:
    """Bornemann 2010, table 6, by integrating the distribution function."""
    s = np.linspace(-9.9, 14, 1201)
    mass = np.gradient(np.array([cdf(float(point)) for point in s]), s)
    mean = np.trapezoid(s * mass, s)
    assert mean == pytest.approx(MEAN, abs=1e-6)
    spread = math.sqrt(np.trapezoid((s - mean) ** 2 * mass, s))
    assert spread == pytest.approx(STANDARD_DEVIATION, abs=2e-4)


@settings(deadline=None, max_examples=50)
@given(st.floats(-12, 70), st.floats(-12, 70))
def test_is_a_distribution(first: float, second: float) -> None:
    low, high = sorted((first, second))
    assert 0 <= cdf(low) <= cdf(high) + 1e-13
    assert cdf(low) + sf(low) == pytest.approx(1, abs=1e-13)


@pytest.mark.parametrize("s", [6.0, 12.0, 30.0])
def test_the_far_tail_is_half_the_integral_of_airy(s: float) -> None:
    """To first order ``1 - F₁ = tr B = ½ ∫_s^∞ Ai``: what a plain ``1 - F`` would round to 0."""
    x = np.linspace(s, s + 12, 200_001)
    first = np.trapezoid(airy(x)[0], x) / 2
    assert sf(s) == pytest.approx(first, rel=2e-4)


@pytest.mark.parametrize("probability", [0.5, 0.05, 1e-6, 1e-40, 1e-99])
def test_quantiles_invert(probability: float) -> None:
    assert sf(upper_quantile(probability)) == pytest.approx(probability, rel=1e-8)


def test_impossible_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="probability"):
        upper_quantile(0.0)
    with pytest.raises(ValueError, match="sides of at least 1"):
        soft_edge(0, 5)


@pytest.mark.parametrize(("rows", "cols"), [(60, 60), (400, 50)])
def test_the_largest_eigenvalue_of_noise_follows_it(rows: int, cols: int) -> None:
    rng = np.random.default_rng(rows)
    centre, width = soft_edge(rows, cols)
    tops = [np.linalg.norm(rng.standard_normal((rows, cols)), 2) ** 2 for _ in range(200)]
    standard = (np.array(tops) - centre) / width
    # four standard errors, and the error of the centring at these sizes
    assert standard.mean() == pytest.approx(MEAN, abs=4 * STANDARD_DEVIATION / math.sqrt(200))
    assert standard.std() == pytest.approx(STANDARD_DEVIATION, rel=0.2)


def test_the_edge_does_not_mind_a_transpose() -> None:
    assert soft_edge(300, 70) == soft_edge(70, 300)


def test_airy_is_that_of_scipy_where_torch_is_wrong_too() -> None:
    x = np.linspace(-12, 40, 20_001)
    np.testing.assert_allclose(_airy(x), airy(x)[0], rtol=0, atol=1e-13)
    there = (x > -5) & (x < -2.09)
    np.testing.assert_allclose(_airy(x[there]), airy(x[there])[0], rtol=0, atol=1e-15)
