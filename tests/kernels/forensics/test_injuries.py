"""Kernels of single injuries: loud lines, clipping, flipped bits, order within lines, zeros beside giants."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.forensics.bitflips import flipped_bits
from rmtaudit.kernels.forensics.clipping import clipping
from rmtaudit.kernels.forensics.line_order import line_order
from rmtaudit.kernels.forensics.lines import loud_lines
from rmtaudit.kernels.forensics.outliers import widest_gap
from rmtaudit.kernels.forensics.sparsity import NofM, zero_pattern
from rmtaudit.kernels.forensics.survey import survey


def gaussian(rows: int, cols: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed))


def correlated(rows: int, cols: int, seed: int = 0) -> torch.Tensor:
    """Return rows that share four directions and differ in size."""
    W = gaussian(rows, cols, seed) + gaussian(rows, 4, seed + 1) @ gaussian(4, cols, seed + 2)
    return W * (0.3 * gaussian(rows, 1, seed + 3)).exp()


@given(seed=st.integers(0, 2**31), rows=st.integers(1, 20), cols=st.integers(1, 20))
@settings(deadline=None, max_examples=30)
def test_line_sizes_are_root_mean_squares(seed: int, rows: int, cols: int) -> None:
    W = gaussian(rows, cols, seed)
    known = survey(W)
    by_row, by_column = known.rows, known.columns
    torch.testing.assert_close(by_row, W.double().square().mean(1).sqrt(), rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(by_column, W.double().square().mean(0).sqrt(), rtol=1e-5, atol=1e-9)


def test_loud_rows_are_named_in_order() -> None:
    W = gaussian(96, 64)
    W[[11, 70]] *= torch.tensor([[30.0], [60.0]])
    found = loud_lines(survey(W).rows)
    assert found is not None
    assert found.positions == (70, 11)
    assert found.gap > 10
    assert found.p_value < 1e-12


def test_too_few_lines_say_nothing() -> None:
    assert loud_lines(torch.rand(36)) is None
    assert loud_lines(torch.cat([torch.rand(36), torch.zeros(100)])) is None


def test_the_p_value_of_the_widest_gap_is_uniform_or_more_under_a_pareto_tail() -> None:
    generator = np.random.default_rng(0)
    p_values = []
    for _ in range(2000):
        values = np.sort(generator.pareto(2.0, 400) + 1)[::-1]
        p_values.append(widest_gap(values[:105], 100).p_value)
    for level in (0.2, 0.05, 0.01):  # four standard errors
        assert np.mean(np.array(p_values) <= level) <= level + 4 * np.sqrt(level / 2000)


@given(seed=st.integers(0, 2**31), least_gap=st.sampled_from([1.0, 1.2, 3.0]), loud=st.integers(0, 6))
@settings(deadline=None, max_examples=40)
def test_only_gaps_that_are_wide_enough_are_looked_at(seed: int, least_gap: float, loud: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    sizes = torch.rand(60, generator=draws, dtype=torch.float64)
    sizes[:loud] *= 10 * torch.rand(1, generator=draws, dtype=torch.float64)
    sizes[50:] = 0.0
    found = loud_lines(sizes)
    assert found is not None
    assert loud_lines(sizes, least_gap=least_gap) == (found if found.gap >= least_gap else None)


@pytest.mark.parametrize("sigmas", [2.0, 3.0])
def test_clipping_names_both_bounds(sigmas: float) -> None:
    W = gaussian(128, 128)
    clipped = W.clamp(-sigmas, sigmas)
    found = clipping(clipped)
    assert found is not None
    assert (found.low, found.high) == (-sigmas, sigmas)
    assert found.clipped == int((W.abs() >= sigmas).sum())
    assert clipping(W) is None


def test_ties_that_rounding_makes_are_no_clipping() -> None:
    for seed in range(10):
        W = gaussian(128, 128, seed)
        assert clipping(W.to(torch.float8_e4m3fn).float()) is None
        assert clipping((4 * W).round()) is None
        assert clipping(W.bfloat16().float()) is None
    assert clipping(torch.where(gaussian(64, 64) > 0, 0.0, gaussian(64, 64))) is None  # a bound of zero


@pytest.mark.parametrize("count", [1, 40])
def test_flipped_bits_are_restored(count: int) -> None:
    W = 0.05 * gaussian(96, 128)
    flat = W.clone().reshape(-1)
    places = torch.randperm(flat.numel(), generator=torch.Generator().manual_seed(1))[:count]
    flat.view(torch.int32)[places] ^= 1 << 30
    flipped = flat.reshape(W.shape)
    found = flipped_bits(flipped, float(flipped.abs().max()), "float32")
    assert found is not None
    assert sorted(row * 128 + column for row, column in found.positions) == sorted(places.tolist())
    assert found.restored == tuple(float(W[position]) for position in found.positions)


def test_large_values_are_no_flipped_bits() -> None:
    W = 0.05 * gaussian(96, 128)
    assert flipped_bits(W, float(W.abs().max()), "float32") is None
    for value in (40.0, 1e6, 1e30):  # 1e30 over 2^128 is far below every other weight
        W[3, 4] = value
        assert flipped_bits(W, value, "float32") is None
        assert flipped_bits(W, value, "float16") is None
    halves = 0.05 * gaussian(96, 128)
    for place in range(3):
        halves[place, place] *= 2.0**16
    found = flipped_bits(halves, float(halves.abs().max()), "float16")
    assert found is not None
    assert len(found.positions) == 3


@pytest.mark.parametrize("factor", [400.0, 3000.0, 2.0**14])
def test_a_loud_column_or_a_few_giants_are_no_flipped_bits_of_float16(factor: float) -> None:
    loud = (0.05 * gaussian(96, 128)).half().float()
    loud[:, 7] *= factor
    assert flipped_bits(loud, float(loud.abs().max()), "float16") is None
    assert flipped_bits(loud.T, float(loud.abs().max()), "float16") is None
    giants = (0.05 * gaussian(96, 128)).half().float()
    giants[[3, 20, 40, 41], [5, 50, 9, 77]] = 0.05 * min(factor, 2000.0)
    assert flipped_bits(giants, float(giants.abs().max()), "float16") is None


def test_random_lines_score_as_such() -> None:
    scores = []
    for seed in range(60):
        W = gaussian(96, 128, seed).sign() * gaussian(96, 128, seed + 999).abs() ** 2  # heavy entries
        order = line_order(W * (0.5 * gaussian(96, 1, seed + 500)).exp())
        scores.append((order.whole.products, order.whole.profile))
        assert order.whole.sizes > 8
    mean, deviation = np.mean(scores, axis=0), np.std(scores, axis=0)
    assert np.all(np.abs(mean) < 4 / np.sqrt(60))
    assert np.all((deviation > 0.7) & (deviation < 1.3))


def test_rows_shuffled_within_lose_their_products() -> None:
    W = correlated(128, 128)
    assert line_order(W).whole.products > 30
    shuffled = W.gather(1, torch.rand(W.shape, generator=torch.Generator().manual_seed(1)).argsort(1))
    order = line_order(shuffled)
    assert abs(order.whole.products) < 3.5
    assert order.whole.sizes > 8


def test_scores_are_computed_where_they_are_asked_for() -> None:
    W = correlated(150, 700).double()
    before = W.clone()
    order = line_order(W)
    assert not {"profile", "sizes"} & vars(order.whole).keys()
    assert order.whole.sizes > 8
    assert order.whole.profile > 3
    assert torch.equal(W, before)
    assert order.whole.products == pytest.approx(line_order(W.float()).whole.products, rel=1e-5)


def test_halves_are_told_apart() -> None:
    W = correlated(200, 128)
    W[:100] = W.std() * gaussian(100, 128, 5)
    first, second = line_order(W).halves
    assert abs(first.products) < 3.5
    assert abs(first.sizes) < 3.5
    assert second.products > 10
    with pytest.raises(ValueError, match="16 rows"):
        line_order(torch.zeros(15, 200))


@pytest.mark.parametrize("size", [0.1, 1.0, 3e7])
def test_rounding_of_equal_sizes_is_no_unevenness(size: float) -> None:
    """Rows of as many +a as -a have squares that are all equal, and so have no variance but rounding."""
    signs = torch.tensor([1.0, -1.0]).repeat(96, 55)
    order = line_order((signs * size)[:, torch.randperm(110, generator=torch.Generator().manual_seed(0))])
    assert (order.whole.sizes, order.whole.profile) == (0.0, 0.0)
    assert (order.halves[0].sizes, order.halves[1].profile) == (0.0, 0.0)


def test_one_giant_entry_leaves_no_dead_rows() -> None:
    W = gaussian(64, 48)
    W[3] = 0
    W[10, 7] = 1e12
    assert zero_pattern(W).dead_rows == (3,)
    assert zero_pattern(W).dead_columns == ()


def test_two_of_four_beside_dead_columns_and_rows() -> None:
    W = gaussian(32, 64)
    W.view(-1, 4).scatter_(1, W.view(-1, 4).abs().argsort(1)[:, :2], 0)
    W[:, [5, 18, 19]] = 0
    W[7] = 0
    found = zero_pattern(W)
    assert found.pattern == NofM(2, 4, "rows")
    assert found.dead_columns == (5, 18, 19)
    assert zero_pattern(W.T.contiguous()).pattern == NofM(2, 4, "columns")


def test_the_contrast_of_alike_halves_is_standard_normal_and_changes_sign_with_their_order() -> None:
    scores = []
    for seed in range(200):
        W = gaussian(96, 64, seed) + 0.2 * gaussian(96, 1, seed + 1000) @ gaussian(1, 64, seed + 2000)
        scores.append(line_order(W).contrast)
        assert line_order(W.flip(0)).contrast == pytest.approx(-scores[-1])
    assert abs(np.mean(scores)) < 4 / np.sqrt(200)
    assert abs(np.std(scores) - 1) < 4 / np.sqrt(400)
