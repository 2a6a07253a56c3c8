"""Exact patterns of zeros, ones and integers: masks, diagonals, index tables, filter banks."""

from __future__ import annotations

import torch

_SAMPLE = 4096
_FEW_PER_LINE = 3
_MASKED_SHARE = 0.25
"""Least share of a triangle that a mask forbids, and of the zeros of a Haar basis of 4 or more: a corner of a
weight is no triangle."""


def has_two_values(tensor: torch.Tensor, low: float, high: float) -> bool:
    """Whether every entry of a tensor is one of two values, its smallest and its largest."""
    sample = tensor.reshape(-1)[:_SAMPLE]
    return bool(((sample == low) | (sample == high)).all()) and bool(
        ((tensor == low) | (tensor == high)).all()
    )


def is_diagonal(matrix: torch.Tensor) -> bool:
    """Whether everything off the main diagonal of a matrix is exactly 0, and the diagonal nowhere."""
    diagonal = matrix.diagonal()
    if min(matrix.shape) < 3 or bool((matrix[0, 1:] != 0).any()) or not bool((diagonal != 0).all()):
        return False
    return int((matrix != 0).sum()) == len(diagonal)


def is_one_entry_per_line(occupied: torch.Tensor) -> bool:
    """Whether every row of a boolean matrix holds one entry, and no column more than one."""
    return bool((occupied.sum(1) == 1).all()) and bool((occupied.sum(0) <= 1).all())


def is_triangular(occupied: torch.Tensor) -> bool:
    """Whether the last two sides of a boolean tensor are a full triangle, with any shift of the diagonal."""
    rows, cols = occupied.shape[-2:]
    first = occupied.reshape(-1, rows, cols)[0]
    if not bool((occupied == first).all()) or bool(first.all()) or not bool(first.any()):
        return False
    distance = torch.arange(cols)[None, :] - torch.arange(rows)[:, None]
    inside, outside = distance[first.cpu()], distance[~first.cpu()]
    return bool(inside.max() < outside.min()) or bool(inside.min() > outside.max())


def is_masked_triangle(masked: torch.Tensor) -> bool:
    """Whether the entries that are masked, at least a quarter of all, are a full triangle."""
    return float(masked.float().mean()) >= _MASKED_SHARE and is_triangular(masked)


def is_haar_basis(matrix: torch.Tensor, epsilon: float) -> bool:
    """Whether the rows, or the columns, are a basis of Haar wavelets.

    Each line is one run of entries of one size with at most one change of sign, and zeros elsewhere; the
    lines are orthogonal, and at least a quarter of the matrix is 0.
    """
    rows, cols = matrix.shape
    if rows != cols or rows < 4 or float((matrix == 0).float().mean()) < _MASKED_SHARE:
        return False
    return any(_are_wavelets(lines, epsilon) for lines in (matrix, matrix.T))


def _are_wavelets(lines: torch.Tensor, epsilon: float) -> bool:
    size = lines.abs()
    largest = size.amax(1, keepdim=True)
    occupied = lines != 0
    if not bool((occupied.any(1)).all()) or bool(((largest - size > 4 * epsilon * largest) & occupied).any()):
        return False
    place = torch.arange(lines.shape[1])
    first = torch.where(occupied, place, lines.shape[1]).amin(1)
    last = torch.where(occupied, place, -1).amax(1)
    signs = lines.sign()
    changes = ((signs[:, 1:] != signs[:, :-1]) & occupied[:, 1:] & occupied[:, :-1]).sum(1)
    if not bool((occupied.sum(1) == last - first + 1).all()) or bool((changes > 1).any()):
        return False
    gram = signs @ signs.T
    return bool((gram - gram.diagonal().diag() == 0).all())


def is_index_table(tensor: torch.Tensor) -> bool:
    """Whether all entries are integers that count up or down along some axis, mostly by one constant step.

    Position ids, relative-position indices and grids of coordinates do; so does a matrix that is constant
    along its diagonals (bucketed relative positions).
    """
    flat = tensor.reshape(-1)
    sample = flat[:_SAMPLE]
    if not bool((sample == sample.round()).all()) or not bool((flat == flat.round()).all()):
        return False
    if len(torch.unique(sample)) < 8:
        return False
    if tensor.ndim == 2 and min(tensor.shape) > 2 and bool((tensor[1:, 1:] == tensor[:-1, :-1]).all()):
        return True
    for axis in range(tensor.ndim):
        if tensor.shape[axis] < 4:
            continue
        steps = tensor.diff(dim=axis)
        constant = steps.diff(dim=axis) == 0
        # not the mostly equal entries of weights on a coarse integer grid: the steps are there
        if float(constant.float().mean()) >= 0.6 and float((steps != 0).float().mean()) >= 0.5:
            return True
    return False


def is_filter_bank(matrix: torch.Tensor) -> bool:
    """Whether the columns, or the rows, are bands of weights >= 0 that move steadily along: mel filters.

    Most of the matrix is exactly 0; each band is one run of positive entries that rises, then falls; the
    bands are in order and few overlap at any place.
    """
    sample = matrix.reshape(-1)[:_SAMPLE]
    if bool((sample < 0).any()) or bool((matrix < 0).any()):
        return False
    if float((matrix == 0).float().mean()) < 0.5:
        return False
    return any(_are_bands(lines) for lines in (matrix, matrix.T))


def _are_bands(lines: torch.Tensor) -> bool:
    """Whether the rows are bands in order."""
    occupied = lines > 0
    held = occupied.any(1)
    if int(held.sum()) < max(4, len(lines) // 2):
        return False
    lines, occupied = lines[held], occupied[held]
    size = lines.shape[1]
    place = torch.arange(size)
    first = torch.where(occupied, place, size).amin(1)
    last = torch.where(occupied, place, -1).amax(1)
    if not bool((occupied.sum(1) == last - first + 1).all()):
        return False
    in_order = bool((first.diff() >= 0).all()) and bool((last.diff() >= 0).all())
    reversed_order = bool((first.diff() <= 0).all()) and bool((last.diff() <= 0).all())
    if not (in_order or reversed_order) or len(torch.unique(first)) < len(first) // 3:
        return False
    peak = lines.argmax(1, keepdim=True)
    steps = lines.diff(dim=1)
    rising = (place[:-1] < peak) & (steps < -1e-6 * lines.amax(1, keepdim=True))
    falling = (place[:-1] >= peak) & (steps > 1e-6 * lines.amax(1, keepdim=True))
    overlap = occupied.sum(0).float()
    return not bool(rising.any() or falling.any()) and float(overlap.median()) <= _FEW_PER_LINE
