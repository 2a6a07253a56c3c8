"""Estimates of kappa from eigenvalues of which the smallest are only known to be small."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.htmp import censored
from rmtaudit.kernels.htmp.censored import fit_joint_censored
from rmtaudit.kernels.htmp.ensemble import Ensemble
from rmtaudit.kernels.htmp.estimate import fit_joint
from rmtaudit.kernels.htmp.goodness import distance


def drawn(kappa: float, size: int, longer: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(Ensemble(kappa, size, longer).draw(torch.Generator().manual_seed(seed)))


def test_without_unresolved_eigenvalues_it_is_the_joint_fit() -> None:
    values = drawn(5.0, 100, 200, 0)
    exact, found = fit_joint(values, 100, 200), fit_joint_censored(values, 100, 200, floor=1e-30)
    assert found.censored == 0
    assert found.kappa == pytest.approx(exact.kappa, rel=1e-6)
    assert found.se == pytest.approx(exact.se, rel=1e-3)
    assert distance(values, found) == pytest.approx(distance(values, exact), abs=1e-6)


@pytest.mark.parametrize(
    ("kappa", "size", "longer", "floor"),
    [(0.3, 120, 120, 1e-12), (3.0, 120, 120, 1e-6), (30.0, 120, 120, 1e-6), (2.0, 100, 150, 1e-3)],
)
def test_the_interval_holds_the_truth(kappa: float, size: int, longer: int, floor: float) -> None:
    deviates, censored = [], 0
    for seed in range(40):
        found = fit_joint_censored(drawn(kappa, size, longer, seed), size, longer, floor=floor)
        assert found.log_se is not None
        deviates.append(math.log(found.kappa / kappa) / found.log_se)
        censored += found.censored
    assert censored > 20
    # 40 deviates: 4 standard errors of their mean, and of their standard deviation
    assert abs(np.mean(deviates)) < 4 / math.sqrt(40) + 0.2
    assert 0.55 < np.std(deviates) < 1.45


@settings(max_examples=25, deadline=None)
@given(
    kappa=st.floats(0.2, 40), seed=st.integers(0, 2**31), unit=st.floats(-200, 200), zeros=st.integers(0, 9)
)
def test_the_unit_does_not_matter_and_what_lies_under_the_floor_does_not_either(
    kappa: float, seed: int, unit: float, zeros: int
) -> None:
    values = drawn(kappa, 40, 44, seed).clamp(min=1e-300)
    values[:zeros] *= torch.linspace(1e-9, 1e-8, zeros, dtype=torch.float64)
    floor = 1e-9
    try:
        found = fit_joint_censored(values, 40, 44, floor=floor)
    except ArithmeticError:
        return
    scale = 10.0 ** (unit / 4)
    moved = values * scale
    moved[: found.censored] = 0
    again = fit_joint_censored(moved, 40, 44, floor=floor * scale)
    assert again.kappa == pytest.approx(found.kappa, rel=1e-5)
    assert again.mean == pytest.approx(found.mean * scale, rel=1e-9)
    assert again.censored == found.censored


def test_what_it_cannot_do_is_refused() -> None:
    values = drawn(200.0, 200, 200, 0)
    with pytest.raises(ArithmeticError, match="not far above"):
        fit_joint_censored(values, 200, 200, floor=2e-3)
    with pytest.raises(ArithmeticError, match="of 200 eigenvalues are unresolved"):
        fit_joint_censored(values, 200, 200, floor=float(values[150]))
    with pytest.raises(ArithmeticError, match="equal"):
        fit_joint_censored(torch.ones(20, dtype=torch.float64), 20, 30, floor=1e-9)
    with pytest.raises(ArithmeticError, match="no kappa"):
        fit_joint_censored(values, 200, 200, floor=1e-2)
    with pytest.raises(ValueError, match="floor must be positive"):
        fit_joint_censored(values, 200, 200, floor=0.0)


def test_the_derivatives_are_those_of_the_likelihood() -> None:
    likelihood = censored._Likelihood(
        size=30, longer=36, small=4, log_floor=-9.0, log_sum=-20.0, vandermonde=-50.0
    )
    step = 1e-4
    for at in (-2.0, 0.5, 3.0):
        low, middle, high = (likelihood(at + shift) for shift in (-step, 0.0, step))
        slope, bend = likelihood.derivatives(at)
        assert slope == pytest.approx((high - low) / (2 * step), rel=1e-6, abs=1e-6)
        assert bend == pytest.approx((high - 2 * middle + low) / step**2, rel=1e-3, abs=1e-3)


def test_the_estimate_is_where_the_likelihood_is_greatest() -> None:
    likelihood = censored._Likelihood(
        size=30, longer=36, small=4, log_floor=-9.0, log_sum=-20.0, vandermonde=-50.0
    )
    at, curvature = likelihood.maximise()
    assert curvature > 0
    assert abs(likelihood.derivatives(at)[0]) < 1e-9 * curvature
    assert likelihood(at) >= max(likelihood(at + shift) for shift in (-1.0, -0.01, 0.01, 1.0))
