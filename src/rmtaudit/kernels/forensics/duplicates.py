"""Rows or columns that are exact copies of one another."""

from __future__ import annotations

import math

import torch

from rmtaudit.kernels.forensics.samples import strided

CHANCE = 1e-6
"""Expected number of equal pairs by chance above which copies say nothing."""

_KEYS = 16


def duplicated_rows(matrix: torch.Tensor) -> tuple[tuple[int, ...], ...]:
    """Return the groups of rows that are equal in every entry; rows of zeros are left out.

    Null hypothesis: entries are drawn independently from the distribution of the layer's own values. With
    ``q`` the probability that two entries are equal (estimated from a sample, at least ``1/n`` of it) and
    ``R`` rows of ``C`` entries, ``R²/2 · q^C`` pairs are equal by chance; nothing is returned if that is more
    than 1e-6, as in coarsely quantised layers with short rows.

    Parameters
    ----------
    matrix
        Shape ``(rows, cols)``, real floating dtype. Pass ``matrix.T`` for columns.

    Returns
    -------
    tuple of tuple of int
        Positions, ascending inside a group; groups by their first row.
    """
    if len(matrix) < 2 or not _telling(matrix):
        return ()
    keys = _row_keys(matrix)
    _, inverse, counts = torch.unique(keys, return_inverse=True, return_counts=True)
    suspects = (counts[inverse] > 1).nonzero().reshape(-1)
    groups: dict[bytes, list[int]] = {}
    for index in suspects.tolist():
        row = matrix[index]
        if bool(row.any()):
            groups.setdefault(row.contiguous().cpu().numpy().tobytes(), []).append(index)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def _telling(matrix: torch.Tensor) -> bool:
    sample = strided(matrix, 4096)
    _, counts = torch.unique(sample, return_counts=True)
    share = counts.double() / len(sample)
    equal = max(float(share.square().sum()), 1 / len(sample))
    rows, cols = matrix.shape
    return 2 * math.log(rows) - math.log(2) + cols * math.log(equal) < math.log(CHANCE)


def _row_keys(matrix: torch.Tensor) -> torch.Tensor:
    """Return an integer a row, equal for equal rows: exact arithmetic on the bits of a few columns."""
    step = max(1, matrix.shape[1] // _KEYS)
    chosen = matrix[:, ::step].contiguous()
    bits = chosen.view(torch.int32 if chosen.element_size() == 4 else torch.int64).long()
    factors = torch.arange(1, bits.shape[1] + 1, device=bits.device) * 0x9E3779B1 | 1
    return (bits * factors).sum(1)
