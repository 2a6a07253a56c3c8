"""Exponents of windows of one aspect ratio."""

from __future__ import annotations

import math

import pytest
import torch

from rmtaudit.kernels.farms import farms_alpha, hill_alpha
from rmtaudit.kernels.noise.marchenko_pastur import MarchenkoPastur


@pytest.mark.parametrize(
    ("ratio", "alpha"), [(1, 2.122), (0.5, 2.706), (0.25, 3.455), (0.1, 4.873), (1 / 32, 7.849)]
)
def test_the_hill_exponent_of_the_law(ratio: float, alpha: float) -> None:
    ranks = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    assert hill_alpha(MarchenkoPastur(1.0, ratio).ppf(ranks)) == pytest.approx(alpha, abs=2e-3)


@pytest.mark.parametrize("shape", [(400, 200), (200, 400), (300, 300), (2000, 100)])
def test_noise_has_one_exponent_whatever_its_shape(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = farms_alpha(matrix, side=60, grid=4)
    assert found.window == (120, 60)
    assert found.alpha_null == pytest.approx(2.706, abs=0.01)
    assert found.alpha == pytest.approx(found.alpha_null, abs=0.1)


def test_an_exact_power_law() -> None:
    """Of 2m values the upper m are quantiles of a Pareto tail of exponent 3."""
    m = 20_000
    tail = (1 - (torch.arange(m, dtype=torch.float64) + 0.5) / m) ** -0.5
    assert hill_alpha(torch.cat([torch.full((m,), 0.5, dtype=torch.float64), tail])) == pytest.approx(
        3, abs=0.01
    )


def test_what_has_no_exponent_is_refused() -> None:
    with pytest.raises(ArithmeticError, match="half of the eigenvalues are 0"):
        hill_alpha(torch.cat([torch.zeros(6), torch.ones(4)]))
    with pytest.raises(ArithmeticError, match="all equal"):
        hill_alpha(torch.ones(8))
    with pytest.raises(ValueError, match="too small"):
        farms_alpha(torch.ones(12, 7))
    assert math.isfinite(farms_alpha(torch.randn(16, 8, generator=torch.Generator().manual_seed(0))).alpha)
