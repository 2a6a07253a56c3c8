"""Even samples of the rows of a matrix: what fails on them need not be tried on the whole."""

from __future__ import annotations

import torch

_ENTRIES = 8192
"""Entries of a sample, about."""


def even_rows(matrix: torch.Tensor) -> torch.Tensor:
    """Return about as many evenly spaced rows, at least one, as hold 8192 entries: a view.

    Two matrices of one shape give the same rows, however each lies in memory.

    Parameters
    ----------
    matrix
        Shape ``(rows, columns)``, not empty.
    """
    rows, columns = matrix.shape
    kept = max(1, _ENTRIES // max(1, columns))
    return matrix[:: max(1, rows // kept)]


def is_zero(matrix: torch.Tensor) -> bool:
    """Whether every entry is 0; a dtype of one byte is read in float32."""
    for part in (even_rows(matrix), matrix):
        wide = part.float() if part.element_size() == 1 else part
        if bool(torch.count_nonzero(wide)):
            return False
    return True


def is_finite(matrix: torch.Tensor) -> bool:
    """Whether no entry is infinite or NaN, in one pass and without a copy of a wide dtype."""
    if not matrix.is_floating_point() or not matrix.numel():
        return bool(torch.isfinite(matrix).all())
    wide = matrix.float() if matrix.element_size() == 1 else matrix
    return bool(torch.isfinite(torch.stack(torch.aminmax(wide))).all())


def largest_entry(matrix: torch.Tensor) -> float:
    """Return the largest absolute entry; a dtype of one byte is read in float32."""
    wide = matrix.float() if matrix.element_size() == 1 else matrix
    return max(map(abs, map(float, torch.aminmax(wide))))
