"""Laws in closed form: what decompression must give, to rounding."""

from __future__ import annotations

import math

import pytest
import torch

from rmtaudit.kernels.free import laws
from rmtaudit.kernels.free.evolution import evolve
from rmtaudit.kernels.free.measure import LevyMeasure

QUADRATIC = [
    (laws.semicircle(1.0, 2.0), 4.0),
    (laws.marchenko_pastur(0.02), 0.5),
    (laws.marchenko_pastur(0.02), 32.0),
    (laws.marchenko_pastur(0.02), 64.0),
    (laws.marchenko_pastur(0.5, 2.0), 2.0),  # the density is infinite at 0
    (laws.marchenko_pastur(3.0), 0.4),
    (laws.kesten_mckay(3.0), 2.0),
    (laws.kesten_mckay(10.0), 9.99),
    (laws.wachter(2.0, 3.0), 2.2),
    (laws.wachter(0.5, 2.0), 0.5),  # the same
    (laws.wachter(0.7, 0.8), 1.35),
    (laws.meixner(1.0, 0.5, 2.0, 0.3), 3.0),
    (laws.meixner(1.0, 4.0, 0.0, 0.5), 3.0),
    (laws.meixner(1.0, 0.5, 0.0, -0.1), 10.0),
]


def inside(law: laws.QuadraticLaw) -> torch.Tensor:
    low, high = law.edges
    return low + (high - low) * (1 - torch.cos(torch.linspace(0.05, 3.09, 41, dtype=torch.float64))) / 2


@pytest.mark.parametrize(("law", "factor"), QUADRATIC)
def test_evolves_into_the_law_of_the_closed_form(law: laws.QuadraticLaw, factor: float) -> None:
    want, got = law.decompress(factor), evolve(law.levy(), factor, 1500)
    x = inside(want)
    torch.testing.assert_close(got.pdf(x), want.pdf(x), rtol=1e-7, atol=0)
    torch.testing.assert_close(got.cdf(x), want.cdf(x), rtol=0, atol=1e-6)
    assert got.mass == pytest.approx(1, abs=1e-6)
    assert got.edges[0][0] == pytest.approx(want.edges[0], abs=1e-9)
    assert got.edges[-1][1] == pytest.approx(want.edges[1], abs=1e-9)
    assert len(got.atoms) == len(want.atoms)
    for (place, mass), (true_place, true_mass) in zip(got.atoms, want.atoms, strict=True):
        assert place == pytest.approx(true_place, abs=1e-9)
        assert mass == pytest.approx(true_mass, abs=1e-9)


@pytest.mark.parametrize(("law", "factor"), QUADRATIC[:4])
def test_the_closed_forms_themselves_have_mass_1_and_the_right_mean(
    law: laws.QuadraticLaw, factor: float
) -> None:
    law = law.decompress(factor)
    angle = torch.linspace(0, math.pi, 20_001, dtype=torch.float64)
    low, high = law.edges
    x = (low + high) / 2 - (high - low) / 2 * torch.cos(angle)
    density = law.pdf(x) * torch.sin(angle) * (high - low) / 2
    atoms = law.atoms
    assert float(torch.trapezoid(density, angle)) + sum(mass for _, mass in atoms) == pytest.approx(
        1, abs=1e-6
    )
    mean = float(torch.trapezoid(x * density, angle)) + sum(place * mass for place, mass in atoms)
    assert mean == pytest.approx(law.levy().mean, abs=1e-6)


@pytest.mark.parametrize("law", [laws.kesten_mckay(5.0), laws.wachter(3.0, 4.0)])
def test_stops_at_the_last_factor(law: laws.QuadraticLaw) -> None:
    assert law.last_factor == pytest.approx(5.0 if law == laws.kesten_mckay(5.0) else 7.0)
    with pytest.raises(ValueError, match="factor must lie between"):
        law.decompress(law.last_factor)
    with pytest.raises(ValueError, match="can be decompressed by less than"):
        evolve(law.levy(), law.last_factor * 1.000001)


@pytest.mark.parametrize(
    "measure",
    [
        laws.compound_free_poisson(0.8, torch.tensor([2.0, 5.5]), torch.tensor([0.75, 0.25])),
        laws.free_levy(0.5, 1.0, 0.5, 2.0),
    ],
)
@pytest.mark.parametrize("factor", [0.5, 4.0])
def test_the_boundary_solves_the_equation_of_the_r_transform(measure: LevyMeasure, factor: float) -> None:
    law = evolve(measure, factor, 800)
    above = law.v > 1e-6
    s, v = law.s[above], law.v[above]
    w = 1 / (factor * torch.complex(s, v))  # G on the boundary
    jumps, masses = measure.left * factor, measure.mass * factor
    r = measure.mean + (w[:, None] * masses / (1 - jumps * w[:, None])).sum(1)
    z = r + 1 / w
    torch.testing.assert_close(z.real, law.x[above], rtol=0, atol=1e-9)
    torch.testing.assert_close(z.imag, torch.zeros_like(s), rtol=0, atol=1e-9)
    torch.testing.assert_close(law.density[above], -w.imag / math.pi, rtol=1e-9, atol=0)
    assert law.mass == pytest.approx(1, abs=1e-6)


def test_a_compound_poisson_law_of_rate_below_1_has_its_atom() -> None:
    jumps, weights = torch.tensor([2.0, 5.5]), torch.tensor([0.75, 0.25])
    law = evolve(laws.compound_free_poisson(0.8, jumps, weights), 8.0)
    ((place, mass),) = law.atoms
    assert place == 0.0
    assert mass == pytest.approx(0.9)
    assert float((law.quantiles(1000) == 0).double().mean()) == 0.9


@pytest.mark.parametrize("factor", [0.25, 3.0])
def test_compression_undoes_decompression(factor: float) -> None:
    measure = laws.free_levy(0.5, 1.0, 0.5, 2.0)
    there = laws.decompress(measure, factor)
    back = laws.decompress(there, 1 / factor)
    for name in ("left", "right", "mass"):
        torch.testing.assert_close(getattr(back, name), getattr(measure, name))
    x = evolve(measure, factor, 400).x[50:-50:20]
    torch.testing.assert_close(evolve(there, 1.0, 400).pdf(x), evolve(measure, factor, 400).pdf(x))


def test_quantiles_rise_and_invert_the_distribution() -> None:
    law = evolve(laws.free_levy(0.5, 1.0, 0.5, 2.0), 8.0)
    levels = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    quantiles = law.ppf(levels)
    assert bool((quantiles.diff() > 0).all())
    torch.testing.assert_close(law.cdf(quantiles), levels, rtol=0, atol=2e-5)
    with pytest.raises(ValueError, match="between 0 and 1"):
        law.ppf(torch.tensor([1.5]))


def test_the_log_determinant_is_that_of_the_quantiles() -> None:
    law = evolve(laws.marchenko_pastur(0.1).levy(), 4.0)
    ratio = 0.4  # mean log of the Marchenko-Pastur law
    assert law.log_det() == pytest.approx(-1 - (1 - ratio) / ratio * math.log(1 - ratio), abs=1e-9)
    assert law.log_det(0.5) == pytest.approx(float((law.quantiles(20_000) + 0.5).log().mean()), abs=1e-5)
    assert evolve(laws.marchenko_pastur(0.1).levy(), 20.0).log_det() == -math.inf


@pytest.mark.parametrize("bad", [0.0, -1.0, math.inf, math.nan])
def test_refuses_a_factor_that_is_none(bad: float) -> None:
    with pytest.raises(ValueError, match="positive and finite"):
        evolve(laws.semicircle(0.0, 1.0).levy(), bad)


def test_a_sampled_matrix_has_the_law() -> None:
    law = laws.wachter(3.0, 4.0)
    eigenvalues = torch.linalg.eigvalsh(law.sample_matrix(300, torch.Generator().manual_seed(0)))
    away = law.cdf(eigenvalues) - (torch.arange(300) + 0.5) / 300
    assert float(away.abs().max()) < 0.01


@pytest.mark.parametrize(
    ("law", "factor"),
    [
        (laws.marchenko_pastur(0.25, 0.3), 8.0),
        (laws.kesten_mckay(25.0), 20.0),
        # moved by what no float32 holds: the mass below an atom is looked up beside it
        (laws.QuadraticLaw(0.25 * -0.0084252215, 0.25, 0.0, -0.75 - 0.0084252215), 8.0),
    ],
)
def test_quantiles_of_a_law_with_atoms_anywhere_invert_its_distribution(
    law: laws.QuadraticLaw, factor: float
) -> None:
    grown, exact = evolve(law.levy(), factor), law.decompress(factor)
    assert grown.atoms
    levels = torch.linspace(0.005, 0.995, 100, dtype=torch.float64)
    found = grown.ppf(levels)
    gap = 1e-6 * (exact.edges[1] - exact.edges[0])
    assert bool((exact.cdf(found - gap) <= levels + 1e-4).all())
    assert bool((exact.cdf(found + gap) >= levels - 1e-4).all())
