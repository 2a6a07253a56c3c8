"""Rows or columns that are exact copies of one another."""

from __future__ import annotations

import math

import torch

from rmtaudit.kernels.forensics.samples import Repeats, repeats, sorted_values

CHANCE = 1e-6
"""Expected number of equal pairs by chance above which copies say nothing."""

_KEYS = 16


def duplicated_rows(matrix: torch.Tensor, known: Repeats | None = None) -> tuple[tuple[int, ...], ...]:
    """Return the groups of rows that are equal in every entry; rows of zeros are left out.

    Null hypothesis: entries are drawn independently from the distribution of the layer's own values. With
    ``q`` the probability that two entries are equal (estimated from a sample, at least ``1/n`` of it) and
    ``R`` rows of ``C`` entries, ``R²/2 · q^C`` pairs are equal by chance; nothing is returned if that is more
    than 1e-6, as in coarsely quantised layers with short rows.

    Parameters
    ----------
    matrix
        Shape ``(rows, cols)``, real floating dtype. Pass ``matrix.T`` for columns.
    known
        The repeats in a sample of the matrix, or of its transpose, where they were counted already.

    Returns
    -------
    tuple of tuple of int
        Positions, ascending inside a group; groups by their first row.
    """
    rows, cols = matrix.shape
    if rows < 2 or not _is_telling(known or repeats(matrix), rows, cols):
        return ()
    keys = _row_keys(matrix)
    in_order = sorted_values(keys)
    if bool((in_order[1:] != in_order[:-1]).all()):
        return ()
    _, inverse, counts = torch.unique(keys, return_inverse=True, return_counts=True)
    suspects = (counts[inverse] > 1).nonzero().reshape(-1)
    groups: dict[bytes, list[int]] = {}
    for index in suspects.tolist():
        row = matrix[index]
        if bool(row.any()):
            groups.setdefault(row.contiguous().cpu().numpy().tobytes(), []).append(index)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def _is_telling(sample: Repeats, rows: int, cols: int) -> bool:
    count = sample.entries
    alike = (sample.pairs + sample.zeros**2 + count - sample.zeros) / count**2
    equal = max(alike, 1 / count)
    return 2 * math.log(rows) - math.log(2) + cols * math.log(equal) < math.log(CHANCE)


def _row_keys(matrix: torch.Tensor) -> torch.Tensor:
    """Return an integer a row, equal for equal rows: exact arithmetic on the bits of a few columns."""
    step = max(1, matrix.shape[1] // _KEYS)
    chosen = matrix[:, ::step].contiguous()
    bits = chosen.view(torch.int32 if chosen.element_size() == 4 else torch.int64).long()
    factors = torch.arange(1, bits.shape[1] + 1, device=bits.device) * 0x9E3779B1 | 1
    return (bits * factors).sum(1)
