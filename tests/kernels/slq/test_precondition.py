"""Preconditioned log-determinants of a kernel matrix whose plain ones are far off."""

from __future__ import annotations

import math

import pytest
import torch

from rmtaudit.kernels import slq
from rmtaudit.kernels.randnla.nystrom import nystrom, pivoted_cholesky
from rmtaudit.kernels.slq.precondition import (
    from_eigenvectors,
    from_factor,
    low_precision_cholesky,
    preconditioned,
    preconditioned_log_determinant,
)

NUGGET = 1e-3


@pytest.fixture(scope="module")
def kernel() -> torch.Tensor:
    """Return a Matern 3/2 matrix of 500 points of the unit square, without its nugget."""
    points = torch.rand(500, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    distance = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist") * math.sqrt(3) / 0.3
    return (1 + distance) * torch.exp(-distance)


@pytest.mark.parametrize("kind", ["nystrom", "pivoted"])
def test_low_rank(kernel: torch.Tensor, kind: str) -> None:
    matrix = kernel + NUGGET * torch.eye(500, dtype=torch.float64)
    if kind == "nystrom":
        low = nystrom(lambda X: kernel @ X, 500, 150, 1)
        by = from_eigenvectors(low.vectors, low.eigenvalues, NUGGET)
    else:
        generator = torch.Generator().manual_seed(0)
        found = pivoted_cholesky(lambda i: kernel[:, i], kernel.diagonal(), 150, generator)
        by = from_factor(found.factor, NUGGET)
    truth = 2 * float(torch.linalg.cholesky(matrix).diagonal().log().sum())
    operator = slq.dense(matrix, smallest=NUGGET)
    eased = preconditioned_log_determinant(operator, by, slq.Sampler(0))
    plain = slq.log_determinant(operator, slq.Sampler(0))
    assert eased.interval[0] <= truth <= eased.interval[1]
    assert eased.steps < plain.steps
    assert eased.standard_error < 0.5 * plain.standard_error
    dense = preconditioned(operator, by).matmul(torch.eye(500, dtype=torch.float64))
    assert eased.edge is not None
    assert float(torch.linalg.eigvalsh((dense + dense.T) / 2)[0]) >= eased.edge
    assert by.log_determinant == pytest.approx(
        -2 * float(torch.linalg.slogdet(by.solve(torch.eye(500, dtype=torch.float64)))[1])
    )


@pytest.mark.parametrize("nugget", [NUGGET, 1e-9])
def test_a_factor_in_float32(kernel: torch.Tensor, nugget: float) -> None:
    matrix = kernel + nugget * torch.eye(500, dtype=torch.float64)
    truth = 2 * float(torch.linalg.cholesky(matrix).diagonal().log().sum())
    found = preconditioned_log_determinant(slq.dense(matrix), low_precision_cholesky(matrix), slq.Sampler(0))
    assert found.interval[0] <= truth <= found.interval[1]
    assert abs(found.value - truth) / 500 < 6e-4


def test_what_cannot_be_factored() -> None:
    with pytest.raises(ArithmeticError, match="breaks down"):
        low_precision_cholesky(torch.diag(torch.tensor([1.0, -1.0e3, 1.0e3])).double())
    with pytest.raises(ValueError, match="positive"):
        from_eigenvectors(torch.eye(10, 4, dtype=torch.float64), torch.ones(4, dtype=torch.float64), 0.0)
