"""Discrete laws: against sums, scipy, brute force and samples of known exponent."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from rmtaudit.kernels.powerlaw.fit import NoFit, PowerLawFit
from rmtaudit.kernels.tails.compare import compare_laws, judge
from rmtaudit.kernels.tails.discrete import draw_discrete, exponents, fit_discrete, log_scaled_zeta, log_tail
from rmtaudit.kernels.tails.discrete_laws import discrete_distances, fit_discrete_laws
from rmtaudit.kernels.tails.laws import LawFit


def zipf(alpha: float, size: int, seed: int = 0) -> np.ndarray:
    return np.sort(np.minimum(np.random.default_rng(seed).zipf(alpha, size), 2**50).astype(float))


@given(st.floats(1.01, 20), st.integers(1, 10**6))
def test_the_zeta_function_is_that_of_scipy(alpha: float, start: int) -> None:
    expected = math.log(scipy.special.zeta(alpha, start)) + alpha * math.log(start)
    found = float(log_scaled_zeta(np.array([alpha]), np.array([float(start)]))[0])
    assert found == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(("alpha", "start"), [(1.5, 1.0), (2.5, 1.0), (2.5, 7.0), (4.0, 300.0)])
def test_the_exponent_matches_the_mean_of_the_logarithm(alpha: float, start: float) -> None:
    step = 1e-5
    low, high = (
        float(log_scaled_zeta(np.array([alpha + move]), np.array([start]))[0]) for move in (-step, step)
    )
    mean = -(high - low) / (2 * step)
    found, _ = exponents(np.array([mean]), np.array([start]))
    assert float(found[0]) == pytest.approx(alpha, rel=1e-5)


def test_the_search_finds_what_looking_at_every_start_finds() -> None:
    x = np.minimum(zipf(2.2, 200, seed=1), 400)
    found = fit_discrete(x, margin=0.01)
    assert isinstance(found, PowerLawFit)
    every = []
    for start in np.unique(x)[:-1]:
        tail = x[x >= start]
        if tail.size < 8:
            continue
        alpha, _ = exponents(np.array([np.log(tail / start).mean()]), np.array([start]))
        grid = np.arange(start, tail.max() + 2)
        law = np.exp(log_tail(float(alpha[0]), start, grid))
        every.append(
            (np.abs(law - (1 - np.searchsorted(tail, grid) / tail.size)).max(), start, float(alpha[0]))
        )
    distance, start, alpha_ = min(every)
    assert (found.ks_distance, found.xmin, found.alpha) == pytest.approx((distance, start, alpha_))
    near = [rate for d, _, rate in every if d <= distance + 0.01]
    assert (found.alpha_low, found.alpha_high) == pytest.approx((min(near), max(near)))


@pytest.mark.parametrize("alpha", [1.8, 2.5, 3.5])
def test_zeta_samples_give_their_exponent_back(alpha: float) -> None:
    errors = []
    for seed in range(12):
        found = fit_discrete(zipf(alpha, 1000, seed))
        assert isinstance(found, PowerLawFit)
        errors.append((found.alpha - alpha) / found.sigma)
    assert abs(np.mean(errors)) < 4 * 1.5 / np.sqrt(12)
    assert np.std(errors) < 2


def test_drawn_values_follow_the_law() -> None:
    uniform = 1 - np.random.default_rng(0).random(50_000)
    drawn = draw_discrete(2.5, 2.0, uniform)
    for at in (2.0, 3.0, 5.0, 40.0, 700.0):
        expected = math.exp(float(log_tail(2.5, 2.0, np.array([at]))[0]))
        assert (drawn >= at).mean() == pytest.approx(
            expected, abs=4 * math.sqrt(expected * (1 - expected) / 50_000) + 1e-9
        )


def total(fit: LawFit, x: np.ndarray, xmin: float) -> float:
    """Sum the probabilities of the law, from its log-probabilities at two values and its parameters."""
    k = np.arange(xmin, xmin + 400_000)
    of = {name: parameter.value for name, parameter in fit.parameters.items()}
    if fit.law == "power_law" or fit.degenerate:
        logs = -of["alpha"] * np.log(k)
    elif fit.law == "truncated_power_law":
        logs = -of["alpha"] * np.log(k) - of["rate"] * k
    elif fit.law == "lognormal":
        logs = -np.log(k) - (np.log(k) - of["mu"]) ** 2 / (2 * of["sigma"] ** 2)
    elif fit.law == "exponential":
        logs = -of["rate"] * k
    else:
        logs = (of["beta"] - 1) * np.log(k) - of["strength"] * (k / xmin) ** of["beta"]
    index = int(x[0] - xmin)
    return float(np.exp(logs - logs[index] + fit.pointwise[0]).sum())


@pytest.mark.parametrize("law", ["geometric", "lognormal", "zeta"])
def test_probabilities_sum_to_one_and_distances_are_those_of_the_sums(law: str) -> None:
    rng = np.random.default_rng(4)
    x = {
        "geometric": rng.geometric(0.05, 800).astype(float),
        "lognormal": np.ceil(np.exp(rng.normal(2, 0.8, 800))),
        "zeta": np.minimum(rng.zipf(3.0, 800), 10_000).astype(float),
    }[law]
    x.sort()
    xmin = float(np.quantile(x, 0.2))
    tail = x[x >= xmin]
    laws = fit_discrete_laws(tail, xmin)
    distances = discrete_distances(laws, tail, xmin)
    for fit in laws:
        assert total(fit, tail, xmin) == pytest.approx(1, abs=1e-3)
        assert fit.log_likelihood == pytest.approx(float(fit.pointwise.sum()))
        assert 0 < distances[fit.law] < 1
    truth = {"geometric": "exponential", "lognormal": "lognormal", "zeta": "power_law"}[law]
    verdict = judge(laws, compare_laws(laws))
    assert truth in verdict.plausible
    assert distances[truth] < 1.95 / math.sqrt(tail.size)


def test_what_has_no_discrete_law() -> None:
    assert isinstance(fit_discrete(np.ones(20)), NoFit)
    assert isinstance(fit_discrete(np.array([1.0, 2.0])), NoFit)
    for tail, xmin in ((np.array([1.0, 2.0]), 0.5), (np.array([3.0, 3.0]), 3.0)):
        with pytest.raises(ValueError, match="tail"):
            fit_discrete_laws(tail, xmin)
