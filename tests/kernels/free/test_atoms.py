"""Measures of a few atoms: fitted to a transform they are the measures that made it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.free import laws
from rmtaudit.kernels.free.atoms import chi_square, fit_atoms, gathered, rise
from rmtaudit.kernels.free.decompression import decompress_spectrum
from rmtaudit.kernels.free.empirical import Transform, empirical_transform
from rmtaudit.kernels.free.ended import fit_ended, one_atom_with_end
from rmtaudit.kernels.free.evolution import evolve
from rmtaudit.kernels.free.fit import fit_levy, least_smooth
from rmtaudit.kernels.free.identify import fewest_atoms
from rmtaudit.kernels.free.measure import LevyMeasure


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def block(law: LevyMeasure, size: int, seed: int) -> torch.Tensor:
    return torch.linalg.eigvalsh(laws.sample_matrix(law, size, generator(seed)))


def quantile_transform(law: LevyMeasure, size: int = 4000) -> Transform:
    """The transform of the law's own quantiles: no noise but that of the grid."""
    return empirical_transform(evolve(law, 1.0).quantiles(size))


POISSON = laws.compound_free_poisson(4.0, torch.tensor([0.25, 1.0]), torch.tensor([0.7, 0.3]))
LEVY = laws.free_levy(0.5, 1.0, 0.5, 2.0)


@pytest.mark.parametrize(
    ("law", "from_zero"),
    [(POISSON, True), (POISSON, False), (LEVY, False), (laws.semicircle(0.3, 2.0).levy(), False)],
)
def test_finds_the_atoms_that_made_the_law(law: LevyMeasure, from_zero: bool) -> None:
    given = quantile_transform(law)
    off = np.linspace(1.1, 0.9, len(law.mass)) if len(law.mass) > 1 else np.array([1.0])
    start = (law.left.numpy() / given.scale + 0.05) * off, law.mass.numpy() / given.scale**2 * off
    found = fit_atoms(given, *start, from_zero=from_zero)
    assert found.left.tolist() == pytest.approx(law.left.tolist(), abs=0.02 * given.scale)
    assert found.mass.tolist() == pytest.approx(law.mass.tolist(), rel=0.02)
    assert chi_square(given, found) < 0.05 * given.n_data
    if from_zero:
        assert found.inverse_moments()[0] == pytest.approx(found.mean, rel=1e-14)


@pytest.mark.parametrize(
    "law", [laws.kesten_mckay(5.0), laws.kesten_mckay(10.0), laws.wachter(3.0, 4.0), laws.wachter(2.0, 6.0)]
)
def test_finds_the_end_of_a_law(law: laws.QuadraticLaw) -> None:
    exact = law.levy()
    given = quantile_transform(exact)
    third = float(((given.values - given.mean) ** 3).mean())
    found = fit_atoms(given, np.array([third]), np.array([1.0]), ending=True)
    assert 1 / found.index == pytest.approx(law.last_factor, rel=0.02)
    assert found.variance == pytest.approx(exact.variance, rel=0.01)


@pytest.mark.parametrize(("law", "factor"), [(laws.kesten_mckay(5.0), 2.0), (laws.wachter(3.0, 4.0), 2.0)])
def test_one_atom_is_enough_for_a_meixner_law_with_an_end(law: laws.QuadraticLaw, factor: float) -> None:
    found = fit_ended(block(law.levy(), 400, 3))
    assert found is not None
    assert found.atoms == 1
    assert found.chi_square < 1.5
    assert 1 / found.measure.index == pytest.approx(law.last_factor, rel=0.1)
    want, got = evolve(law.levy(), factor), evolve(found.measure, factor)
    away = (got.quantiles(1000) - want.quantiles(1000)).abs().mean()
    assert float(away) < 0.02 * float(want.quantiles(1000).std())


def test_a_law_with_two_atoms_and_an_end_is_left_to_halving() -> None:
    both = LevyMeasure(
        left=torch.tensor([-1.0, 2.5], dtype=torch.float64),
        right=torch.tensor([-1.0, 2.5], dtype=torch.float64),
        mass=torch.tensor([0.5, 0.5], dtype=torch.float64),
        mean=0.0,
        index=0.2,
    )
    eigenvalues = block(both, 400, 0)
    assert one_atom_with_end(eigenvalues).chi_square > 2
    found = fit_ended(eigenvalues)
    assert found is not None
    assert found.atoms == 0
    # found too far, as documented: decompression keeps clear of it by as much
    assert 4.5 < 1 / found.measure.index < 5 * (1 + 15 / math.sqrt(400))
    past = decompress_spectrum(eigenvalues, 5.0, generator=generator(), replicas=0)
    assert past.verdict == "not decompressible"
    assert "at worst" in past.reason


def test_the_freest_measure_is_no_worse_than_any_other() -> None:
    eigenvalues = block(LEVY, 300, 1)
    given = empirical_transform(eigenvalues)
    least = least_smooth(given, positive=False)
    assert rise(given, least, least) == 0
    smooth = fit_levy(eigenvalues, positive=False, slacks=(128.0,))[0].measure
    assert rise(given, smooth, least) > 10


def test_two_atoms_are_found_and_a_wide_measure_has_none() -> None:
    eigenvalues = block(LEVY, 600, 2)
    fit = fit_levy(eigenvalues, positive=False)[0]
    found = fewest_atoms(eigenvalues, fit)
    assert found is not None
    assert len(found.mass) == 2
    assert float(found.left[1]) == pytest.approx(2, rel=0.1)
    wide = laws.meixner(1.0, 4.0, 0.0, 0.5).levy()
    eigenvalues = block(wide, 600, 2)
    assert fewest_atoms(eigenvalues, fit_levy(eigenvalues, positive=False)[0]) is None


@settings(max_examples=40)
@given(
    masses=st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=30),
    count=st.integers(1, 5),
    width=st.floats(0.0, 0.5),
)
def test_gathering_keeps_the_mass_and_the_centre(masses: list[float], count: int, width: float) -> None:
    left = torch.arange(len(masses), dtype=torch.float64) - 3
    mass = torch.tensor(masses, dtype=torch.float64)
    histogram = LevyMeasure(left=left, right=left + width, mass=mass, mean=0.0)
    places, held = gathered(histogram, count)
    assert 1 <= len(places) <= count
    assert held.sum() == pytest.approx(sum(masses))
    assert (places * held).sum() == pytest.approx(float(((left + width / 2) * mass).sum()), abs=1e-9)
    assert (np.diff(places) > 0).all()
