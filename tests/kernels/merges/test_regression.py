"""Coefficients of merges, and what else was done."""

from __future__ import annotations

import math

import pytest
import torch

from rmtaudit.kernels.merges.patterns import PatternSums, pattern_sums
from rmtaudit.kernels.merges.regression import MergeSums, fit_merge, merge_sums
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
