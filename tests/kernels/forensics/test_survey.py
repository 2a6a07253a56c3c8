"""The one pass over a matrix: what it finds is what a pass for each question finds."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.forensics.bytes import HALF_LARGEST, HALF_SMALLEST, byte_facts
from rmtaudit.kernels.forensics.clipping import clipping
from rmtaudit.kernels.forensics.outliers import SUSPECTS, TAIL, largest_entries
from rmtaudit.kernels.forensics.sparsity import zero_pattern
from rmtaudit.kernels.forensics.survey import GROUP, TOP, survey

SHAPES = ((1, 1), (3, 70), (64, 1), (200, 41), (2100, 160), (97, 5000))


def heavy(shape: tuple[int, int], seed: int) -> torch.Tensor:
    """Return entries of all sizes, a good many of them zero, denormal or beyond float16."""
    draws = torch.Generator().manual_seed(seed)
    W = torch.randn(shape, generator=draws) * torch.exp(4 * torch.randn(shape, generator=draws))
    W[torch.rand(shape, generator=draws) < 0.01] = 0.0
    W[torch.rand(shape, generator=draws) < 0.001] = 1e-40
    return W


@given(seed=st.integers(0, 2**31), shape=st.sampled_from(SHAPES), layout=st.sampled_from("cft"))
@settings(deadline=None, max_examples=40)
def test_a_survey_is_what_single_passes_find(seed: int, shape: tuple[int, int], layout: str) -> None:
    W = heavy(shape, seed)
    if layout == "f":
        W = W.T.contiguous().T  # the transpose is the contiguous one
    elif layout == "t":
        W = torch.cat([W, W], dim=1)[:, : shape[1]]  # neither is
    found = survey(W)
    assert (found.low, found.high, found.largest) == (float(W.min()), float(W.max()), float(W.abs().max()))
    assert found.smallest.min() == W.abs().min()
    assert found.least == float(W.abs().min())
    assert found.mean == pytest.approx(float(W.double().mean()), abs=1e-6 * float(W.abs().double().mean()))
    torch.testing.assert_close(found.rows, W.double().square().mean(1).sqrt(), rtol=1e-5, atol=1e-30)
    torch.testing.assert_close(found.columns, W.double().square().mean(0).sqrt(), rtol=1e-5, atol=1e-30)
    lines = W.T if found.transposed else W
    assert found.peaks.shape == (math.ceil(len(lines) / GROUP), lines.shape[1])
    assert torch.equal(torch.cat(list(found.bands(torch.ones_like(found.smallest).bool()))), lines)

    facts, size = byte_facts(W, "float32", found), W.abs()
    assert facts.denormals == int(((size > 0) & (size < torch.finfo(torch.float32).smallest_normal)).sum())
    assert facts.vanishing == int(((size > 0) & (size <= HALF_SMALLEST)).sum())
    assert facts.overflowing == int((size > HALF_LARGEST).sum())
    if facts.largest > 0:
        assert zero_pattern(W, found).zeros == int((W == 0).sum())


@pytest.mark.parametrize("layout", ["rows", "columns"])
@pytest.mark.parametrize("shape", [(40, 30), (2100, 160), (5000, 33)])
def test_the_largest_entries_are_those_of_a_full_sort(shape: tuple[int, int], layout: str) -> None:
    W = heavy(shape, 5).round(decimals=1)  # with ties, which go by position
    W = W if layout == "rows" else W.T.contiguous().T
    test = largest_entries(W)
    assert test is not None
    order = W.abs().reshape(-1).argsort(descending=True, stable=True)[:5]
    assert test.largest_positions == tuple(divmod(int(place), shape[1]) for place in order)
    assert test.largest_values == tuple(W.reshape(-1)[order].tolist())


@pytest.mark.parametrize("layout", ["rows", "columns"])
@pytest.mark.parametrize("shape", [(9, 5), (40, 30), (2100, 160)])
def test_values_are_counted_among_the_largest_and_below(shape: tuple[int, int], layout: str) -> None:
    W = heavy(shape, 6).round(decimals=1)
    W = W if layout == "rows" else W.T.contiguous().T
    known = survey(W)
    assert TOP == TAIL + SUSPECTS + 1
    assert known.top.values.tolist() == W.reshape(-1)[known.top.places].tolist()
    assert len(known.top.values) == min(TOP, W.numel())
    for value in (*known.top.values[[0, 3, -1]].tolist(), known.low, known.high, 0.0, 0.1, 12345.5):
        wanted = float(torch.tensor(value))  # 0.1 as it is in float32
        assert known.count(wanted) == int(W.eq(wanted).sum())


def test_ties_are_counted_over_all_bands() -> None:
    W = torch.randn(3000, 200, generator=torch.Generator().manual_seed(0)).clamp(-2.5, 9)
    found = clipping(W)
    assert found is not None
    assert (found.low, found.high, found.clipped) == (-2.5, None, int((W == -2.5).sum()))
    assert survey(W).lowest.numel() > 1


def test_half_precision_is_widened() -> None:
    W = torch.randn(70, 40, generator=torch.Generator().manual_seed(1)).bfloat16()
    assert survey(W).columns.equal(survey(W.float()).columns)
