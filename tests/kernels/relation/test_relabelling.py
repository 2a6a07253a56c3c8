"""Moments and p-values over all relabellings, against enumeration."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.relation import (
    ScoreSum,
    Tail,
    matched_similarity,
    relabelling_test,
    stouffer_p_value,
    unit_cosines,
    unit_scores,
)
from rmtaudit.kernels.relation.evaluate import _tail


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def enumerated(linear: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return ``T`` for every relabelling of one stratum, the identity first."""
    n = linear.shape[0]
    values = []
    for labels in itertools.permutations(range(n)):
        at = torch.tensor(labels)
        values.append(linear[torch.arange(n), at].sum() + (first * second[:, at][:, :, at]).sum())
    return torch.stack(values)


@given(st.integers(2, 6), st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_moments_of_the_linear_part_are_those_of_all_relabellings(n: int, seed: int) -> None:
    linear = drawn(n, n, seed=seed) ** 3 + 1
    values = enumerated(linear, linear.new_zeros(0, n, n), linear.new_zeros(0, n, n))
    scores = unit_scores(linear[None])
    centred = values - values.mean()
    scale = float(centred.square().mean()) + 1e-300
    assert scores.statistic == pytest.approx(float(centred[0]), abs=1e-9 * math.sqrt(scale))
    assert scores.variance == pytest.approx(scale, rel=1e-9)
    if n > 2:
        assert scores.third_moment == pytest.approx(float(centred.pow(3).mean()), abs=1e-8 * scale**1.5)


@given(st.integers(4, 6), st.integers(1, 3), st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_moments_of_rows_and_columns_relabelled_together(n: int, g: int, seed: int) -> None:
    linear, first, second = (
        drawn(n, n, seed=seed),
        drawn(g, n, n, seed=seed + 1),
        drawn(g, n, n, seed=seed + 2),
    )
    first = first + torch.eye(n) + drawn(n, seed=seed + 3)[:, None]
    values = enumerated(linear, first, second + first / 2)
    scores = unit_scores(linear[None], first, second + first / 2)
    centred = values - values.mean()
    assert scores.statistic == pytest.approx(float(centred[0]), abs=1e-9)
    assert scores.variance == pytest.approx(float(centred.square().mean()), rel=1e-9)


def test_strata_are_relabelled_independently() -> None:
    linear = drawn(3, 4, 4)
    parts = [unit_scores(each[None]) for each in linear]
    together = unit_scores(linear)
    assert together.statistic == pytest.approx(sum(part.statistic for part in parts))
    assert together.variance == pytest.approx(sum(part.variance for part in parts))
    assert together.units == 12


def test_combined_scores_are_scaled_and_relabelled_together() -> None:
    n = 5
    parts = [
        unit_scores(drawn(1, n, n, seed=1), drawn(2, n, n, seed=2), drawn(2, n, n, seed=3)),
        unit_scores(drawn(1, n, n, seed=4), drawn(1, n, n, seed=5), drawn(1, n, n, seed=6)),
        unit_scores(torch.ones(1, n, n)),
    ]
    together = ScoreSum()
    for part in parts:
        together.add(part)
    both = together.total()
    assert both is not None
    assert together.left_out == 1
    values = enumerated(both.linear[0], both.first, both.second)
    assert both.variance == pytest.approx(float(values.var(correction=0)), rel=1e-9)
    expected = sum(part.statistic / math.sqrt(part.variance) for part in parts[:2])
    assert both.statistic == pytest.approx(expected)
    assert ScoreSum().total() is None
    with pytest.raises(ValueError, match="different units"):
        together.add(unit_scores(drawn(1, 6, 6)))


def test_sum_keeps_no_more_weights_between_units_than_allowed() -> None:
    together = ScoreSum(most_entries=30)
    for seed in range(3):
        together.add(unit_scores(drawn(1, 5, 5), drawn(1, 5, 5, seed=seed), drawn(1, 5, 5, seed=seed + 9)))
    total = together.total()
    assert total is not None
    assert (len(total.first), together.left_out) == (1, 2)


def test_cosine_of_weights_between_units_is_that_of_their_rows() -> None:
    base = drawn(1, 50, 50, seed=1)
    other = base + drawn(1, 50, 50, seed=2)
    rows = [each / each.norm(dim=2, keepdim=True) for each in (base, other)]
    scores = unit_scores(torch.zeros(1, 50, 50), *rows)
    assert scores.cosine == pytest.approx(math.sqrt(0.5), abs=0.05)


def test_counted_p_value_is_the_share_of_relabellings() -> None:
    n = 6
    linear, first, second = drawn(n, n, seed=7), drawn(1, n, n, seed=8), drawn(1, n, n, seed=9)
    second = second + 0.3 * first
    values = enumerated(linear, first, second)
    exact = float((values >= values[0] - 1e-9).double().mean())
    result = relabelling_test(
        unit_scores(linear[None], first, second), generator=torch.Generator().manual_seed(0)
    )
    assert result.tail is Tail.PERMUTATIONS
    assert result.p_value == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 20_000))


def test_tail_agrees_with_relabellings_of_many_units() -> None:
    """A skewed statistic of 40 units: the law is within a tenth of the counted share near .01."""
    similarity = unit_cosines(drawn(40, 3, seed=1).exp(), drawn(40, 3, seed=2).exp())
    scores = unit_scores(similarity)
    generator = torch.Generator().manual_seed(3)
    counted = torch.stack(
        [
            scores.linear[0][torch.arange(40), torch.randperm(40, generator=generator)].sum()
            for _ in range(20_000)
        ]
    )
    at = float(counted.quantile(0.99))
    deviation = math.sqrt(scores.variance)
    p_value, _ = _tail(at / deviation, scores.third_moment / deviation**3)
    assert p_value == pytest.approx(0.01, rel=0.2)


@pytest.mark.parametrize("change", [0.3, 1.0, 3.0])
def test_derived_units_are_found_and_independent_ones_are_not(change: float) -> None:
    base, other = drawn(64, 100, seed=1), drawn(64, 100, seed=2)
    derived = relabelling_test(unit_scores(unit_cosines(base, base + change * other)))
    assert derived.p_value == 1e-12
    assert derived.cosine == pytest.approx(1 / math.sqrt(1 + change * change), abs=0.03)
    independent = relabelling_test(unit_scores(unit_cosines(base, other)))
    assert independent.p_value > 1e-3
    assert abs(independent.cosine) < independent.detectable < 0.1


def test_detectable_cosine_is_detected_at_the_stated_power() -> None:
    level, hits, trials = 0.01, 0, 200
    for seed in range(trials):
        base, other = drawn(50, 40, seed=3 * seed), drawn(50, 40, seed=3 * seed + 1)
        detectable = relabelling_test(unit_scores(unit_cosines(base, other)), level=level).detectable
        related = detectable * base + math.sqrt(1 - detectable**2) * other
        hits += relabelling_test(unit_scores(unit_cosines(base, related)), level=level).p_value <= level
    assert 0.83 <= hits / trials <= 0.97  # .9 within three binomial standard errors


def test_scale_of_a_unit_does_not_matter_and_empty_units_are_no_fault() -> None:
    base = drawn(30, 20, seed=5).float()
    scaled = base * torch.logspace(-20, 20, 30)[:, None]
    scaled[3] = 0
    cosines = unit_cosines(base, scaled)[0]
    keep = torch.arange(30) != 3
    assert torch.diagonal(cosines)[keep] == pytest.approx(1.0, abs=1e-5)
    assert not cosines[:, 3].any()


def test_constant_scores_say_nothing() -> None:
    result = relabelling_test(unit_scores(torch.ones(1, 5, 5)), generator=torch.Generator())
    assert (result.z, result.p_value, result.detectable) == (0.0, 1.0, 1.0)


def test_stouffer_of_uniform_p_values_is_uniform() -> None:
    p_values = torch.rand(4000, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    combined = torch.tensor([stouffer_p_value(row) for row in p_values.tolist()])
    assert float((combined <= 0.05).double().mean()) == pytest.approx(0.05, abs=0.011)
    assert stouffer_p_value([]) == 1.0
    assert stouffer_p_value([1e-300, 1e-300]) == 1e-12
    assert stouffer_p_value([0.0, 1.0]) == pytest.approx(0.5, abs=1e-5)


def test_matching_recovers_permuted_units() -> None:
    base = drawn(40, 60, seed=1)
    noisy = base + 0.5 * drawn(40, 60, seed=2)
    permuted = noisy[torch.randperm(40, generator=torch.Generator().manual_seed(3))]
    found = matched_similarity(base, permuted, torch.Generator().manual_seed(4))
    assert found.cosine == pytest.approx(1 / math.sqrt(1.25), abs=0.05)
    assert found.moved > 0.9
    other = matched_similarity(base, drawn(40, 60, seed=5), torch.Generator().manual_seed(4))
    assert abs(other.cosine) < 0.15
    assert matched_similarity(base, noisy, torch.Generator().manual_seed(4)).moved == 0


@pytest.mark.parametrize(
    ("linear", "first"),
    [
        ((1, 3, 4), None),
        ((1, 1, 1), None),
        ((1, 5, 5), (1, 4, 4)),
        ((2, 5, 5), (1, 5, 5)),
        ((1, 3, 3), (1, 3, 3)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(linear: tuple[int, ...], first: tuple[int, ...] | None) -> None:
    weights = None if first is None else torch.ones(first)
    with pytest.raises(ValueError, match="shape"):
        unit_scores(torch.ones(linear), weights, weights)
