"""log det WᵀW from R: the truth of extended precision is within the bound, where WᵀW itself would fail."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmtaudit.kernels.determinants.triangular import gram_log_determinant


def in_extended_precision(W: torch.Tensor) -> float:
    """Return log det WᵀW by Gram-Schmidt, three times over, in numbers with 64 bits of mantissa."""
    Q = W.numpy().astype(np.longdouble)
    total = np.longdouble(0)
    for j in range(Q.shape[1]):
        for _ in range(3):
            Q[:, j] -= Q[:, :j] @ (Q[:, :j].T @ Q[:, j])
        norm = np.sqrt((Q[:, j] ** 2).sum())
        total += 2 * np.log(norm)
        Q[:, j] /= norm
    return float(total)


def graded(rows: int, cols: int, decades: float, seed: int) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    W = torch.randn(rows, cols, generator=g, dtype=torch.float64)
    mixing = torch.linalg.qr(torch.randn(cols, cols, generator=g, dtype=torch.float64)).Q
    return W * torch.logspace(0, -decades, cols, dtype=torch.float64) @ mixing


@pytest.mark.parametrize("decades", [0, 3, 6, 9, 11])
@pytest.mark.parametrize("shape", [(60, 40), (50, 50)])
def test_the_truth_is_within_what_is_claimed(shape: tuple[int, int], decades: int) -> None:
    for seed in range(3):
        W = graded(*shape, decades, seed)
        found = gram_log_determinant(W)
        error = abs(found.logdet - in_extended_precision(W))
        assert error <= found.bound
        assert error <= 10 * found.likely
    if decades == 9:  # Cholesky of WᵀW cannot do this: its smallest eigenvalue is lost
        assert int(torch.linalg.cholesky_ex(W.T @ W).info) > 0


@given(st.integers(-400, 400), st.integers(-400, 400))
def test_columns_of_any_scale(first: int, second: int) -> None:
    W = graded(6, 3, 0, 1)
    moved = W * torch.tensor([2.0**first, 2.0**second, 1.0], dtype=torch.float64)
    expected = gram_log_determinant(W).logdet + 2 * math.log(2) * (first + second)
    assert gram_log_determinant(moved).logdet == pytest.approx(expected, rel=1e-13, abs=1e-12)


def test_dependent_columns_have_no_bound() -> None:
    W = graded(30, 10, 0, 0)
    W[:, 9] = W[:, 0] + W[:, 1]
    found = gram_log_determinant(W)
    assert math.isinf(found.bound)
    assert found.zero_columns == 0
    W[:, 4] = 0
    zero = gram_log_determinant(W)
    assert zero.logdet == -math.inf
    assert zero.zero_columns == 1


def test_wide_matrices_are_refused() -> None:
    with pytest.raises(ValueError, match="tall"):
        gram_log_determinant(torch.ones(2, 3, dtype=torch.float64))
