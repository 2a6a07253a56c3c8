"""The same entries in another arrangement: transposed, rows or columns permuted, shuffled.

Entries are compared by hashes of their bits, summed in integers: exact sums, whatever their order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from rmtaudit.kernels.difference.moments import Moments
from rmtaudit.kernels.spectra.gram import row_bands, row_blocks

Order = Literal["transposed", "rows permuted", "columns permuted", "rows and columns permuted", "shuffled"]

_CLOSE = 1e-9
_MIX = (-7046029254386353131, -4658895280553007687)
"""The odd multipliers of splitmix64, as signed numbers."""


@dataclass(frozen=True, slots=True)
class Rearranged:
    """The candidate holds the entries of the base at other places.

    Attributes
    ----------
    order
        What was done. ``shuffled``: the entries are the same, but no whole row and no whole column is.
    moved
        Number of rows, of columns, of both, or of entries that are not where they were.
    rows, columns
        The rows (columns) of the base that stand at each row (column) of the candidate; empty where they
        did not move.
    """

    order: Order
    moved: int
    rows: tuple[int, ...] = ()
    columns: tuple[int, ...] = ()

    def undone(self, candidate: torch.Tensor) -> torch.Tensor:
        """Return the candidate in the base's arrangement; as it is where that is not known."""
        if self.order == "transposed":
            return candidate.T
        if self.rows:
            candidate = torch.empty_like(candidate).index_copy_(0, _places(self.rows, candidate), candidate)
        if self.columns:
            candidate = torch.empty_like(candidate).index_copy_(
                1, _places(self.columns, candidate), candidate
            )
        return candidate


def find_rearranged(base: torch.Tensor, candidate: torch.Tensor, moments: Moments) -> Rearranged | None:
    """Return how the entries of the base were rearranged; ``None`` where they are not the same entries.

    Parameters
    ----------
    base, candidate
        Equal shapes, finite, rounded to the same format, and not equal.
    moments
        Of the two.
    """
    if abs(moments.difference_sum) > _CLOSE * moments.base_absolute:
        return None
    ours, theirs = _Hashes.of(base), _Hashes.of(candidate)
    if int(ours.rows.sum()) != int(theirs.rows.sum()):
        return None
    moved = moments.differing
    if base.shape[0] == base.shape[1] and _is_equal(base.T, candidate):
        return Rearranged("transposed", moved)
    rows = _permutation(ours.ordered_rows, theirs.ordered_rows)
    if rows is not None and _is_equal(base, candidate, rows=rows):
        return Rearranged("rows permuted", _displaced(rows), rows=_tuple(rows))
    columns = _permutation(ours.ordered_columns, theirs.ordered_columns)
    if columns is not None and _is_equal(base, candidate, columns=columns):
        return Rearranged("columns permuted", _displaced(columns), columns=_tuple(columns))
    rows = _permutation(ours.rows, theirs.rows)
    columns = _permutation(ours.columns, theirs.columns)
    if rows is not None and columns is not None and _is_equal(base, candidate, rows, columns):
        number = _displaced(rows) + _displaced(columns)
        return Rearranged("rows and columns permuted", number, _tuple(rows), _tuple(columns))
    return Rearranged("shuffled", moved)


def _hashed(values: torch.Tensor) -> torch.Tensor:
    """Return a hash of every entry of a fresh float64 block, int64, in its place; -0 is 0."""
    bits = values.add_(0.0).view(torch.int64)
    for factor in _MIX:
        bits ^= bits >> 31
        bits *= factor
    return bits ^ (bits >> 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hashes:
    """Hashes of every row and every column, with and without regard to the order of its entries."""

    rows: torch.Tensor
    columns: torch.Tensor
    ordered_rows: torch.Tensor
    ordered_columns: torch.Tensor

    @classmethod
    def of(cls, matrix: torch.Tensor) -> _Hashes:
        height, width = matrix.shape
        of_row, of_column = (_multipliers(size, matrix.device) for size in (height, width))
        rows, ordered_rows, columns, ordered_columns = (
            torch.zeros(size, dtype=torch.int64, device=matrix.device)
            for size in (height, height, width, width)
        )
        for band, block in row_blocks(matrix):
            hashes = _hashed(block)
            rows[band], ordered_rows[band] = hashes.sum(dim=1), (hashes * of_column).sum(dim=1)
            columns += hashes.sum(dim=0)
            ordered_columns += hashes.mul_(of_row[band, None]).sum(dim=0)
        return cls(rows=rows, columns=columns, ordered_rows=ordered_rows, ordered_columns=ordered_columns)


def _multipliers(count: int, device: torch.device) -> torch.Tensor:
    return torch.arange(1, count + 1, dtype=torch.int64, device=device) * _MIX[0] | 1


def _is_equal(
    base: torch.Tensor,
    candidate: torch.Tensor,
    rows: torch.Tensor | None = None,
    columns: torch.Tensor | None = None,
) -> bool:
    """Whether the candidate has the values of these rows and columns of the base, in bands."""
    for band in row_bands(candidate.shape):
        ours = base[band] if rows is None else base[rows[band]]
        if columns is not None:
            ours = ours[:, columns]
        if not torch.equal(ours.double(), candidate[band].double()):
            return False
    return True


def _permutation(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor | None:
    """Return which line of the base stands at each place of the candidate; ``None`` for other lines."""
    sorted_ours, order = ours.sort(stable=True)
    sorted_theirs, places = theirs.sort(stable=True)
    if not torch.equal(sorted_ours, sorted_theirs):
        return None
    permutation = torch.empty_like(order)
    permutation[places] = order
    return permutation


def _displaced(permutation: torch.Tensor) -> int:
    return int((permutation != torch.arange(len(permutation), device=permutation.device)).sum())


def _tuple(permutation: torch.Tensor) -> tuple[int, ...]:
    return tuple(permutation.tolist())


def _places(permutation: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(permutation, device=like.device)
