"""The ridge bias of a spectrum: closed cases, its derivative, and its interval."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmtaudit.kernels.htmp.ensemble import Ensemble
from rmtaudit.kernels.htmp.law import HTMP
from rmtaudit.kernels.ridge import bootstrap_ridge_bias, ridge_bias


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
    bias, exponent = bootstrap_ridge_bias(values, mu, draws=200, generator=torch.Generator().manual_seed(2))
    assert bias.shape == exponent.shape == (200, 2)
    found = ridge_bias(values, mu)
    for drawn, value in ((bias, found.bias), (exponent, found.exponent)):
        low, high = drawn.quantile(tensor(0.05, 0.95), dim=0)
        assert bool(((low < value) & (value < high)).all())


def test_what_has_no_bias_is_refused() -> None:
    for values, mu in ((tensor(-1.0), tensor(1.0)), (tensor(), tensor(1.0)), (tensor(1.0), tensor(0.0))):
        with pytest.raises(ValueError, match="must"):
            ridge_bias(values, mu)
    with pytest.raises(ValueError, match="resamples"):
        bootstrap_ridge_bias(tensor(1.0), tensor(1.0), draws=1, generator=torch.Generator())
