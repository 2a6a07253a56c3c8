"""One abstraction for a matrix: its shape, and how much of it can be reached.

What can be computed of a matrix depends on one thing, the way its entries can be had: all of them in memory,
only products ``A X``, one block at a time, only small principal submatrices. A source says which of these it
offers (:attr:`MatrixSource.reach`); a method asks for the weakest that it needs. What a source does not offer
raises :class:`~rmtaudit.errors.UnreachableError`; nothing is emulated behind the caller's back.
"""

from __future__ import annotations

import hashlib
from abc import ABC
from collections.abc import Iterator, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rmtaudit.errors import UnreachableError
from rmtaudit.matrices.sources.known import Known
from rmtaudit.matrices.sources.symmetry import (
    PRESUMPTIONS,
    SAMPLE_SIDE,
    Ground,
    Symmetry,
    sample_corners,
)

if TYPE_CHECKING:
    import torch

_NO_DETAILS: Mapping[str, Any] = MappingProxyType({})
_STRIP = 1 << 20
"""Entries of the temporaries with which a product or a diagonal is made of blocks: 8 MiB of float64."""


class Reach(StrEnum):
    """A way in which entries of a matrix can be had."""

    DENSE = "dense"
    MATMUL = "matmul"
    BLOCK = "block"
    PRINCIPAL = "principal"


class MatrixSource(ABC):
    """A real matrix, and how much of it can be reached.

    Whatever the stored dtype, values come out as float64 on the CPU: every number of a float32, float16 or
    bfloat16 file is exact in it. Threads may call a source at the same time.

    Attributes
    ----------
    name
        What it is, in printable words: ``"kernel.npy"``, ``"WᵀW of 'fc.weight'"`` …
    kind
        The same in one word, for reports: ``"array"``, ``"file"``, ``"sparse"``, ``"gram"`` …
    shape
        Rows and columns.
    dtype
        torch's name of the stored dtype (``"float64"`` for what is computed).
    symmetric
        Whether the matrix is treated as symmetric; then only entries with row >= column need be read.
    symmetry
        On what ground, in words: ``"by construction"``, ``"every pair compared"``, ``"declared by the
        user"``; of one that is not symmetric, what speaks against it.
    ground
        The same as a value. A source that says nothing of it only claims to be symmetric, and is checked.
    semidefinite
        Whether the construction makes it positive semidefinite (a Gram matrix, a covariance function, a
        Laplacian); rounding may still make it indefinite by a few ulps.
    reach
        What is offered.
    tile_side
        Side of the tiles in which a pass over the matrix is cheapest; ``None`` for no preference.
    by_columns
        Whether a few columns are cheaper to read than a few rows.
    stored_bytes
        Bytes of the file that holds the entries; ``None`` for what is in memory or computed.
    """

    name: str
    kind: str = "source"
    shape: tuple[int, int]
    dtype: str = "float64"
    symmetric: bool = False
    symmetry: str = "not known"
    ground: Ground = Ground.CLAIMED
    semidefinite: bool = False
    reach: frozenset[Reach] = frozenset()
    tile_side: int | None = None
    by_columns: bool = False
    stored_bytes: int | None = None

    def known(self) -> Known:
        """Return what is certain about the matrix before it is looked at.

        Nothing is known of a source that does not override it: not even how far its entries may be off, so
        that no error of a result is claimed.
        """
        return Known()

    def details(self) -> Mapping[str, Any]:
        """Return more about the matrix for the report: JSON values, by names of the source's own."""
        return _NO_DETAILS

    def dense(self) -> torch.Tensor:
        """Return the whole matrix: float64, its own memory. Needs ``Reach.DENSE``."""
        import torch

        if Reach.DENSE not in self.reach:
            raise self._unreachable(Reach.DENSE)
        out = torch.empty(self.shape, dtype=torch.float64)
        self.block_into(range(self.shape[0]), range(self.shape[1]), out)
        return out

    def block(self, rows: range, cols: range) -> torch.Tensor:
        """Return the entries of ``rows`` x ``cols``: float64, its own memory. Needs ``Reach.BLOCK``.

        Parameters
        ----------
        rows, cols
            Ranges of step 1 within the shape.
        """
        import torch

        out = torch.empty((len(rows), len(cols)), dtype=torch.float64)
        self.block_into(rows, cols, out)
        return out

    def block_into(self, rows: range, cols: range, out: torch.Tensor) -> None:  # noqa: ARG002
        """Write the entries of ``rows`` x ``cols`` into ``out``, with temporaries of at most a few MB.

        Parameters
        ----------
        rows, cols
            Ranges of step 1 within the shape.
        out
            Float64, shape ``(len(rows), len(cols))``, CPU, last side contiguous.
        """
        raise self._unreachable(Reach.BLOCK)

    def announce(self, rows: range, cols: range) -> None:  # noqa: ARG002
        """Say that a block will be asked for soon; a source on disk has it fetched meanwhile."""
        return

    def principal(self, indices: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        """Return ``A[indices][:, indices]``: float64. Needs ``Reach.PRINCIPAL``.

        Parameters
        ----------
        indices
            Int64, one-dimensional, within the shape of a square matrix; in any order.
        """
        raise self._unreachable(Reach.PRINCIPAL)

    def matmul(self, X: torch.Tensor) -> torch.Tensor:
        """Return ``A X``, float64, for ``X`` of shape ``(columns, k)``. Needs ``Reach.MATMUL``."""
        if Reach.MATMUL not in self.reach or Reach.BLOCK not in self.reach:
            raise self._unreachable(Reach.MATMUL)
        return self._streamed(X, transposed=False)

    def rmatmul(self, X: torch.Tensor) -> torch.Tensor:
        """Return ``Aᵀ X``, float64, for ``X`` of shape ``(rows, k)``. Offered wherever ``matmul`` is."""
        if self.symmetric and not self.presumed:
            return self.matmul(X)
        if Reach.MATMUL not in self.reach or Reach.BLOCK not in self.reach:
            raise self._unreachable(Reach.MATMUL)
        return self._streamed(X, transposed=True)

    def diagonal(self) -> torch.Tensor:
        """Return the main diagonal, float64. Needs ``Reach.BLOCK`` or ``Reach.PRINCIPAL``."""
        import torch

        n, step = min(self.shape), 256
        parts = []
        for start in range(0, n, step):
            here = range(start, min(n, start + step))
            if Reach.BLOCK in self.reach:
                parts.append(self.block(here, here).diagonal().clone())
            else:
                parts.append(self.principal(torch.arange(here.start, here.stop)).diagonal().clone())
        return torch.cat(parts) if parts else torch.empty(0, dtype=torch.float64)

    @property
    def copy_bytes(self) -> int:
        """Bytes of a float64 copy in memory that would make products cheaper; 0 where none would.

        None does for a matrix that is in memory, that is sparse or only known by its products, or whose
        products take fewer operations than those of a dense matrix.
        """
        known = self.known()
        entries = self.shape[0] * self.shape[1]
        dense = Reach.BLOCK in self.reach and known.nonzeros is None
        slow = known.entry_flops != 0 and (known.product_flops is None or known.product_flops >= 2 * entries)
        return 8 * entries if dense and slow else 0

    def fingerprint(self) -> str:
        """Return a text that is equal for two sources that hold the same matrix, as far as samples tell.

        A SHA-256 of shape, dtype and 64 blocks of 32 x 32 entries on and below the diagonal (of principal
        submatrices where blocks are not offered); a file adds its own facts. It guards a resumed computation.
        """
        digest = hashlib.sha256(f"{type(self).__name__} {self.shape} {self.dtype} {self.symmetric}".encode())
        for sample in self._samples():
            digest.update(sample.contiguous().numpy().tobytes())
        return f"sha256:{digest.hexdigest()}"

    def close(self) -> None:
        """Give back files; idempotent. Raises ``ChangedError`` if a file changed since it was opened."""
        return

    @property
    def presumed(self) -> bool:
        """Whether it is treated as symmetric on a sample or a claim alone."""
        return self.symmetric and self.ground in PRESUMPTIONS

    @property
    def judgement(self) -> Symmetry:
        """Whether it is treated as symmetric, and on what ground."""
        return Symmetry(self.symmetric, self.ground, self.symmetry)

    def take_symmetry(self, judgement: Symmetry) -> None:
        """Treat the matrix as a judgement says."""
        self.symmetric, self.ground, self.symmetry = judgement.symmetric, judgement.ground, judgement.words

    @property
    def square(self) -> bool:
        """Whether there are as many rows as columns."""
        return self.shape[0] == self.shape[1]

    @property
    def entries_bytes(self) -> int:
        """Size of the whole matrix in float64."""
        return 8 * self.shape[0] * self.shape[1]

    def _samples(self) -> Iterator[torch.Tensor]:
        import torch

        rows, cols = self.shape
        generator = torch.Generator().manual_seed(20_260_101)
        if Reach.BLOCK in self.reach:
            for row, col in sample_corners(rows, cols, generator):
                here, there = _side(row, rows), _side(col, cols)
                yield self.block(here, there)
        elif Reach.PRINCIPAL in self.reach:
            count = min(rows, 4 * SAMPLE_SIDE)
            yield self.principal(torch.randperm(rows, generator=generator)[:count])
        elif Reach.MATMUL in self.reach:
            yield self.matmul(torch.randn(cols, 2, generator=generator, dtype=torch.float64))

    def _streamed(self, X: torch.Tensor, *, transposed: bool) -> torch.Tensor:
        import torch

        rows, cols = self.shape
        X = X.to(torch.float64)
        result = torch.zeros((cols if transposed else rows, X.shape[1]), dtype=torch.float64)
        width = max(1, min(cols, _STRIP))
        height = max(1, _STRIP // width)
        buffer = torch.empty((min(height, rows), width), dtype=torch.float64)
        for top in range(0, rows, height):
            here = range(top, min(rows, top + height))
            for left in range(0, cols, width):
                there = range(left, min(cols, left + width))
                part = buffer[: len(here), : len(there)]
                self.block_into(here, there, part)
                if transposed:
                    result[there.start : there.stop] += part.T @ X[here.start : here.stop]
                else:
                    result[here.start : here.stop] += part @ X[there.start : there.stop]
        return result

    def _unreachable(self, requested: Reach) -> UnreachableError:
        offered = ", ".join(sorted(self.reach)) or "nothing"
        return UnreachableError(
            "RA-MS-001",
            f"{self.name} supports {offered}; {requested} was requested.",
            hint="Choose a method that needs less, or a source that supports more.",
        )


def _side(start: int, length: int) -> range:
    return range(start, min(length, start + SAMPLE_SIDE))
