"""Matrices that the tests of log-determinants share."""

from __future__ import annotations

import pytest
import torch

from rmtaudit.matrices.sources import MaternMatrix, Shifted


@pytest.fixture(scope="session")
def points() -> torch.Tensor:
    return torch.rand(700, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture(scope="session")
def kernel(points: torch.Tensor) -> torch.Tensor:
    """Return a positive definite matrix: a Matérn covariance with a nugget."""
    return Shifted(MaternMatrix(points, nu=1.5, length=0.1), 1e-3).dense()


@pytest.fixture(scope="session")
def easy(points: torch.Tensor) -> torch.Tensor:
    """Return a positive definite matrix whose extreme eigenvalues Lanczos finds in a few steps."""
    return Shifted(MaternMatrix(points[:200], nu=0.5, length=0.1), 0.1).dense()


@pytest.fixture(scope="session")
def indefinite() -> torch.Tensor:
    A = torch.randn(120, 120, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return (A + A.T) / 2


@pytest.fixture(scope="session")
def low_rank() -> torch.Tensor:
    B = torch.randn(120, 20, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    A = B @ B.T
    return (A + A.T) / 2
