"""One pass over the entries of a matrix: all that the tests of the entries need of every single one.

Each test by itself would read the whole matrix, and most would write a matrix of the sizes besides. Bands of
rows that stay in a core's cache are read once instead. The extremes of every band say afterwards which of
them hold what a test looks for, so that hardly any is read a second time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

_BAND_BYTES = 1 << 20
"""A convention: a band and its sizes stay in a core's cache."""

TOP = 105
"""Largest entries that are looked up: those of the tail of an outlier test, and 5 above it."""

GROUP = 32
"""Rows whose largest entries are kept for every column."""


@dataclass(frozen=True, slots=True)
class Top:
    """The entries of the largest size, in descending order of it, ties by position.

    Attributes
    ----------
    values
        With their signs, float64.
    places
        Positions in the matrix, row by row.
    """

    values: npt.NDArray[np.float64]
    places: npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What one pass over a matrix finds.

    Attributes
    ----------
    lines
        The matrix as it was read: itself, or its transpose where that is the contiguous one of the two.
    transposed
        Whether it is the transpose.
    low, high, least
        Least and greatest entry, and least absolute value.
    mean
        Mean of the entries.
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
    least: float
    mean: float
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

    @cached_property
    def top(self) -> Top:
        """The largest entries, 105 where there are as many."""
        lines, peaks = self.lines.reshape(-1), self.peaks.reshape(-1)
        count = min(TOP, lines.shape[0])
        if peaks.shape[0] < count:
            places, values = torch.arange(lines.shape[0], device=lines.device), lines
        else:
            # at least as many entries reach this peak, and all that do are in groups whose peak does
            bound = peaks.topk(count).values[-1]
            places = self._groups_of(bound)
            values = lines[places]
            reached = values.abs() >= bound
            values, places = values[reached], places[reached]
        if self.transposed:
            rows, length = self.lines.shape
            places = places % length * rows + places // length
        places, order = places.sort()
        values = values[order]
        order = values.abs().argsort(descending=True, stable=True)[:count]
        return Top(values[order].double().cpu().numpy(), places[order].cpu().numpy())

    def _groups_of(self, size: torch.Tensor) -> torch.Tensor:
        """Return the positions in the flat ``lines`` of all entries in groups whose peak reaches a size."""
        group, across = (self.peaks >= size).nonzero(as_tuple=True)
        length = self.lines.shape[1]
        first = GROUP * length * group + across
        places = first[:, None] + torch.arange(0, GROUP * length, length, device=first.device)
        if self.lines.shape[0] % GROUP == 0:
            return places.reshape(-1)
        return places[places < self.lines.numel()]

    def count(self, value: float) -> int:
        """Return how many entries have a value."""
        if abs(value) > abs(self.top.values[-1]):
            return int(np.count_nonzero(self.top.values == value))
        holding = (self.lowest <= value) & (self.highest >= value)
        return sum(int(torch.count_nonzero(band == value)) for band in self.bands(holding))

    def bands(self, chosen: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield the bands of ``lines`` for which a boolean tensor of shape ``(bands,)`` is true."""
        for band in chosen.nonzero().reshape(-1).tolist():
            yield self.lines[band * self.step : (band + 1) * self.step]


def survey(matrix: torch.Tensor) -> Survey:
    """Read a matrix once.

    Sums are added in the dtype of the matrix within a band, and in float64 from band to band. Those of the
    squares mean nothing where squares of entries over- or underflow.

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
    lows: list[torch.Tensor] = []
    highs: list[torch.Tensor] = []
    smallest: list[torch.Tensor] = []
    peaks: list[torch.Tensor] = []
    along: list[torch.Tensor] = []
    sums: list[torch.Tensor] = []
    for start in range(0, count, step):
        band = lines[start : start + step]
        low, high = torch.aminmax(band)
        lows.append(low)
        highs.append(high)
        along.append(torch.linalg.vector_norm(band, dim=1))
        sums.append(band.sum())
        size = torch.abs(band, out=buffer[: len(band)])
        smallest.append(size.amin())
        peaks.extend(_peaks(size))
        across += size.square_().sum(0)
    lowest, highest, least = torch.stack([*lows, *highs, *smallest]).reshape(3, -1).cpu()
    sizes = torch.cat(along).double() / math.sqrt(length), across.sqrt() / math.sqrt(count)
    return Survey(
        lines=lines,
        transposed=transposed,
        low=float(lowest.min()),
        high=float(highest.max()),
        least=float(least.min()),
        mean=float(torch.stack(sums).double().sum()) / matrix.numel(),
        rows=sizes[transposed],
        columns=sizes[not transposed],
        step=step,
        lowest=lowest,
        highest=highest,
        smallest=least,
        peaks=torch.cat(peaks) if len(peaks) > 1 else peaks[0],
    )


def _peaks(size: torch.Tensor) -> Iterator[torch.Tensor]:
    whole = len(size) // GROUP * GROUP
    if whole:
        yield size[:whole].view(-1, GROUP, size.shape[1]).amax(1)
    if whole < len(size):
        yield size[whole:].amax(0, keepdim=True)
