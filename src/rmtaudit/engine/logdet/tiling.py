"""What methods on entries take, and how a matrix is cut to fit: square tiles, and strips that stream past.

Tile row ``i`` holds the rows ``[i b, (i + 1) b)`` of the factor, columns up to its own diagonal, cut into
strips of ``w`` columns. A strip lies in the scratch file row by row in one piece, and tile rows one after
another, each from a page boundary: the factor is written once, from front to back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

ITEM = 8
"""Bytes of a float64."""
STAGE = 1 << 15
"""Entries of a piece on its way to the disk; there are two. 256 KiB: a choice."""
_STRIPS = (64, 96, 128, 192, 256)
"""Widths of a strip: a choice; narrow ones cost calls of OpenBLAS, wide ones memory."""
_PAGE = 1 << 16
"""Tile rows begin at multiples of this: every system can map a file from there (Windows asks for 64 KiB)."""
_PACKED = 256 * 256
"""Entries that OpenBLAS packs of one operand, a thread; of the other it packs as much as a strip."""
_COLUMNS = 16
"""Vectors of length n: two diagonals, 8 probes, and the minors, which are summed in extended precision."""
_PROBED = 16
"""Columns of a tile row of what estimates the rounding, as it is and transposed: 8 probes each."""
_FIXED = 1 << 18
"""What Python, the journal and the threads take, in bytes: a margin that the test of the anonymous memory
keeps to."""
_LOOKS = 24
"""Tile rows after which an extrapolation may end early: a choice."""
_PIVOTED_COLUMNS = 80
"""Vectors of length n that LAPACK and the bound of rounding take besides the matrix: a panel, at most."""
_PIVOTED_TEMPORARIES = 6 << 20
"""Bytes of the strips in which a factor is scaled and its norms are taken: six of ``2¹⁷`` entries."""
_SPECTRAL_COLUMNS = 130
"""Vectors of length n that the eigenvalues of LAPACK take besides the matrix: two panels of 64, at most."""
_MIXED_BYTES = 24
"""An entry in float64; rounded, in float32; its factor; and that in float64 again."""


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
        return 0 if self.in_core else _bases(self.n, self.side)[-1]

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

    def row_bytes(self, row: int) -> range:
        """Return where a tile row lies in the file."""
        bases = _bases(self.n, self.side)
        return range(bases[row], bases[row + 1])

    def offset(self, row: int, strip: int) -> int:
        """Return the byte, from the beginning of its tile row, at which a strip begins."""
        return ITEM * len(self.span(row)) * strip * self.strip

    def working_bytes(self, threads: int) -> int:
        """Return the memory that the factorisation takes."""
        tile = _working(self.side, min(self.strip, _STRIPS[-1]), threads)
        return tile + _vectors(self.n, self.side)

    def read_bytes(self) -> int:
        """Return what is read of the scratch file in all: about ``8 n³ / (3 b)``."""
        total = 0
        for row in range(self.rows):
            height = len(self.span(row))
            for col in range(row + 1):
                width, before = len(self.span(col)), self.span(col).start
                total += height * before
                if row != col:  # the strips of the other tile row, and those of its triangle
                    total += width * before + width * (width + self.strip) // 2
        return ITEM * total


def tiling_for(n: int, memory: int, threads: int = 1) -> Tiling:
    """Return a tiling whose working memory is at most ``memory`` bytes.

    Raises
    ------
    ValueError
        If not even tiles of 128 rows fit.
    """
    if Tiling(n, n, n).working_bytes(threads) <= memory:
        return Tiling(n, n, n)
    # Wide strips are worth more than large tiles until a tile is four strips wide: a product with a strip
    # reads and writes the whole tile.
    for strip in reversed(_STRIPS):
        side = _largest_side(strip, memory - _vectors(n, 0), threads)
        if side >= (4 if strip > _STRIPS[0] else 2) * strip:
            rows = -(-n // side)
            return Tiling(n, -(-n // (rows * strip)) * strip, strip)  # as even as the strips allow
    raise ValueError(
        f"a tile of 128 rows does not fit into {memory:,} bytes; it needs {least_memory(n, threads):,}"
    )


def least_memory(n: int, threads: int = 1) -> int:
    """Return the smallest budget that :func:`tiling_for` takes for a matrix of order ``n``."""
    side = 2 * _STRIPS[0]
    return min(
        Tiling(n, n, n).working_bytes(threads),
        _working(side + 1, _STRIPS[0], threads) + _vectors(n, side + 1),  # a row more: roots are rounded
    )


def grown_memory(rows: int, budget: int, threads: int) -> int:
    """Return the memory that cuts a matrix into enough tile rows to stop between, at most the budget."""
    strip = _STRIPS[0]
    side = -(-max(2 * strip, -(-rows // _LOOKS)) // strip) * strip
    if side >= rows:
        return budget
    wanted = max(least_memory(rows, threads), Tiling(rows, side, strip).working_bytes(threads))
    return min(budget, wanted)


def dense_bytes(n: int) -> int:
    """Return what LU or LDLᵀ of a matrix of order ``n`` allocate."""
    return ITEM * n * (n + _PIVOTED_COLUMNS) + min(_PIVOTED_TEMPORARIES, 6 * ITEM * n * n)


def spectral_bytes(n: int) -> int:
    """Return what the eigenvalues of a matrix of order ``n`` take."""
    return ITEM * n * (n + _SPECTRAL_COLUMNS)


def gram_bytes(rows: int, cols: int) -> int:
    """Return what the singular values of a matrix take."""
    return ITEM * (3 * rows * cols + _SPECTRAL_COLUMNS * max(rows, cols))


def mixed_bytes(n: int, probes: int = 16, steps: int = 200) -> int:
    """Return what a float32 factor of order ``n`` takes: ``24 n²`` and the Lanczos vectors of the probes."""
    return _MIXED_BYTES * n * n + ITEM * n * probes * (min(steps, n) + 8)


@lru_cache(maxsize=16)
def _bases(n: int, side: int) -> tuple[int, ...]:
    bases = [0]
    for start in range(0, n, side):
        stop = min(n, start + side)
        bases.append(bases[-1] + -(-ITEM * (stop - start) * stop // _PAGE) * _PAGE)
    return tuple(bases)


def _largest_side(strip: int, memory: int, threads: int) -> int:
    spare = memory - _working(0, strip, threads)
    linear = threads * strip + _PROBED  # b² + linear b = spare / 8
    side = (-linear + math.sqrt(linear * linear + 4 * max(0, spare) / ITEM)) / 2
    return int(side) // strip * strip


def _working(side: int, strip: int, threads: int) -> int:
    return ITEM * (side * side + 2 * STAGE + threads * (strip * side + _PACKED)) + _FIXED


def _vectors(n: int, side: int) -> int:
    """Return the bytes of the diagonals, the minors, and what estimates the rounding."""
    return ITEM * (_COLUMNS * n + _PROBED * side)
