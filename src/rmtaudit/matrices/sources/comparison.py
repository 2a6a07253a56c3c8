"""The comparisons that establish whether a matrix equals its transpose.

Samples only make symmetry a presumption: a band of width 1 or a single entry escapes them. Whoever uses a
presumption has to settle it, either by comparing entries as they are read (:func:`compare_block`), by a
pass over the matrix (:func:`settle_symmetry`), or by products with random vectors where there are no
entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rmtaudit.errors import InputError
from rmtaudit.matrices.sources.base import MatrixSource, Reach
from rmtaudit.matrices.sources.symmetry import SAMPLE_SIDE, SAMPLES, Ground, Symmetry, sample_corners

if TYPE_CHECKING:
    import torch

_COMPARED_WHOLE = 512
"""A convention: up to this order a whole comparison reads 2 MiB, little more than the samples do."""
_SIDE = 512
"""Side of the tiles of a whole comparison: two of them take 4 MiB."""
_STRIP = 1 << 15
"""Entries of the mirror image that are held at a time: 256 KiB, and as much again for the differences."""
_PAIRS = 4
"""A convention: one pair finds an asymmetry with probability one; four cost one block product."""
_PRODUCT_TOLERANCE = 64.0
"""In units of the round-off: twenty symmetric families of order 10 to 4000 stayed below 3."""


@dataclass(slots=True, kw_only=True)
class Comparison:
    """What a comparison with the transpose has found so far.

    Attributes
    ----------
    tolerance
        Largest :attr:`relative` difference that may stand; 0 asks for equality.
    relative
        Largest ``|a_ij - a_ji| / √(a_ii a_jj)``; infinite where a diagonal entry is not positive.
    absolute, largest
        Largest ``|a_ij - a_ji|``, and the largest entry of the tiles that differ.
    pair
        The pair with the largest relative difference.
    """

    tolerance: float = 0.0
    relative: float = 0.0
    absolute: float = 0.0
    largest: float = 0.0
    pair: tuple[int, int] | None = None
    _diagonals: dict[range, torch.Tensor] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """The pair that differs most, in words; empty where every pair is equal."""
        return "" if self.pair is None else f"entries {self.pair} and {self.pair[::-1]} differ"

    @property
    def exceeded(self) -> bool:
        """Whether a difference is larger than what may stand."""
        return self.pair is not None and self.relative > self.tolerance

    def diagonal(self, source: MatrixSource, span: range) -> torch.Tensor:
        """Return the diagonal entries of a range of rows."""
        import torch

        if span not in self._diagonals:
            parts = [
                source.block(here, here).diagonal().clone()
                for here in (
                    range(start, min(start + 128, span.stop)) for start in range(span.start, span.stop, 128)
                )
            ]
            self._diagonals = {span: torch.cat(parts)}
        return self._diagonals[span]


def compare_block(
    source: MatrixSource, rows: range, cols: range, block: torch.Tensor, comparison: Comparison
) -> None:
    """Compare a block that was read with its mirror image, which is read for it a strip at a time.

    Parameters
    ----------
    source
        The matrix.
    rows, cols
        The place of the block. On the diagonal nothing is read.
    block
        Its entries, float64, CPU, shape ``(len(rows), len(cols))``.
    comparison
        Extended by what is found; the comparison ends where it is exceeded.
    """
    lines = rows if source.by_columns else cols
    step = max(1, _STRIP // max(1, len(rows) + len(cols) - len(lines)), source.tile_side or 0)
    for start in range(0, len(lines), step):
        here = slice(start, min(start + step, len(lines)))
        across, down = (rows[here], cols) if source.by_columns else (rows, cols[here])
        part = block[here] if source.by_columns else block[:, here]
        own = block[:, here] if source.by_columns else block[here]
        mirror = own if rows == cols else source.block(down, across)
        _compare_part(source, across, cols=down, part=part, mirror=mirror, comparison=comparison)
        if comparison.exceeded:
            return


def compare_whole(
    source: MatrixSource,
    rows: int | None = None,
    *,
    tolerance: float = 0.0,
    stop: Callable[[], bool] = lambda: False,
) -> Comparison:
    """Compare a matrix, or its leading rows and columns, with its transpose; every entry is read once.

    Parameters
    ----------
    source
        Square; offers blocks. A tile and a strip of another are in memory.
    rows
        Order of the leading submatrix; ``None``: all of it.
    tolerance
        See :class:`Comparison`; the pass ends where it is exceeded.
    stop
        Asked at every tile; ``True`` ends the pass with :class:`KeyboardInterrupt`.
    """
    comparison = Comparison(tolerance=tolerance)
    for here, there in _tiles(rows or source.shape[0], source.tile_side or _SIDE):
        if stop():
            raise KeyboardInterrupt
        compare_block(source, here, there, source.block(here, there), comparison)
        if comparison.exceeded:
            break
    return comparison


def settle_symmetry(
    source: MatrixSource, rows: int | None = None, *, stop: Callable[[], bool] = lambda: False
) -> Symmetry:
    """Return whether a matrix is symmetric, without a presumption where entries or products can be had.

    What was presumed is compared, whole, bit for bit; without entries four products with independent normal
    vectors ``x`` and ``y`` compare ``xᵀAy`` with ``yᵀAx``, which differ with probability one where ``A`` is
    not symmetric, as far as rounding lets them tell. The source is told, unless only leading rows were
    compared.
    """
    n = source.shape[0]
    if not source.presumed:
        return source.judgement
    if Reach.BLOCK in source.reach:
        comparison = compare_whole(source, rows, stop=stop)
        part = "" if rows in (None, n) else f" of the leading {rows:,} rows"
        words = comparison.words or f"every pair{part} compared"
        judgement = Symmetry(comparison.pair is None, Ground.COMPARED, words)
    elif Reach.MATMUL in source.reach:
        judgement = compare_products(source)
    else:
        return source.judgement
    if rows in (None, n) or not judgement.symmetric:
        source.take_symmetry(judgement)
    return judgement


def compare_products(source: MatrixSource) -> Symmetry:
    """Compare ``xᵀAy`` with ``yᵀAx`` for independent normal vectors; needs products only.

    Their difference is normal with the standard deviation ``‖A - Aᵀ‖_F / √2`` or more. What rounding makes
    of 0 stays below ``64 u (‖x‖‖Ay‖ + ‖y‖‖Ax‖)``, about ``128 u √n ‖A‖_F``: an asymmetry below that,
    relative to ``‖A‖_F``, is not seen. ``u`` is that of the dtype which the source states.
    """
    import torch

    n = source.shape[0]
    generator = torch.Generator().manual_seed(20_260_103)
    x, y = torch.randn(2, n, _PAIRS, generator=generator, dtype=torch.float64)
    both = source.matmul(torch.cat([x, y], dim=1))
    left, right = both[:, :_PAIRS], both[:, _PAIRS:]
    difference = ((x * right).sum(0) - (y * left).sum(0)).abs()
    size = x.norm(dim=0) * right.norm(dim=0) + y.norm(dim=0) * left.norm(dim=0)
    if not bool(size.isfinite().all()):
        raise InputError("RA-MS-005", f"Products of {source.name} are NaN or infinite.")
    unit = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}.get(source.dtype, 2.0**-53)
    worst = float((difference / size.clamp(min=torch.finfo(torch.float64).tiny)).max())
    if worst > _PRODUCT_TOLERANCE * unit:
        return Symmetry(False, Ground.PRODUCTS, f"xᵀAy and yᵀAx differ for random x and y, by {worst:.1e}")
    words = f"xᵀAy = yᵀAx for {_PAIRS} random pairs, up to {max(worst, unit):.0e}"
    return Symmetry(True, Ground.PRODUCTS, words)


def sampled_symmetry(source: MatrixSource) -> Symmetry:
    """Compare sampled blocks of a square matrix with their mirror images; a small matrix is compared whole.

    Equality of the samples is a presumption (:attr:`Ground.SAMPLED`), which is settled when entries are read.
    """
    import torch

    n = source.shape[0]
    if n <= _COMPARED_WHOLE:
        comparison = compare_whole(source)
        return Symmetry(comparison.pair is None, Ground.COMPARED, comparison.words or "every pair compared")
    generator = torch.Generator().manual_seed(20_260_102)
    comparison = Comparison()
    for row, col in sample_corners(n, n, generator):
        here, there = range(row, min(n, row + SAMPLE_SIDE)), range(col, min(n, col + SAMPLE_SIDE))
        compare_block(source, here, there, source.block(here, there), comparison)
        if comparison.pair is not None:
            return Symmetry(False, Ground.COMPARED, comparison.words)
    words = f"presumed from {SAMPLES} blocks of {SAMPLE_SIDE} x {SAMPLE_SIDE}"
    return Symmetry(True, Ground.SAMPLED, words)


def _compare_part(
    source: MatrixSource,
    rows: range,
    cols: range,
    part: torch.Tensor,
    mirror: torch.Tensor,
    comparison: Comparison,
) -> None:
    difference = (part - mirror.T).abs_()
    if not bool(difference.any()):
        return
    roots = [comparison.diagonal(source, span).clamp(min=0).sqrt() for span in (rows, cols)]
    relative = (difference / (roots[0][:, None] * roots[1][None])).masked_fill_(difference == 0, 0.0)
    i, j = divmod(int(relative.argmax()), len(cols))
    comparison.absolute = max(comparison.absolute, float(difference.max()))
    comparison.largest = max(comparison.largest, float(mirror.abs().max()))
    if comparison.pair is None or float(relative[i, j]) > comparison.relative:
        comparison.relative, comparison.pair = float(relative[i, j]), (rows[i], cols[j])


def _tiles(n: int, side: int) -> Iterator[tuple[range, range]]:
    for top in range(0, n, side):
        for left in range(0, top + 1, side):
            yield range(top, min(n, top + side)), range(left, min(n, left + side))
