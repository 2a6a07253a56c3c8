"""Gram operators of tall and wide matrices, by Golub-Kahan."""

from __future__ import annotations

import pytest
import torch

from rmtaudit.kernels import slq
from rmtaudit.kernels.slq import integrands


def rectangular(rows: int, cols: int, condition: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the matrix, its singular values and the singular vectors of the smaller side."""
    generator = torch.Generator().manual_seed(5)
    small = min(rows, cols)
    left = torch.linalg.qr(torch.randn(rows, small, dtype=torch.float64, generator=generator))[0]
    right = torch.linalg.qr(torch.randn(cols, small, dtype=torch.float64, generator=generator))[0]
    sigma = torch.logspace(0, -torch.tensor(condition).log10().item(), small, dtype=torch.float64)
    return (left * sigma) @ right.T, sigma, right if rows >= cols else left


@pytest.mark.parametrize("shape", [(120, 50), (50, 120), (50, 50)])
@pytest.mark.parametrize("condition", [1e1, 1e4, 1e7])
def test_log_determinants(shape: tuple[int, int], condition: float) -> None:
    matrix, sigma, vectors = rectangular(*shape, condition)
    sampler = slq.Sampler(7)
    for smallest in (0.9 / condition**2, None):
        found = slq.log_determinant(slq.gram(matrix, smallest=smallest), sampler, slq.Effort(steps=50))
        form = 50 * ((sampler.unit(range(16), 50) @ vectors) ** 2 * (2 * sigma.log())).sum(dim=1)
        for (low, high), exact in zip(found.samples, form, strict=True):
            assert low <= exact <= high
        assert found.bracket[1] - found.bracket[0] < 1e-2 * abs(found.value)
        assert found.interval[0] <= 2 * float(sigma.log().sum()) <= found.interval[1]


def test_the_larger_gram_matrix() -> None:
    matrix, sigma, _ = rectangular(60, 100, 10)
    with pytest.raises(ValueError, match="40 eigenvalues of this Gram matrix are 0"):
        slq.log_determinant(slq.gram(matrix, "cols"), slq.Sampler(0))
    found = slq.trace(slq.gram(matrix, "cols"), integrands.power(0.5), slq.Sampler(0))
    assert found.interval[0] <= float(sigma.sum()) <= found.interval[1]
    heat = slq.trace(slq.gram(matrix, "cols"), integrands.exponential(-1), slq.Sampler(0))
    assert heat.interval[0] <= float(torch.exp(-(sigma**2)).sum()) + 40 <= heat.interval[1]
    low = slq.count(slq.gram(matrix, "cols"), 1e-6, slq.Sampler(0))
    assert low.value == pytest.approx(40, abs=0.1)


def test_a_rank_deficient_matrix_is_refused() -> None:
    matrix, _, _ = rectangular(60, 40, 10)
    with pytest.raises(ArithmeticError, match="singular"):
        slq.log_determinant(slq.gram(torch.cat([matrix, matrix], dim=1)), slq.Sampler(0))


def test_products_that_have_the_wrong_shape() -> None:
    operator = slq.Gram(rows=5, cols=3, matmul=lambda X: X, transposed=lambda Y: Y)
    with pytest.raises(ValueError, match="shape"):
        slq.log_determinant(operator, slq.Sampler(0))
