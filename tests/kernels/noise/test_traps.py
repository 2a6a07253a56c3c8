"""Shuffles and random signs: what they keep, and what they show."""

from __future__ import annotations

import pytest
import torch

from rmtaudit.kernels.noise.marchenko_pastur import fit_bulk
from rmtaudit.kernels.noise.shuffle import shuffled
from rmtaudit.kernels.noise.traps import randomised_by_shuffle, randomised_by_signs
from rmtaudit.kernels.spectra.gram import eigenvalues, gram


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(30, 20), (420, 384), (1200, 1000)])
def test_a_shuffle_keeps_the_values_and_moves_them(shape: tuple[int, int]) -> None:
    """Below and above the size from which entries are dealt in hands."""
    matrix = torch.arange(shape[0] * shape[1], dtype=torch.float32).view(shape)
    found = shuffled(matrix, generator())
    assert found.shape == shape
    assert torch.equal(found.reshape(-1).sort().values, matrix.reshape(-1))
    assert torch.equal(found, shuffled(matrix, generator()))
    assert not torch.equal(found, shuffled(matrix, generator(1)))
    # what was one row is spread: a row of the result has the mean of all, to five standard errors
    spread = float(matrix.std()) * 5 / shape[1] ** 0.5
    assert float((found.mean(1) - matrix.mean()).abs().max()) < spread
    assert float((found.mean(0) - matrix.mean()).abs().max()) < float(matrix.std()) * 5 / shape[0] ** 0.5


def test_a_shuffle_destroys_low_rank_and_keeps_large_entries() -> None:
    low_rank = gaussian(300, 4) @ gaussian(4, 200, seed=1)
    hidden = randomised_by_shuffle(low_rank / low_rank.std(0), generator())
    assert hidden.ratio < 1.3
    one_large = gaussian(300, 200)
    one_large[17, 5] = 100
    trap = randomised_by_shuffle(one_large, generator())
    assert trap.outliers == 1
    assert trap.p_value < 1e-100
    # σ² = 1 + 100²/60000; the entry makes an eigenvalue of about 100² + 300 + 200
    assert trap.variance == pytest.approx(1 + 100**2 / 60_000, rel=0.02)
    assert trap.ratio == pytest.approx(10_500 / (trap.variance * (300**0.5 + 200**0.5) ** 2), rel=0.05)


def test_noise_has_no_traps() -> None:
    """50 Gaussian layers: at level 0.01, more than 4 has probability 1e-4."""
    p_values = [randomised_by_shuffle(gaussian(96, 64, seed=seed), generator()).p_value for seed in range(50)]
    assert sum(p < 0.01 for p in p_values) <= 4
    assert max(p_values) > 0.3


def test_the_mean_of_the_entries_is_no_trap() -> None:
    found = randomised_by_shuffle(gaussian(96, 64) + 3, generator())
    assert found.mean == pytest.approx(3, abs=0.1)
    assert found.outliers == 0
    assert found.ratio < 1.1


def test_the_unit_of_the_weights_plays_no_part() -> None:
    matrix = gaussian(64, 48).double()
    one, other = (randomised_by_shuffle(matrix * unit, generator()) for unit in (1.0, 1e-150))
    assert other.ratio == pytest.approx(one.ratio, rel=1e-9)
    assert other.variance == pytest.approx(one.variance * 1e-300, rel=1e-9)


def test_equal_entries_are_refused() -> None:
    with pytest.raises(ArithmeticError, match="all entries are equal"):
        randomised_by_shuffle(torch.full((32, 32), 0.7), generator())


def test_random_signs_see_uneven_rows() -> None:
    matrix = gaussian(300, 200)
    assert randomised_by_signs(matrix, generator()) == pytest.approx(1, abs=0.1)
    matrix[0] *= 10
    assert randomised_by_signs(matrix, generator()) > 3


@pytest.mark.parametrize("kind", ["plain", "student", "sparse", "one large", "far mean"])
def test_a_large_matrix_without_its_spectrum_has_the_same_outliers(kind: str) -> None:
    matrix = gaussian(500, 440)
    if kind == "student":  # 5 degrees of freedom: a fourth moment of 9
        matrix = matrix / gaussian(500, 440, seed=1).square().mul(1 / 5).add(0.8).sqrt()
    if kind == "sparse":
        matrix *= gaussian(500, 440, seed=2) > 2
    if kind == "one large":
        matrix[3, 4] = 1e5
    if kind == "far mean":
        matrix = matrix.mul(1e-3).add(1)
    result = randomised_by_shuffle(matrix, generator())
    dealt = shuffled(matrix, generator()).double()
    exact = eigenvalues(gram(dealt - matrix.double().mean()))
    edge = (500**0.5 + 440**0.5) ** 2 * result.variance
    assert result.outliers == fit_bulk(exact, 500, 440).spikes
    assert result.ratio == pytest.approx(float(exact[-1]) / edge, rel=2e-6)
    assert result.variance == pytest.approx(float(exact.sum()) / 220_000, rel=1e-6)


def test_random_signs_of_a_large_matrix_of_a_row_that_rules_the_top() -> None:
    matrix = gaussian(500, 440)
    matrix[0] *= 10
    exact = eigenvalues(gram(matrix.double()))  # a whole row may change its sign, the large one rules the top
    edge = (500**0.5 + 440**0.5) ** 2 * float(exact.sum()) / 220_000
    assert randomised_by_signs(matrix, generator()) == pytest.approx(float(exact[-1]) / edge, rel=0.05)
