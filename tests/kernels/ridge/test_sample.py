"""The ridge bias of a spectrum: closed cases, its derivative, and its interval."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmtaudit.kernels.htmp.ensemble import Ensemble
from rmtaudit.kernels.htmp.law import HTMP
from rmtaudit.kernels.ridge.population import population_risk
from rmtaudit.kernels.ridge.sample import bootstrap_ridge, ridge_bias, ridge_risk


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_of_one_eigenvalue_it_is_elementary() -> None:
    found = ridge_bias(tensor(3.0), tensor(1.0, 3.0, 9.0))
    torch.testing.assert_close(found.bias, tensor(1 / 16, 1 / 4, 9 / 16))
    torch.testing.assert_close(found.exponent, tensor(1.5, 1.0, 0.5))


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20), st.floats(1e-3, 1e3))
def test_the_exponent_is_the_derivative(values: list[float], mu: float) -> None:
    step = 1e-4
    found = ridge_bias(tensor(*values), tensor(mu, mu * (1 - step), mu * (1 + step)))
    assert 0 <= float(found.exponent[0]) <= 2
    assert 0 < float(found.bias[0]) <= 1
    logs = found.bias.log()
    difference = (logs[2] - logs[1]) / torch.log(tensor((1 + step) / (1 - step)))
    assert float(found.exponent[0]) == pytest.approx(float(difference), abs=1e-6)


@pytest.mark.parametrize(("gamma", "kappa"), [(0.5, 1.0), (0.5, 3.0), (0.25, 0.5), (0.5, 10.0)])
def test_the_exponent_of_htmp_ends_at_delta_or_two(gamma: float, kappa: float) -> None:
    law = HTMP(gamma, kappa)
    at = tensor(1e-7)
    assert float(law.ridge_exponent(at)) == pytest.approx(min(2.0, law.delta), abs=0.01)
    middle = tensor(0.3, 0.3 * (1 - 1e-4), 0.3 * (1 + 1e-4))
    logs = law.ridge_bias(middle).log()
    assert float(law.ridge_exponent(middle)[0]) == pytest.approx(float(logs[2] - logs[1]) / 2e-4, abs=1e-6)


@pytest.mark.parametrize(("kappa", "delta"), [(1.0, 0.5), (3.0, 1.5)])
def test_the_slope_of_simulated_spectra_is_that_of_the_limit(kappa: float, delta: float) -> None:
    ensemble = Ensemble(kappa, 1000, 2000)
    generator = torch.Generator().manual_seed(0)
    values = torch.cat([torch.from_numpy(ensemble.draw(generator)) for _ in range(60)])
    mu = 2e-3 if delta < 1 else 1e-2
    empirical = float(ridge_bias(values, tensor(mu)).exponent[0])
    assert empirical == pytest.approx(float(HTMP.of(ensemble).ridge_exponent(tensor(mu))[0]), abs=0.05)
    if delta < 1:
        assert empirical == pytest.approx(delta, abs=0.05)


def test_resamples_surround_the_value() -> None:
    values = torch.from_numpy(Ensemble(5.0, 300, 600).draw(torch.Generator().manual_seed(1)))
    mu = tensor(0.1, 1.0)
    drawn = bootstrap_ridge(
        lambda chosen: ridge_bias(chosen, mu), values, draws=200, generator=torch.Generator().manual_seed(2)
    )
    bias = torch.stack([each.bias for each in drawn])
    exponent = torch.stack([each.exponent for each in drawn])
    assert bias.shape == exponent.shape == (200, 2)
    found = ridge_bias(values, mu)
    for resamples, value in ((bias, found.bias), (exponent, found.exponent)):
        low, high = resamples.quantile(tensor(0.05, 0.95), dim=0)
        assert bool(((low < value) & (value < high)).all())


def test_what_has_no_bias_is_refused() -> None:
    for values, mu in ((tensor(-1.0), tensor(1.0)), (tensor(), tensor(1.0)), (tensor(1.0), tensor(0.0))):
        with pytest.raises(ValueError, match="must"):
            ridge_bias(values, mu)
    with pytest.raises(ValueError, match="resamples"):
        bootstrap_ridge(lambda chosen: chosen, tensor(1.0), draws=1, generator=torch.Generator())
    with pytest.raises(ValueError, match="above 0"):
        bootstrap_ridge(lambda chosen: chosen, tensor(0.0), draws=2, generator=torch.Generator())
    with pytest.raises(ValueError, match="above 0"):
        ridge_risk(tensor(0.0), tensor(1.0), samples=3)
    with pytest.raises(ValueError, match="as samples"):
        ridge_risk(tensor(1.0, 2.0), tensor(1.0), samples=1)
    with pytest.raises(ValueError, match="same length"):
        population_risk(tensor(1.0, 2.0), tensor(1.0), tensor(1.0), samples=3)
    with pytest.raises(ValueError, match="negative"):
        population_risk(tensor(1.0), tensor(-1.0), tensor(1.0), samples=3)
    with pytest.raises(ValueError, match="no variance"):
        population_risk(tensor(1.0, 0.0), tensor(0.0, 1.0), tensor(1.0), samples=3)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20), st.floats(1e-3, 1e3), st.integers(0, 30))
def test_the_exponent_of_the_risk_is_its_derivative(values: list[float], mu: float, more: int) -> None:
    values = [*values, 1.0]
    step = 1e-4
    at = tensor(mu, mu * (1 - step), mu * (1 + step))
    found = ridge_risk(tensor(*values), at, samples=len(values) + more)
    logs = found.risk.log()
    difference = (logs[2] - logs[1]) / torch.log(tensor((1 + step) / (1 - step)))
    assert float(found.exponent[0]) == pytest.approx(float(difference), abs=1e-6)


def test_zeros_that_are_counted_are_zeros_that_are_given() -> None:
    mu = tensor(0.1, 1.0)
    counted, given_ = ridge_bias(tensor(1.0, 3.0), mu, zeros=2), ridge_bias(tensor(0.0, 0.0, 1.0, 3.0), mu)
    torch.testing.assert_close(counted.bias, given_.bias)
    torch.testing.assert_close(counted.exponent, given_.exponent)
    short = ridge_risk(tensor(1.0, 3.0), mu, samples=4)
    torch.testing.assert_close(short.risk, ridge_risk(tensor(0.0, 0.0, 1.0, 3.0), mu, samples=4).risk)


def test_the_equivalent_of_an_isotropic_population_is_marchenko_pastur() -> None:
    """Without a ridge and with p > n, ridge regression leaves the share 1 - n/p of an isotropic target."""
    ones = torch.ones(300, dtype=torch.float64)
    found = population_risk(ones, ones, tensor(1e-9), samples=100)
    assert float(found.risk) == pytest.approx(2 / 3, rel=1e-6)
    assert float(found.degrees) == pytest.approx(100, rel=1e-6)
    # and many samples know everything: the risk is that of the population, (mu/(1 + mu))²
    found = population_risk(ones, 7 * ones, tensor(0.5), samples=10**9)
    assert float(found.risk) == pytest.approx(1 / 9, rel=1e-6)


@pytest.mark.parametrize("law", ["isotropic", "1/i", "three"])
@pytest.mark.parametrize(("n", "p"), [(100, 200), (200, 100)])
def test_forecasts_hold_in_simulation(law: str, n: int, p: int) -> None:
    """Random and given targets, within four Monte Carlo errors and a bias of order 1/n."""
    rng = np.random.default_rng(3)
    index = np.arange(1.0, p + 1)
    population = {"isotropic": np.ones(p), "1/i": 1 / index, "three": np.resize([1.0, 3.0, 7.0], p)}[law]
    signal = index**-1.5
    mu = 0.3 * population.mean()
    rows = []
    for repeat in range(8):
        z = rng.standard_normal((n, p))
        x = (z if repeat % 2 else np.sign(z)) * np.sqrt(population)
        values, vectors = np.linalg.eigh(x.T @ x / n)
        left = mu * (vectors / (values + mu)) @ vectors.T
        error = np.diag(left @ (population[:, None] * left))
        shared = torch.from_numpy(values[p - min(n, p) :].clip(0))
        rows.append(
            [
                error.sum() / population.sum(),
                (signal * error).sum() / (signal * population).sum(),
                float(ridge_risk(shared, tensor(mu), samples=n).risk),
            ]
        )
    mean, se = np.mean(rows, 0), np.std(rows, 0, ddof=1) / np.sqrt(8)
    for column, target in ((0, np.ones(p)), (1, signal)):
        found = population_risk(torch.from_numpy(population), torch.from_numpy(target), tensor(mu), samples=n)
        assert abs(float(found.risk) - mean[column]) < 4 * se[column] + 2 * mean[column] / n
    assert abs(mean[2] - mean[0]) < 4 * np.hypot(se[0], se[2]) + 2 * mean[0] / n
