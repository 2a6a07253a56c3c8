"""Matrices with known singular values."""

from __future__ import annotations

import torch

DECAYS = ("flat", "power 0.5", "power 1", "power 2", "geometric", "step")


def singular_values(name: str, count: int) -> torch.Tensor:
    """Return singular values of known decay, descending from 1."""
    k = torch.arange(1, count + 1, dtype=torch.float64)
    return {
        "flat": torch.linspace(1, 0.5, count, dtype=torch.float64),
        "power 0.5": k**-0.5,
        "power 1": 1 / k,
        "power 2": k**-2.0,
        "geometric": 0.8 ** (k - 1),
        "step": torch.where(k <= 10, 1.0, 1e-3).double(),
    }[name]


def orthonormal(rows: int, cols: int, seed: int) -> torch.Tensor:
    """Return a random matrix with orthonormal columns."""
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(rows, cols, dtype=torch.float64, generator=generator))[0]


def rectangular(rows: int, cols: int, sigma: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Return a matrix with these singular values."""
    left, right = orthonormal(rows, len(sigma), seed), orthonormal(cols, len(sigma), seed + 1)
    return (left * sigma) @ right.T


def semidefinite(eigenvalues: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Return a symmetric matrix with these eigenvalues."""
    vectors = orthonormal(len(eigenvalues), len(eigenvalues), seed)
    matrix = (vectors * eigenvalues) @ vectors.T
    return (matrix + matrix.T) / 2
