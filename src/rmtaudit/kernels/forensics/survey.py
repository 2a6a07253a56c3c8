"""One pass over the entries of a matrix: all that the tests of the entries need of every single one.

Each test by itself would read the whole matrix, and most would write a matrix of the sizes besides. Bands of
rows that stay in a core's cache are read once instead. The extremes of every band say afterwards which of
them hold what a test looks for, so that hardly any is read a second time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

_BAND_BYTES = 1 << 20
"""A convention: a band and its sizes stay in a core's cache."""

GROUP = 32
"""Rows whose largest entries are kept for every column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What one pass over a matrix finds.

    Attributes
    ----------
    lines
        The matrix as it was read: itself, or its transpose where that is the contiguous one of the two.
    transposed
        Whether it is the transpose.
    low, high
        Least and greatest entry.
    rows, columns
        Root mean squares of the rows and of the columns of the matrix, one-dimensional, float64.
    step
        Rows of ``lines`` in a band; the last band may have fewer.
    lowest, highest, smallest
        Of every band: least and greatest entry, and least absolute value. Shape ``(bands,)``, the dtype of
        the matrix, on the CPU.
    peaks
        Largest absolute values of 32 rows of ``lines`` at a time, for every column: shape
        ``(ceil(rows / 32), columns)``.
    """

    lines: torch.Tensor
    transposed: bool
    low: float
    high: float
    rows: torch.Tensor
    columns: torch.Tensor
    step: int
    lowest: torch.Tensor
    highest: torch.Tensor
    smallest: torch.Tensor
    peaks: torch.Tensor

    @property
    def largest(self) -> float:
        """Largest absolute value."""
        return max(abs(self.low), abs(self.high))

    def bands(self, chosen: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield the bands of ``lines`` for which a boolean tensor of shape ``(bands,)`` is true."""
        for band in chosen.nonzero().reshape(-1).tolist():
            yield self.lines[band * self.step : (band + 1) * self.step]


def survey(matrix: torch.Tensor) -> Survey:
    """Read a matrix once.

    Sums of squares are added in the dtype of the matrix within a band, and in float64 from band to band. They
    mean nothing where squares of entries over- or underflow.

    Parameters
    ----------
    matrix
        Shape ``(rows, cols)``, not empty, real floating dtype, finite; less than float32 is widened to that.
    """
    if matrix.element_size() < 4:
        matrix = matrix.float()
    transposed = not matrix.is_contiguous() and matrix.T.is_contiguous()
    lines = matrix.T if transposed else matrix
    count, length = lines.shape
    step = max(64, _BAND_BYTES // (lines.element_size() * length)) // GROUP * GROUP
    buffer = torch.empty(min(step, count), length, dtype=lines.dtype, device=lines.device)
    across = torch.zeros(length, dtype=torch.float64, device=lines.device)
    extremes: list[torch.Tensor] = []
    smallest: list[torch.Tensor] = []
    peaks: list[torch.Tensor] = []
    along: list[torch.Tensor] = []
    for start in range(0, count, step):
        band = lines[start : start + step]
        extremes.append(torch.stack(torch.aminmax(band)))
        along.append(torch.linalg.vector_norm(band, dim=1))
        size = torch.abs(band, out=buffer[: len(band)])
        smallest.append(size.amin())
        peaks.extend(_peaks(size))
        across += size.square_().sum(0)
    lowest, highest = torch.stack(extremes).T.cpu()
    sizes = torch.cat(along).double() / math.sqrt(length), across.sqrt() / math.sqrt(count)
    return Survey(
        lines=lines,
        transposed=transposed,
        low=float(lowest.min()),
        high=float(highest.max()),
        rows=sizes[transposed],
        columns=sizes[not transposed],
        step=step,
        lowest=lowest,
        highest=highest,
        smallest=torch.stack(smallest).cpu(),
        peaks=torch.cat(peaks),
    )


def _peaks(size: torch.Tensor) -> Iterator[torch.Tensor]:
    whole = len(size) // GROUP * GROUP
    if whole:
        yield size[:whole].view(-1, GROUP, size.shape[1]).amax(1)
    if whole < len(size):
        yield size[whole:].amax(0, keepdim=True)
