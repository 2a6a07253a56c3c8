"""Densities: counts within their errors, integrals of 1, and an end that was wrong is seen."""

from __future__ import annotations

import pytest
import torch
from spectra import SIZE, basis, spectra, symmetric

from rmtaudit.kernels import slq
from rmtaudit.kernels.slq.density import jackson, kernel_polynomial, lanczos_density


def test_counts_by_kernel_polynomials() -> None:
    eigenvalues = spectra()["uniform"]
    found = kernel_polynomial(slq.dense(symmetric(eigenvalues, basis())), slq.Sampler(0), moments=120)
    points = torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64)
    counts = found.counts(points)
    for point, value, error, width in zip(
        points, counts.values, counts.standard_errors, counts.width, strict=True
    ):
        near = (eigenvalues - point).abs() <= width
        truth = float((eigenvalues <= point).sum())
        assert abs(float(value) - truth) <= 4 * float(error) + float(near.sum())


def test_densities_have_an_integral_of_one() -> None:
    operator = slq.dense(symmetric(spectra()["uniform"], basis()))
    found = kernel_polynomial(operator, slq.Sampler(0), moments=60)
    grid = torch.linspace(found.centre - found.half, found.centre + found.half, 4001, dtype=torch.float64)[
        1:-1
    ]
    assert float(torch.trapezoid(found.density(grid).values, grid)) == pytest.approx(1, abs=1e-3)
    wide = torch.linspace(-0.5, 1.6, 2001, dtype=torch.float64)
    curve = lanczos_density(operator, wide, 0.05, slq.Sampler(0), steps=40)
    assert float(torch.trapezoid(curve.values, wide)) == pytest.approx(1, abs=1e-6)


def test_moments_of_a_gram_operator() -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(90, 60, dtype=torch.float64, generator=generator) / 90**0.5
    found = kernel_polynomial(slq.gram(matrix), slq.Sampler(1), moments=40, probes=64)
    scaled = (torch.linalg.svdvals(matrix) ** 2 - found.centre) / found.half
    orders = torch.arange(40, dtype=torch.float64)
    exact = torch.cos(torch.outer(torch.arccos(scaled), orders)).mean(dim=0)
    error = found.moments.std(dim=0) / 8
    assert bool(((found.moments.mean(dim=0) - exact).abs() <= 4.5 * error + 1e-12).all())


def test_a_spectrum_beyond_its_ends_is_seen() -> None:
    operator = slq.dense(symmetric(spectra()["uniform"], basis()), smallest=0.0, largest=0.5)
    with pytest.raises(ArithmeticError, match="beyond"):
        kernel_polynomial(operator, slq.Sampler(0))


def test_jacksons_factors() -> None:
    factors = jackson(SIZE)
    assert float(factors[0]) == pytest.approx(1)
    assert bool((factors.diff() < 0).all())
    assert float(factors[-1]) == pytest.approx(0, abs=1e-3)


def test_densities_are_those_of_the_smoothed_spectrum() -> None:
    eigenvalues = spectra()["uniform"]
    operator = slq.dense(symmetric(eigenvalues, basis()))
    points = torch.tensor([0.05, 0.1, 0.4, 0.7, 1.0, 1.2], dtype=torch.float64)
    curve = lanczos_density(operator, points, 0.05, slq.Sampler(2), steps=60, probes=40)
    exact = torch.exp(-(((points[:, None] - eigenvalues) / 0.05) ** 2) / 2).mean(dim=1) / (
        0.05 * (2 * torch.pi) ** 0.5
    )
    assert bool(((curve.values - exact).abs() <= 4.5 * curve.standard_errors + 1e-9).all())
    with pytest.raises(ValueError, match="positive"):
        lanczos_density(operator, points, 0.0, slq.Sampler(0))
    found = kernel_polynomial(operator, slq.Sampler(2), moments=60, probes=40).density(points)
    # Jackson's kernel is nearly a Gaussian of this width
    near = torch.exp(-(((points[:, None] - eigenvalues) / found.width[:, None].clamp(min=1e-3)) ** 2) / 2)
    near = near.mean(dim=1) / (found.width.clamp(min=1e-3) * (2 * torch.pi) ** 0.5)
    inside = slice(2, 4)
    assert bool(((found.values - near).abs() <= 4.5 * found.standard_errors + 0.05 * near)[inside].all())
