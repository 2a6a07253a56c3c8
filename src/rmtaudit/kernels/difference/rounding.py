"""What rounding alone does to the difference of two matrices, and the edge of its singular values."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from rmtaudit.kernels.difference.formats import rounding_variance
from rmtaudit.kernels.difference.moments import bands, power_of_two
from rmtaudit.kernels.difference.samples import largest_entry

_SWEEPS = 6
_EVEN = 1e-3
"""Rounding errors of the rows are even enough to within this share; the edge holds for any scales."""

_LEAST = 1e-37
"""Least mean variance of a line over that of the largest entry: float32 holds it and its inverse. A line with
less holds zeros alone, or next to nothing."""


@dataclass(frozen=True, slots=True)
class Rounding:
    """The variance that rounding gives each entry of a difference, and the edge of its singular values.

    ``rows`` and ``columns`` are scales after which it is about 1 in every row and column; ``edge`` is the
    bound ``max_i (Σ_j v_ij)^½ + max_j (Σ_i v_ij)^½`` on the largest singular value after them; ``energy`` is
    the sum of the scaled variances.
    """

    rows: torch.Tensor
    columns: torch.Tensor
    edge: float
    energy: float


def rounding_of(base: torch.Tensor, candidate: torch.Tensor, dtypes: tuple[str, str]) -> Rounding:
    """Return what rounding alone does to the difference of two matrices.

    The base's own rounding counts where its format is coarser than the candidate's. An update is computed
    in the candidate's format before it is added: its roundings count fourfold, one a factor and a product.

    Parameters
    ----------
    base, candidate
        Equal shapes, real floating, finite.
    dtypes
        The formats that each was last rounded to.

    References
    ----------
    Bandeira, van Handel, *Sharp nonasymptotic bounds on the norm of random matrices with independent
    entries*, Ann. Probab. 44 (2016), for the edge.
    """
    variance, scale = _variance(base, candidate, dtypes)
    height, width = variance.shape
    rows, columns = (torch.ones(size, device=variance.device) for size in (height, width))
    for _ in range(_SWEEPS):
        mean = (variance @ columns / width).clamp_min_(_LEAST)
        uneven = float((mean * rows - 1).abs().max())
        if uneven < _EVEN:
            break
        rows = 1 / mean
        columns = 1 / (variance.T @ rows / height).clamp_min_(_LEAST)
    by_row, by_column = rows * (variance @ columns), columns * (variance.T @ rows)
    return Rounding(
        rows=rows.double().sqrt() / math.sqrt(scale),
        columns=columns.double().sqrt(),
        edge=math.sqrt(float(by_row.max())) + math.sqrt(float(by_column.max())),
        energy=float(by_row.sum(dtype=torch.float64)),
    )


def largest_rounding_edge(base: torch.Tensor, candidate: torch.Tensor, dtypes: tuple[str, str]) -> float:
    """Return a bound, in weight units, on the largest singular value of what :func:`rounding_of` is about.

    That of errors which are all as large as the largest can be: whatever is above it is not rounding.
    """
    height, width = base.shape
    deviation = math.sqrt(2 * _largest_variance(base, candidate, dtypes))
    return deviation * (math.sqrt(height) + math.sqrt(width))


def _is_coarser(dtypes: tuple[str, str]) -> bool:
    return torch.finfo(getattr(torch, dtypes[0])).eps > torch.finfo(getattr(torch, dtypes[1])).eps


def _largest_variance(base: torch.Tensor, candidate: torch.Tensor, dtypes: tuple[str, str]) -> float:
    """Return the power of two below the largest variance that rounding may give an entry."""
    largest = torch.tensor([largest_entry(each) for each in (base, candidate)], dtype=torch.float64)
    # No entry of the difference is larger than both together.
    bounds = [4 * rounding_variance(largest.sum(), dtypes[1]), rounding_variance(largest[1], dtypes[1])]
    if _is_coarser(dtypes):
        bounds.append(rounding_variance(largest[0], dtypes[0]))
    return power_of_two(float(sum(bounds)))


def _variance(
    base: torch.Tensor, candidate: torch.Tensor, dtypes: tuple[str, str]
) -> tuple[torch.Tensor, float]:
    """Return the variances over a scale, float32, and the scale: a power of two near the largest one."""
    coarser = _is_coarser(dtypes)
    scale = _largest_variance(base, candidate, dtypes)
    result = torch.empty(base.shape, dtype=torch.float32, device=base.device)
    for band, ours, theirs in bands(base, candidate):
        variance = rounding_variance(theirs, dtypes[1])
        if coarser:
            variance += rounding_variance(ours, dtypes[0])
        variance.add_(rounding_variance(theirs.sub_(ours), dtypes[1]), alpha=4)
        result[band] = variance.div_(scale)
    return result, scale
