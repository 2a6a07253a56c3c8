"""Factors of rows and columns between a weight and what was quantised of it."""

from __future__ import annotations

import torch

_ROUNDS = 6
"""A convention: the error of alternating least squares falls by 5 or more a round on random weights."""


def scaled_to(stored: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
    """Return ``diag(r) base diag(c)`` nearest to ``stored`` in alternating least squares, float64.

    AWQ multiplies the columns of a weight before it quantises it, and divides the layer before by the same
    factors (Lin et al. 2024): its rows are multiplied, too.

    Parameters
    ----------
    stored, base
        Shape ``(rows, cols)``, real floating dtype, finite.
    """
    S, B = stored.double(), base.double()
    rows, cols = (
        torch.ones(B.shape[0], 1, dtype=torch.float64),
        torch.ones(1, B.shape[1], dtype=torch.float64),
    )
    rows, cols = rows.to(B.device), cols.to(B.device)
    for _ in range(_ROUNDS):
        scaled = rows * B
        cols = _ratio((S * scaled).sum(0, keepdim=True), scaled.square().sum(0, keepdim=True))
        scaled = B * cols
        rows = _ratio((S * scaled).sum(1, keepdim=True), scaled.square().sum(1, keepdim=True))
    return rows * B * cols


def _ratio(over: torch.Tensor, under: torch.Tensor) -> torch.Tensor:
    return torch.where(under > 0, over / torch.where(under > 0, under, 1), 1)
