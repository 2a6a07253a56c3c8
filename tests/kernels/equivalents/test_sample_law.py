from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.linalg import equivalents

THREE = equivalents.population(torch.tensor([1.0, 3.0, 7.0]))


def plane(*points: complex) -> torch.Tensor:
    return torch.tensor(points, dtype=torch.complex128)


def test_the_edges_of_three_groups() -> None:
    bands = equivalents.support_bands(THREE, 0.1)
    edges = [edge for band in bands for edge in (band.low, band.high)]
    assert edges == pytest.approx([0.6004, 1.285, 1.936, 3.999, 4.929, 9.984], abs=6e-4)
    assert [band.mass for band in bands] == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize("ratio", [0.01, 0.3, 1.0, 4.0])
def test_one_eigenvalue_is_marchenko_pastur(ratio: float) -> None:
    law = equivalents.SampleLaw(equivalents.population(torch.tensor([2.0])), ratio)
    (band,) = law.bands
    assert band.low == pytest.approx(2 * (1 - ratio**0.5) ** 2, abs=1e-12)
    assert band.high == pytest.approx(2 * (1 + ratio**0.5) ** 2, rel=1e-12)
    assert band.mass == pytest.approx(min(1, 1 / ratio))
    assert law.zeros == pytest.approx(max(0, 1 - 1 / ratio))
    z = plane(0.5 + 0.1j, 3 + 1e-6j, -0.3 + 0j, 20 + 0.01j, -5 + 2j)
    exact = equivalents.marchenko_pastur_stieltjes(z, ratio, 2.0)
    assert law.stieltjes(z) == pytest.approx(exact, rel=1e-7)
    assert exact[2].real > 0
    assert exact[2].imag == 0
    # the equation that defines it: variance 2 scales z
    scaled, m = z / 2, 2 * exact
    assert (ratio * scaled * m**2 + (scaled + ratio - 1) * m + 1).abs().max() < 1e-12


@settings(max_examples=25, deadline=None)
@given(
    values=st.lists(st.floats(0.05, 20), min_size=1, max_size=6),
    ratio=st.floats(0.05, 5),
    real=st.floats(-5, 60),
    height=st.floats(-4, 1),
)
def test_the_transform_solves_its_equation(
    values: list[float], ratio: float, real: float, height: float
) -> None:
    law = equivalents.population(torch.tensor(values, dtype=torch.float64))
    z = plane(complex(real, 10**height))
    v = equivalents.companion_transform(law, ratio, z).values
    assert v.imag.item() > 0
    terms = (law.weights * law.values / (1 + law.values * v)).sum()
    assert complex(-1 / v + ratio * terms) == pytest.approx(complex(z), rel=1e-8, abs=1e-9)


@settings(max_examples=5, deadline=None)
@given(values=st.lists(st.floats(0.2, 20), min_size=1, max_size=5), ratio=st.floats(0.05, 4))
def test_the_density_has_the_masses_and_the_mean(values: list[float], ratio: float) -> None:
    population = equivalents.population(torch.tensor(values, dtype=torch.float64))
    law = equivalents.SampleLaw(population, ratio)
    assert sum(band.mass for band in law.bands) + law.zeros == pytest.approx(1)
    angle = torch.linspace(0, math.pi, 2001, dtype=torch.float64)
    mean = 0.0
    for band in law.bands:
        x = (band.low + band.high) / 2 - (band.high - band.low) / 2 * angle.cos()
        y = law.pdf(x) * angle.sin() * (band.high - band.low) / 2
        assert float(torch.trapezoid(y, angle)) == pytest.approx(band.mass, abs=2e-3)
        mean += float(torch.trapezoid(y * x, angle))
    assert mean == pytest.approx(population.mean, rel=5e-3)


def test_newton_needs_few_steps_and_equals_the_fixed_point() -> None:
    x = torch.linspace(0.7, 9.5, 20, dtype=torch.float64)
    z = torch.complex(x, torch.full_like(x, 1e-4))
    solution = equivalents.companion_transform(THREE, 0.1, z)
    assert float(solution.steps.double().median()) <= 22
    inside = equivalents.SampleLaw(THREE, 0.1).pdf(x) > 0.01
    z, v = z[inside], -1 / z[inside]
    for _ in range(20_000):
        kept = THREE.values / (1 + THREE.values * v[:, None])
        last, v = v, 1 / (0.1 * (kept @ THREE.weights.to(v.dtype)) - z)
        if bool(((v - last).abs() <= 1e-15 * v.abs()).all()):
            break
    assert (v - solution.values[inside]).abs().max() / (0.1 * math.pi) < 4e-11


def test_quantiles_are_the_inverse_of_the_distribution() -> None:
    law = equivalents.SampleLaw(THREE, 2.0)
    levels = torch.tensor([0.0, 0.3, 0.5, 0.6, 0.9, 1.0], dtype=torch.float64)
    x = law.ppf(levels)
    assert x[:2].tolist() == [0, 0]
    assert law.cdf(x[2:]) == pytest.approx(levels[2:], abs=1e-9)
    with pytest.raises(ValueError, match="levels"):
        law.ppf(torch.tensor([1.1]))


def test_the_law_is_that_of_a_sample() -> None:
    generator = torch.Generator().manual_seed(3)
    variances = THREE.values.repeat_interleave(150)
    sample = variances.sqrt()[:, None] * torch.randn(450, 900, dtype=torch.float64, generator=generator)
    values = torch.linalg.eigvalsh(sample @ sample.T / 900)
    law = equivalents.SampleLaw(THREE, 0.5)
    distance = (law.cdf(values) - (torch.arange(450) + 0.5) / 450).abs().max()
    assert distance < 0.01  # a random sample of independent draws would be at 0.05


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="above the real line"):
        equivalents.companion_transform(THREE, 0.1, plane(1 + 0j))
    with pytest.raises(ValueError, match="ratio"):
        equivalents.companion_transform(THREE, 0.0, plane(1j))
    with pytest.raises(ValueError, match="ratio"):
        equivalents.support_bands(THREE, -1.0)
    with pytest.raises(ValueError, match="above 0"):
        equivalents.population(torch.tensor([0.0]))
    with pytest.raises(ValueError, match="not negative"):
        equivalents.population(torch.tensor([1.0, -1.0]))
    with pytest.raises(ValueError, match="same length"):
        equivalents.population(torch.tensor([1.0]), torch.tensor([1.0, 2.0]))
    with pytest.raises(ValueError, match="above the real line"):
        equivalents.marchenko_pastur_stieltjes(plane(1 + 0j), 0.5)


def test_equal_eigenvalues_are_one_atom() -> None:
    law = equivalents.population(torch.tensor([2.0, 1.0, 2.0]), torch.tensor([1.0, 1.0, 2.0]))
    assert law.values.tolist() == [1, 2]
    assert law.weights.tolist() == [0.25, 0.75]
    assert law.mean == 1.75
