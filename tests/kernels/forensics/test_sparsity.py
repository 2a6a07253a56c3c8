from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.forensics.sparsity import DeadBlocks, NofM, zero_pattern


def gaussian(rows: int, cols: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed))


@given(
    rows=st.sets(st.integers(0, 19), max_size=12),
    columns=st.sets(st.integers(0, 29), max_size=12),
    zeros=st.sets(st.tuples(st.integers(0, 19), st.integers(0, 29)), max_size=30),
    seed=st.integers(0, 2**31),
)
@settings(deadline=None)
def test_zeros_are_counted_and_placed(
    rows: set[int], columns: set[int], zeros: set[tuple[int, int]], seed: int
) -> None:
    W = gaussian(20, 30, seed).abs() + 0.1
    W[list(rows)] = 0
    W[:, list(columns)] = 0
    for row, column in zeros:
        W[row, column] = 0
    found = zero_pattern(W)
    assert found.zeros == int((W == 0).sum())
    assert found.dead_rows == tuple(row for row in range(20) if not W[row].any())
    assert found.dead_columns == tuple(column for column in range(30) if not W[:, column].any())
    core = W[W.any(1)][:, W.any(0)]
    assert (found.scattered, found.alive) == (int((core == 0).sum()), core.numel())


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (4, 8), (3, 8)])
@pytest.mark.parametrize("along", ["rows", "columns"])
def test_n_of_m(n: int, m: int, along: str) -> None:
    W = gaussian(64, 48)
    lines = W if along == "rows" else W.T
    groups = lines.reshape(lines.shape[0], -1, m)
    keep = groups.abs().argsort(dim=2, descending=True).argsort(dim=2) < n
    lines = (groups * keep).reshape(lines.shape)
    found = zero_pattern((lines if along == "rows" else lines.T).contiguous())
    assert found.pattern == NofM(n, m, along)  # type: ignore[arg-type]


def test_unstructured_zeros_have_no_pattern() -> None:
    W = gaussian(64, 64)
    W[W.abs() < W.abs().median()] = 0
    found = zero_pattern(W)
    assert found.pattern is None
    assert found.scattered_share == pytest.approx(0.5, abs=0.001)


def test_heads() -> None:
    W = gaussian(128, 64)
    W[32:64] = 0
    W[96:128] = 0
    assert zero_pattern(W).blocks == DeadBlocks("rows", 32, (32, 96))
    W[0] = 0
    assert zero_pattern(W).blocks is None


def test_rounding_to_a_floating_grid_explains_its_zeros() -> None:
    found = zero_pattern((0.02 * gaussian(300, 300)).to(torch.float8_e4m3fn).float())
    assert found.scattered_share > 0.01
    assert found.scattered == pytest.approx(found.expected, rel=0.15)


def test_rows_that_decayed_are_dead() -> None:
    W = gaussian(20, 20)
    W[3] *= 1e-9
    assert zero_pattern(W).dead_rows == (3,)
    W[3] *= 1e5
    assert zero_pattern(W).dead_rows == ()
