"""Spikes: the published table, inverses, and what they say of simulated matrices."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmtaudit.kernels.noise.spikes import (
    additive_singular_value,
    additive_spike,
    frobenius_shrinkage,
    hard_threshold,
    population_eigenvalue,
    population_spike,
)

RATIO = st.floats(0.001, 1)


@pytest.mark.parametrize(
    ("strength", "eigenvalue", "cosine2"), [(1.5, 3.333, 0.583), (3, 4.667, 0.810), (8, 9.562, 0.934)]
)
def test_population_spikes_at_one_half(strength: float, eigenvalue: float, cosine2: float) -> None:
    assert population_eigenvalue(strength, 0.5) == pytest.approx(eigenvalue, abs=6e-4)
    assert population_spike(eigenvalue, 0.5).cosine2 == pytest.approx(cosine2, abs=1e-3)


@given(st.floats(0.01, 100), RATIO)
def test_population_spikes_invert(excess: float, ratio: float) -> None:
    strength = math.sqrt(ratio) + excess
    found = population_spike(population_eigenvalue(strength, ratio), ratio)
    assert found.strength == pytest.approx(strength, rel=1e-5)
    assert 0 < found.cosine2 < 1


@given(st.floats(0.01, 100), RATIO)
def test_additive_spikes_invert(excess: float, ratio: float) -> None:
    strength = ratio**0.25 + excess
    found = additive_spike(additive_singular_value(strength, ratio), ratio)
    assert found.strength == pytest.approx(strength, rel=1e-5)
    assert 0 < found.cosine2_long <= found.cosine2_short < 1


@given(st.floats(0, 1), RATIO)
def test_below_the_transition_there_is_nothing_to_see(share: float, ratio: float) -> None:
    weak = share * math.sqrt(ratio)
    assert population_eigenvalue(weak, ratio) == pytest.approx((1 + math.sqrt(ratio)) ** 2)
    assert population_spike(population_eigenvalue(0, ratio), ratio).cosine2 == pytest.approx(0, abs=1e-6)
    assert additive_singular_value(share * ratio**0.25, ratio) == pytest.approx(1 + math.sqrt(ratio))
    assert additive_spike(1.0, ratio).strength == 0
    assert frobenius_shrinkage(1.0, ratio) == 0


@given(st.floats(0.05, 50), RATIO)
def test_the_shrinkage_keeps_the_strength_times_both_cosines(excess: float, ratio: float) -> None:
    """Gavish, Donoho 2017: the best value is x · cos · cos."""
    y = additive_singular_value(ratio**0.25 + excess, ratio)
    spike = additive_spike(y, ratio)
    best = spike.strength * math.sqrt(spike.cosine2_short * spike.cosine2_long)
    assert frobenius_shrinkage(y, ratio) == pytest.approx(best, rel=1e-6)


def test_the_hard_threshold_of_square_matrices() -> None:
    assert hard_threshold(1.0) == pytest.approx(4 / math.sqrt(3))


@pytest.mark.parametrize("ratio", [0.0, 1.5])
def test_impossible_ratios_are_refused(ratio: float) -> None:
    for function in (population_spike, additive_spike, frobenius_shrinkage):
        with pytest.raises(ValueError, match="ratio"):
            function(3.0, ratio)
    with pytest.raises(ValueError, match="not be negative"):
        population_eigenvalue(-1.0, 0.5)


def test_strength_and_alignment_of_simulated_spikes() -> None:
    p, n, strengths = 400, 800, torch.tensor([1.5, 3.0, 6.0], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(p, n, generator=generator, dtype=torch.float64) / math.sqrt(n)
    left, right = (
        torch.linalg.qr(torch.randn(size, 3, generator=generator, dtype=torch.float64)).Q for size in (p, n)
    )
    U, S, Vh = torch.linalg.svd(noise + (left * strengths) @ right.T, full_matrices=False)
    for index, strength in enumerate(reversed(strengths.tolist())):
        spike = additive_spike(float(S[index]), p / n)
        assert spike.strength == pytest.approx(strength, rel=0.05)
        assert spike.cosine2_short == pytest.approx(float((left.T @ U[:, index]).square().sum()), abs=0.05)
        assert spike.cosine2_long == pytest.approx(float((right.T @ Vh[index]).square().sum()), abs=0.05)
