"""Sketching matrices ``S`` (d x n) with ``E[SᵀS] = I``; any block of columns can be made again, alone.

Nothing depends on how many columns are made at once: columns come from counter-based streams
(:mod:`rmtaudit.kernels.counter`), so a sketch of a matrix larger than memory can be summed from its bands of
rows in any order, by any number of workers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from rmtaudit.kernels.counter import normals, stream
from rmtaudit.kernels.spectra.gram import row_blocks

_COLUMNS, _ROWS = 6, 7  # purposes of random streams, see rmtaudit.kernels.counter.stream
_STREAM = 256
"""Columns of a sparse or Hadamard sketch that share a stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """A random matrix, fixed by its seed.

    Attributes
    ----------
    rows, size
        Its shape, d x n.
    seed
        0 to 2^64 - 1.
    kind
        ``gaussian``; ``sparse`` (``nonzeros`` random signs a column, one in each band of rows: Kane, Nelson
        2014; the cheapest); ``hadamard`` (random signs, Walsh-Hadamard transform, random rows: Ailon,
        Chazelle 2009; n is padded to a power of two).
    nonzeros
        Of each column of a sparse sketch.
    """

    rows: int
    size: int
    seed: int
    kind: Literal["gaussian", "sparse", "hadamard"] = "sparse"
    nonzeros: int = 8

    def __post_init__(self) -> None:
        if self.rows < 1 or self.size < 1 or self.nonzeros < 1:
            raise ValueError(
                "a sketch must have at least one row, one column and one nonzero entry in each column"
            )
        if self.kind == "hadamard" and self.rows > self.padded:
            raise ValueError(f"a Hadamard sketch of {self.size} columns has at most {self.padded} rows")

    @property
    def padded(self) -> int:
        """The power of two at or above n."""
        return 1 << (self.size - 1).bit_length()

    def block(self, columns: range) -> torch.Tensor:
        """Return these columns of ``S``, shape ``(d, len(columns))``, float64."""
        if columns.step != 1 or columns.start < 0 or columns.stop > self.size:
            raise ValueError(f"columns {columns} are not a run within {self.size}")
        block: torch.Tensor
        if self.kind == "gaussian":
            block = normals(self.seed, _COLUMNS, columns, self.rows).T / self.rows**0.5
            return block
        if self.kind == "sparse":
            indices, values = self._sparse(columns)
            block = torch.zeros(self.rows, len(columns), dtype=torch.float64)
            return block.scatter_(0, indices.T, values.T)
        chosen = self._chosen()[:, None]
        numbers = torch.arange(columns.start, columns.stop)
        block = (1 - 2 * _parity(chosen & numbers)) * self._signs(columns) / self.rows**0.5
        return block

    def apply(self, matrix: torch.Tensor) -> torch.Tensor:
        """Return ``S A`` for ``A`` of n rows, shape ``(d, cols)``, float64, on its device."""
        if matrix.ndim != 2 or matrix.shape[0] != self.size:
            raise ValueError(f"the sketch has {self.size} columns, the matrix shape {tuple(matrix.shape)}")
        if self.kind == "hadamard":
            return self._transform(matrix)
        total = torch.zeros(self.rows, matrix.shape[1], dtype=torch.float64, device=matrix.device)
        for band, part in row_blocks(matrix):
            columns = range(band.start, band.stop)
            if self.kind == "gaussian":
                total += self.block(columns).to(matrix.device) @ part
                continue
            indices, values = self._sparse(columns)
            for k in range(indices.shape[1]):
                weights = values[:, k, None].to(matrix.device)
                total.index_add_(0, indices[:, k].to(matrix.device), weights * part)
        return total

    def distortion(self, basis: torch.Tensor) -> tuple[float, float]:
        """Return the extremes of ``|Sx|/|x|`` over the range of an orthonormal basis: exact, no estimate."""
        sigma = torch.linalg.svdvals(self.apply(basis))
        return (float(sigma[-1]) if self.rows >= basis.shape[1] else 0.0), float(sigma[0])

    def _sparse(self, columns: range) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the rows and values of the nonzeros, shape ``(len(columns), k)`` each."""
        k = min(self.nonzeros, self.rows)
        edges = np.arange(k + 1) * self.rows // k
        first = columns.start // _STREAM
        rows, signs = [], []
        for number in range(first, -(-columns.stop // _STREAM)):
            generator = np.random.Generator(stream(self.seed, _COLUMNS, number))
            rows.append(generator.integers(edges[:-1], edges[1:], size=(_STREAM, k)))
            signs.append(generator.integers(0, 2, size=(_STREAM, k)))
        start = columns.start - first * _STREAM
        kept = slice(start, start + len(columns))
        indices = torch.from_numpy(np.concatenate(rows)[kept])
        values = torch.from_numpy(2.0 * np.concatenate(signs)[kept] - 1) / math.sqrt(k)
        return indices, values

    def _signs(self, columns: range) -> torch.Tensor:
        first = columns.start // _STREAM
        drawn = [
            np.random.Generator(stream(self.seed, _COLUMNS, number)).integers(0, 2, size=_STREAM)
            for number in range(first, -(-columns.stop // _STREAM))
        ]
        start = columns.start - first * _STREAM
        return torch.from_numpy(2.0 * np.concatenate(drawn)[start : start + len(columns)] - 1)

    def _chosen(self) -> torch.Tensor:
        generator = np.random.Generator(stream(self.seed, _ROWS, 0))
        return torch.from_numpy(generator.choice(self.padded, self.rows, replace=False))

    def _transform(self, matrix: torch.Tensor) -> torch.Tensor:
        work = torch.zeros(self.padded, matrix.shape[1], dtype=torch.float64, device=matrix.device)
        work[: self.size] = matrix
        work[: self.size] *= self._signs(range(self.size)).to(matrix.device)[:, None]
        half = 1
        while half < self.padded:
            pairs = work.view(-1, 2, half, work.shape[1])
            top = pairs[:, 0] + pairs[:, 1]
            pairs[:, 1] = pairs[:, 0] - pairs[:, 1]
            pairs[:, 0] = top
            half *= 2
        kept: torch.Tensor = work[self._chosen().to(matrix.device)]
        return kept.div_(self.rows**0.5)


def _parity(numbers: torch.Tensor) -> torch.Tensor:
    for shift in (32, 16, 8, 4, 2, 1):
        numbers = numbers ^ (numbers >> shift)
    return numbers & 1
