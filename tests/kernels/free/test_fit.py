"""The fit of the Levy measure: known laws from samples, its class, its refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from rmtaudit.kernels.free import laws, nonnegative
from rmtaudit.kernels.free.empirical import empirical_stieltjes
from rmtaudit.kernels.free.evolution import evolve
from rmtaudit.kernels.free.fit import fit_levy, fit_many
from rmtaudit.kernels.free.heights import heights
from rmtaudit.kernels.free.identify import extreme_measures
from rmtaudit.kernels.free.measure import LevyMeasure, cauchy_imaginary, cauchy_real
from rmtaudit.kernels.free.nonnegative import nonnegative_least_squares
from rmtaudit.kernels.free.validation import ks_distance


def wishart(n: int, d: int, seed: int) -> torch.Tensor:
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.linalg.eigvalsh(x @ x.T / d).clamp(min=0)


def cells(*triples: tuple[float, float, float]) -> LevyMeasure:
    left, right, mass = torch.tensor(triples, dtype=torch.float64).T
    return LevyMeasure(left=left.contiguous(), right=right.contiguous(), mass=mass.contiguous(), mean=0.3)


def test_predicts_marchenko_pastur_with_nothing_given() -> None:
    eigenvalues = wishart(600, 6000, 0)
    (fit,) = fit_levy(eigenvalues, positive=True)
    assert 0.3 < fit.chi_square < 2
    law = evolve(fit.measure, 5.0)
    truth = evolve(laws.marchenko_pastur(0.5).levy(), 1.0).quantiles(3000)
    assert ks_distance(law.quantiles(3000), truth) < 0.006
    assert law.mass == pytest.approx(1, abs=1e-3)
    assert fit.measure.mean == pytest.approx(float(eigenvalues.mean()), rel=1e-12)
    assert law.log_det() == pytest.approx(float(truth.log().mean()), abs=0.01)


def test_zeros_of_the_block_are_zeros_of_the_large_matrix() -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(500, 400, generator=generator, dtype=torch.float64)
    eigenvalues = torch.linalg.eigvalsh(x @ x.T / 500)
    eigenvalues = torch.where(eigenvalues < 1e-12, 0.0, eigenvalues)
    law = evolve(fit_levy(eigenvalues, positive=True)[0].measure, 4.0)
    ((place, mass),) = law.atoms
    assert place == 0
    assert mass == pytest.approx(1 - 0.2 / 4 * 4, abs=2e-3)  # rank 400 of 2000


def test_a_pool_is_fitted_better_than_its_parts() -> None:
    truth = evolve(laws.semicircle(0.0, 2.0).levy(), 8.0).quantiles(2400)
    spectra = torch.stack(
        [
            torch.linalg.eigvalsh(
                laws.semicircle(0.0, 2.0).sample_matrix(300, torch.Generator().manual_seed(seed))
            )
            for seed in range(4)
        ]
    )

    def error(values: torch.Tensor) -> float:
        law = evolve(fit_levy(values, positive=False)[0].measure, 8.0, 800)
        return float((law.quantiles(2400) - truth).abs().mean())

    assert error(spectra) < sum(error(row) for row in spectra) / 4


def test_a_batch_gives_what_its_members_give() -> None:
    batch = [wishart(100, 400, 0), wishart(128, 256, 1)]
    for alone, together in zip(batch, fit_many(batch, positive=True), strict=True):
        (fit,) = fit_levy(alone, positive=True)
        assert together[0].chi_square == pytest.approx(fit.chi_square, rel=1e-5)
        one, other = (evolve(part.measure, 4.0, 500).quantiles(200) for part in (fit, together[0]))
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_rejects_a_law_that_cannot_be_decompressed() -> None:
    values = evolve(laws.kesten_mckay(3.0).levy(), 1.0).quantiles(600)
    assert fit_levy(values, positive=False)[0].chi_square > 10
    assert fit_levy(values, positive=False, index=1 / 2.9)[0].chi_square < 1.5


def test_only_a_lower_end_that_the_block_does_not_see_is_open() -> None:
    factor = 8.0

    def apart(eigenvalues: torch.Tensor) -> float:
        high, low = extreme_measures(eigenvalues, 8.0)
        return ks_distance(*(evolve(part, factor, 800).quantiles(2000) for part in (high, low)))

    assert apart(wishart(400, 6400, 0)) < 0.01
    generator = torch.Generator().manual_seed(0)
    scales = torch.exp(2 * torch.randn(4800, generator=generator, dtype=torch.float64))
    x = torch.randn(400, 4800, generator=generator, dtype=torch.float64)
    assert apart(torch.linalg.eigvalsh((x * scales) @ x.T / 4800)) > 0.1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.arange(31), "needs 32"),
        (torch.full((40,), 2.0), "all eigenvalues are alike"),
        (torch.tensor([math.nan, *range(40)]), "finite"),
    ],
)
def test_refuses_what_is_no_spectrum(values: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_levy(values, positive=False)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(2, 12))
def test_nonnegative_least_squares_is_that_of_scipy(seed: int, unknowns: int) -> None:
    rng = np.random.default_rng(seed)
    matrix, target = rng.standard_normal((15, unknowns)), rng.standard_normal(15)
    wanted = optimize.nnls(matrix, target)[0]
    found = nonnegative_least_squares(
        torch.from_numpy(matrix.T @ matrix)[None], torch.from_numpy(matrix.T @ target)[None]
    )[0]
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-6)


def test_the_empirical_transform_is_the_mean_of_the_poles() -> None:
    values = torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64)
    real, imaginary = empirical_stieltjes(
        values, torch.tensor([0.3], dtype=torch.float64), torch.tensor([0.2], dtype=torch.float64)
    )
    expected = (1 / (values.to(torch.complex128) - (0.3 + 0.2j))).mean()
    assert complex(float(real), float(imaginary)) == pytest.approx(complex(expected))


@settings(deadline=None, max_examples=50)
@given(
    st.floats(-14, 2),  # logarithm of the mass of the cell that s lies in
    st.floats(0.001, 0.999),
    st.floats(-3, 3),
)
def test_the_boundary_is_found_in_a_cell_of_any_mass(power: float, place: float, growth: float) -> None:
    # a cell with next to no mass once left the search without a root
    measure = cells((-1.0, 0.0, 0.4), (0.0, 1.0, 10.0**power), (4.0, 4.0, 0.5))
    factor = 10.0**growth
    s = torch.tensor([place], dtype=torch.float64)
    v = heights(measure, s, factor)
    assert float(v) > 0
    imaginary = cauchy_imaginary(measure.left, measure.right, s, v) @ measure.mass
    assert float(-imaginary / v) == pytest.approx(factor, rel=1e-8)


def test_the_transform_of_a_cell_is_that_of_its_points() -> None:
    left, right = torch.tensor([0.5], dtype=torch.float64), torch.tensor([0.8], dtype=torch.float64)
    x = 0.5 + 0.3 * (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    for s, v in ((0.6, 0.01), (2.0, 0.3), (0.5, 1e-3)):
        u = torch.tensor([s], dtype=torch.float64), torch.tensor([v], dtype=torch.float64)
        wanted = complex((1 / (complex(s, v) - x)).mean())
        found = complex(float(cauchy_real(left, right, *u)), float(cauchy_imaginary(left, right, *u)))
        assert found == pytest.approx(wanted, rel=1e-6)


def test_a_measure_is_positive_and_ordered() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        cells((0.0, 1.0, -0.1))
    with pytest.raises(ValueError, match="must not be negative, and cells must not be reversed"):
        cells((1.0, 0.0, 0.1))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 1e-9, 1e-5]))
def test_nearly_equal_columns_leave_the_objective_at_its_least(seed: int, apart: float) -> None:
    """Exchanges of whole sets need not end there; the methods that follow do."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(rng.standard_normal((12, 10)), 3, axis=1) + apart * rng.standard_normal((12, 30))
    target = rng.standard_normal(12)
    matrix = torch.from_numpy(rows)
    found = nonnegative_least_squares(matrix.T @ matrix, matrix.T @ torch.from_numpy(target)).numpy()
    assert (found >= 0).all()
    assert np.linalg.norm(rows @ found - target) <= optimize.nnls(rows, target)[1] * (1 + 1e-6) + 1e-6


@pytest.mark.parametrize("unknowns", [5, 40])
def test_both_methods_solve_a_batch_alike(unknowns: int) -> None:
    rng = np.random.default_rng(unknowns)
    rows = torch.from_numpy(rng.standard_normal((4, 60, unknowns)))
    gram, right = rows.mT @ rows, (rows.mT @ torch.from_numpy(rng.standard_normal((4, 60, 1))))[..., 0]
    torch.testing.assert_close(
        nonnegative_least_squares(gram, right), nonnegative._interior(gram, right), rtol=1e-6, atol=1e-8
    )
