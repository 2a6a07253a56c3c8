"""Tails and quantiles of the gamma law, against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from rmtaudit.kernels.gamma_law import gamma_quantile, gamma_tails, gamma_two_sided


@pytest.mark.parametrize("probability", [1e-12, 1e-6, 0.005, 0.05, 0.5, 0.95, 0.995, 1 - 1e-6])
def test_quantiles_are_those_of_scipy(probability: float) -> None:
    shapes = np.unique(np.r_[np.arange(1, 300), np.geomspace(1, 1e6, 300)])
    found = gamma_quantile(torch.from_numpy(shapes), probability).numpy()
    np.testing.assert_allclose(found, special.gammaincinv(shapes, probability), rtol=1e-9)


@given(st.floats(1, 1e5), st.floats(1e-9, 1 - 1e-9))
@settings(max_examples=60, deadline=None)
def test_a_quantile_has_its_probability_below_it(shape: float, probability: float) -> None:
    value = float(gamma_quantile(torch.tensor(shape, dtype=torch.float64), probability))
    assert special.gammainc(shape, value) == pytest.approx(probability, rel=1e-7)


@pytest.mark.parametrize(("shape", "probability"), [(0.5, 0.5), (float("nan"), 0.5), (2.0, 0.0), (2.0, 1.0)])
def test_what_is_outside_is_refused(shape: float, probability: float) -> None:
    with pytest.raises(ValueError, match="must"):
        gamma_quantile(torch.tensor(shape), probability)


@pytest.mark.parametrize("shape", [0.3, 1.0, 4.0, 90.0, 1e4, 1e7])
@pytest.mark.parametrize("deviations", [-0.9, -0.2, 0.0, 1.0, 6.0, 25.0])
def test_tails_are_those_of_scipy(shape: float, deviations: float) -> None:
    value = max(0.0, shape + deviations * shape**0.5)
    lower, upper = special.gammainc(shape, value), special.gammaincc(shape, value)
    assert tuple(gamma_tails(shape, value)) == pytest.approx((lower, upper), rel=1e-8, abs=1e-300)
    assert gamma_two_sided(shape, value) == pytest.approx(min(1.0, 2 * min(lower, upper)), rel=1e-8)
