"""The parts of a matrix that share quantisation parameters: the tensor, lines, and groups of neighbours."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import torch

from rmtaudit.kernels.forensics.samples import strided

Family = Literal["tensor", "block", "row", "column", "group along rows", "group along columns"]
Unit = tuple[Family, int | None]

GROUPS = (256, 128, 64, 32, 16)
"""Group sizes in use: GPTQ and AWQ 128 and 64, GGUF 32 and 16."""

BLOCK = 128
"""Side of the square blocks in use: those of fp8 weights, which have one scale each."""

_SAMPLE = 4096
_FIRST, _ALL = 12, 64


def unit_kinds(rows: int, cols: int) -> tuple[Unit, ...]:
    """Return the kinds of units that a matrix of this shape can have, coarsest first.

    A group need not divide the line: what is left over at its end is not looked at. Square blocks are cut at
    the edge.
    """
    kinds: list[Unit] = [("tensor", None)]
    if min(rows, cols) >= BLOCK < max(rows, cols):
        kinds.append(("block", BLOCK))
    kinds += [("row", None), ("column", None)]
    kinds += [("group along rows", size) for size in GROUPS if cols > size]
    kinds += [("group along columns", size) for size in GROUPS if rows > size]
    return tuple(kinds)


def units(matrix: torch.Tensor, family: Family, group: int | None) -> Iterator[torch.Tensor]:
    """Yield up to 64 units, evenly spaced, shape ``(n,)`` each; of a unit of many entries, a sample."""
    if family == "tensor":
        yield _tensor_sample(matrix)
        return
    if family == "block":
        yield from _blocks(matrix)
        return
    lines = matrix if family in {"row", "group along rows"} else matrix.T
    if group is None:
        for index in spread(lines.shape[0], _ALL):
            yield strided(lines[index], _SAMPLE)
        return
    per_line = lines.shape[1] // group
    for index in spread(lines.shape[0] * per_line, _ALL):
        line, block = divmod(index, per_line)
        yield lines[line, block * group : (block + 1) * group]


def _blocks(matrix: torch.Tensor) -> Iterator[torch.Tensor]:
    rows, cols = matrix.shape
    across = math.ceil(cols / BLOCK)
    for index in spread(math.ceil(rows / BLOCK) * across, _ALL):
        row, col = (BLOCK * place for place in divmod(index, across))
        yield strided(matrix[row : row + BLOCK, col : col + BLOCK], _SAMPLE)


def _tensor_sample(matrix: torch.Tensor) -> torch.Tensor:
    """Return a sample of entries and the two extremes, which say how many levels there are."""
    sample = strided(matrix, _SAMPLE)
    if int(torch.count_nonzero(sample)) < _SAMPLE // 8:
        occupied = strided(matrix[matrix != 0].reshape(1, -1), _SAMPLE)
        sample = torch.cat([occupied, occupied.new_zeros(1)])
    return torch.cat([sample, torch.stack(torch.aminmax(matrix))])


def spread(total: int, count: int) -> list[int]:
    """Return up to ``count`` of ``range(total)``, evenly spaced, in an order that begins everywhere."""
    chosen = [index * total // count for index in range(count)] if total > count else list(range(total))
    return chosen[:: max(1, len(chosen) // _FIRST)] + [
        index for place, index in enumerate(chosen) if place % max(1, len(chosen) // _FIRST)
    ]
