"""Spectral penalties: gradients against finite differences, known answers, and what they do to a matrix."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.htmp.estimate import fit_moment
from rmtaudit.kernels.penalties.heavy_tail import alpha_penalty, kappa_penalty
from rmtaudit.kernels.penalties.norm import norm_penalty, power_iteration
from rmtaudit.kernels.spectra.eigenvalues import gram_eigenvalues

PENALTIES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "alpha": partial(alpha_penalty, alpha=3.0, tail=0.3),
    "kappa": partial(kappa_penalty, kappa=5.0),
    "norm": norm_penalty,
}
SHAPES = ((9, 6), (5, 8), (6, 6))


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", PENALTIES)
def test_gradients_are_those_of_finite_differences(name: str, shape: tuple[int, int]) -> None:
    matrix = noise(*shape).requires_grad_()
    assert torch.autograd.gradcheck(PENALTIES[name], (matrix,))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradient_of_a_converged_power_iteration_is_that_of_the_norm(shape: tuple[int, int]) -> None:
    matrix = (noise(*shape) + 3.0).requires_grad_()  # σ₂/σ₁ is near 0.2

    def iterated(given: torch.Tensor) -> torch.Tensor:
        value, _ = power_iteration(given, torch.ones(shape[1], dtype=torch.float64), steps=30)
        return value

    assert torch.autograd.gradcheck(iterated, (matrix,))
    (exact,) = torch.autograd.grad(norm_penalty(matrix), matrix)
    (ours,) = torch.autograd.grad(iterated(matrix), matrix)
    assert torch.allclose(ours, exact, atol=1e-9)


def test_power_iteration_is_a_lower_bound_that_rises() -> None:
    matrix, start = noise(30, 20), torch.ones(20, dtype=torch.float64)
    values = [float(power_iteration(matrix, start, steps=steps)[0]) for steps in (1, 3, 10, 100)]
    assert values == sorted(values)
    assert values[-1] == pytest.approx(float(norm_penalty(matrix)), rel=1e-6)
    value, vector = power_iteration(torch.zeros(3, 2), torch.tensor([3.0, 4.0]), steps=2)
    assert float(value) == 0
    assert torch.allclose(vector, torch.tensor([0.6, 0.8]))
    with pytest.raises(ValueError, match="steps"):
        power_iteration(matrix, start, steps=0)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.sampled_from([1e-3, 1.0, 1e3]), shape=st.sampled_from(SHAPES))
def test_heaviness_has_no_scale_and_no_side(seed: int, scale: float, shape: tuple[int, int]) -> None:
    matrix = noise(*shape, seed=seed)
    for name in ("alpha", "kappa"):
        here = float(PENALTIES[name](matrix))
        assert here >= 0
        assert float(PENALTIES[name](scale * matrix)) == pytest.approx(here, rel=1e-6, abs=1e-9)
        assert float(PENALTIES[name](matrix.T)) == pytest.approx(here, rel=1e-6, abs=1e-9)


def test_the_expectation_of_the_alpha_penalty_is_one_for_independent_values_of_that_law() -> None:
    generator = torch.Generator().manual_seed(1)
    draws = 600
    penalties = []
    for _ in range(draws):
        pareto = torch.rand(40, generator=generator, dtype=torch.float64) ** (-1 / (3.0 - 1))
        penalties.append(float(alpha_penalty(torch.diag(pareto.sqrt()), alpha=3.0, tail=0.5)))
    mean = sum(penalties) / draws
    # k (xi/mean - 1)² of a Gamma variable of shape k has the variance 2 + 6/k
    assert abs(mean - 1) < 4 * math.sqrt((2 + 6 / 20) / draws)


def test_the_alpha_penalty_by_hand() -> None:
    # the two largest of four are e² and e⁴ times the third: a mean logarithm of 3, against 1/(alpha - 1)
    matrix = torch.diag(torch.tensor([0.1, 1.0, math.e, math.e**2], dtype=torch.float64))
    assert float(alpha_penalty(matrix, alpha=1 + 1 / 3, tail=0.5)) == pytest.approx(0, abs=1e-12)
    assert float(alpha_penalty(matrix, alpha=2.0, tail=0.5)) == pytest.approx(2 * (3 - 1) ** 2)


def test_degenerate_spectra_have_finite_penalties_and_gradients() -> None:
    equal = torch.eye(20, dtype=torch.float64).requires_grad_()
    penalty = alpha_penalty(equal, alpha=3.0, tail=0.1)
    assert float(penalty.detach()) == pytest.approx(2.0)
    (gradient,) = torch.autograd.grad(penalty, equal)
    assert bool(torch.isfinite(gradient).all())
    thin = (noise(20, 1) @ noise(1, 20)).float().requires_grad_()
    penalty = alpha_penalty(thin, alpha=3.0, tail=0.1)
    (gradient,) = torch.autograd.grad(penalty, thin)
    assert bool(torch.isfinite(penalty))
    assert bool(torch.isfinite(gradient).all())


@pytest.mark.parametrize("shape", [(40, 30), (30, 40), (30, 30)])
def test_the_kappa_penalty_is_zero_at_the_moment_estimate(shape: tuple[int, int]) -> None:
    matrix = noise(*shape) * (1 + noise(shape[0], 1, seed=3).abs())
    kappa = fit_moment(gram_eigenvalues(matrix).eigenvalues, *shape).kappa
    assert float(kappa_penalty(matrix, kappa=kappa)) == pytest.approx(0, abs=1e-18)
    assert float(kappa_penalty(matrix, kappa=2 * kappa)) > 1e-4


@pytest.mark.parametrize("name", ["alpha", "kappa"])
def test_descent_reaches_the_target(name: str) -> None:
    penalty = (
        partial(alpha_penalty, alpha=2.5, tail=0.2) if name == "alpha" else partial(kappa_penalty, kappa=1.0)
    )
    matrix = noise(40, 30).requires_grad_()
    optimizer = torch.optim.Adam([matrix], lr=0.03)
    start = float(penalty(matrix).detach())
    for _ in range(200):
        optimizer.zero_grad()
        value = penalty(matrix)
        value.backward()
        optimizer.step()
    assert start > 0.05
    assert float(value.detach()) < 1e-3 * start


def test_what_makes_no_sense_is_refused() -> None:
    matrix = noise(6, 5)
    for alpha, tail in ((1.0, 0.1), (math.inf, 0.1), (3.0, 0.0), (3.0, 1.0)):
        with pytest.raises(ValueError, match=r"alpha|tail"):
            alpha_penalty(matrix, alpha=alpha, tail=tail)
    for kappa in (0.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="kappa"):
            kappa_penalty(matrix, kappa=kappa)
    for small in (noise(2, 9), noise(4, 4, 4)):
        with pytest.raises(ValueError, match="3 x 3"):
            kappa_penalty(small, kappa=1.0)
