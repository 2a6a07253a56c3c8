"""How a symmetric matrix is cut: square tiles that fill the memory, and strips that stream past them.

Tile row ``i`` holds the rows ``[i b, (i + 1) b)`` of the factor, columns up to its own diagonal, cut into
strips of ``w`` columns. A strip lies in the scratch file row by row in one piece, tile rows one after
another: every read is of one piece, and the factor is written once, from front to back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

ITEM = 8
BUFFERS = 6
"""Strips in memory beside the tile: two of each operand of a product, and two on their way to the disk."""
_STRIPS = (64, 96, 128, 192, 256, 320, 384)
_PACKING = 384 * 512
"""Entries that OpenBLAS packs of one operand, a thread; of the other it packs as much as a strip."""
_FIXED = 1 << 20


@dataclass(frozen=True, slots=True)
class Tiling:
    """Order ``n``, side ``b`` of a tile, width ``w`` of a strip; ``w`` divides ``b`` if there are several."""

    n: int
    side: int
    strip: int

    @property
    def rows(self) -> int:
        """Number of tile rows."""
        return -(-self.n // self.side)

    @property
    def tiles(self) -> int:
        """Number of tiles on and below the diagonal."""
        return self.rows * (self.rows + 1) // 2

    @property
    def in_core(self) -> bool:
        """Whether one tile is the whole matrix: nothing goes to disk."""
        return self.rows == 1

    @property
    def scratch_bytes(self) -> int:
        """Size of the factor on disk."""
        return 0 if self.in_core else self.offset(self.rows, 0)

    def span(self, row: int) -> range:
        """Return the rows (and, on the diagonal, columns) of a tile row."""
        return range(row * self.side, min(self.n, (row + 1) * self.side))

    def strips(self, row: int) -> range:
        """Return the strips that the tile of column ``row`` covers."""
        here = self.span(row)
        return range(here.start // self.strip, -(-here.stop // self.strip))

    def width(self, strip: int) -> int:
        """Return the columns of a strip."""
        return min(self.strip, self.n - strip * self.strip)

    def offset(self, row: int, strip: int) -> int:
        """Return the byte at which a strip of a tile row begins."""
        above = self.side * self.side * row * (row + 1) // 2
        if row == self.rows:  # where the file ends: the last row is lower and narrower
            last = self.span(row - 1)
            above = self.side * self.side * (row - 1) * row // 2 + len(last) * self.n
            return ITEM * above
        return ITEM * (above + len(self.span(row)) * strip * self.strip)

    def working_bytes(self, threads: int) -> int:
        """Return the memory that the factorisation takes."""
        if self.in_core:
            return _in_core(self.n, threads)
        return _working(self.side, self.strip, threads)

    def read_bytes(self) -> int:
        """Return what is read of the scratch file in all: about ``8 n³ / (3 b)``."""
        total = 0
        for row in range(self.rows):
            height = len(self.span(row))
            for col in range(row + 1):
                total += height * self.span(col).start * (1 if row == col else 2)
                total += 0 if row == col else (len(self.span(col)) * (len(self.span(col)) + self.strip)) // 2
        return ITEM * total


def tiling_for(n: int, memory: int, threads: int = 1) -> Tiling:
    """Return the tiling whose working memory is at most ``memory`` bytes, with the fewest tiles.

    Raises
    ------
    ValueError
        If not even tiles of 128 rows fit.
    """
    if _in_core(n, threads) <= memory:
        return Tiling(n, n, n)
    best: Tiling | None = None
    for strip in _STRIPS:
        side = _largest_side(strip, memory, threads)
        if side < 2 * strip:
            break
        rows = -(-n // side)
        side = -(-n // (rows * strip)) * strip  # as even as the strips allow
        if best is None or rows <= best.rows * (1.05 if strip <= 128 else 1.0):
            best = Tiling(n, side, strip)
    if best is None:
        raise ValueError(f"{memory:,} bytes hold no tile of 128 rows; {least_memory(threads):,} do")
    return best


def least_memory(threads: int = 1) -> int:
    """Return the smallest budget that :func:`tiling_for` takes for a matrix of any order."""
    return _working(2 * _STRIPS[0], _STRIPS[0], threads)


def _largest_side(strip: int, memory: int, threads: int) -> int:
    spare = memory - _FIXED - ITEM * threads * (_PACKING // 2)
    linear = (BUFFERS + threads) * strip  # b² + linear b = spare / 8
    side = (-linear + math.sqrt(linear * linear + 4 * max(0, spare) / ITEM)) / 2
    return int(side) // strip * strip


def _working(side: int, strip: int, threads: int) -> int:
    return ITEM * side * side + BUFFERS * ITEM * side * strip + _FIXED + _packing(side, strip, threads)


def _in_core(n: int, threads: int) -> int:
    return ITEM * n * n + _FIXED + _packing(n, min(n, _STRIPS[-1]), threads)


def _packing(side: int, strip: int, threads: int) -> int:
    return ITEM * threads * (_PACKING // 2 + side * strip)
