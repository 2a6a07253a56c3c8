"""Scales that even out rows and columns, by passes over bands of rows: no copy of the matrix is made."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from rmtaudit.kernels.difference.samples import largest_entry
from rmtaudit.kernels.noise.variance_profile import Profile, sinkhorn
from rmtaudit.kernels.spectra.gram import row_blocks

_TOLERANCE, _ROUNDS, _VANISHING = 1e-4, 50, 1e-36
"""As in :mod:`rmtaudit.kernels.noise.variance_profile`."""

_HELD = 1 << 21
"""Entries of which all squares are held at the same time: 8 MiB."""

CONCENTRATED = 0.1
"""As in :mod:`rmtaudit.kernels.noise.spike_bound`: share of the edge of noise from which the square of a
single entry may outweigh it."""


def even_profile(matrix: torch.Tensor) -> Profile:
    """Return scales after which the squared entries have mean 1 in every row and in every column.

    The same as :func:`rmtaudit.kernels.noise.variance_profile.sinkhorn`, which holds all squares in memory
    and is faster for small matrices. Here every round is one pass: the scale of a row depends on that row and
    the scales of the columns alone.

    Parameters
    ----------
    matrix
        Shape ``(n, p)``, floating, finite, on any device. Not changed.
    """
    if matrix.numel() <= _HELD:
        return sinkhorn(matrix if matrix.element_size() >= 4 else matrix.float())
    height, width = matrix.shape
    scale = largest_entry(matrix)
    if scale == 0:
        return Profile(*(matrix.new_zeros(size, dtype=torch.float64) for size in matrix.shape))
    sums = torch.zeros(width, device=matrix.device)
    rows = 0
    for _, square in _squares(matrix, scale):
        rows += int((square.sum(1) > 0).sum())
        sums += square.sum(0)
    columns = int((sums > 0).sum())
    x = torch.ones(height, device=matrix.device)
    y = _inverse(sums, rows)
    for _ in range(_ROUNDS):
        means, sums = torch.empty_like(x), torch.zeros_like(sums)
        for band, square in _squares(matrix, scale):
            means[band] = square @ y / columns
            sums += square.T @ _inverse(means[band], 1)
        if bool(((means * x - 1).abs()[means > 0] < _TOLERANCE).all()):
            break
        x, y = _inverse(means, 1), _inverse(sums, rows)
    return Profile(x.double().sqrt() / scale, y.double().sqrt())


def _squares(matrix: torch.Tensor, scale: float) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield bands of the squared entries over the square of a scale, float32, vanishing ones as 0."""
    dtype = torch.float64 if matrix.dtype == torch.float64 else torch.float32
    for band, block in row_blocks(matrix, dtype):
        yield band, torch.threshold_(block.div_(scale).square_().float(), _VANISHING, 0.0)


def _inverse(sums: torch.Tensor, count: int) -> torch.Tensor:
    return torch.where(sums > 0, count / sums.clamp(min=1e-37), torch.zeros_like(sums))
