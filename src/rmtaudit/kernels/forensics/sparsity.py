"""Exact zeros: how many, where, and in which pattern."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from rmtaudit.kernels.forensics.samples import strided
from rmtaudit.kernels.forensics.survey import Survey, survey

VANISHED = 1e-6
"""A row or column is dead if its root mean square is at most this share of the matrix's."""

_WORTH = 0.005
_PATTERNS = (4, 8, 16)
_BLOCKS = (128, 96, 80, 64, 32, 16)
_LEAST_GROUPS = 16
_GIANT_SHARE, _GIANT, _USUAL = 0.25, 1e3, 0.999
_SAMPLE = 65_536


@dataclass(frozen=True, slots=True)
class NofM:
    """At most ``n`` of every ``m`` neighbours are not zero."""

    n: int
    m: int
    along: Literal["rows", "columns"]


@dataclass(frozen=True, slots=True)
class DeadBlocks:
    """Dead rows or columns that make up whole aligned blocks, as pruned attention heads do."""

    of: Literal["rows", "columns"]
    size: int
    starts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroPattern:
    """The zeros of a matrix.

    Attributes
    ----------
    zeros, entries
        Number of exact zeros, and of entries.
    dead_rows, dead_columns
        Positions of those whose root mean square is at most 1e-6 of the matrix's, ascending.
    scattered, alive
        Number of exact zeros outside dead rows and columns, and of entries there.
    expected
        Zeros that rounding to a grid explains: about half of the entries at the smallest size that occurs.
        Not looked for (0) below half a per cent of scattered zeros.
    next_level
        Entries at the smallest nonzero size of their own row, added over the rows: on a grid with a step for
        each row, those at the levels next to zero. Not looked for likewise.
    pattern
        The N:M pattern, where there is one; not looked for likewise. Groups with a dead line need not be
        full.
    blocks
        Dead rows or columns in whole blocks, where they are.
    """

    zeros: int
    entries: int
    dead_rows: tuple[int, ...]
    dead_columns: tuple[int, ...]
    scattered: int
    alive: int
    expected: float
    next_level: int
    pattern: NofM | None
    blocks: DeadBlocks | None

    @property
    def scattered_share(self) -> float:
        """Share of zeros outside dead rows and columns."""
        return self.scattered / self.alive if self.alive else 0.0


def zero_pattern(matrix: torch.Tensor, known: Survey | None = None) -> ZeroPattern:
    """Count and place the exact zeros of a matrix.

    Parameters
    ----------
    matrix
        Shape ``(rows, cols)``, real floating dtype, finite, not all zero.
    known
        The survey of the matrix, where there is one already.
    """
    known = known or survey(matrix)
    by_row, by_column = _without_giants(matrix, known)
    rows, cols = _dead(by_row, matrix.shape[1]), _dead(by_column, matrix.shape[0])
    entries = matrix.numel()
    zeros = known.count(0.0) if known.least == 0 else 0
    core = matrix
    if rows or cols:
        keep_rows = torch.ones(matrix.shape[0], dtype=torch.bool, device=matrix.device)
        keep_cols = torch.ones(matrix.shape[1], dtype=torch.bool, device=matrix.device)
        keep_rows[list(rows)] = False
        keep_cols[list(cols)] = False
        core = matrix[keep_rows][:, keep_cols]
    scattered = int((core == 0).sum()) if zeros else 0
    many = scattered > _WORTH * core.numel()
    return ZeroPattern(
        zeros=zeros,
        entries=entries,
        dead_rows=rows,
        dead_columns=cols,
        scattered=scattered,
        alive=core.numel(),
        expected=_expected(core) if many else 0.0,
        next_level=_next_level(core) if many else 0,
        pattern=_pattern(matrix, rows, cols) if many else None,
        blocks=_blocks("rows", rows, matrix.shape[0]) or _blocks("columns", cols, matrix.shape[1]),
    )


def _dead(sizes: torch.Tensor, length: int) -> tuple[int, ...]:
    """Return the positions whose mean square vanishes beside the mean of all."""
    low, high = torch.stack(torch.aminmax(sizes)).tolist()
    if length < 2 or not high > 0 or low > 2 * VANISHED * high:
        return ()
    means = sizes.square()
    dead = means <= VANISHED**2 * means.mean()
    return tuple(int(index) for index in dead.nonzero().reshape(-1))


def _expected(core: torch.Tensor) -> float:
    """Return half the entries at the smallest size: levels ±1 of a grid hold about twice as many as 0."""
    size = core.abs()
    smallest = size[size > 0].min()
    return float(torch.count_nonzero((size > 0) & (size <= smallest * 1.0001))) / 2


def _next_level(core: torch.Tensor) -> int:
    """Return the number of entries at the smallest nonzero size of their row."""
    size = core.abs()
    smallest = torch.where(size > 0, size, torch.inf).amin(dim=1, keepdim=True)
    return int(((size > 0) & (size <= smallest * 1.0001)).sum())


def _without_giants(matrix: torch.Tensor, known: Survey) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the sizes of the lines without giant entries: beside one of them every other line looks dead.

    If one line holds a quarter of the squared norm, entries are capped at a thousand times their 99.9 %
    quantile.
    """
    squares = known.rows.square()
    if float(squares.max()) < _GIANT_SHARE * float(squares.sum()):
        return known.rows, known.columns
    usual = float(strided(matrix, _SAMPLE).abs().double().quantile(_USUAL))
    cap = _GIANT * usual
    capped = survey(matrix.clamp(-cap, cap)) if 0 < cap < known.largest else known
    return capped.rows, capped.columns


def _pattern(matrix: torch.Tensor, rows: tuple[int, ...], cols: tuple[int, ...]) -> NofM | None:
    along: Literal["rows", "columns"]
    for along in ("rows", "columns"):
        lines, dead_lines, dead_places = (matrix, rows, cols) if along == "rows" else (matrix.T, cols, rows)
        if dead_lines:
            alive = torch.ones(len(lines), dtype=torch.bool, device=lines.device)
            alive[list(dead_lines)] = False
            lines = lines[alive]
        for m in _PATTERNS:
            if lines.shape[1] % m:
                continue
            # Groups keep their places: dead columns inside the matrix must not shift them.
            whole = torch.ones(lines.shape[1] // m, dtype=torch.bool, device=lines.device)
            whole[[place // m for place in dead_places]] = False
            if int(whole.sum()) * len(lines) < _LEAST_GROUPS:
                continue
            kept = torch.count_nonzero(lines.reshape(len(lines), -1, m), dim=2)
            n = int(kept.max())
            # Unstructured zeros leave some group full, or the counts uneven.
            if n < m and float((kept[:, whole] == n).float().mean()) > 0.9:
                return NofM(n, m, along)
    return None


def _blocks(of: Literal["rows", "columns"], dead: tuple[int, ...], total: int) -> DeadBlocks | None:
    if len(dead) < min(_BLOCKS):
        return None
    for size in _BLOCKS:
        if total % size or len(dead) % size:
            continue
        starts = dead[::size]
        if all(start % size == 0 for start in starts) and all(
            dead[index * size + size - 1] == start + size - 1 for index, start in enumerate(starts)
        ):
            return DeadBlocks(of, size, starts)
    return None
