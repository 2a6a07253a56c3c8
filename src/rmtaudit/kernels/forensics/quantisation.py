"""How a matrix was quantised, if it was: a uniform grid, a table of levels, or a code book of its own."""

from __future__ import annotations

import torch

from rmtaudit.kernels.forensics.codebooks import CodeBook, few_values, repeats_values, table_book
from rmtaudit.kernels.forensics.grids import Grid, uniform_grid
from rmtaudit.kernels.forensics.samples import Repeats

_HALF = 2.0**-11
_FOUR_BITS = 16
_BLURRED = 4
_AS_MUCH = 0.8


def quantisation(
    matrix: torch.Tensor, known: Repeats | None = None, /, *, epsilon: float, smallest_normal: float
) -> tuple[Grid | None, CodeBook | None]:
    """Return the uniform grid or the code book that the entries lie on; at most one of the two.

    Of a grid and a table that both fit, the one with more evidence an entry is returned: the levels 0,
    1/2, 1, 3/2, 2, 3, 4, 6 of fp4 also lie on a grid of half steps, and those of four bits are numbers of
    fp8. Of about as much evidence, the one with fewer levels: -4 … 4 are numbers of fp4 too. Where a
    half-precision format has blurred 16 levels so that only a grid of four times as many fits them,
    they are a code book of 16 values.

    Parameters
    ----------
    matrix
        Shape ``(rows, cols)``, real floating dtype, finite.
    known
        The repeats in a sample of the matrix, where they were counted already.
    epsilon, smallest_normal
        Unit round-off and smallest normal number of the format that the entries were last rounded to.
    """
    if not repeats_values(matrix, known):
        return None, None
    grid = uniform_grid(matrix, epsilon=epsilon, smallest_normal=smallest_normal)
    book = table_book(matrix, epsilon=epsilon, smallest_normal=smallest_normal)
    if book is not None and (grid is None or _is_better(book, grid)):
        return None, book
    if grid is not None and epsilon < _HALF:
        return grid, None
    book = few_values(matrix, epsilon=epsilon, most=_FOUR_BITS)
    if grid is not None:
        blurred = book is not None and grid.levels >= _BLURRED * book.values
        return (None, book) if blurred else (grid, None)
    return None, book or few_values(matrix, epsilon=epsilon)


def _is_better(book: CodeBook, grid: Grid) -> bool:
    """Whether the levels of a table explain the entries better than a grid that they lie on as well."""
    simpler = grid.levels <= book.values and grid.nats_per_value >= _AS_MUCH * book.nats_per_value
    return book.nats_per_value > grid.nats_per_value and not simpler
