"""Laws of free blocks of discrete laws: known answers, identities, and the slope in the parent's masses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.free.compressed import CompressedLaw, distribution, gradient, subordination
from rmtaudit.kernels.free.parent import ParentLaw

PLACES = st.lists(st.integers(-20, 20), min_size=2, max_size=6, unique=True)
SHARES = st.sampled_from([1.5, 2.0, 4.0, 16.0])


def law(places: list[float], masses: list[float]) -> ParentLaw:
    order = np.argsort(places)
    weights = np.array(masses, dtype=np.float64)[order]
    return ParentLaw(np.array(places, dtype=np.float64)[order], weights / weights.sum(), 0.0)


def test_half_of_two_atoms_is_an_arcsine_law() -> None:
    half = CompressedLaw(law([-1, 1], [1, 1]), 2.0, 3.0)
    x = torch.linspace(-0.99, 0.99, 67, dtype=torch.float64)
    known = 0.5 + torch.asin(x) / math.pi
    assert float((half.cdf(3 * x) - known).abs().max()) < 2e-3
    assert float((half.ppf(known) - 3 * x).abs().max()) < 0.02
    inner = x.abs() < 0.9
    density = 1 / (3 * math.pi * torch.sqrt(1 - x[inner] ** 2))
    assert torch.allclose(half.pdf(3 * x[inner]), density, rtol=0.01)
    assert half.atoms == ()
    ((low, high),) = half.edges
    assert (low, high) == pytest.approx((-3, 3), abs=0.05)


def test_atoms_lose_mass() -> None:
    most = CompressedLaw(law([0, 1], [3, 1]), 1.2, 1.0)
    lower, upper = most.atoms
    assert lower == pytest.approx((0.0, 1 - 1.2 / 4))
    assert upper == pytest.approx((1.0, 1 - 1.2 * 0.75))
    assert most.mass == pytest.approx(1, abs=0.02)
    assert float(most.cdf(torch.tensor(0.001, dtype=torch.float64))) == pytest.approx(0.7, abs=0.05)
    assert float(most.cdf(torch.tensor(-0.01, dtype=torch.float64))) < 0.02


@settings(max_examples=25, deadline=None)
@given(PLACES, SHARES, st.integers(0, 1000))
def test_the_law_of_a_block_is_one_and_has_the_parents_mean(
    places: list[int], share: float, seed: int
) -> None:
    masses = np.random.default_rng(seed).uniform(0.2, 1, len(places)).tolist()
    parent = law([float(place) for place in places], masses)
    block = CompressedLaw(parent, share, 1.0)
    values = block.quantiles(2000)
    assert bool((values.diff() >= 0).all())
    span = float(parent.places[-1] - parent.places[0])
    assert float(values.mean()) == pytest.approx(float(parent.masses @ parent.places), abs=0.01 * span)
    variance = float(parent.masses @ parent.places**2) - float(parent.masses @ parent.places) ** 2
    assert float(values.var(correction=0)) == pytest.approx(variance / share, rel=0.03, abs=1e-3)


@settings(max_examples=25, deadline=None)
@given(PLACES, SHARES, st.integers(0, 1000))
def test_the_gradient_is_the_change_with_mass(places: list[int], share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    parent = law([float(place) for place in places], rng.uniform(0.2, 1, len(places)).tolist())
    spread = math.sqrt(float(parent.masses @ (parent.places - parent.masses @ parent.places) ** 2) / share)
    x = parent.masses @ parent.places + spread * np.array([-0.7, -0.1, 0.4])
    change = rng.standard_normal(len(places))
    change = 1e-5 * (change - change.mean())
    moved = [distribution(parent.places, parent.masses + sign * change, share, x) for sign in (1, -1)]
    expected = (
        gradient(
            parent.places,
            parent.masses,
            share,
            x,
        )
        @ change
    )
    inside = subordination(parent.places, parent.masses, share, x).imag > 1e-2 * spread
    assert np.allclose(((moved[0] - moved[1]) / 2)[inside], expected[inside], rtol=2e-2, atol=1e-8)


def test_without_a_parent_the_distribution_is_a_staircase() -> None:
    parent = law([0, 1, 2], [1, 1, 2])
    x = np.array([-0.5, 0.0, 1.5, 2.0])
    assert distribution(parent.places, parent.masses, 1.0, x).tolist() == [0.0, 0.25, 0.5, 1.0]
    assert gradient(parent.places, parent.masses, 1.0, x)[2].tolist() == [1.0, 1.0, 0.0]
