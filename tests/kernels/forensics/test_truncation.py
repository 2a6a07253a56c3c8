"""Truncations are told from directions that decayed, by what the lost directions hold."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.forensics.ranks import explained_deficit, rank_deficit
from rmtaudit.kernels.forensics.truncation import LostDirections, lost_directions
from rmtaudit.kernels.spectra.eigenvalues import singular_values

FORMATS = {torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}


def gaussian(rows: int, cols: int, seed: int = 0, uneven: float = 0.5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    scales = torch.exp(uneven * torch.randn(rows, 1, generator=generator, dtype=torch.float64))
    return scales * torch.randn(rows, cols, generator=generator, dtype=torch.float64)


def truncated(W: torch.Tensor, rank: int) -> torch.Tensor:
    U, S, V = torch.linalg.svd(W, full_matrices=False)
    return (U[:, :rank] * S[:rank]) @ V[:rank]


def lost(W: torch.Tensor, dtype: torch.dtype) -> LostDirections:
    found = lost_directions(
        W.double(), epsilon=FORMATS[dtype], smallest_normal=torch.finfo(dtype).smallest_normal
    )
    assert found is not None
    return found


@given(st.sampled_from(list(FORMATS)), st.integers(16, 48), st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_a_truncation_holds_nothing_but_rounding(dtype: torch.dtype, rank: int, seed: int) -> None:
    """rho is a mean of (n - r)(c - r) squared errors, at least 1024 here: near 1."""
    found = lost(truncated(gaussian(96, 80, seed), rank).to(dtype), dtype)
    assert (found.rank, found.lost) == (rank, 80 - rank)
    assert found.rho == pytest.approx(1, abs=0.25)
    assert found.truncated


def test_rows_and_columns_of_any_scale() -> None:
    low = truncated(gaussian(80, 60), 20)
    low *= torch.exp2(torch.randint(-20, 20, (80, 1), generator=torch.Generator().manual_seed(1)))
    low *= torch.exp2(torch.randint(-6, 6, (60,), generator=torch.Generator().manual_seed(2)))
    low[5] = 0
    found = lost(low.float(), torch.float32)
    assert found.rank in (19, 20)
    assert found.truncated


def test_a_truncation_in_the_stored_precision_has_the_rank_but_not_the_cause() -> None:
    W = gaussian(128, 96).float()
    for rank in (16, 48):
        found = lost(truncated(W, rank), torch.float32)
        assert found.rank == rank
        assert found.rho > 3
        assert not found.truncated


def test_decayed_directions_are_no_truncation() -> None:
    """Weight decay leaves directions far below the others, and above the rounding."""
    U, S, V = torch.linalg.svd(gaussian(64, 64), full_matrices=False)
    S[8:] *= 10.0 ** torch.linspace(-5, -8, 56, dtype=torch.float64)
    found = lost(((U * S) @ V).float(), torch.float32)
    assert found.lost > 6
    assert found.rho > 3
    assert not found.truncated


def test_few_directions_in_half_precision_may_have_decayed() -> None:
    low = truncated(gaussian(64, 64), 2)
    assert lost(low.float(), torch.float32).truncated
    for dtype in (torch.float16, torch.bfloat16):
        found = lost(low.to(dtype), dtype)
        assert (found.rank, found.truncated) == (2, False)
        assert 0.3 <= found.rho <= 3


@pytest.mark.parametrize(("rank", "decided"), [(61, False), (60, False), (58, False), (57, True)])
def test_losing_a_few_directions_is_no_truncation(rank: int, decided: bool) -> None:
    assert lost(truncated(gaussian(96, 64), rank).float(), torch.float32).truncated is decided


@pytest.mark.parametrize("small", [1, 3])
def test_the_last_values_of_a_square_matrix_fall_by_chance(small: int) -> None:
    U, S, V = torch.linalg.svd(gaussian(64, 64, uneven=0.0), full_matrices=False)
    S[-small:] = 2e-5
    W = ((U * S) @ V).float()
    assert lost(W, torch.float32).lost == 0
    spectrum = singular_values(W)
    assert rank_deficit(spectrum, possible=64, epsilon=2.0**-24, smallest_normal=2.0**-126) is None


def test_nothing_lost_and_nothing_left() -> None:
    whole = lost(gaussian(40, 30), torch.float32)
    assert (whole.rank, whole.lost, whole.largest_lost, whole.rho) == (30, 0, 0.0, math.inf)
    assert lost_directions(torch.zeros(4, 4), epsilon=2.0**-24, smallest_normal=0.0) is None
    assert lost_directions(torch.eye(4)[:1], epsilon=2.0**-24, smallest_normal=0.0) is None


@pytest.mark.parametrize("computed", [torch.float64, torch.float32])
@pytest.mark.parametrize("rank", [4, 32, 60])
def test_the_screen_lets_every_truncation_through(computed: torch.dtype, rank: int) -> None:
    low = truncated(gaussian(128, 96, seed=3).to(computed), rank).float()
    spectrum = singular_values(low)
    found = rank_deficit(spectrum, possible=96, epsilon=2.0**-24, smallest_normal=2.0**-126)
    assert found is not None
    assert (found.rank, found.rho, found.truncated) == (rank, None, False)
    explained = explained_deficit(spectrum, lost(low, torch.float32))
    assert explained is not None
    assert (explained.rank, explained.possible) == (rank, 96)
    assert explained.truncated is (computed is torch.float64 or rank == 4)  # of rank 4, rho is 2.4
    assert explained.smallest_kept == pytest.approx(float(spectrum.eigenvalues[-rank]) ** 0.5)


def test_a_full_rank_has_no_deficit_to_explain() -> None:
    W = gaussian(40, 30)
    assert explained_deficit(singular_values(W), lost(W, torch.float32)) is None
