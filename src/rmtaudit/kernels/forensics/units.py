"""The parts of a matrix that share quantisation parameters: the tensor, lines, and groups of neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch

from rmtaudit.kernels.forensics.samples import strided

Family = Literal["tensor", "row", "column", "group along rows", "group along columns"]
Unit = tuple[Family, int | None]

GROUPS = (256, 128, 64, 32, 16)
"""Group sizes in use: GPTQ and AWQ 128 and 64, GGUF 32 and 16."""

_SAMPLE = 4096
_FIRST, _ALL = 12, 64


def unit_kinds(rows: int, cols: int) -> tuple[Unit, ...]:
    """Return the kinds of units that a matrix of this shape can have, coarsest first.

    A group need not divide the line: what is left over at its end is not looked at.
    """
    kinds: list[Unit] = [("tensor", None), ("row", None), ("column", None)]
    kinds += [("group along rows", size) for size in GROUPS if cols > size]
    kinds += [("group along columns", size) for size in GROUPS if rows > size]
    return tuple(kinds)


def units(matrix: torch.Tensor, family: Family, group: int | None) -> Iterator[torch.Tensor]:
    """Yield up to 64 units, evenly spaced, shape ``(n,)`` each; of a unit of many entries, a sample."""
    if family == "tensor":
        yield _tensor_sample(matrix)
        return
    lines = matrix if family in {"row", "group along rows"} else matrix.T
    if group is None:
        for index in _spread(lines.shape[0], _ALL):
            yield strided(lines[index], _SAMPLE)
        return
    per_line = lines.shape[1] // group
    for index in _spread(lines.shape[0] * per_line, _ALL):
        line, block = divmod(index, per_line)
        yield lines[line, block * group : (block + 1) * group]


def _tensor_sample(matrix: torch.Tensor) -> torch.Tensor:
    """Return a sample of entries and the two extremes, which say how many levels there are."""
    sample = strided(matrix, _SAMPLE)
    if int(torch.count_nonzero(sample)) < _SAMPLE // 8:
        occupied = strided(matrix[matrix != 0].reshape(1, -1), _SAMPLE)
        sample = torch.cat([occupied, occupied.new_zeros(1)])
    return torch.cat([sample, torch.stack(torch.aminmax(matrix))])


def _spread(total: int, count: int) -> list[int]:
    """Return up to ``count`` of ``range(total)``, evenly spaced, in an order that begins everywhere."""
    chosen = [index * total // count for index in range(count)] if total > count else list(range(total))
    return chosen[:: max(1, len(chosen) // _FIRST)] + [
        index for place, index in enumerate(chosen) if place % max(1, len(chosen) // _FIRST)
    ]
