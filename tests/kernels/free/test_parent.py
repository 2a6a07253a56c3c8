"""The linear problem for the law of a parent: the identity behind it, its noise, its derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rmtaudit.kernels.free.empirical import empirical_transform
from rmtaudit.kernels.free.fluctuations import noise_of
from rmtaudit.kernels.free.laws import semicircle
from rmtaudit.kernels.free.parent import (
    ParentLaw,
    derivatives,
    least_squares,
    parent_system,
    whitened_block,
)
from rmtaudit.kernels.free.validation import free_block

LAW = ParentLaw(np.array([-2.0, 0.0, 1.0, 4.0]), np.array([0.2, 0.4, 0.3, 0.1]), 0.0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def uniform(count: int) -> torch.Tensor:
    return torch.linspace(-1, 1, count, dtype=torch.float64)


def test_the_transform_of_a_block_solves_the_linear_equation() -> None:
    z = np.array([0.3 + 0.2j, -1 + 0.5j, 2 + 0.1j])
    f = derivatives(LAW, 5.0, z, z).f
    zeta = z + 4.0 * f
    assert np.allclose((1 / (LAW.places - zeta[:, None])) @ LAW.masses, -1 / f / 5.0, rtol=1e-9)


def test_derivatives_are_those_of_differences() -> None:
    z = np.array([0.3 + 0.4j, -1 + 0.5j], dtype=np.complex128)
    step = 1e-4
    here = derivatives(LAW, 3.0, z, z)
    above, below = derivatives(LAW, 3.0, z + step, z), derivatives(LAW, 3.0, z - step, z)
    for name, slope in (("f", "first"), ("first", "second"), ("second", "third")):
        difference = (getattr(above, name) - getattr(below, name)) / (2 * step)
        assert np.allclose(difference, getattr(here, slope), rtol=1e-5)


@pytest.mark.parametrize("factor", [1.5, 4.0])
def test_the_true_law_leaves_standard_normal_residuals(factor: float) -> None:
    """The covariance is that around the eigenvalues of the whole, which at 1.5 is a third of the other."""
    n = 150
    true = uniform(round(factor * n))
    totals = []
    for seed in range(6):
        given = empirical_transform(free_block(true, n, seeded(seed)))
        white = whitened_block(given, factor, positive=False)
        places = true.numpy() / given.scale
        places = places - places.mean() + given.mean
        points = given.z.numpy() + (factor - 1) * white.f
        wrong = (1 / (places - points[:, None])).mean(1) + 1 / (factor * white.f)
        shift = -wrong * factor * white.f**2 * (1 + (factor - 1) * white.slope)
        totals.append(float((white.apply(shift) ** 2).sum()) / white.n_data)
    assert 0.75 < np.mean(totals) < 1.3


def test_the_fluctuation_of_the_mean_is_the_known_one() -> None:
    n, factor = 128, 3.0
    block = free_block(uniform(384), n, seeded())
    given = empirical_transform(block)
    noise = noise_of(given, semicircle(float(block.mean()), 2 * float(block.std())).levy(), factor)
    total = float(noise.mean @ noise.mean) + noise.rest**2
    variance = float(block.var()) / given.scale**2
    assert total == pytest.approx(2 * variance * (1 - 1 / factor) / n**2, rel=0.02)


def test_a_law_of_the_parent_is_found_again() -> None:
    true = torch.cat([torch.zeros(150), torch.ones(150)]).double()
    given = empirical_transform(free_block(true, 100, seeded()))
    white = whitened_block(given, 3.0, positive=True)
    system = parent_system(given, white, 3.0, positive=True)
    masses, chi_square = system.solve()
    found = system.law(masses)
    assert chi_square < 1.6 * white.n_data
    assert found.masses.sum() == pytest.approx(1)
    near_zero = found.masses[np.abs(found.places * given.scale) < 0.2].sum()
    assert near_zero == pytest.approx(0.5, abs=0.05)


def test_equal_columns_do_not_stop_the_solver() -> None:
    rows = np.repeat(np.random.default_rng(0).standard_normal((6, 4)), 10, axis=1)
    found = least_squares(rows, rows @ np.full(40, 0.1))
    assert (found >= 0).all()
    assert np.allclose(rows @ found, rows @ np.full(40, 0.1), atol=1e-3)
