"""Even samples of entries: cheap, and the same on every run."""

from __future__ import annotations

import math

import torch


def strided(matrix: torch.Tensor, count: int) -> torch.Tensor:
    """Return about ``count`` entries of a matrix, evenly spaced, shape ``(n,)``, same dtype.

    The stride has no divisor in common with the row length, so that every column is met; a matrix of no more
    than ``count`` entries is returned whole.
    """
    if matrix.ndim == 2 and not matrix.is_contiguous():
        matrix = matrix.T  # flattening a transpose would copy it
    flat = matrix.reshape(-1)
    if flat.numel() <= count:
        return flat
    stride = flat.numel() // count
    while math.gcd(stride, matrix.shape[-1]) > 1:
        stride += 1
    return flat[::stride]
