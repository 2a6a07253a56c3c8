"""Starts of independent entries with something added: an identity, zeros, scales of blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from rmtaudit.kernels.spectra.gram import row_bands

_LEAST_BLOCK, _MOST_BLOCKS = 8, 32
_DIAGONAL_Z = 6.0
_WITHIN = 6.0


def without_zero_lines(matrix: torch.Tensor) -> torch.Tensor:
    """Return the rows and columns of a matrix that hold anything; the matrix itself if all do."""
    if bool((matrix[:, :1] != 0).all()) and bool((matrix[:1] != 0).all()):
        return matrix  # the usual case, for the price of two lines
    occupied = matrix != 0
    rows, cols = occupied.any(1), occupied.any(0)
    if bool(rows.all()) and bool(cols.all()):
        return matrix
    return matrix[rows][:, cols]


def identity_entries(rows: int, cols: int, kernel: tuple[int, ...] = ()) -> torch.Tensor:
    """Return which columns an identity (of a convolution: at the centre of the kernel) occupies, row by row.

    Shape ``(min(rows, inputs),)``, int64.
    """
    positions = math.prod(kernel)
    centre = 0
    for size in kernel:
        centre = centre * size + size // 2
    return torch.arange(min(rows, cols // positions)) * positions + centre


def is_identity(matrix: torch.Tensor, kernel: tuple[int, ...] = ()) -> bool:
    """Whether a matrix is a multiple of an identity or a Dirac kernel, in one group or several.

    Every row holds one entry, all of one value, at the centre of the kernel of an input that goes up by one
    from row to row and starts again at 0 for the next group.
    """
    if bool(((matrix[:_LEAST_BLOCK] != 0).sum(1) > 1).any()):
        return False  # the usual case, for the price of a few rows
    occupied = matrix != 0
    held = occupied.any(1)
    if not bool(held.any()) or bool((occupied.sum(1) > 1).any()):
        return False
    values = matrix[occupied]
    if bool((values != values[0]).any()):
        return False
    rows, cols = occupied.nonzero(as_tuple=True)
    positions = math.prod(kernel)
    centre = int(identity_entries(1, matrix.shape[1], kernel)[0])
    inputs = cols // positions
    in_order = (inputs.diff() == rows.diff()) | (inputs[1:] == 0)
    return bool((cols % positions == centre).all()) and bool(in_order.all()) and int(inputs[0]) == 0


def identity_removed(matrix: torch.Tensor, kernel: tuple[int, ...] = ()) -> torch.Tensor | None:
    """Return the matrix without a multiple of the identity added to it, or ``None`` if none stands out.

    It stands out if the median of the diagonal (of a convolution: of the centres) exceeds 6 robust standard
    deviations of the entries, and the diagonal varies about it no more than the entries do about 0.
    """
    rows, cols = matrix.shape
    if cols % math.prod(kernel):
        return None
    at = identity_entries(rows, cols, kernel).to(matrix.device)
    along = torch.arange(len(at), device=matrix.device)
    diagonal = matrix[along, at].double()
    stride = max(1, matrix.numel() // 65_536) | 1
    sample = matrix.reshape(-1)[::stride].double().abs()
    sigma = float(sample.kthvalue(math.ceil(0.6827 * len(sample))).values)
    middle = float(diagonal.median())
    about = float((diagonal - middle).abs().median()) / 0.6745
    if len(at) < _LEAST_BLOCK or abs(middle) <= _DIAGONAL_Z * sigma or about > 2 * sigma:
        return None
    rest = matrix.double().clone()
    rest[along, at] -= float(diagonal.mean())
    return rest


def rescaled_blocks(matrix: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the matrix with blocks of rows, or of columns, brought to one scale, under a name for the blocks.

    Tried are 2 to 32 equal blocks, and two blocks of any heights. Only those are yielded after which the
    sizes of the lines within a block vary no more than those of independent entries do.
    """
    for name, lines in (("rows", matrix), ("columns", matrix.T)):
        count = len(lines)
        sizes, expected = _line_sizes(lines)
        if not bool((sizes > 0).all()):
            continue
        logs = sizes.log()
        if _are_even([logs], expected):
            continue
        for blocks in (*_equal(count), *_two_parts(logs)):
            if not _are_even([logs[block] for block in blocks], expected):
                continue
            even = torch.cat([lines[block].double() / sizes[block].mean().sqrt() for block in blocks])
            yield f"{len(blocks)} blocks of {name}", even if name == "rows" else even.T


def lines_are_even(matrix: torch.Tensor) -> bool:
    """Whether rows, and columns, vary in size no more than those of independent entries do."""
    for lines in (matrix, matrix.T):
        sizes, expected = _line_sizes(lines)
        if not bool((sizes > 0).all()) or not _are_even([sizes.log()], expected):
            return False
    return True


def _line_sizes(lines: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Return the mean squares of the rows, and the variance of their logarithms for independent entries."""
    sums = []
    for band in row_bands(lines.shape):
        squares = lines[band].double().square()
        sums.append(torch.stack((squares.mean(1), squares.square().mean(1))))
    sizes, fourth = torch.cat(sums, 1)
    kurtosis = float((fourth / sizes.square()).mean())
    return sizes, (kurtosis - 1) / lines.shape[1]


def _are_even(groups: list[torch.Tensor], expected: float) -> bool:
    within = sum(float((group - group.mean()).square().sum()) for group in groups)
    freedom = sum(len(group) - 1 for group in groups)
    return within <= expected * (freedom + _WITHIN * math.sqrt(2 * freedom))


def _equal(count: int) -> Iterator[list[slice]]:
    for blocks in range(2, _MOST_BLOCKS + 1):
        height, rest = divmod(count, blocks)
        if not rest and height >= _LEAST_BLOCK:
            yield [slice(start, start + height) for start in range(0, count, height)]


def _two_parts(logs: torch.Tensor) -> Iterator[list[slice]]:
    """Yield the split into two parts whose means differ most, by least squares."""
    count = len(logs)
    if count < 2 * _LEAST_BLOCK:
        return
    places = torch.arange(1, count, dtype=torch.float64, device=logs.device)
    sums = logs.cumsum(0)[:-1] - places * logs.mean()
    gain = sums.square() * count / (places * (count - places))
    gain[: _LEAST_BLOCK - 1] = -1
    gain[count - _LEAST_BLOCK :] = -1
    at = int(gain.argmax()) + 1
    yield [slice(0, at), slice(at, count)]
