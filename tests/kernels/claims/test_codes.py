"""The test of codes, and the factors of rows and columns."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmtaudit.kernels.claims.codes import code_counts
from rmtaudit.kernels.claims.scales import scaled_to


def _rounded(
    base: torch.Tensor, levels: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    low, high = base.amin(1, keepdim=True), base.amax(1, keepdim=True)
    step = ((high - low) / (levels - 1)).expand_as(base)
    origin = low.expand_as(base)
    stored = origin + step * ((base - origin) / step).round()
    return stored, origin, step, torch.arange(levels).double()


@given(levels=st.sampled_from([4, 16, 64, 256]), seed=st.integers(0, 1000))
def test_rounding_to_the_nearest_misplaces_nothing(levels: int, seed: int) -> None:
    base = torch.randn(8, 32, generator=torch.Generator().manual_seed(seed))
    stored, origin, step, table = _rounded(base, levels)
    counts = code_counts(stored, base, origin=origin, step=step, table=table)
    assert counts.misplaced == 0
    assert counts.judged == 256


@pytest.mark.parametrize("noise", [0.01, 0.1])
def test_noise_misplaces_its_mean_size_in_steps(noise: float) -> None:
    generator = torch.Generator().manual_seed(3)
    base = torch.rand(200, 500, generator=generator)
    stored, origin, step, table = _rounded(base, 16)
    other = base + noise * step * torch.randn(base.shape, generator=generator)
    share = code_counts(stored, other, origin=origin, step=step, table=table).share
    assert share == pytest.approx(noise * (2 / torch.pi) ** 0.5, rel=0.08)


def test_a_table_with_unequal_gaps_and_a_negative_scale() -> None:
    table = torch.tensor([-1.0, -0.5, 0.0, 0.1, 1.0], dtype=torch.float64)
    step = torch.full((1, 6), -2.0)
    base = torch.tensor([[2.1, 0.9, 0.06, -0.05, -0.25, -3.0]])
    stored = torch.tensor([[2.0, 1.0, 0.0, 0.0, -0.2, -2.0]])
    counts = code_counts(stored, base, origin=torch.zeros(1, 6), step=step, table=table)
    assert (counts.judged, counts.misplaced, counts.inside) == (6, 0, 4)
    moved = code_counts(stored.roll(1), base, origin=torch.zeros(1, 6), step=step, table=table)
    assert moved.misplaced >= 4


def test_blocks_with_one_level_are_not_judged() -> None:
    zeros = torch.zeros(2, 4)
    counts = code_counts(zeros, zeros, origin=zeros, step=zeros, table=torch.arange(4).double())
    assert (counts.judged, counts.share, counts.rms) == (0, 0.0, 0.0)


def test_factors_of_rows_and_columns_are_recovered() -> None:
    generator = torch.Generator().manual_seed(5)
    base = torch.randn(64, 48, generator=generator).double()
    rows = 0.5 + torch.rand(64, 1, generator=generator).double()
    cols = 0.5 + torch.rand(1, 48, generator=generator).double()
    torch.testing.assert_close(scaled_to(rows * base * cols, base), rows * base * cols, rtol=1e-3, atol=1e-3)
