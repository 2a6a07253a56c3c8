"""Leverage scores and least squares of tall matrices, against the dense answers."""

from __future__ import annotations

import pytest
import torch
from decays import orthonormal, rectangular
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.randnla.least_squares import least_squares
from rmtaudit.kernels.randnla.leverage import leverage, sketched_leverage


def tall(condition: float, rows: int = 400, cols: int = 20) -> torch.Tensor:
    sigma = torch.logspace(0, -torch.tensor(condition).log10().item(), cols, dtype=torch.float64)
    matrix = rectangular(rows, cols, sigma, 3)
    matrix[5] *= 50  # one row that matters
    return matrix


@pytest.mark.parametrize("condition", [1e0, 1e4, 1e6])
def test_exact_scores(condition: float) -> None:
    matrix = tall(condition)
    exact = (torch.linalg.qr(matrix)[0] ** 2).sum(dim=1)
    found = leverage(matrix)
    assert torch.allclose(found.scores, exact, rtol=1e-3 if condition > 1e4 else 1e-6)
    assert float(found.scores.sum()) == pytest.approx(20, rel=1e-3)
    assert (found.lower, found.upper, found.failure) == (1, 1, 0)


@pytest.mark.parametrize("condition", [1e0, 1e4, 1e12])
def test_sketched_scores_hold_the_exact_ones(condition: float) -> None:
    matrix = tall(condition)
    exact = (torch.linalg.qr(matrix)[0] ** 2).sum(dim=1)
    for seed in range(3):
        found = sketched_leverage(matrix, seed)
        slack = 1e-3 if condition > 1e10 else 1e-9  # the dense answer itself is off by condition * eps
        assert bool((found.scores * found.lower <= exact * (1 + slack)).all())
        assert bool((exact <= found.scores * found.upper * (1 + slack)).all())
        assert found.upper / found.lower < 12


def test_scores_that_are_not_defined() -> None:
    matrix = torch.ones(30, 2, dtype=torch.float64)
    for scores in (leverage, lambda m: sketched_leverage(m, 0)):
        with pytest.raises(ArithmeticError, match="dependent"):
            scores(matrix)
        with pytest.raises(ValueError, match="rows"):
            scores(matrix.T)


@pytest.mark.parametrize("condition", [1e0, 1e5, 1e10])
@pytest.mark.parametrize("noise", [0.0, 1e-3, 1.0])
def test_least_squares(condition: float, noise: float) -> None:
    matrix = rectangular(500, 30, torch.logspace(0, -torch.tensor(condition).log10().item(), 30).double(), 1)
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(30, dtype=torch.float64, generator=generator)
    target = matrix @ truth + noise * torch.randn(500, dtype=torch.float64, generator=generator)
    found = least_squares(matrix, target, 3)
    Q = orthonormal(500, 30, 1)  # the left singular vectors that the matrix was made from
    best = target - Q @ (Q.T @ target)
    smallest = float(torch.linalg.vector_norm(best))
    scale = float(torch.linalg.vector_norm(target))
    # what the matrix was made from is not its range to the last digit
    blur = 32 * 2.0**-52 * condition * smallest
    assert found.residual**2 <= smallest**2 * (1 + 1e-12) + (found.distance + blur) ** 2
    apart = float(torch.linalg.vector_norm(matrix @ found.solution - (target - best)))
    assert apart <= found.distance + blur
    rounding = 2.0**-52 * float(torch.linalg.matrix_norm(matrix) * torch.linalg.vector_norm(found.solution))
    assert found.distance <= 20 * rounding + 1e-12 * scale
    assert found.steps <= 120
    assert 0.3 < found.smallest < 1 < found.largest < 2.5
    reference = torch.linalg.lstsq(matrix, target[:, None], driver="gelsd").solution[:, 0]
    if condition < 1e6:
        assert torch.allclose(found.solution, reference, rtol=1e-6, atol=1e-7)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 8), st.integers(0, 40), st.integers(0, 2**62))
def test_the_gradient_vanishes(cols: int, extra: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed % 2**62)
    matrix = torch.randn(cols + extra, cols, dtype=torch.float64, generator=generator)
    target = torch.randn(cols + extra, dtype=torch.float64, generator=generator)
    if float(torch.linalg.cond(matrix)) > 1e6:
        return
    found = least_squares(matrix, target, seed)
    assert float((matrix.T @ (target - matrix @ found.solution)).abs().max()) <= 1e-9 * float(
        torch.linalg.matrix_norm(matrix)
    )


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="least-squares"):
        least_squares(torch.ones(3, 5), torch.ones(3), 0)
    with pytest.raises(ArithmeticError, match="not unique"):
        least_squares(torch.ones(30, 2, dtype=torch.float64), torch.ones(30), 0)
