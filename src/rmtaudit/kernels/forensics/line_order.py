"""Lines in random order: rows that were shuffled within, and a half of the rows that was drawn anew."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import torch

_LINES, _LENGTH = 128, 512
_CAP = 3.0
_LEAST = 16
_ROUNDING = 1e-24
"""Variance over the squared mean at which numbers that are all equal may arrive by rounding."""


@dataclass(frozen=True)
class BlockOrder:
    """How far a block of lines is from lines of entries in random order, in standard deviations.

    The second and the third score are computed where they are asked for: most trained lines are decided by
    the first.

    Attributes
    ----------
    products
        Of the squared cosines between the lines.
    entries, unit
        The lines as they are, and capped, centred and normalised: what the other scores are computed from.
        Shape ``(lines, length)``.
    """

    products: float
    entries: torch.Tensor = field(repr=False, compare=False)
    unit: torch.Tensor = field(repr=False, compare=False)

    @cached_property
    def profile(self) -> float:
        """Of the sizes along the lines: equal at every position, if every line is in random order."""
        return _profile(self.unit.double().square())

    @cached_property
    def sizes(self) -> float:
        """Of the sizes of the lines: equal, if all entries of the block are in random order."""
        return _unevenness(self.entries)


@dataclass(frozen=True)
class LineOrder:
    """The order within the lines of a matrix: all of them, and the first and the second half of them.

    Attributes
    ----------
    whole, halves
        The blocks.
    sums
        Of the squared cosines of each line with all others, float64.
    """

    whole: BlockOrder
    halves: tuple[BlockOrder, BlockOrder]
    sums: torch.Tensor = field(repr=False, compare=False)

    @cached_property
    def contrast(self) -> float:
        """Rank-sum score of the halves, in standard deviations.

        Positive where the lines of the second half have the larger squared cosines with all lines. Were the
        lines dealt to the halves at random, it would be standard normal, whatever they have in common.
        """
        return _contrast(self.sums, self.sums.shape[0] // 2)


def line_order(matrix: torch.Tensor) -> LineOrder:
    r"""Measure how far the rows are from rows of entries in random order.

    Null hypothesis: each row is a random permutation of its entries, independently of the others. Rows are
    capped at three root mean squares, centred and normalised to ``x_i``. With ``c = C - 1`` for rows of
    ``C`` entries:

    - products: the square of ``x_i·x_k`` has mean ``1/c`` and, for an isotropic direction, variance
      ``2(c-1)/(c²(c+2))``; different pairs are uncorrelated;
    - profile: the squares summed over ``m`` rows have at each position the mean ``m/C``, and the variance
    is the sum of
      those within the rows (χ² with ``c`` degrees of freedom);
    - contrast: each row has the sum of its squared cosines with all others; the two halves of these sums are
      compared by the rank-sum test, whose null hypothesis is that the rows are exchangeable. Reordering
      rows reorders the sums, so that the test is exact though they depend on each other;
    - sizes: the mean squares of the rows are compared likewise (χ²), entries capped at three root mean
    squares of the
      block. Here the null hypothesis is that all entries of the block are in random order.

    At most 128 rows and 512 columns, evenly spaced, are used.

    Parameters
    ----------
    matrix
        Shape ``(rows, cols)``, real floating dtype, finite; pass ``matrix.T`` for columns.

    Raises
    ------
    ValueError
        If the matrix is smaller than 16 x 16.

    References
    ----------
    Mann, Whitney, *On a test of whether one of two random variables is stochastically larger than the other*,
    Ann. Math. Statist. 18 (1947).
    """
    if min(matrix.shape) < _LEAST:
        raise ValueError(f"at least 16 rows and columns are needed, not {tuple(matrix.shape)}")
    entries = _part(matrix)
    unit = _normalised(entries)
    squares = (unit @ unit.T).double().square_().fill_diagonal_(0.0)
    count, length = unit.shape
    middle = count // 2
    with_first, with_second = squares[:, :middle].sum(1), squares[:, middle:].sum(1)
    sums = with_first + with_second
    totals = torch.stack([sums.sum(), with_first[:middle].sum(), with_second[middle:].sum()])
    whole, first, second = (
        BlockOrder(_product_score(total, stop - start, length), entries[start:stop], unit[start:stop])
        for total, (start, stop) in zip(
            totals.tolist(), ((0, count), (0, middle), (middle, count)), strict=True
        )
    )
    return LineOrder(whole, (first, second), sums)


def _product_score(total: float, count: int, length: int) -> float:
    """Return the score of the sum of the squared cosines, each pair of lines counted twice."""
    freedom = length - 1
    pairs = count * (count - 1) / 2
    variance = pairs * 2 * (freedom - 1) / (freedom**2 * (freedom + 2))
    return (total / 2 - pairs / freedom) / math.sqrt(variance)


def _contrast(sums: torch.Tensor, middle: int) -> float:
    """Return the rank-sum score of the second part of continuous values against the first."""
    count = len(sums)
    ranks = torch.empty(count, dtype=torch.float64, device=sums.device)
    ranks[sums.argsort()] = torch.arange(1, count + 1, dtype=torch.float64, device=sums.device)
    behind = count - middle
    excess = float(ranks[middle:].sum()) - behind * (count + 1) / 2
    return excess / math.sqrt(middle * behind * (count + 1) / 12)


def _part(matrix: torch.Tensor) -> torch.Tensor:
    """Return up to 128 rows and 512 columns, evenly spaced, with the entries of a row one after the other."""
    rows = _spread(matrix.shape[0], _LINES, matrix.device)
    columns = _spread(matrix.shape[1], _LENGTH, matrix.device)
    if matrix.stride(0) >= matrix.stride(1):
        part = _chosen(matrix, rows, columns)
    else:  # in the order in which the entries are stored: far apart ones are slow to read
        part = _chosen(matrix.T, columns, rows).contiguous().T
    return part if part.stride(1) == 1 else part.contiguous()


_Places = slice | torch.Tensor


def _chosen(matrix: torch.Tensor, rows: _Places, columns: _Places) -> torch.Tensor:
    if isinstance(rows, torch.Tensor) and isinstance(columns, torch.Tensor):
        rows = rows[:, None]
    return matrix[rows, columns]


def _spread(length: int, count: int, device: torch.device) -> _Places:
    """Return the places of up to ``count`` of ``length`` lines, evenly spaced; a slice copies nothing."""
    if length <= count or length % count == 0:
        return slice(None, None, max(1, length // count))
    return torch.arange(count, device=device) * length // count


def _profile(energy: torch.Tensor) -> float:
    """Return the score of the squares along the lines, summed over the lines."""
    freedom = energy.shape[1] - 1
    within = float(_variances(energy).sum())
    profile = energy.sum(0)
    along = float((profile - profile.mean()).square_().sum())
    return (along / within - freedom) / math.sqrt(2 * freedom) if within > 0 else 0.0


def _variances(rows: torch.Tensor) -> torch.Tensor:
    """Return the unbiased variances of the rows, in a quarter of the time of ``torch.var``."""
    means = rows.mean(1, keepdim=True)
    variances = (rows - means).square_().sum(1) / (rows.shape[1] - 1)
    return torch.where(variances > _ROUNDING * means[:, 0].square(), variances, 0.0)


def _normalised(part: torch.Tensor) -> torch.Tensor:
    unit = part - part.mean(1, keepdim=True)
    cap = torch.linalg.vector_norm(unit, dim=1, keepdim=True) * (_CAP / math.sqrt(unit.shape[1]))
    unit.clamp_(-cap, cap)
    unit -= unit.mean(1, keepdim=True)
    norms = torch.linalg.vector_norm(unit, dim=1, keepdim=True)
    return unit.div_(torch.where(norms > 0, norms, 1.0))


def _unevenness(part: torch.Tensor) -> float:
    """Return how far the sizes of the rows are from equal, in standard deviations of χ²."""
    count, length = part.shape
    cap = _CAP * float(part.square().mean().sqrt())
    squares = part.double().clamp(-cap, cap).square_()
    means = squares.mean(1)
    mean = float(means.mean())
    spread = float(squares.sub_(mean).square_().mean())
    if not spread > _ROUNDING * mean**2:
        return 0.0
    variance = spread / length * (squares.numel() - length) / (squares.numel() - 1)
    statistic = float((means - mean).square_().sum()) / variance
    return (statistic - (count - 1)) / math.sqrt(2 * (count - 1))
