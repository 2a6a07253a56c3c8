"""Even samples of entries: cheap, and the same on every run."""

from __future__ import annotations

import torch


def strided(matrix: torch.Tensor, count: int) -> torch.Tensor:
    """Return about ``count`` entries of a matrix, evenly spaced, shape ``(n,)``, same dtype.

    The stride is odd and not a multiple of the row length, so that every row and column can be met; a
    matrix of no more than ``count`` entries is returned whole.
    """
    flat = matrix.reshape(-1)
    if flat.numel() <= count:
        return flat
    stride = flat.numel() // count | 1
    while stride > 1 and matrix.shape[-1] % stride == 0:
        stride += 2
    return flat[::stride]
