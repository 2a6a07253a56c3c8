"""Exact, of a matrix that may be far larger than memory: Cholesky by bordering, tile row by tile row.

For tile row ``i`` and each ``j < i``, with the rows above finished::

    L_ij = (A_ij - Σ_{k<j} L_ik L_jkᵀ) L_jj⁻ᵀ          L_ii = chol(A_ii - Σ_{k<i} L_ik L_ikᵀ)

The tile stays in memory while strips of the two tile rows stream past it, the next ones read meanwhile. The
matrix is read once and the factor written once; and since a tile row needs nothing below it, the
log-determinant of **every** leading minor is final as soon as its row is: ``2 Σ log l_kk``.

The reads are those of one-tile left-looking Cholesky, ``n³ / (3 b)`` numbers for tiles of side ``b``: √2
above the lower bound (Beaumont, Eyraud-Dubois, Vérité, Langou 2022, arXiv 2202.10217).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from rmtaudit.engine.logdet.scratch import Scratch, StripPlaces
from rmtaudit.engine.logdet.tiling import Tiling
from rmtaudit.kernels.determinants.tile_algebra import (
    Workers,
    cholesky,
    invert,
    solve_right,
    subtract_gram,
    subtract_product,
)
from rmtaudit.matrices.sources.comparison import Comparison, compare_block
from rmtaudit.matrices.sources.symmetry import AsymmetricError

if TYPE_CHECKING:
    from rmtaudit.matrices.sources import MatrixSource


PROBES = 8
"""Random vectors behind the norm of the inverse, whose safety factor
(:data:`rmtaudit.engine.logdet.margins.PROBE_SAFETY`) belongs to this number."""
_SEED = 1976
"""Of fixed signs, apart from everything that a user seeds: two runs agree in every bit."""
_DIAGONAL = 128
"""Side of the blocks in which a diagonal is read: 128 KiB."""


class StoppedError(Exception):
    """The computation was asked to stop; finished tiles are on disk."""


@dataclass(slots=True, kw_only=True)
class Factorisation:
    """How far a factorisation came.

    Attributes
    ----------
    diagonal
        The diagonal of the factor, float64, shape ``(n,)``; :attr:`done` entries are final.
    scale
        The diagonal of the matrix, as far as it was read: what a pivot lost digits from.
    done
        Order of the largest leading minor that was factored.
    failed, pivot
        Order of the first leading minor that is not positive, and its pivot; ``None`` where all are.
    solved
        ``L⁻¹ D^½ V`` for random signs ``V`` and ``D`` the diagonal of the matrix, shape ``(n, 8)``: what is
        estimated of the inverse of the matrix scaled to a diagonal of ones (see ``scaled`` below).
    resumed, damaged
        Tiles taken over from an earlier run, and tiles of it that had to be computed again.
    compared
        The comparison of every tile with its mirror image; ``None`` where symmetry is not presumed.
    """

    diagonal: torch.Tensor
    scale: torch.Tensor
    solved: torch.Tensor
    done: int = 0
    failed: int | None = None
    pivot: float | None = None
    resumed: int = 0
    damaged: int = 0
    compared: Comparison | None = None

    @property
    def asymmetry(self) -> float:
        """The largest ``|a_ij - a_ji| / √(a_ii a_jj)`` that was met where symmetry is presumed."""
        return 0.0 if self.compared is None else self.compared.relative

    @property
    def minors(self) -> torch.Tensor:
        """Log-determinants of the leading minors that were factored, float64, shape ``(done,)``."""
        logs = self.diagonal[: self.done].log().mul_(2)
        # in extended precision where the machine has it: a sum of 10⁵ terms keeps its last digits
        return torch.from_numpy(np.cumsum(logs.numpy().astype(np.longdouble)).astype(np.float64))

    @property
    def inverse_trace(self) -> tuple[float, float]:
        """Estimate of ``tr H⁻¹`` and its standard error, ``H`` the largest factored minor, scaled.

        Scaled to a diagonal of ones, or ``A`` itself without ``scaled``.
        """
        samples = self.solved[: self.done].square().sum(0)
        return float(samples.mean()), float(samples.std()) / PROBES**0.5

    @property
    def inverse_norm(self) -> float:
        """Estimate of the Frobenius norm of that inverse: ``E (vᵀ H⁻¹ w)²`` is its square."""
        products = self.solved[: self.done].T @ self.solved[: self.done]
        pairs = torch.triu_indices(PROBES, PROBES, 1)
        return float(products[pairs[0], pairs[1]].square().mean().sqrt())


@dataclass(slots=True, kw_only=True)
class TileCholesky:
    """A factorisation, carried on tile row by tile row.

    Parameters
    ----------
    source
        Symmetric; offers blocks. Only entries on and below the diagonal are read; where symmetry is presumed,
        each tile is compared with its mirror image as it is read.
    tiling
        See :func:`rmtaudit.engine.logdet.tiling.tiling_for`.
    scratch
        Where the factor goes; ``None`` for a tiling of one tile.
    device
        Where tiles are worked on.
    stop
        Asked at every strip; ``True`` ends the work with :class:`StoppedError`.
    progress
        Told the number of finished tiles.
    workers
        Threads that divide the rows of a tile; ``None`` leaves it to OpenBLAS.
    scaled
        Whether the probes are multiplied by ``D^½``, so that they are those of the scaled matrix.
    asymmetry
        The largest ``|a_ij - a_ji| / √(a_ii a_jj)`` that may stand where symmetry is presumed.

    Raises
    ------
    AsymmetricError
        RA-MS-006: from :meth:`rows`, if a larger difference is met.
    """

    source: MatrixSource
    tiling: Tiling
    scratch: Scratch | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    stop: Callable[[], bool] = lambda: False
    progress: Callable[[int], None] = lambda _: None
    scaled: bool = True
    workers: Workers | None = None
    asymmetry: float = 0.0
    result: Factorisation = field(init=False)
    _tile: torch.Tensor = field(init=False)
    _pending: dict[int, torch.Tensor] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        n, side = self.tiling.n, self.tiling.side
        zeros = torch.zeros(2, n, dtype=torch.float64)
        signs = torch.randint(0, 2, (n, PROBES), generator=torch.Generator().manual_seed(_SEED))
        self.result = Factorisation(
            diagonal=zeros[0], scale=zeros[1], solved=signs.to(torch.float64).mul_(2).sub_(1)
        )
        if self.source.presumed:
            self.result.compared = Comparison(tolerance=self.asymmetry)
        self._tile = torch.empty(side * side, dtype=torch.float64, device=self.device)

    def rows(self) -> Iterator[int]:
        """Carry the factorisation on; yield the order of the leading minor that is done after each tile row.

        It ends early at a leading minor that is not positive (``result.failed``); the caller may end it too.
        """
        first = self._resume()
        place = 0
        for row in range(self.tiling.rows):
            for col in range(row + 1):
                place += 1
                if place <= first:
                    continue
                self._work(row, col)
                self.progress(place)
                if self.result.failed is not None:
                    return
            self.result.done = max(self.result.done, self.tiling.span(row).stop)
            yield self.result.done

    def inverse(self) -> torch.Tensor:
        """Turn the factor of a tiling of one tile into the inverse, in its lower triangle; destroys it."""
        assert self.result.done == self.tiling.n == self.tiling.side
        tile = self._tile.view(self.tiling.n, self.tiling.n)
        invert(tile)
        return tile

    def _work(self, row: int, col: int) -> None:
        rows, cols = self.tiling.span(row), self.tiling.span(col)
        tile = self._tile[: len(rows) * len(cols)].view(len(rows), len(cols))
        self._load(rows, cols, tile)
        self._announce_next(row, col)
        if row == col:
            self._on_diagonal(row, tile)
        else:
            self._below_diagonal(row, col, tile)

    def _on_diagonal(self, row: int, tile: torch.Tensor) -> None:
        rows = self.tiling.span(row)
        self.result.scale[rows.start : rows.stop] = tile.diagonal().cpu()
        before = range(self.tiling.strips(row).start)
        for (left,) in self._stream([((row, strip, 0),) for strip in before]):
            subtract_gram(tile, left, self.workers)
        self._check()
        failed, pivot = cholesky(tile, self.workers)
        good = failed - 1 if failed else len(rows)
        self.result.diagonal[rows.start : rows.start + good] = tile.diagonal()[:good].cpu()
        self._begin_probes(row)
        self._solve_probes(rows.start, tile[:good, :good])
        if failed:
            self.result.done, self.result.failed = rows.start + good, rows.start + failed
            self.result.pivot = pivot
        elif self.scratch is not None:
            tile.tril_()
            self.scratch.write(row, row, self._strips_of(tile))

    def _below_diagonal(self, row: int, col: int, tile: torch.Tensor) -> None:
        assert self.scratch is not None
        before = range(self.tiling.strips(col).start)
        for left, right in self._stream([((row, strip, 0), (col, strip, 0)) for strip in before]):
            subtract_product(tile, left, right, self.workers)
        self.scratch.write(row, col, self._solve_strips(col, tile))
        self._subtract_probes(row, self.tiling.span(col).start, tile)

    def _solve_strips(self, col: int, tile: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield the strips of ``tile L_jj⁻ᵀ``: a strip is final before the next one of ``L_jj`` is needed."""
        start = self.tiling.span(col).start
        strips = self.tiling.strips(col)
        firsts = [strip * self.tiling.strip - start for strip in strips]
        places: StripPlaces = [((col, strip, first),) for strip, first in zip(strips, firsts, strict=True)]
        for (triangle,), first in zip(self._stream(places), firsts, strict=True):
            width = triangle.shape[1]
            solved = tile[:, first : first + width]
            solve_right(triangle[:width], solved, self.workers)
            subtract_product(tile[:, first + width :], solved, triangle[width:], self.workers)
            yield solved

    def _strips_of(self, tile: torch.Tensor) -> Iterator[torch.Tensor]:
        width = self.tiling.strip
        for start in range(0, tile.shape[1], width):
            yield tile[:, start : start + width]

    def _stream(self, places: StripPlaces) -> Iterator[tuple[torch.Tensor, ...]]:
        if self.scratch is None:
            return
        for strips in self.scratch.strips(places):
            self._check()
            yield strips if self.device.type == "cpu" else tuple(part.to(self.device) for part in strips)

    def _load(self, rows: range, cols: range, tile: torch.Tensor) -> None:
        if self.device.type == "cpu":
            self.source.block_into(rows, cols, tile)
            self._compare(rows, cols, tile)
            return
        step = max(1, (1 << 20) // len(cols))
        for start in range(rows.start, rows.stop, step):
            piece = range(start, min(rows.stop, start + step))
            part = self.source.block(piece, cols)
            self._compare(piece, cols, part)
            tile[start - rows.start : piece.stop - rows.start].copy_(part)

    def _compare(self, rows: range, cols: range, part: torch.Tensor) -> None:
        """Compare entries with their mirror images where symmetry is presumed."""
        comparison = self.result.compared
        if comparison is None:
            return
        compare_block(self.source, rows, cols, part, comparison)
        if comparison.exceeded:
            raise AsymmetricError(self.source.name, comparison.words)

    def _announce_next(self, row: int, col: int) -> None:
        row, col = (row, col + 1) if col < row else (row + 1, 0)
        if row < self.tiling.rows:
            self.source.announce(self.tiling.span(row), self.tiling.span(col))

    def _begin_probes(self, row: int) -> None:
        """Multiply a tile row of the signs by ``D^½``; what was subtracted before came without it."""
        span = self.tiling.span(row)
        if self.scaled:
            root = self.result.scale[span.start : span.stop].clamp(min=0).sqrt()
            self.result.solved[span.start : span.stop] *= root[:, None]
        if row in self._pending:
            self.result.solved[span.start : span.stop] -= self._pending.pop(row)

    def _subtract_probes(self, row: int, start: int, part: torch.Tensor) -> None:
        part = part.cpu()
        moved = part @ self.result.solved[start : start + part.shape[1]]
        self._pending[row] = self._pending[row] + moved if row in self._pending else moved

    def _solve_probes(self, start: int, triangle: torch.Tensor) -> None:
        here = self.result.solved[start : start + len(triangle)]
        right = here.T.contiguous().to(triangle.device)
        solve_right(triangle, right)
        here.copy_(right.T)

    def _resume(self) -> int:
        """Return the number of tiles that an earlier run has finished, once each of them is verified."""
        if self.scratch is None or not self.scratch.finished:
            return 0
        self.scratch.verify()
        factor = self.result
        factor.resumed, factor.damaged = self.scratch.finished, self.scratch.damaged
        for row, col, strip, values in self.scratch.replay():
            self._check()
            left = strip * self.tiling.strip
            if left == self.tiling.span(col).start:
                self._compare_again(row, col)
            if row != col:
                self._subtract_probes(row, left, values)
                continue
            span = self.tiling.span(row)
            if left == span.start:
                self._read_scale(span)
                self._begin_probes(row)
            width, first = values.shape[1], left - span.start
            factor.diagonal[left : left + width] = values[first:].diagonal()
            self._solve_probes(left, values[first : first + width])
            below = range(left + width, span.stop)
            factor.solved[below.start : below.stop] -= (
                values[first + width :] @ factor.solved[left : left + width]
            )
            if not below:
                factor.done = span.stop
        return self.scratch.finished

    def _read_scale(self, span: range) -> None:
        for start in range(span.start, span.stop, _DIAGONAL):
            piece = range(start, min(start + _DIAGONAL, span.stop))
            self.result.scale[start : piece.stop] = self.source.block(piece, piece).diagonal()

    def _compare_again(self, row: int, col: int) -> None:
        """Compare a tile that was taken over from an earlier run: the comparison of that run was not kept."""
        if self.result.compared is None:
            return
        rows, cols = self.tiling.span(row), self.tiling.span(col)
        step = max(1, (1 << 15) // len(cols))
        for start in range(rows.start, rows.stop, step):
            piece = range(start, min(rows.stop, start + step))
            self._compare(piece, cols, self.source.block(piece, cols))

    def _check(self) -> None:
        if self.stop():
            raise StoppedError
