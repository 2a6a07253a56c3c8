"""Five laws of a tail: their densities, their likelihoods beside another program's, and their limits."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from rmtaudit.kernels.tails.distance import ks_distances, log_survival
from rmtaudit.kernels.tails.laws import LAWS, LawFit, Parameter, fit_laws

SAMPLES = {
    "pareto": lambda rng, n: 1 + rng.pareto(1.06, n),
    "steep": lambda rng, n: 1 + rng.pareto(3, n),
    "lognormal": lambda rng, n: np.exp(np.abs(rng.normal(size=n))),
    "stretched": lambda rng, n: (1 + rng.exponential(size=n)) ** 2,
    "exponential": lambda rng, n: 1 + rng.exponential(size=n),
    "narrow": lambda rng, n: 1 + 1e-3 * np.abs(rng.normal(size=n)),
}


def drawn(name: str, n: int = 1000, seed: int = 0) -> Any:
    return SAMPLES[name](np.random.default_rng(seed), n)


def density(fit: LawFit, x: float, xmin: float) -> float:
    """The density of one more value, through the survival function."""
    step = 1e-5
    v = np.log(x / xmin) + np.array([-step, step])
    low, high = np.exp(log_survival(fit, v, xmin))
    return float((low - high) / (x * 2 * step))


@pytest.mark.parametrize("name", SAMPLES)
def test_likelihoods_are_at_least_those_of_powerlaw(name: str) -> None:
    powerlaw = pytest.importorskip("powerlaw")
    x = drawn(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # without the ranges, powerlaw 2.0 stops at alpha = 3
        peer = powerlaw.Fit(x, xmin=x.min(), parameter_ranges={"alpha": [-1e4, None]}, verbose=False)
        theirs = {law: float(np.sum(getattr(peer, law).loglikelihoods(peer.data))) for law in LAWS}
    ours = {fit.law: fit.log_likelihood for fit in fit_laws(x, x.min())}
    scale = 1e-9 * abs(ours["power_law"])
    # on the narrow sample its truncated power law has an infinite likelihood
    assert all(ours[law] >= theirs[law] - scale for law in LAWS if np.isfinite(theirs[law]))
    for law in ("power_law", "exponential"):
        assert ours[law] == pytest.approx(theirs[law], rel=1e-6)


def test_the_peers_numbers_on_a_lognormal_sample() -> None:
    powerlaw = pytest.importorskip("powerlaw")
    x = 5 * drawn("lognormal", 3000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = powerlaw.Fit(x, xmin=x.min(), parameter_ranges={"alpha": [-50, None]}, verbose=False)
        theirs = peer.lognormal, peer.truncated_power_law, peer.stretched_exponential
    by_law = {fit.law: fit.parameters for fit in fit_laws(x, x.min())}
    assert by_law["lognormal"]["mu"].value == pytest.approx(theirs[0].mu, rel=1e-3)
    assert by_law["lognormal"]["sigma"].value == pytest.approx(theirs[0].sigma, rel=1e-3)
    assert by_law["truncated_power_law"]["alpha"].value == pytest.approx(theirs[1].alpha, rel=1e-3)
    assert by_law["truncated_power_law"]["rate"].value == pytest.approx(theirs[1].Lambda, rel=1e-3)
    assert by_law["stretched_exponential"]["beta"].value == pytest.approx(theirs[2].beta, rel=1e-3)


@pytest.mark.parametrize("name", ["lognormal", "stretched", "exponential", "steep"])
def test_densities_integrate_to_one_and_are_those_of_the_survival(name: str) -> None:
    x = 3 * drawn(name, 400)
    xmin = float(x.min())
    for fit in fit_laws(x, xmin):
        for index in (5, 50, 150):
            if x[index] > 1.001 * xmin:
                wanted = density(fit, float(x[index]), xmin)
                assert np.exp(fit.pointwise[index]) == pytest.approx(wanted, rel=2e-4), fit.law
        assert np.exp(log_survival(fit, np.array([0.0, 1.0]), xmin))[0] == pytest.approx(1)


def assert_near(parameter: Parameter, truth: float) -> None:
    assert parameter.se is not None
    assert abs(parameter.value - truth) < 4 * parameter.se


def test_a_sample_of_each_law_gives_its_parameters_back() -> None:
    rng = np.random.default_rng(1)
    x = np.exp(rng.normal(0.3, 0.8, 200_000))
    found = {fit.law: fit.parameters for fit in fit_laws(x[x > 1], 1.0)}["lognormal"]
    for name, truth in (("mu", 0.3), ("sigma", 0.8)):
        assert_near(found[name], truth)
    x = (1 + rng.exponential(size=50_000)) ** 2
    found = {fit.law: fit.parameters for fit in fit_laws(x, 1.0)}["stretched_exponential"]
    for name, truth in (("beta", 0.5), ("strength", 1.0)):
        assert_near(found[name], truth)
    x = 1 + rng.gamma(1.0, 4.0, 50_000)
    found = {fit.law: fit.parameters for fit in fit_laws(x, 1.0)}["truncated_power_law"]
    for name, truth in (("alpha", 0.0), ("rate", 0.25)):
        assert_near(found[name], truth)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(sorted(SAMPLES)),
    seed=st.integers(0, 10**6),
    size=st.integers(3, 200),
    unit=st.floats(-12, 12).map(lambda power: 10.0**power),
)
def test_the_unit_changes_no_ratio_and_a_law_never_loses_to_what_it_contains(
    name: str, seed: int, size: int, unit: float
) -> None:
    x = drawn(name, size, seed)
    fits = fit_laws(x, x.min())
    other = fit_laws(unit * x, (unit * x).min())
    base, moved = fits[0].log_likelihood, other[0].log_likelihood
    for one, two in zip(fits, other, strict=True):
        assert one.log_likelihood - base == pytest.approx(two.log_likelihood - moved, abs=1e-5 * size)
    gains: dict[str, float] = {fit.law: fit.log_likelihood - base for fit in fits}
    tolerance = 1e-9 * size
    for law in ("truncated_power_law", "lognormal", "stretched_exponential"):
        assert gains[law] >= -tolerance
    for law in ("truncated_power_law", "stretched_exponential"):
        assert gains[law] >= gains["exponential"] - tolerance


def test_a_convex_sample_is_degenerate() -> None:
    v = np.random.default_rng(0).exponential(size=500) ** 1.5
    fits = {fit.law: fit for fit in fit_laws(np.exp(v), 1.0)}
    for law in ("lognormal", "stretched_exponential"):
        assert fits[law].degenerate
        assert fits[law].log_likelihood == fits["power_law"].log_likelihood


def test_what_is_no_tail() -> None:
    for tail, xmin in (
        ([1.0], 1.0),
        ([1.0, 1.0], 1.0),
        ([0.5, 2.0], 1.0),
        ([1.0, np.inf], 1.0),
        ([1, 2], 0.0),
    ):
        with pytest.raises(ValueError, match="tail"):
            fit_laws(np.array(tail, float), xmin)
    with pytest.raises(ArithmeticError):
        fit_laws(np.array([1e-160, 1.0, 1e160]), 1e-160)


def test_distances_of_a_true_law_are_small_and_of_a_false_one_large() -> None:
    x = np.sort(drawn("stretched", 5000))
    found = ks_distances(fit_laws(x, 1.0), x, 1.0)
    assert found["stretched_exponential"] < 1.36 / np.sqrt(5000)
    assert found["power_law"] > 0.05
    fit = {fit.law: fit for fit in fit_laws(x, 1.0)}["truncated_power_law"]
    alpha, rate = (fit.parameters[name].value for name in ("alpha", "rate"))
    whole = quad(lambda t: np.exp((1 - alpha) * t - rate * np.exp(t)), 0, 12, epsabs=1e-13)[0]
    part = quad(lambda t: np.exp((1 - alpha) * t - rate * np.exp(t)), 1.0, 12, epsabs=1e-13)[0]
    survival = np.exp(log_survival(fit, np.array([0.0, 1.0]), 1.0))[1]
    assert survival == pytest.approx(part / whole, rel=1e-6)
