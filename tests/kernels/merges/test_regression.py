"""Coefficients of merges, and what else was done."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from rmtaudit.kernels.merges.patterns import PatternSums, pattern_sums
from rmtaudit.kernels.merges.regression import (
    Coefficient,
    MergeSums,
    corrected_for_rounding,
    fit_merge,
    merge_sums,
    without_first,
)
from rmtaudit.kernels.merges.slerp import fit_slerp
from rmtaudit.kernels.merges.verdict import ARITHMETIC, MergeKind, MergeVerdict, merge_verdict

ROWS, COLS = 96, 64


def _weights(count: int, seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [0.05 * torch.randn(ROWS, COLS, generator=generator) for _ in range(count)]


def _sums(changes: list[torch.Tensor], parents: list[list[torch.Tensor]]) -> MergeSums:
    parts = [merge_sums(change, P) for change, P in zip(changes, parents, strict=True)]
    return sum(parts[1:], parts[0])


def test_coefficients_are_least_squares() -> None:
    change, first, second = _weights(3, 1)
    fit = fit_merge(merge_sums(change, [first, second]))
    assert fit is not None
    X = torch.stack([first.reshape(-1), second.reshape(-1)], dim=1).double()
    expected = torch.linalg.lstsq(X, change.reshape(-1, 1).double()).solution[:, 0]
    assert [c.value for c in fit.coefficients] == pytest.approx(expected.tolist(), rel=1e-9)
    assert fit.total.value == pytest.approx(float(expected.sum()), rel=1e-9)


def test_streamed_sandwich_equals_the_direct_one() -> None:
    changes, parents = [_weights(1, 2)[0], _weights(1, 3)[0]], [_weights(2, 4), _weights(2, 5)]
    fit = fit_merge(_sums(changes, parents))
    assert fit is not None
    beta = torch.tensor([c.value for c in fit.coefficients], dtype=torch.float64)
    xx, middle, clusters = torch.zeros(2, 2).double(), torch.zeros(2, 2).double(), 0
    for change, P in zip(changes, parents, strict=True):
        X = torch.stack(P, dim=2).double()
        residual = change.double() - X @ beta
        score = torch.einsum("rcp,rc->rp", X, residual)
        xx += torch.einsum("rcp,rcq->pq", X, X)
        middle += score.T @ score
        clusters += len(change)
    covariance = torch.linalg.inv(xx) @ middle @ torch.linalg.inv(xx) * clusters / (clusters - 1)
    errors = [c.standard_error for c in fit.coefficients]
    assert errors == pytest.approx(covariance.diagonal().sqrt().tolist(), rel=1e-6)


def test_equal_parents_determine_nothing() -> None:
    change, parent = _weights(2, 6)
    assert fit_merge(merge_sums(change, [parent, parent])) is None
    assert fit_merge(merge_sums(change, [parent, 0 * parent])) is None


def test_intervals_cover_and_non_parents_stay_out() -> None:
    covered, called = [], []
    for seed in range(60):
        first, second, third = _weights(3, 100 + seed)
        base = _weights(1, 500 + seed)[0]
        target = (base + 0.3 * first + 0.6 * second).bfloat16().float()
        fit = fit_merge(merge_sums(target - base, [first, second, third]))
        assert fit is not None
        covered += [c.low <= v <= c.high for c, v in zip(fit.coefficients, (0.3, 0.6), strict=False)]
        called.append(fit.coefficients[2].p_value < 0.01)
    assert 0.88 <= sum(covered) / len(covered) <= 0.99
    assert sum(called) <= 4


def _clipped(W: torch.Tensor) -> torch.Tensor:
    """Round to steps of a third, and clip what is beyond two standard deviations."""
    return (3 * W).round().clamp(-6, 6) / 3


def _uneven(W: torch.Tensor) -> torch.Tensor:
    """Round to levels that lie further apart the larger they are."""
    table = torch.linspace(-1, 1, 16) ** 3
    blocks = W.reshape(-1, 32)
    size = blocks.abs().amax(1, keepdim=True)
    return (table[torch.bucketize(blocks / size, (table[1:] + table[:-1]) / 2)] * size).reshape(W.shape)


@pytest.mark.parametrize("store", [_clipped, _uneven])
def test_rounding_makes_no_bias(store: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """The mean error over merges is that of chance, where the plain coefficients are off by more."""
    plain_scores: list[float] = []
    scores: list[float] = []
    covered: list[bool] = []
    claimed = (0.3, 0.6)
    for seed in range(30):
        generator = torch.Generator().manual_seed(900 + seed)
        base, *parents = (torch.randn(128, 256, generator=generator) for _ in range(3))
        parents = [0.2 * P for P in parents]
        target = store(base + claimed[0] * parents[0] + claimed[1] * parents[1])
        sums = merge_sums(target - base, [base, *parents])
        plain = fit_merge(without_first(sums))
        assert plain is not None
        fit = corrected_for_rounding(plain, sums)
        assert (fit.residual, fit.r_squared) == (plain.residual, plain.r_squared)
        for estimates, to in ((plain, plain_scores), (fit, scores)):
            to += [
                (k.value - v) / k.standard_error for k, v in zip(estimates.coefficients, claimed, strict=True)
            ]
        covered += [k.low <= v <= k.high for k, v in zip(fit.coefficients, claimed, strict=True)]
        assert abs(fit.total.value - 0.9) < 5 * fit.total.standard_error
    chance = len(scores) ** -0.5
    assert abs(sum(plain_scores)) > 5 * chance * len(scores)
    assert abs(sum(scores)) < 4 * chance * len(scores)
    assert 0.89 <= sum(covered) / len(covered) <= 0.99


def test_sums_without_the_first_column_are_those_of_the_others() -> None:
    change, base, first, second = _weights(4, 8)
    direct = merge_sums(change, [first, second])
    shorter = without_first(merge_sums(change, [base, first, second]))
    for name in ("xx", "xy", "yy", "score_score", "score_gram", "gram_gram"):
        torch.testing.assert_close(getattr(shorter, name), getattr(direct, name))


def test_a_base_that_the_parents_make_up_leaves_the_coefficients_as_they_are() -> None:
    change, base = _weights(2, 9)
    sums = merge_sums(change, [base, 0.1 * base])
    fit = fit_merge(without_first(sums))
    assert fit is not None
    assert corrected_for_rounding(fit, sums) is fit


def test_p_value_of_a_claimed_coefficient() -> None:
    k = Coefficient(value=0.5, standard_error=0.01, low=0.48, high=0.52, p_value=0.0)
    assert k.p_value_of(0.5) == 1
    assert k.p_value_of(0.52) == pytest.approx(0.0455, abs=1e-4)
    assert k.p_value_of(0.53, room=0.01) == pytest.approx(0.0455, abs=1e-4)
    exact = replace(k, standard_error=0.0)
    assert (exact.p_value_of(0.5), exact.p_value_of(0.6)) == (1, 0)


def _judged(kind: str, seed: int) -> MergeVerdict:
    generator = torch.Generator().manual_seed(seed)
    matrices = [(_weights(1, seed * 10 + i)[0] * 4, _weights(3, seed * 10 + 5 + i)) for i in range(3)]
    stored = []
    for base, changes in matrices:
        target = _made(kind, base, changes, generator)
        stored.append(target.bfloat16().float())
    parents = [changes[:2] for _, changes in matrices]
    fit = fit_merge(_sums([T - W for T, (W, _) in zip(stored, matrices, strict=True)], parents))
    assert fit is not None
    patterns: PatternSums | None = None
    slerps, floor = [], 0.0
    for target, (base, _), P in zip(stored, matrices, parents, strict=True):
        room = torch.ldexp(torch.ones_like(target), torch.frexp(target).exponent - 9)
        part = pattern_sums(target - base, P, room)
        patterns = part if patterns is None else patterns + part
        floor += float(room.double().square().sum()) / 3
        slerp = fit_slerp(target, base + P[0], base + P[1])
        assert slerp is not None
        slerps.append(slerp)
    assert patterns is not None
    entries = 3 * ROWS * COLS
    return merge_verdict(fit, patterns, slerps, floor=floor, entries=entries, allowance=ARITHMETIC)


def _made(
    kind: str, base: torch.Tensor, changes: list[torch.Tensor], generator: torch.Generator
) -> torch.Tensor:
    first, second, other = changes
    if kind == "linear":
        return base + 0.4 * first + 0.6 * second
    if kind == "unexplained":  # a weighted sum whose weights differ between matrices
        share = float(torch.rand((), generator=generator))
        return base + share * first + (1 - share) * second
    if kind == "missing parent":
        return base + 0.3 * first + 0.4 * second + 0.3 * other
    if kind == "trained afterwards":
        return base + 0.4 * first + 0.6 * second + 0.5 * other
    if kind == "dare":
        masks = [torch.rand(base.shape, generator=generator) < 0.5 for _ in range(2)]
        return base + (0.4 * first * masks[0] + 0.6 * second * masks[1]) / 0.5
    if kind == "ties":
        kept = [
            torch.where(D.abs() > D.abs().quantile(0.5), c * D, 0) for D, c in ((first, 0.4), (second, 0.6))
        ]
        elected = (kept[0] + kept[1]).sign()
        return base + sum(torch.where(K.sign() == elected, K, 0) for K in kept)
    A, B = base + first, base + second
    angle = math.acos(float((A * B).sum() / A.norm() / B.norm()))
    return (math.sin(0.4 * angle) * A + math.sin(0.6 * angle) * B) / math.sin(angle)


@pytest.mark.parametrize(
    "kind", ["linear", "slerp", "ties", "dare", "missing parent", "trained afterwards", "unexplained"]
)
@pytest.mark.parametrize("seed", [1, 2])
def test_kinds_are_told_apart(kind: str, seed: int) -> None:
    assert _judged(kind, seed).kind is MergeKind(kind)


@pytest.mark.parametrize("small", [0.1, 0.2, 0.3])
def test_unequal_weights_are_no_sign_election(small: float) -> None:
    first, second, other = _weights(3, 31)
    change = small * first + (0.9 - small) * second + 0.2 * other
    sums = pattern_sums(change, [first, second], torch.full_like(change, 1e-6))
    fit = fit_merge(sums.conflict)
    assert fit is not None
    for coefficient in fit.coefficients:
        assert abs(coefficient.value - 1) < 4 * coefficient.standard_error


def test_residuals_in_proportion_to_changes_are_a_random_mask() -> None:
    first, second, other = _weights(3, 32)
    mask = (torch.rand(first.shape, generator=torch.Generator().manual_seed(3)) < 0.4) / 0.4
    room = torch.full_like(first, 1e-6)
    for change, expected in ((0.5 * first * mask + second, 1.0), (0.5 * first + second + other, 0.0)):
        sums = pattern_sums(change - second, [first], room)
        fit = fit_merge(sums.spread)
        assert fit is not None
        share = fit.coefficients[1].value * float(sums.spread.xx[0, 1] / sums.spread.xy[0])
        assert share == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("elected", [False, True])
def test_opposing_changes_are_added_where_they_meet_unless_signs_are_elected(elected: bool) -> None:
    """Lone changes that are kept whole hide an election from the coefficients, and not from the products."""
    generator = torch.Generator().manual_seed(33)
    first, second = (torch.randn(256, 256, generator=generator) for _ in range(2))
    masked = [D * (torch.rand(D.shape, generator=generator) < 0.5) / 0.5 for D in (first, second)]
    weighted = torch.stack([0.3 * masked[0], 0.7 * masked[1]])
    change = weighted.sum(0)
    if elected:
        kept = (weighted.sign() == change.sign()) & (weighted != 0)
        share = (kept * torch.tensor([0.3, 0.7])[:, None, None]).sum(0)
        change = (weighted * kept).sum(0) / share.clamp(min=0.1)
    fit = fit_merge(pattern_sums(change, [first, second], torch.full_like(change, 1e-6)).products)
    assert fit is not None
    products = fit.coefficients[-1]
    if elected:
        assert products.value + 4 * products.standard_error < 0.5
    else:
        assert abs(products.value - 1) < 4 * products.standard_error
        assert products.standard_error < 0.1


def test_slerp_finds_its_fraction() -> None:
    A, B = _weights(2, 9)
    B = A + 0.5 * B
    angle = math.acos(float((A * B).sum() / A.norm() / B.norm()))
    target = (math.sin(0.3 * angle) * A + math.sin(0.7 * angle) * B) / math.sin(angle)
    fit = fit_slerp(target, A, B)
    assert fit is not None
    assert fit.fraction == pytest.approx(0.7, abs=1e-5)
    assert fit.residual <= 1e-12 * float(target.square().sum())
    assert fit_slerp(target, A, A) is None
