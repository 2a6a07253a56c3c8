"""Bent power laws: the quadrature against closed forms, and the fit against what defines it."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.tails.bent import Bend, _moments, bend_of, fit_bent


@pytest.mark.parametrize(
    ("exponent", "rate"),
    [
        (1.06, 1e-6),
        (0.05, 1e-9),
        (3, 0.5),
        (-2, 0.1),
        (-50, 20),
        (10, 1e-3),
        (-0.9, 1e-8),
        (2, 50),
        (-500, 400),
    ],
)
def test_the_mass_of_the_cut_off_is_a_generalised_exponential_integral(exponent: float, rate: float) -> None:
    # ∫₁^∞ u^(-1-a) e^(-z(u-1)) du = e^z E_(1+a)(z)
    log_mass, _, _ = _moments(np.array([exponent + rate, rate]), "cut-off")
    with mpmath.workdps(40):
        expected = mpmath.log(mpmath.expint(1 + mpmath.mpf(exponent), mpmath.mpf(rate))) + rate
    assert log_mass == pytest.approx(float(expected), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("slope", "curvature"), [(1, 1e-3), (-3, 0.5), (0.05, 1e-4), (5, 1e-6), (-1e3, 10), (20, 30)]
)
def test_the_mass_of_the_lognormal_law_is_an_error_function(slope: float, curvature: float) -> None:
    log_mass, _, _ = _moments(np.array([slope, curvature], float), "lognormal")
    with mpmath.workdps(40):
        a, c = mpmath.mpf(slope), mpmath.mpf(curvature)
        root = mpmath.sqrt(c)
        expected = mpmath.log(mpmath.sqrt(mpmath.pi) / (2 * root) * mpmath.erfc(a / (2 * root))) + a * a / (
            4 * c
        )
    assert log_mass == pytest.approx(float(expected), rel=1e-12, abs=1e-12)


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(
        8, 60
    ),  # no tail is fitted to fewer; of two values the ascent may not end in its 200 steps
    width=st.floats(-4, 1.5).map(lambda power: 10**power),
    shape=st.sampled_from(["exponential", "half normal", "uniform", "heavy"]),
    bend=st.sampled_from(["cut-off", "lognormal"]),
)
def test_the_fit_matches_two_means_or_lies_on_the_boundary(
    seed: int, size: int, width: float, shape: str, bend: Bend
) -> None:
    rng = np.random.default_rng(seed)
    v = width * {
        "exponential": rng.exponential(size=size),
        "half normal": np.abs(rng.normal(size=size)),
        "uniform": rng.random(size),
        "heavy": rng.exponential(size=size) ** 2,
    }[shape]  # fmt: skip
    assume(bend == "lognormal" or v.max() < 350)  # squares of e^v are in the range of float64
    fit = fit_bent(v, bend)
    power_law = -1 - math.log(v.mean())
    assert fit.mean_log_likelihood >= power_law - 1e-12 * abs(power_law)
    if fit.curvature == 0:
        assert fit.slope == pytest.approx(1 / v.mean())
        assert not np.isfinite(fit.covariance[1, 1])
        return
    _, means, covariance = _moments(np.array([fit.slope, fit.curvature]), bend)
    wanted = np.array([v.mean(), bend_of(v, bend).mean()])
    np.testing.assert_allclose(means, wanted, atol=1e-7 * np.sqrt(np.diag(covariance)).max(), rtol=1e-6)
    assert (np.diag(fit.covariance) > 0).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), bend=st.sampled_from(["cut-off", "lognormal"]))
def test_no_neighbour_is_more_likely(seed: int, bend: Bend) -> None:
    rng = np.random.default_rng(seed)
    v = np.abs(rng.normal(size=40)) * rng.uniform(0.1, 2)
    fit = fit_bent(v, bend)
    best = fit.mean_log_likelihood
    for factor in (0.9, 0.999, 1.001, 1.1):
        for slope, curvature in ((fit.slope * factor, fit.curvature), (fit.slope, fit.curvature * factor)):
            if curvature > 0:
                log_mass, _, _ = _moments(np.array([slope, curvature]), bend)
                other = -slope * v.mean() - curvature * bend_of(v, bend).mean() - log_mass
                assert other <= best + 1e-12


def test_standard_errors_are_the_spread_of_the_estimates() -> None:
    rng = np.random.default_rng(0)
    fits = [fit_bent(np.abs(rng.normal(size=1000)), "lognormal") for _ in range(150)]
    estimates = np.array([(fit.slope, fit.curvature) for fit in fits])
    expected = np.sqrt(np.mean([np.diag(fit.covariance) for fit in fits], axis=0))
    np.testing.assert_allclose(estimates.std(axis=0), expected, rtol=0.2)
    np.testing.assert_allclose(estimates.mean(axis=0), [0, 0.5], atol=4 * expected.max() / math.sqrt(150))


def test_samples_that_no_float_holds_are_refused() -> None:
    with pytest.raises(ArithmeticError):
        fit_bent(np.array([0.0, 1.0, 800.0]), "cut-off")
    with pytest.raises(ArithmeticError):
        fit_bent(np.zeros(5), "lognormal")


@pytest.mark.parametrize("bend", ["cut-off", "lognormal"])
def test_values_over_three_hundred_decades_end(bend: str) -> None:
    """The cut-off of such values lies beyond the range of floats: an error, not an endless search."""
    logs = np.random.default_rng(0).uniform(0, 690, 100)
    logs[0] = 690.0
    try:
        found = fit_bent(logs, bend)  # type: ignore[arg-type]
    except ArithmeticError:
        return
    assert np.isfinite(found.mean_log_likelihood)
