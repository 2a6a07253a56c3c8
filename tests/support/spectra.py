"""Matrices with known eigenvalues and eigenvectors."""

from __future__ import annotations

import torch

SIZE = 80


def spectra(size: int = SIZE) -> dict[str, torch.Tensor]:
    """Return five spectra, ascending; the worst has condition 1e8."""
    k = torch.arange(1, size + 1, dtype=torch.float64)
    half = size // 2
    clusters = torch.cat([torch.full((size - half,), 1e-8, dtype=torch.float64), torch.ones(half).double()])
    found = {
        "uniform": torch.linspace(0.1, 1, size, dtype=torch.float64),
        "geometric 1e4": 10.0 ** (-4 * (k - 1) / (size - 1)),
        "geometric 1e8": 10.0 ** (-8 * (k - 1) / (size - 1)),
        "power": k**-2.0,
        "clusters 1e8": clusters,
    }
    return {name: values.sort().values for name, values in found.items()}


def basis(size: int = SIZE, seed: int = 0) -> torch.Tensor:
    """Return a random orthogonal matrix."""
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(size, size, dtype=torch.float64, generator=generator))[0]


def symmetric(eigenvalues: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Return ``Q diag(λ) Qᵀ``, symmetric to the last bit."""
    matrix = (vectors * eigenvalues) @ vectors.T
    return (matrix + matrix.T) / 2
