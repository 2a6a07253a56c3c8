"""Copies, bytes, rank deficits and samples."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.forensics.bytes import byte_facts
from rmtaudit.kernels.forensics.duplicates import duplicated_rows
from rmtaudit.kernels.forensics.ranks import rank_deficit
from rmtaudit.kernels.forensics.samples import repeats, sorted_values, strided
from rmtaudit.kernels.spectra.eigenvalues import gram_eigenvalues


def gaussian(rows: int, cols: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed))


@given(st.lists(st.integers(0, 39), min_size=2, max_size=10, unique=True), st.integers(0, 2**31))
@settings(deadline=None)
def test_copied_rows_are_found(places: list[int], seed: int) -> None:
    W = gaussian(40, 24, seed)
    W[places] = W[places[0]].clone()
    assert duplicated_rows(W) == (tuple(sorted(places)),)


def test_near_copies_and_zero_rows_are_not_copies() -> None:
    W = gaussian(40, 24)
    W[3] = W[5]
    W[3, 23] += 1e-6
    W[7] = W[8] = 0
    assert duplicated_rows(W) == ()


def test_two_groups_and_both_precisions() -> None:
    W = gaussian(40, 24)
    W[9], W[4] = W[2].clone(), W[3].clone()
    assert duplicated_rows(W) == ((2, 9), (3, 4))
    assert duplicated_rows(W.double()) == ((2, 9), (3, 4))


def test_copies_by_chance_say_nothing() -> None:
    ternary = gaussian(200, 4).sign()
    assert len(torch.unique(ternary, dim=0)) < 200
    assert duplicated_rows(ternary) == ()


def test_bytes() -> None:
    W = gaussian(30, 40).clamp(min=0.01)
    clean = byte_facts(W, "float32")
    assert (clean.constant, clean.denormals, clean.overflowing, clean.vanishing) == (None, 0, 0, 0)
    assert clean.largest == float(W.max())
    W[0, :3] = torch.tensor([1e-39, -1e-40, 1e-9])
    W[1, :2] = torch.tensor([70000.0, -1e6])
    found = byte_facts(W, "float32")
    assert (found.denormals, found.overflowing, found.vanishing, found.largest) == (2, 2, 3, 1e6)
    assert byte_facts(torch.full((3, 4), -2.5), "float32").constant == -2.5
    assert byte_facts(torch.full((3, 4), 3e-5), "float16").denormals == 12


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rank", [1, 16, 48])
def test_truncation_has_a_gap(rank: int, dtype: torch.dtype) -> None:
    W = (gaussian(96, rank) @ gaussian(rank, 64, 1)).to(dtype).float()
    facts = torch.finfo(dtype)
    found = rank_deficit(
        gram_eigenvalues(W), possible=64, epsilon=facts.eps / 2, smallest_normal=facts.smallest_normal
    )
    assert found is not None
    assert (found.rank, found.possible) == (rank, 64)
    assert found.gap > 3
    assert found.smallest_kept > found.gap * found.largest_lost * 0.999


@given(st.integers(0, 2**31), st.sampled_from([torch.bfloat16, torch.float8_e4m3fn]))
@settings(max_examples=40, deadline=None)
def test_coarse_rounding_of_a_full_rank_is_no_deficit(seed: int, dtype: torch.dtype) -> None:
    W = gaussian(64, 64, seed).to(dtype).float()
    facts = torch.finfo(dtype)
    spectrum = gram_eigenvalues(W)
    found = rank_deficit(spectrum, possible=64, epsilon=facts.eps / 2, smallest_normal=facts.smallest_normal)
    assert found is None


def test_an_expected_deficit_is_none() -> None:
    W = gaussian(64, 64)
    W[:8] = 0
    spectrum = gram_eigenvalues(W)
    assert rank_deficit(spectrum, possible=56, epsilon=2.0**-24, smallest_normal=0.0) is None
    assert rank_deficit(spectrum, possible=64, epsilon=2.0**-24, smallest_normal=0.0) is not None


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 500))
@settings(deadline=None)
def test_samples_are_even(rows: int, cols: int, count: int) -> None:
    W = torch.arange(rows * cols).reshape(rows, cols)
    sample = strided(W, count)
    if rows * cols <= count:
        assert torch.equal(sample, W.reshape(-1))
    else:
        assert count / 8 <= len(sample) <= 2 * count + 1
        assert len(torch.unique(sample)) == len(sample)


@given(st.integers(0, 2**31), st.sampled_from([0, 1, 3, 40, 10_000]), st.sampled_from(["float32", "float64"]))
@settings(deadline=None, max_examples=40)
def test_repeats_are_those_of_the_sample(seed: int, levels: int, dtype: str) -> None:
    W = (gaussian(90, 70, seed) * levels).round().to(getattr(torch, dtype))
    sample = strided(W, 4096)
    values, counts = torch.unique(sample[sample != 0], return_counts=True)
    found = repeats(W)
    assert found.entries == len(sample)
    assert found.zeros == int((sample == 0).sum())
    assert found.distinct == len(values)
    assert found.pairs == int((counts * (counts - 1)).sum())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.int64])
def test_values_are_sorted_along_the_last_dimension(dtype: torch.dtype) -> None:
    W = (20 * gaussian(12, 9)).to(dtype)
    assert torch.equal(sorted_values(W.T), W.T.sort().values)
    assert sorted_values(W).dtype == dtype
