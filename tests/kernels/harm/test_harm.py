"""Distances of outputs, relative noise, and standard errors: closed forms and identities."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmtaudit.kernels.harm.divergence import cosine_distance, divergence_of_logits, squared_error
from rmtaudit.kernels.harm.noise import images_of_noise, mean_and_error, relative_noise


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_divergence_of_two_coins() -> None:
    p, q = 0.3, 0.6
    logits = torch.tensor([[math.log(p), math.log(1 - p)]]), torch.tensor([[math.log(q), math.log(1 - q)]])
    expected = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    assert float(divergence_of_logits(*logits)) == pytest.approx(expected, rel=1e-6)


@given(st.integers(0, 1000), st.floats(-50, 50))
def test_a_constant_added_to_the_logits_changes_nothing(seed: int, constant: float) -> None:
    before, after = random(4, 7, seed=seed), random(4, 7, seed=seed + 1)
    divergence = divergence_of_logits(before, after)
    torch.testing.assert_close(
        divergence_of_logits(before + constant, after), divergence, rtol=1e-9, atol=1e-12
    )
    assert bool((divergence > 0).all())
    assert not bool(divergence_of_logits(before, before).any())


def test_classes_that_cannot_occur() -> None:
    never = -math.inf
    before, after = torch.tensor([[0.0, 0.0, never]]), torch.tensor([[0.0, 0.0, math.log(2.0)]])
    assert float(divergence_of_logits(before, after)) == pytest.approx(math.log(2), rel=1e-6)
    assert float(divergence_of_logits(after, before)) == math.inf
    assert float(divergence_of_logits(before, before)) == 0


def test_a_small_divergence_is_half_the_variance_of_the_change() -> None:
    before, change = random(1, 9, seed=1), 1e-4 * random(1, 9, seed=2)
    shares = before.softmax(1)
    variance = (shares * change.square()).sum() - (shares * change).sum().square()
    assert float(divergence_of_logits(before, before + change)) == pytest.approx(
        float(variance) / 2, rel=1e-3
    )


@given(st.floats(1e-6, math.pi), st.floats(0.1, 10))
def test_cosine_distance_of_an_angle(angle: float, length: float) -> None:
    before = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    after = length * torch.tensor([[math.cos(angle), math.sin(angle)]], dtype=torch.float64)
    expected = 2 * math.sin(angle / 2) ** 2
    assert float(cosine_distance(before, after)) == pytest.approx(expected, rel=1e-6)


def test_rows_of_zeros() -> None:
    zeros, ones = torch.zeros(1, 3), torch.ones(1, 3)
    assert float(cosine_distance(zeros, ones)) == 1
    assert float(cosine_distance(zeros, zeros)) == 0
    assert float(squared_error(zeros, ones)) == 3


@given(st.integers(0, 1000), st.floats(1e-4, 10))
def test_noise_has_the_size_that_is_asked_for(seed: int, size: float) -> None:
    weight = random(5, 6, seed=3)
    noise = relative_noise(weight, size, torch.Generator().manual_seed(seed))
    assert float(noise.norm() / weight.norm()) == pytest.approx(size, rel=1e-12)
    again = relative_noise(weight, size, torch.Generator().manual_seed(seed))
    assert torch.equal(noise, again)
    assert not bool(relative_noise(torch.zeros(2, 2), size, torch.Generator()).any())


def test_images_of_noise_have_the_spectrum_of_photographs() -> None:
    images = images_of_noise((300, 2, 16, 24), torch.Generator().manual_seed(1))
    assert images.shape == (300, 2, 16, 24)
    assert float(images.square().mean()) == pytest.approx(1, rel=1e-12)
    power = torch.fft.fft2(images).abs().square().mean((0, 1))
    rows, cols = torch.fft.fftfreq(16)[:, None], torch.fft.fftfreq(24)[None]
    flat = (power * (rows**2 + cols**2))[(rows**2 + cols**2) > 0]
    assert float(flat.std() / flat.mean()) < 3 * 600**-0.5  # each is a mean of 600 exponential values


def test_the_standard_error_of_crossed_means() -> None:
    """Values are a sum of an effect of the draw and one of the sample, whose means have known variances."""
    draws, samples, spread = 8, 50, []
    errors = []
    for seed in range(400):
        values = random(draws, 1, seed=2 * seed) + 3 * random(1, samples, seed=2 * seed + 1)
        mean, error = mean_and_error(values)
        assert error is not None
        spread.append(mean)
        errors.append(error**2)
    true = 1 / draws + 9 / samples
    assert torch.tensor(spread).var().item() == pytest.approx(true, rel=0.3)
    assert torch.tensor(errors).mean().item() == pytest.approx(true, rel=0.1)
    assert mean_and_error(torch.ones(3, 1)) == (1.0, None)
