"""Replaced matrices: nothing of the base is seen in the candidate, at its place or at another one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from rmtaudit.kernels.spectra.gram import row_bands, row_blocks

LEAST_SIDE = 16
"""Smaller side below which a change is not judged: a noise floor needs as many eigenvalues."""

_DEVIATIONS = 4.0
_POWERLESS = 0.05
"""Standard deviation of the mean cosine beyond which a replacement could not be told: a convention."""

_ROWS = 512
"""Rows of a sample on which units of two matrices are compared, at most."""

_SAMPLED = 64
"""Rows of the candidate that are sought in the base, at least, where there are as many."""

_CLEARLY_ALIKE = 0.5
"""Mean cosine of rows at the same place, on a sample, from which nothing was replaced: where something was,
it is at most .2, four standard deviations of at most .05."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """Nothing of the base is seen in the candidate.

    Attributes
    ----------
    cosine
        Mean cosine of rows at the same place, rows and columns centred.
    smallest_seen
        The mean cosine that would have been seen: four standard deviations over random relabellings.
    z
        The sum of those cosines, in standard deviations over random relabellings of the rows.
    """

    cosine: float
    smallest_seen: float
    z: float


def find_replaced(base: torch.Tensor, candidate: torch.Tensor) -> Replaced | None:
    """Return the evidence that nothing of the base is left; ``None`` where there is something, or no power.

    Rows at the same place must be no more alike than rows at other places, and no row or column of the
    candidate may resemble any one of the base: then its units were permuted. Entries may correlate all the
    same, where all units have something in common that their inputs impose.

    Parameters
    ----------
    base, candidate
        Equal shapes, real floating, finite, smaller side at least :data:`LEAST_SIDE`.

    References
    ----------
    Hoeffding, *A combinatorial central limit theorem*, Ann. Math. Stat. 22 (1951).
    """
    if _is_clearly_alike(base, candidate):
        return None
    ours, theirs = (_Centred.of(each) for each in (base, candidate))
    step = max(1, base.shape[0] // _ROWS)
    relabelled = _relabelling(_cosines(ours, theirs, step))
    if relabelled is None:
        return None
    cosine, deviation = relabelled
    if abs(cosine) > _DEVIATIONS * deviation or deviation > _POWERLESS:
        return None
    for first, second in ((ours, theirs), (ours.transposed(), theirs.transposed())):
        lines, length = first.matrix.shape
        if length < LEAST_SIDE:
            return None
        if float(_highest_cosines(first, second).median()) > 2 * math.sqrt(2 * math.log(lines) / length):
            return None
    return Replaced(cosine, _DEVIATIONS * deviation, cosine / deviation)


@dataclass(frozen=True, slots=True)
class _Centred:
    """A matrix less the means of its columns and then of its rows, formed in float64 where it is needed."""

    matrix: torch.Tensor
    row_means: torch.Tensor
    column_means: torch.Tensor

    @classmethod
    def of(cls, matrix: torch.Tensor) -> _Centred:
        rows, columns = (
            torch.zeros(size, dtype=torch.float64, device=matrix.device) for size in matrix.shape
        )
        for band, block in row_blocks(matrix):
            rows[band] = block.mean(1)
            columns += block.sum(0)
        columns /= len(matrix)
        return cls(matrix, rows - columns.mean(), columns)

    def transposed(self) -> _Centred:
        return _Centred(self.matrix.T, self.column_means, self.row_means)

    def part(self, rows: slice, columns: slice = slice(None)) -> torch.Tensor:
        """Return some rows and columns, contiguous."""
        chosen = self.matrix[rows, columns]
        block = torch.empty(chosen.shape, dtype=torch.float64, device=chosen.device).copy_(chosen)
        return block.sub_(self.column_means[columns]).sub_(self.row_means[rows, None])


def _is_clearly_alike(base: torch.Tensor, candidate: torch.Tensor) -> bool:
    """Whether rows at the same place are so alike, on a sample, that nothing was replaced."""
    steps = [max(1, size // _ROWS) for size in base.shape]
    pair = []
    for each in (base, candidate):
        sample = each[:: steps[0], :: steps[1]].double()
        pair.append(_unit(_Centred.of(sample).part(slice(None))))
    return float(torch.linalg.vecdot(*pair).mean()) > _CLEARLY_ALIKE


def _cosines(ours: _Centred, theirs: _Centred, step: int) -> torch.Tensor:
    """Return the cosines of every ``step``-th row with every ``step``-th row of the other."""
    rows = slice(None, None, step)
    count = len(range(0, len(ours.matrix), step))
    products = torch.zeros(count, count, dtype=torch.float64, device=ours.matrix.device)
    squares = products.new_zeros(2, count)
    for columns in row_bands((ours.matrix.shape[1], count)):
        first, second = ours.part(rows, columns), theirs.part(rows, columns)
        products.addmm_(first, second.T)
        squares[0] += torch.linalg.vecdot(first, first)
        squares[1] += torch.linalg.vecdot(second, second)
    norms = squares.sqrt().clamp_min(1e-300)
    return products / norms[0][:, None] / norms[1]


def _highest_cosines(ours: _Centred, theirs: _Centred) -> torch.Tensor:
    """Return the highest absolute cosine with any row, for each of a sample of the other's rows."""
    lines = len(theirs.matrix)
    sample = _unit(theirs.part(slice(None, None, max(1, lines // _SAMPLED)))).float()
    highest = sample.new_zeros(len(sample))
    for band in row_bands(ours.matrix.shape):
        cosines = _unit(ours.part(band)).float() @ sample.T
        highest = torch.maximum(highest, cosines.abs().amax(dim=0))
    return highest


def _unit(rows: torch.Tensor) -> torch.Tensor:
    unit: torch.Tensor = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min(1e-300)
    return unit


def _relabelling(cosines: torch.Tensor) -> tuple[float, float] | None:
    """Return the mean cosine at equal places above that of all places, and its standard deviation."""
    centred = cosines - cosines.mean(dim=0, keepdim=True)
    centred = centred - centred.mean(dim=1, keepdim=True)
    spread = math.sqrt(float(centred.square().sum()) / max(1, len(centred) - 1))
    return (float(centred.diagonal().mean()), spread / len(centred)) if spread else None
