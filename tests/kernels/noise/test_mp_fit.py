"""The Marchenko-Pastur fit against its definition, term by term, and against scipy's optimisers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import optimize

from rmtaudit.kernels.noise.mp_fit import fit_marchenko_pastur, triangular_density


def gaussian_spectrum(n: int, m: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.svdvals(torch.randn(n, m, generator=generator, dtype=torch.float64)) ** 2


def density_by_definition(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x = np.linspace(0, values.max() + 0.5, 1000)
    kernels = np.maximum(1 - np.abs(x[:, None] - values) / 0.1, 0) / 0.1
    return x, kernels.mean(axis=1)


def peers_fit(values: np.ndarray, ratio: float) -> float:
    """Return the peer's sigma: scipy's ``brute``, then ``fmin``, on the residual as it is defined."""
    values = values / values.mean()
    x, density = density_by_definition(np.sqrt(values) if ratio == 1 else values)
    x, density = x[density > 0.01], density[density > 0.01]
    peak = x[np.argmax(density)]

    def residual(point: np.ndarray) -> float:
        (sigma,) = np.atleast_1d(point)
        if ratio == 1:
            law = np.sqrt(np.maximum(4 - x**2, 0)) / (np.pi * sigma**2)
            return float(((law - density) ** 2).sum())
        b, a = (sigma * (1 + ratio**-0.5)) ** 2, (sigma * (1 - ratio**-0.5)) ** 2
        if b < peak or b > x.max() or a > peak:
            return 1e6 * len(x)
        with np.errstate(divide="ignore", invalid="ignore"):
            law = np.nan_to_num(
                ratio / (2 * np.pi * sigma**2 * x) * np.sqrt(np.maximum((b - x) * (x - a), 0))
            )
        return float(((law - density) ** 2).sum())

    unit = math.sqrt(values.max()) / (1 + ratio**-0.5)
    grid = (slice(0.05 * unit, 2.0 * unit, 0.01 * unit),)
    return float(optimize.brute(residual, grid, finish=optimize.fmin)[0])


@given(arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 50)))
@settings(max_examples=60, deadline=None)
def test_the_density_is_the_sum_of_triangles(values: np.ndarray) -> None:
    values = np.sort(values)
    x, density = triangular_density(values)
    grid, expected = density_by_definition(values)
    kept = np.isin(grid, x)
    # where the estimate is as good as 0.01, either side of the bound is right
    assert np.all(expected[~kept] <= 0.01 + 1e-9)
    assert np.allclose(density, expected[kept], rtol=0, atol=1e-9)
    assert np.all(density > 0.01)


def test_the_density_of_one_value_is_one_triangle() -> None:
    x, density = triangular_density(np.array([1.0]))
    step = 1.5 / 999
    assert density.sum() * step == pytest.approx(1, abs=1e-3)
    assert x.min() > 0.9
    assert x.max() < 1.1
    assert density.max() == pytest.approx(10, abs=10 * step / 0.1)


@pytest.mark.parametrize(("n", "m"), [(120, 120), (150, 100), (400, 50), (60, 7)])
@pytest.mark.parametrize("power", [0.0, 0.4])
def test_sigma_is_the_peers(n: int, m: int, power: float) -> None:
    values = gaussian_spectrum(n, m, n + m).numpy()
    values = np.sort(values * np.arange(1, m + 1) ** -power)
    fit = fit_marchenko_pastur(torch.from_numpy(values), n, m)
    assert fit.sigma == pytest.approx(peers_fit(values, n / m), rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(600, 300), (800, 200)])
def test_noise_has_scale_one_its_own_edges_and_no_spikes(n: int, m: int) -> None:
    """Entries of variance s² have eigenvalues between ``n s² (1 ± sqrt(m/n))²``."""
    scale = 0.3
    fit = fit_marchenko_pastur(gaussian_spectrum(n, m, 5) * scale**2, n, m)
    assert fit.sigma == pytest.approx(1, abs=0.02)
    assert fit.scale == pytest.approx(1 / (scale * math.sqrt(n)), rel=0.02)
    assert fit.lambda_plus == pytest.approx(n * scale**2 * (1 + math.sqrt(m / n)) ** 2, rel=0.05)
    assert fit.lambda_minus == pytest.approx(n * scale**2 * (1 - math.sqrt(m / n)) ** 2, rel=0.05)
    assert fit.spikes == 0


def test_planted_spikes_are_counted() -> None:
    values = gaussian_spectrum(400, 200, 6).sort().values
    values[-3:] = values[-4] * torch.tensor([3.0, 4.0, 5.0])
    assert fit_marchenko_pastur(values, 400, 200).spikes == 3


@given(st.floats(-8, 8))
@settings(max_examples=20, deadline=None)
def test_the_fit_follows_the_unit_of_the_weights(exponent: float) -> None:
    values = gaussian_spectrum(90, 60, 7)
    factor = 2.0 ** round(exponent * 4)
    one, other = (fit_marchenko_pastur(values * part, 90, 60) for part in (1.0, factor))
    assert (other.sigma, other.soft_rank, other.spikes) == pytest.approx(
        (one.sigma, one.soft_rank, one.spikes)
    )
    assert other.lambda_plus == pytest.approx(one.lambda_plus * factor)
    assert other.scale == pytest.approx(one.scale / math.sqrt(factor))


def test_the_order_of_the_eigenvalues_does_not_matter() -> None:
    values = gaussian_spectrum(90, 60, 8)
    assert fit_marchenko_pastur(values.flip(0), 90, 60) == fit_marchenko_pastur(values, 90, 60)


def test_the_square_case_fits_a_height_only() -> None:
    """The closed form of the least squares: ``1/σ² = <h, y>/<h, h>`` with the circle ``h`` of radius 2."""
    values = gaussian_spectrum(100, 100, 9)
    x, density = triangular_density((values / values.mean()).sqrt().sort().values.numpy())
    circle = np.sqrt(np.maximum(4 - x**2, 0)) / math.pi
    sigma = math.sqrt(float(circle @ circle) / float(circle @ density))
    assert fit_marchenko_pastur(values, 100, 100).sigma == pytest.approx(sigma, abs=2e-4)


def test_nothing_to_fit_is_an_error() -> None:
    with pytest.raises(ArithmeticError, match="every eigenvalue is 0"):
        fit_marchenko_pastur(torch.zeros(10, dtype=torch.float64), 20, 10)


def test_a_density_that_falls_between_the_points_of_the_grid_is_an_error() -> None:
    """One eigenvalue of half the sum stretches the grid to steps of 1; all others are at 1/2."""
    values = torch.full((2000,), 0.5, dtype=torch.float64)
    values[-1] = 2000 - 1999 * 0.5
    with pytest.raises(ArithmeticError, match=r"nowhere above 0\.01"):
        fit_marchenko_pastur(values, 4000, 2000)
