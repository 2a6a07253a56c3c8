"""Edits of single entries, rows or columns, and pruning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from rmtaudit.kernels.difference.formats import ulp
from rmtaudit.kernels.difference.moments import Moments, bands
from rmtaudit.kernels.difference.samples import even_rows
from rmtaudit.kernels.forensics.sparsity import zero_pattern

LISTED = 20
"""Positions that are named at most."""

_FEW = 0.01
"""Share of the entries that a sparse edit changes at most: a convention."""

_FEW_LINES = 0.05
"""Share of the rows (columns) that an edit of whole rows changes at most: a convention."""

_SINGLE = 16
"""Entries so few that their change need not be larger than rounding."""

_PRUNED = 0.005
"""Least share of entries that pruning sets to zero; fewer are a sparse edit."""

_CHUNK = 1 << 20
"""Pruned entries whose places among the kept ones are sought at the same time."""

_RANDOM = 0.05
"""Half-width of the band about 1/2 in which the probability that a pruned entry is smaller than a kept one
lies for random pruning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseEdit:
    """All entries but a few are unchanged.

    Attributes
    ----------
    entries
        Number of entries that changed.
    positions
        Row and column of the first of them, 20 at most.
    rows, columns
        The rows (or columns) that hold every change, where they are few; else empty. 20 at most.
    lines
        Number of those rows or columns.
    largest
        Largest absolute change.
    one_bit
        Whether the change of every entry is one bit of its stored form.
    """

    entries: int
    positions: tuple[tuple[int, int], ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    lines: int
    largest: float
    one_bit: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """Every entry is the base's or zero.

    Attributes
    ----------
    entries
        Entries that are zero in the candidate and not in the base.
    share
        Those over all entries.
    sparsity
        Share of zeros in the candidate.
    pattern
        ``magnitude``: no kept entry is smaller than a pruned one (of the matrix, or of each row);
        ``N:M``; ``rows``; ``columns``; ``random``: pruned entries are as large as kept ones; ``other``.
    n, m
        Of an N:M pattern: at most ``n`` of ``m`` neighbours are kept; else 0.
    along
        What the pattern holds for: the ``matrix``, each of the ``rows``, or of the ``columns``.
    smaller
        Probability that a pruned entry was smaller than a kept one: 1/2 for random pruning, 1 for magnitude.
    """

    entries: int
    share: float
    sparsity: float
    pattern: Literal["magnitude", "N:M", "rows", "columns", "random", "other"]
    n: int
    m: int
    along: Literal["matrix", "rows", "columns"]
    smaller: float


def find_pruned(base: torch.Tensor, candidate: torch.Tensor, moments: Moments) -> Pruned | None:
    """Return how the base was pruned; ``None`` where an entry is neither the base's nor zero.

    Parameters
    ----------
    base, candidate
        Equal shapes, finite, real floating; the base rounded to the candidate's format.
    moments
        Of the two.
    """
    first, second = even_rows(base).double(), even_rows(candidate).double()
    if bool(((first != second) & (second != 0)).any()):
        return None
    count = moments.differing
    if count < _PRUNED * base.numel():
        return None
    changed = _changed(base, candidate)
    base, candidate = _widened(base), _widened(candidate)
    if bool((candidate[changed] != 0).any()):
        return None
    size = base.abs()
    zeros = candidate == 0
    smaller = _smaller(size[changed], size[~zeros])
    pattern: Literal["magnitude", "N:M", "rows", "columns", "random", "other"] = "other"
    along: Literal["matrix", "rows", "columns"] = "matrix"
    n = m = 0
    found = zero_pattern(candidate) if bool((~zeros).any()) else None
    if _of_whole_lines(changed, base, 1):
        pattern = "rows"
    elif _of_whole_lines(changed, base, 0):
        pattern = "columns"
    elif found is not None and found.pattern is not None:
        pattern, n, m, along = "N:M", found.pattern.n, found.pattern.m, found.pattern.along
    elif _by_magnitude(size, changed, zeros, None):
        pattern = "magnitude"
    elif _by_magnitude(size, changed, zeros, 1):
        pattern, along = "magnitude", "rows"
    elif _by_magnitude(size, changed, zeros, 0):
        pattern, along = "magnitude", "columns"
    elif abs(smaller - 0.5) < _RANDOM:
        pattern = "random"
    return Pruned(
        entries=count,
        share=count / base.numel(),
        sparsity=int(zeros.sum()) / zeros.numel(),
        pattern=pattern,
        n=n,
        m=m,
        along=along,
        smaller=smaller,
    )


def find_sparse_edit(
    base: torch.Tensor, candidate: torch.Tensor, moments: Moments, dtype: str
) -> SparseEdit | None:
    """Return the few entries, rows or columns that differ; ``None`` where many do.

    A small update of many entries also changes few of them in a coarse format, each by one unit in the last
    place: more than 16 changes count only if half of them are larger than two units.

    Parameters
    ----------
    base, candidate
        Equal shapes, finite, real floating; the base rounded to the candidate's format.
    moments
        Of the two.
    dtype
        That format.
    """
    count = moments.differing
    height, width = base.shape
    most = max(
        1, _FEW * height * width, width * max(1, _FEW_LINES * height), height * max(1, _FEW_LINES * width)
    )
    if not 0 < count <= most:
        return None
    changed = _changed(base, candidate)
    rows, columns = (changed.any(dim=side).nonzero().reshape(-1) for side in (1, 0))
    few_rows = len(rows) <= max(1, _FEW_LINES * base.shape[0]) and base.shape[0] > 1
    few_columns = len(columns) <= max(1, _FEW_LINES * base.shape[1]) and base.shape[1] > 1
    if count > max(1, _FEW * base.numel()) and not few_rows and not few_columns:
        return None
    before, after = (_widened(each)[changed].double() for each in (base, candidate))
    difference = (after - before).abs()
    if count > _SINGLE:
        unit = torch.maximum(ulp(before, dtype), ulp(after, dtype))
        if float((difference > 2 * unit).double().mean()) < 0.5:
            return None
    whole = few_rows or few_columns
    of_rows = few_rows and (not few_columns or len(rows) <= len(columns))
    lines = (rows if of_rows else columns) if whole and count > _SINGLE else rows[:0]
    listed = tuple(int(line) for line in lines[:LISTED])
    return SparseEdit(
        entries=count,
        positions=tuple((int(row), int(column)) for row, column in changed.nonzero()[:LISTED]),
        rows=listed if of_rows else (),
        columns=() if of_rows else listed,
        lines=len(lines),
        largest=float(difference.max()),
        one_bit=_one_bit(before, after, dtype),
    )


def _changed(base: torch.Tensor, candidate: torch.Tensor) -> torch.Tensor:
    """Return where two matrices differ, by bands: their dtypes may differ."""
    changed = torch.empty(base.shape, dtype=torch.bool, device=base.device)
    for band, ours, theirs in bands(base, candidate):
        changed[band] = ours != theirs
    return changed


def _widened(matrix: torch.Tensor) -> torch.Tensor:
    return matrix if matrix.element_size() >= 4 else matrix.float()


def _of_whole_lines(changed: torch.Tensor, base: torch.Tensor, side: int) -> bool:
    """Whether the changes are whole rows (columns): all entries of theirs that were not zero before."""
    touched = changed.any(dim=side)
    whole = (changed | (base == 0)).all(dim=side)
    return bool((touched == (touched & whole)).all())


def _by_magnitude(size: torch.Tensor, changed: torch.Tensor, zeros: torch.Tensor, side: int | None) -> bool:
    pruned = torch.where(changed, size, -torch.inf)
    kept = torch.where(zeros, torch.inf, size)
    if side is None:
        return bool(pruned.max() <= kept.min())
    return bool((pruned.amax(dim=side) <= kept.amin(dim=side)).all())


def _smaller(pruned: torch.Tensor, kept: torch.Tensor) -> float:
    """Return the probability that an entry of the first is smaller than one of the second, ties halved.

    The second is sorted.
    """
    if not len(kept):
        return 0.5
    if kept.is_cuda:
        kept = kept.sort().values
    else:
        kept.numpy().sort()  # in place, and without the places
    below = 0
    for at in range(0, len(pruned), _CHUNK):
        part = pruned[at : at + _CHUNK]
        for right in (True, False):
            below += int(torch.searchsorted(kept, part, right=right).sum())
    return 1 - below / (2 * len(kept) * len(pruned))


_BITS = {8: torch.uint8, 16: torch.int16, 32: torch.int32, 64: torch.int64}


def _one_bit(before: torch.Tensor, after: torch.Tensor, dtype: str) -> bool:
    target = getattr(torch, dtype)
    kind = _BITS[torch.finfo(target).bits]
    flipped = before.to(target).view(kind).to(torch.int64) ^ after.to(target).view(kind).to(torch.int64)
    flipped &= (1 << torch.finfo(target).bits) - 1 if torch.finfo(target).bits < 64 else -1
    return bool(((flipped & (flipped - 1)) == 0).all())
