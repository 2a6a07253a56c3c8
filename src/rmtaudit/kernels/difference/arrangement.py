"""The same entries in another arrangement: transposed, rows or columns permuted, shuffled.

Entries are compared by hashes of their bits, summed in integers: exact sums, whatever their order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from rmtaudit.kernels.difference.moments import Moments

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
    base, candidate = base.double(), candidate.double()
    ours, theirs = _hashed(base), _hashed(candidate)
    if int(ours.sum()) != int(theirs.sum()):
        return None
    moved = moments.differing
    if base.shape[0] == base.shape[1] and torch.equal(base.T, candidate):
        return Rearranged("transposed", moved)
    rows = _permutation(_ordered(ours), _ordered(theirs))
    if rows is not None and torch.equal(base[rows], candidate):
        return Rearranged("rows permuted", _displaced(rows), rows=_tuple(rows))
    columns = _permutation(_ordered(ours.T), _ordered(theirs.T))
    if columns is not None and torch.equal(base[:, columns], candidate):
        return Rearranged("columns permuted", _displaced(columns), columns=_tuple(columns))
    rows = _permutation(ours.sum(dim=1), theirs.sum(dim=1))
    columns = _permutation(ours.sum(dim=0), theirs.sum(dim=0))
    if rows is not None and columns is not None and torch.equal(base[rows][:, columns], candidate):
        number = _displaced(rows) + _displaced(columns)
        return Rearranged("rows and columns permuted", number, _tuple(rows), _tuple(columns))
    return Rearranged("shuffled", moved)


def _hashed(values: torch.Tensor) -> torch.Tensor:
    """Return a hash of every entry, int64; -0 is 0."""
    bits = (values + 0.0).contiguous().view(torch.int64).clone()
    for factor in _MIX:
        bits ^= bits >> 31
        bits *= factor
    return bits ^ (bits >> 32)


def _ordered(hashes: torch.Tensor) -> torch.Tensor:
    """Return a hash of every row that depends on the order of its entries."""
    places = torch.arange(1, hashes.shape[1] + 1, dtype=torch.int64, device=hashes.device) * _MIX[0] | 1
    return (hashes * places).sum(dim=1)


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
