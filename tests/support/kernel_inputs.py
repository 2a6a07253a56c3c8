"""Small inputs of kernels, made on the CPU from fixed seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Put = Callable[[torch.Tensor], torch.Tensor]
"""From a tensor of the CPU to the same one on the device that is tried."""

Row = Callable[[Put], Any]
"""A call of kernels with inputs on a device; what it returns is compared between devices."""


def seeded(seed: int = 0) -> torch.Generator:
    """Return a generator of the CPU: what is random does not depend on the device."""
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Return independent standard normal entries."""
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64).to(dtype)


def covariance(size: int = 40, seed: int = 0) -> torch.Tensor:
    """Return a positive definite matrix of condition about 30."""
    X = normal(size, 2 * size, seed=seed)
    return X @ X.T / (2 * size)


def weight(rows: int = 96, cols: int = 64, seed: int = 0) -> torch.Tensor:
    """Return noise with three strong directions, float32, like a trained layer."""
    signal = normal(rows, 3, seed=seed + 1) @ normal(3, cols, seed=seed + 2)
    return (0.05 * normal(rows, cols, seed=seed) + 0.04 * signal).float()


def spectrum(size: int = 200, seed: int = 0) -> torch.Tensor:
    """Return the eigenvalues of a covariance matrix."""
    values: torch.Tensor = torch.linalg.eigvalsh(covariance(size, seed))
    return values


def pareto(count: int = 300, alpha: float = 2.5, seed: int = 0) -> torch.Tensor:
    """Return values above 1 of a power law."""
    uniform = torch.rand(count, generator=seeded(seed), dtype=torch.float64)
    return (1 - uniform) ** (-1 / (alpha - 1))
