"""How a transform fluctuates: identities of the bias, and χ² of simulated matrices."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.free import laws
from rmtaudit.kernels.free.empirical import empirical_transform
from rmtaudit.kernels.free.evolution import evolve
from rmtaudit.kernels.free.fit import fit_levy
from rmtaudit.kernels.free.fluctuations import parameter, whiten
from rmtaudit.kernels.free.measure import LevyMeasure


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def wigner(n: int, seed: int) -> torch.Tensor:
    x = torch.randn(n, n, generator=generator(seed), dtype=torch.float64)
    return torch.linalg.eigvalsh((x + x.T) / (2 * n) ** 0.5)


def wishart(n: int, d: int, seed: int) -> torch.Tensor:
    x = torch.randn(n, d, generator=generator(seed), dtype=torch.float64)
    return torch.linalg.eigvalsh(x @ x.T / d)


def rotated(measure: LevyMeasure, n: int, seed: int) -> torch.Tensor:
    return torch.linalg.eigvalsh(laws.sample_matrix(measure, n, generator(seed)))


def at_mean(measure: LevyMeasure, mean: float) -> LevyMeasure:
    return LevyMeasure(
        left=measure.left, right=measure.right, mass=measure.mass, mean=mean, index=measure.index
    )


def own_chi_square(eigenvalues: torch.Tensor, measure: LevyMeasure) -> tuple[float, int]:
    """χ² of the law itself, at the mean of the sample."""
    found = empirical_transform(eigenvalues)
    scaled = at_mean(measure, found.mean * found.scale)
    white = whiten(found, scaled)
    index = measure.index
    place, mass = (
        part.numpy() / found.scale**power for part, power in ((measure.left, 1), (measure.mass, 2))
    )
    value = (mass / (white.u[:, None] - place)).sum(1)
    return float((white.apply(white.f - (white.u - index * value)) ** 2).sum()), white.n_data


@pytest.mark.parametrize(
    ("measure", "draw"),
    [
        (laws.semicircle(0.0, 2.0).levy(), lambda seed: wigner(160, seed)),
        (laws.marchenko_pastur(0.25).levy(), lambda seed: wishart(160, 640, seed)),
        (laws.marchenko_pastur(2.0).levy(), lambda seed: wishart(200, 100, seed).clamp(min=0)),
        (laws.kesten_mckay(10.0).levy(), None),
        (laws.meixner(1.2, 0.5, 0.3, 0.4).levy(), None),
    ],
)
def test_the_residuals_of_the_true_law_have_variance_one(measure, draw) -> None:  # type: ignore[no-untyped-def]
    draw = draw or (lambda seed: rotated(measure, 160, seed))
    found = [own_chi_square(draw(seed), measure) for seed in range(12)]
    share = sum(chi for chi, _ in found) / sum(count for _, count in found)
    # 12 samples of 40 to 60 data: a standard deviation of 6 %; a parent of finite size takes some away
    assert 0.8 < share < 1.15


def test_the_bias_of_a_wigner_matrix_is_the_known_one() -> None:
    n = 160
    found = empirical_transform(wigner(n, 0))
    unit = at_mean(laws.semicircle(0.0, 2.0 * found.scale).levy(), found.mean * found.scale)
    bias = found.f.numpy() - whiten(found, unit).f
    z = found.z.numpy() - found.mean
    root = np.sqrt(z - 2) * np.sqrt(z + 2)
    f = (z + root) / 2
    # n E mean 1/(z - λ) - n/F = (z/(z² - 4) - 1/√(z² - 4))/2 (Johansson 1998), and δF = -F² of it
    trace = (z / (z * z - 4) - 1 / root) / 2
    assert np.abs(bias + f**2 * trace / n).max() < 1e-9 * np.abs(bias).max()


def test_points_that_coincide_have_no_covariance() -> None:
    eigenvalues = wishart(100, 400, 0)
    found = empirical_transform(eigenvalues)
    doubled: dict[str, Any] = {name: torch.cat([getattr(found, name)] * 2) for name in ("z", "f", "noise")}
    twice = dataclasses.replace(found, **doubled)
    with pytest.raises(ArithmeticError, match="too near"):
        whiten(twice, fit_levy(eigenvalues, positive=True)[0].measure)


def test_whitened_directions_are_independent_of_the_unit() -> None:
    eigenvalues = wishart(150, 600, 3)
    white = [
        whiten(
            empirical_transform(eigenvalues * unit), fit_levy(eigenvalues * unit, positive=True)[0].measure
        )
        for unit in (1.0, 1000.0)
    ]
    assert white[0].n_data == white[1].n_data
    assert np.abs(white[0].f - white[1].f).max() < 1e-8


def test_more_samples_have_less_noise() -> None:
    batch = torch.stack([wishart(100, 400, seed) for seed in range(4)])
    measure = laws.marchenko_pastur(0.25).levy()
    given_ = empirical_transform(batch)
    one = whiten(given_, at_mean(measure, given_.mean * given_.scale))
    share = float((one.apply(one.f - one.u) ** 2).sum()) / one.n_data
    assert 0.5 < share < 1.5


@settings(max_examples=100, deadline=None)
@given(
    places=st.lists(st.floats(-3, 3), min_size=1, max_size=4),
    index=st.floats(-0.5, 0.9),
    seed=st.integers(0, 1000),
)
def test_the_parameter_solves_its_equation(places: list[float], index: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, g = np.array(places), rng.uniform(0.1, 1.0, len(places))

    def transform(u):  # type: ignore[no-untyped-def]
        inverse = 1 / (u[:, None] - x)
        return inverse @ g, -(inverse * inverse) @ g

    z = rng.uniform(-4, 4, 20) + 1j * rng.uniform(0.2, 2, 20)
    u = parameter(transform, 0.3, index, z, z.copy())
    assert (u.imag > 0).all()
    assert np.abs(u + 0.3 + (1 - index) * transform(u)[0] - z).max() < 1e-9


def test_a_parameter_that_cannot_be_found_is_an_error() -> None:
    def nothing(u):  # type: ignore[no-untyped-def]
        return np.full_like(u, np.nan), np.zeros_like(u)

    with pytest.raises(ArithmeticError, match="could not be solved"):
        parameter(nothing, 0.0, 0.0, np.array([1 + 1j]), np.array([1 + 1j]))


def test_quantiles_of_a_law_have_no_noise_of_their_own() -> None:
    measure = laws.marchenko_pastur(0.25).levy()
    chi, count = own_chi_square(evolve(measure, 1.0).quantiles(400), measure)
    assert chi < 0.5 * count


def test_the_highest_points_come_first_and_can_be_had_alone() -> None:
    found = empirical_transform(wishart(200, 800, 0))
    assert bool((found.z.imag.diff() <= 0).all())
    some = found.highest(20)
    assert some.n_data == 40
    assert torch.equal(some.z, found.z[:20])
    assert found.highest(10_000).n_data == found.n_data
