"""The regression on increments, its variance, and the mixture of forecasts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rmtaudit.kernels.flodance.mixture import Mixture
from rmtaudit.kernels.flodance.regression import Forecast, basis, fit_increments, long_run_ratio


@given(
    order=st.integers(0, 2),
    start=st.integers(1, 50),
    coefficients=st.tuples(*[st.floats(-5, 5) for _ in range(4)]),
)
def test_series_of_the_model_is_continued_exactly(
    order: int, start: int, coefficients: tuple[float, ...]
) -> None:
    sizes = np.arange(float(start), start + 300)
    weights = np.array(coefficients[: order + 2])
    fit = fit_increments(sizes, basis(sizes, order) @ weights, order)
    assert fit is not None
    truth = float(basis(np.array([2000.0]), order)[0] @ weights)
    size = float(np.abs(basis(np.array([2000.0]), order)[0]) @ np.abs(weights))
    # The columns are nearly dependent: rounding of the series is magnified, by less than a million.
    assert fit.forecast(2000).mean == pytest.approx(truth, abs=1e-9 * max(size, 1))


def test_forecast_starts_at_the_last_exact_value() -> None:
    sizes = np.arange(1.0, 200)
    logdets = np.random.default_rng(0).standard_normal(199).cumsum()
    fit = fit_increments(sizes, logdets, 0)
    assert fit is not None
    here = fit.forecast(199)
    assert (here.mean, here.scale) == (logdets[-1], 0.0)


def test_increments_are_generalised_least_squares_of_a_random_walk() -> None:
    """OLS on increments, and GLS on ``ℓ_n - ℓ_first`` with the covariance ``min(i, j)``, are the same."""
    sizes = np.array([5.0, 6, 9, 14, 20, 40, 41, 80])
    logdets = np.random.default_rng(1).standard_normal(8).cumsum()
    fit = fit_increments(sizes, logdets, 1)
    assert fit is not None
    rows = basis(sizes, 1)[1:] - basis(sizes, 1)[0]
    travelled = sizes[1:] - sizes[0]
    inverse = np.linalg.inv(np.minimum.outer(travelled, travelled))
    gls = np.linalg.solve(rows.T @ inverse @ rows, rows.T @ inverse @ (logdets[1:] - logdets[0]))
    assert fit.coefficients == pytest.approx(gls, rel=1e-6)
    error = logdets[1:] - logdets[0] - rows @ gls
    variance = float(error @ inverse @ error) / (7 - 3)
    assert fit.omega**2 == pytest.approx(variance, rel=1e-6)
    reach = (basis(np.array([100.0]), 1) - basis(sizes[-1:], 1))[0]
    spread = 20 + reach @ np.linalg.inv(rows.T @ inverse @ rows) @ reach
    assert fit.forecast(100).scale == pytest.approx(math.sqrt(variance * spread), rel=1e-6)


def test_no_degree_of_freedom_no_regression() -> None:
    sizes = np.array([256.0, 512, 1024])
    assert fit_increments(sizes, np.array([3.0, 1, 0]), 0) is None


def test_long_run_variance_of_an_autoregression() -> None:
    """Of ``e_t = 0.6 e_{t-1} + u_t``, it is ``(1 + 0.6)/(1 - 0.6) = 4`` times the variance."""
    generator = np.random.default_rng(2)
    ratios = []
    for _ in range(20):
        noise = generator.standard_normal(4000)
        for k in range(1, len(noise)):
            noise[k] += 0.6 * noise[k - 1]
        ratios.append(long_run_ratio(noise))
    # Bartlett's kernel is biased downwards: 13 % at this size.
    assert 3.2 < np.mean(ratios) < 4.0


def test_errors_that_undo_each_other_are_not_credited() -> None:
    noise = np.diff(np.random.default_rng(3).standard_normal(1000))
    assert long_run_ratio(noise) == 1.0


@given(
    st.lists(
        st.tuples(st.floats(0.01, 1), st.floats(-100, 100), st.floats(0.01, 10), st.floats(1, 50)),
        min_size=1,
        max_size=5,
    ),
    st.floats(0.01, 0.99),
)
def test_quantile_inverts_the_distribution(
    rows: list[tuple[float, float, float, float]], level: float
) -> None:
    mixture = Mixture.of((weight, Forecast(*rest)) for weight, *rest in rows)
    value = mixture.quantile(level)
    assert mixture.cdf(value) == pytest.approx(level, abs=1e-6)
    assert mixture.deviate(value) == pytest.approx(stats.norm.ppf(level), abs=1e-4)


def test_deviate_keeps_its_digits_in_either_tail() -> None:
    mixture = Mixture.of([(1.0, Forecast(0.0, 1.0, 1e9))])
    assert mixture.deviate(12.0) == pytest.approx(12.0, rel=1e-3)
    assert mixture.deviate(-12.0) == pytest.approx(-12.0, rel=1e-3)


def test_mixture_needs_a_component() -> None:
    with pytest.raises(ValueError, match="positive weight"):
        Mixture.of([(0.0, Forecast(0.0, 1.0, 1.0))])
