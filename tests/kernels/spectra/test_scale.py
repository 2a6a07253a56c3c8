"""Norms, ranks, entropy and condition: identities, and the numerical rank of rounded products."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.spectra import scale
from rmtaudit.kernels.spectra.eigenvalues import gram_eigenvalues, pool, singular_values
from rmtaudit.kernels.spectra.spectrum import Spectrum


def gaussian(rows: int, cols: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, cols, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def low_rank(rows: int, cols: int, rank: int, seed: int = 0) -> torch.Tensor:
    return gaussian(rows, rank, seed) @ gaussian(rank, cols, seed + 1) / math.sqrt(rank)


def rank_of(matrix: torch.Tensor, dtype: torch.dtype) -> int:
    found = torch.finfo(dtype)
    spectrum = singular_values(matrix.to(dtype).double())
    return scale.numerical_rank(spectrum, epsilon=found.eps / 2, smallest_normal=found.smallest_normal)


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (25, 25), (1, 8)])
def test_norms_are_those_of_the_matrix(shape: tuple[int, int]) -> None:
    W = gaussian(*shape)
    values = gram_eigenvalues(W).eigenvalues
    fro, two = torch.linalg.matrix_norm(W).item(), torch.linalg.matrix_norm(W, 2).item()
    assert scale.frobenius_norm(values) == pytest.approx(fro, rel=1e-12)
    assert scale.spectral_norm(values) == pytest.approx(two, rel=1e-12)
    assert scale.stable_rank(values) == pytest.approx((fro / two) ** 2, rel=1e-12)


def test_condition_is_that_of_the_matrix() -> None:
    W = gaussian(30, 20)
    condition = scale.condition_number(gram_eigenvalues(W))
    assert condition == pytest.approx(torch.linalg.cond(W).item(), rel=1e-10)


def test_condition_of_pooled_matrices_is_the_worst() -> None:
    parts = tuple(gram_eigenvalues(W) for W in (gaussian(30, 20), 1e-3 * gaussian(30, 20, 1)))
    conditions = [scale.condition_number(part) for part in parts]
    assert scale.condition_number(pool(parts)) == max(c for c in conditions if c is not None)


def test_condition_of_a_singular_matrix_is_only_bounded() -> None:
    exact = torch.diag(torch.tensor([1.0, 0.5, 1e-12], dtype=torch.float64))
    spectrum = gram_eigenvalues(exact)
    assert scale.condition_number(spectrum) is None
    assert 1e6 < scale.condition_bound(spectrum) <= 1e12
    assert scale.condition_number(singular_values(exact)) == pytest.approx(1e12)


def test_condition_bound_of_a_zero_matrix_is_infinite() -> None:
    assert scale.condition_bound(gram_eigenvalues(torch.zeros(3, 3))) == math.inf


@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_equal_eigenvalues_are_as_even_as_can_be(n: int) -> None:
    values = torch.full((n,), 3.7, dtype=torch.float64)
    assert scale.spectral_entropy(values) == pytest.approx(math.log(n), abs=1e-12)
    assert scale.effective_rank(values) == pytest.approx(n)
    assert scale.stable_rank(values) == pytest.approx(n)


def test_zeros_add_nothing_to_the_entropy() -> None:
    values = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    padded = torch.cat([torch.zeros(10, dtype=torch.float64), values])
    assert scale.spectral_entropy(padded) == scale.spectral_entropy(values)
    one = torch.tensor([0.0, 0.0, 4.0], dtype=torch.float64)
    assert scale.spectral_entropy(one) == 0


def test_entropy_by_hand() -> None:
    values = torch.tensor([1.0, 3.0], dtype=torch.float64)
    assert scale.spectral_entropy(values) == pytest.approx(-0.25 * math.log(0.25) - 0.75 * math.log(0.75))


spectra = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=30).map(
    lambda values: torch.tensor(sorted(values), dtype=torch.float64)
)


@settings(max_examples=100, deadline=None)
@given(values=spectra, exponent=st.integers(-900, 900))
def test_shape_does_not_depend_on_the_unit(values: torch.Tensor, exponent: int) -> None:
    scaled = values * 2.0**exponent
    assert scale.stable_rank(scaled) == scale.stable_rank(values)
    assert scale.spectral_entropy(scaled) == scale.spectral_entropy(values)


@settings(max_examples=100, deadline=None)
@given(values=spectra)
def test_ranks_are_ordered(values: torch.Tensor) -> None:
    """Rényi entropies fall with their order: order infinity (stable) under 1 (effective) under 0 (n)."""
    slack = 1 + 1e-12
    assert 1 <= scale.stable_rank(values) <= scale.effective_rank(values) * slack
    assert scale.effective_rank(values) <= len(values) * slack


@settings(max_examples=50, deadline=None)
@given(values=spectra)
def test_norms_are_homogeneous(values: torch.Tensor) -> None:
    assert scale.frobenius_norm(values * 4.0) == pytest.approx(2 * scale.frobenius_norm(values), rel=1e-14)
    assert scale.spectral_norm(values * 4.0) == 2 * scale.spectral_norm(values)


def test_sums_neither_overflow_nor_underflow() -> None:
    for largest in (1e308, 1e-300):
        values = torch.full((100,), largest, dtype=torch.float64)
        assert scale.frobenius_norm(values) == pytest.approx(10 * math.sqrt(largest))
        assert scale.stable_rank(values) == pytest.approx(100)


def test_a_zero_matrix_has_norms_and_no_shape() -> None:
    zero = torch.zeros(5, dtype=torch.float64)
    assert (scale.frobenius_norm(zero), scale.spectral_norm(zero)) == (0, 0)
    assert scale.numerical_rank(gram_eigenvalues(torch.zeros(5, 6)), epsilon=2.0**-24) == 0
    for of_shape in (scale.stable_rank, scale.spectral_entropy, scale.effective_rank):
        with pytest.raises(ValueError, match="zero"):
            of_shape(zero)


STORED = [torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", STORED)
@pytest.mark.parametrize("shape", [(64, 64), (200, 200), (400, 100), (100, 400), (1000, 30)])
@pytest.mark.parametrize("rank", [1, 2, 3, 8, 25])
def test_rank_of_a_rounded_product(dtype: torch.dtype, shape: tuple[int, int], rank: int) -> None:
    assert rank_of(low_rank(*shape, rank), dtype) == rank


@pytest.mark.parametrize("dtype", STORED)
def test_rank_of_small_entries(dtype: torch.dtype) -> None:
    """Entries below the smallest normal number of float16 are rounded to a fixed grid, not relatively."""
    assert rank_of(1e-6 * low_rank(200, 100, 8), dtype) == 8


@pytest.mark.parametrize("dtype", [*STORED, torch.float8_e4m3fn])
@pytest.mark.parametrize("shape", [(300, 200), (100, 400), (1000, 30)])
def test_rectangular_noise_has_full_rank(dtype: torch.dtype, shape: tuple[int, int]) -> None:
    assert rank_of(gaussian(*shape), dtype) == min(shape)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("n", [16, 64, 200])
def test_square_noise_has_full_rank(dtype: torch.dtype, n: int) -> None:
    assert [rank_of(gaussian(n, n, seed), dtype) for seed in range(5)] == [n] * 5


def test_square_noise_in_bfloat16_is_short_of_at_most_one() -> None:
    """The least singular value of square noise, about ``1/√n``, may be below what bfloat16 resolves."""
    assert {rank_of(gaussian(200, 200, seed), torch.bfloat16) for seed in range(10)} <= {199, 200}


def test_rank_of_pooled_matrices_is_the_sum() -> None:
    parts = tuple(gram_eigenvalues(low_rank(60, 40, rank).float()) for rank in (3, 5))
    pooled = pool((*parts, gram_eigenvalues(torch.zeros(60, 40))))
    assert scale.numerical_rank(pooled, epsilon=2.0**-24) == 8


def test_nothing_below_the_resolution_floor_counts() -> None:
    values = torch.tensor([0.0, 0.0, 1e-3, 1.0], dtype=torch.float64)
    spectrum = Spectrum(eigenvalues=values, rows=4, cols=4, method="exact", floor=1e-2, unresolved=2)
    assert scale.numerical_rank(spectrum, epsilon=2.0**-53) == 1
