"""Laws of few numbers: found where they are, refuted where they are not, open where two fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.free import laws
from rmtaudit.kernels.free.atoms import AtomParameters
from rmtaudit.kernels.free.decompression import beyond_noise, decompress_spectrum
from rmtaudit.kernels.free.empirical import empirical_transform
from rmtaudit.kernels.free.evolution import evolve
from rmtaudit.kernels.free.fit import fit_levy
from rmtaudit.kernels.free.fluctuations import whiten
from rmtaudit.kernels.free.forms import Form, find_form, fit_form, refit
from rmtaudit.kernels.free.measure import LevyMeasure
from rmtaudit.kernels.free.validation import ks_distance


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(n: int, d: int, seed: int) -> torch.Tensor:
    x = torch.randn(n, d, generator=generator(seed), dtype=torch.float64)
    return torch.linalg.eigvalsh(x @ x.T / d)


def block(measure: LevyMeasure, n: int, seed: int) -> torch.Tensor:
    return torch.linalg.eigvalsh(laws.sample_matrix(measure, n, generator(seed)))


def form_of(eigenvalues: torch.Tensor, *, positive: bool) -> Form | None:
    return find_form(eigenvalues, fit_levy(eigenvalues, positive=positive)[0])


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 3), from_zero=st.booleans(), ending=st.booleans(), seed=st.integers(0, 1000))
def test_coordinates_of_atoms(count: int, from_zero: bool, ending: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    parameters = AtomParameters(count, 1.7, from_zero, ending)
    places, rates = rng.uniform(0.2, 3, count), rng.uniform(0.2, 2, count)
    masses = rates * places**2
    if from_zero:  # the law of these jumps has the mean of the parameters
        masses *= 1.7 / float((masses / places).sum())
    p = parameters.pack(places, masses, 0.25)
    x, g, index = parameters.unpack(p)
    assert x == pytest.approx(places)
    assert g == pytest.approx(masses)
    assert index == (0.25 if ending else 0.0)
    of_x, of_g = parameters.slopes(p)
    for at in range(len(p)):
        step = np.zeros(len(p))
        step[at] = 1e-6
        up, down = parameters.unpack(p + step), parameters.unpack(p - step)
        assert (up[0] - down[0]) / 2e-6 == pytest.approx(of_x[:, at], rel=1e-6, abs=1e-8)
        assert (up[1] - down[1]) / 2e-6 == pytest.approx(of_g[:, at], rel=1e-6, abs=1e-8)


def test_noise_is_taken_for_noise() -> None:
    found = form_of(noise(300, 1200, 0), positive=True)
    assert found is not None
    assert found.name == "Marchenko-Pastur"
    assert found.numbers == 1
    assert float(found.measure.left[0]) == pytest.approx(0.25, rel=0.01)
    assert found.measure.inverse_moments()[0] == pytest.approx(found.measure.mean, rel=1e-12)


def test_noise_of_other_entries_is_noise() -> None:
    source = generator(4)
    found = []
    for _ in range(8):
        x = torch.rand(150, 600, generator=source, dtype=torch.float64) - 0.5
        found.append(form_of(torch.linalg.eigvalsh(x @ x.T / 600), positive=True))
    assert sum(one is None for one in found) <= 3


def test_noise_of_less_than_full_rank_keeps_its_rank() -> None:
    eigenvalues = noise(300, 100, 1)
    eigenvalues = torch.where(eigenvalues.abs() < 1e-12, 0.0, eigenvalues)
    found = form_of(eigenvalues, positive=True)
    assert found is not None
    # the rate of jumps is the share of the rank, known exactly
    assert found.measure.inverse_moments()[1] == pytest.approx(1 / 3, abs=1e-3)


def test_noise_is_refuted_as_often_as_it_should_be() -> None:
    found = [form_of(noise(128, 384, seed), positive=True) for seed in range(40)]
    # by two tests at a level of 5 %: of 40 at most ten but once in a thousand
    assert sum(one is None for one in found) <= 10


def test_two_sizes_of_jumps_are_not_noise() -> None:
    measure = laws.compound_free_poisson(16.0, torch.tensor([0.125, 0.34375]), torch.tensor([0.75, 0.25]))
    assert [form_of(block(measure, 400, seed), positive=True) for seed in range(4)] == [None] * 4
    # here χ² alone would take a third of them for noise
    taken = [form_of(block(measure, 200, seed), positive=True) is not None for seed in range(12)]
    assert sum(taken) <= 2


@pytest.mark.parametrize(
    ("measure", "name"),
    [
        (laws.meixner(1.2, 0.5, 0.3, 0.4).levy(), "free Meixner"),
        (laws.free_levy(0.5, 1.0, 0.5, 2.0), "two-atom"),
    ],
)
def test_of_two_rivals_the_one_is_taken_that_the_block_speaks_for(measure: LevyMeasure, name: str) -> None:
    found = form_of(block(measure, 600, 1), positive=False)
    assert found is not None
    assert found.name == name
    assert found.measure.left.tolist() == pytest.approx(measure.left.tolist(), abs=0.05)
    assert found.measure.mass.tolist() == pytest.approx(measure.mass.tolist(), rel=0.06)
    assert found.measure.index == pytest.approx(measure.index, abs=0.03)


def test_a_far_end_is_seen_where_every_smooth_measure_still_fits() -> None:
    law = laws.kesten_mckay(40.0)
    eigenvalues = block(law.levy(), 500, 1)
    smooth = fit_levy(eigenvalues, positive=False)[0]
    assert smooth.chi_square < 2
    form = find_form(eigenvalues, smooth)
    assert form is not None
    assert form.alone
    assert 1 / form.measure.index == pytest.approx(40, rel=0.25)
    beyond = decompress_spectrum(eigenvalues, 44.0, generator=generator(), replicas=0)
    assert beyond.verdict == "not decompressible"
    assert "can be decompressed by about" in beyond.reason
    before = decompress_spectrum(eigenvalues, 8.0, generator=generator(), replicas=0)
    truth = evolve(law.levy(), 8.0)
    assert ks_distance(before.quantiles(2000), truth.quantiles(2000)) < 0.01


def test_where_both_rivals_fit_none_is_taken() -> None:
    assert form_of(block(laws.semicircle(0.0, 2.0).levy(), 300, 0), positive=False) is None


def test_a_smooth_measure_of_real_data_is_not_taken_for_atoms(shared: Callable[..., Path]) -> None:
    name = "cifar_resnet50_fp64_logm_n55K_eig_n01024_samples.npy"
    first = torch.from_numpy(np.load(shared("data", "ntk_resnet50_cifar10", name))[0]).sort().values
    assert form_of(first, positive=False) is None


def test_a_form_is_refitted_to_another_sample() -> None:
    found = (form_of(noise(200, 800, seed), positive=True) for seed in range(10, 14))
    form = next(one for one in found if one is not None)
    again = refit(empirical_transform(noise(200, 800, 6)), form)
    assert again.name == form.name
    assert again.p_value > 1e-3
    assert 0 < abs(float(again.measure.left[0]) - float(form.measure.left[0])) < 0.02


def test_a_form_refitted_to_another_law_is_refuted() -> None:
    form = form_of(noise(300, 1200, 0), positive=True)
    assert form is not None
    other = laws.compound_free_poisson(4.0, torch.tensor([0.1, 0.7]), torch.tensor([0.75, 0.25]))
    assert refit(empirical_transform(block(other, 300, 0)), form).p_value < 1e-6


def test_a_fit_that_does_not_converge_is_an_error() -> None:
    eigenvalues = noise(200, 800, 0)
    given_ = empirical_transform(eigenvalues)
    white = whiten(given_, fit_levy(eigenvalues, positive=True)[0].measure)
    parameters = AtomParameters(1, given_.mean, ending=True)
    with pytest.raises(ArithmeticError, match="did not converge"):
        fit_form("free Meixner", given_, white, parameters, np.array([0.0, 0.0, 5.0]))


def test_a_prediction_by_a_form_says_so_and_holds() -> None:
    eigenvalues = noise(256, 2560, 2)
    found = decompress_spectrum(eigenvalues, 16.0, generator=generator(), replicas=6)
    truth = evolve(laws.marchenko_pastur(0.1).levy(), 16.0)
    assert found.form is not None
    assert "Marchenko-Pastur law explains the block" in found.reason
    assert found.verdict != "not decompressible"
    assert ks_distance(found.quantiles(4096), truth.quantiles(4096)) < 0.01
    ((place, mass),) = found.law.atoms
    assert place == 0
    assert mass == pytest.approx(1 - 10 / 16, abs=0.01)
    assert found.smooth is not None
    assert len(found.smoothed) == len(found.replicas) == 6
    levels = torch.tensor([0.5, 0.7, 0.9], dtype=torch.float64)
    low, high = found.band(levels)
    assert bool(((low <= truth.ppf(levels)) & (truth.ppf(levels) <= high)).all())


def test_what_a_second_estimate_says_within_its_noise_is_nothing() -> None:
    gaps = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    inside = torch.tensor([2.0, 0.0], dtype=torch.float64)
    assert beyond_noise(inside, gaps).tolist() == [0.0, 0.0]
    # Student's 95 % of two degrees is 2.92, of a standard deviation of 1
    assert beyond_noise(torch.tensor([-5.0, 3.0], dtype=torch.float64), gaps).tolist() == pytest.approx(
        [2.92 - 5, 3.0], abs=1e-3
    )
