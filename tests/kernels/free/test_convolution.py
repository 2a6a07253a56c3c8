"""Sums and products of free matrices with known spectra."""

from __future__ import annotations

import pytest
import torch

from rmtaudit.kernels.free import laws
from rmtaudit.kernels.free.convolution import free_sum, product_transform, sum_transform
from rmtaudit.kernels.free.evolution import evolve

Z = torch.complex(
    torch.linspace(-3, 3, 13, dtype=torch.float64), torch.full((13,), 0.05, dtype=torch.float64)
)


def test_the_sum_of_two_signs_has_the_arcsine_law() -> None:
    signs = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(sum_transform(signs, signs, Z), -1 / (torch.sqrt(Z - 2) * torch.sqrt(Z + 2)))


def test_the_product_of_two_projections_has_an_atom_and_the_arcsine_law() -> None:
    projection = torch.tensor([0.0, 1.0], dtype=torch.float64)
    wanted = -0.5 / Z - 0.5 / (torch.sqrt(Z) * torch.sqrt(Z - 1))
    torch.testing.assert_close(product_transform(projection, projection, Z), wanted)


def test_a_product_with_marchenko_pastur_is_compound_poisson() -> None:
    jumps = torch.tensor([1.0, 3.0], dtype=torch.float64)
    poisson = evolve(laws.marchenko_pastur(1.0).levy(), 1.0).quantiles(4000)
    g = -product_transform(jumps, poisson, Z)
    # of rate 1, as XXᵀ and XᵀX are of one size: R(w) = mean of t/(1 - tw), and z = R(G) + 1/G
    r = (jumps / 2 / (1 - jumps * g[:, None])).sum(1)
    torch.testing.assert_close(r + 1 / g, Z, rtol=0, atol=2e-3)


def test_adding_a_constant_moves_a_law() -> None:
    values = torch.tensor([0.0, 1.0, 5.0], dtype=torch.float64)
    found = sum_transform(values, torch.tensor([2.0], dtype=torch.float64), Z)
    torch.testing.assert_close(found, (1 / (values + 2 - Z[:, None])).mean(1))


def test_measures_of_free_summands_add() -> None:
    poisson = laws.compound_free_poisson(0.5, torch.tensor([2.0]), torch.tensor([1.0]))
    total = free_sum(laws.semicircle(0.5, 2.0).levy(), poisson)
    wanted = evolve(laws.free_levy(0.5, 1.0, 0.5, 2.0), 3.0, 400)
    torch.testing.assert_close(evolve(total, 3.0, 400).density, wanted.density)
    two = free_sum(laws.semicircle(0.0, 3.0).levy(), laws.semicircle(1.0, 4.0).levy())
    assert two.variance == pytest.approx(25 / 4)
    assert two.mean == 1.0


def test_refuses_what_it_cannot_add_or_reach() -> None:
    values = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    with pytest.raises(ValueError, match="index 0"):
        free_sum(laws.kesten_mckay(3.0).levy(), laws.semicircle(0.0, 1.0).levy())
    with pytest.raises(ValueError, match="above the real line"):
        sum_transform(values, values, torch.tensor([0.5 + 0j], dtype=torch.complex128))
    with pytest.raises(ValueError, match="must not be negative"):
        product_transform(values, values, Z)
    with pytest.raises(ArithmeticError, match="too close"):
        sum_transform(values, values, torch.tensor([2.0 + 1e-13j], dtype=torch.complex128))
