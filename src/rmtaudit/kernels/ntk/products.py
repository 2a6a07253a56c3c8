"""The products of matrices that the inner products of Jacobians are made of."""

from __future__ import annotations

import torch

from rmtaudit.kernels.ntk.pieces import Factors

_PANEL = 1 << 19
"""Entries of a panel of a Jacobian: 4 MiB of float64, so that it is multiplied while it is in the cache."""
_SPREAD = 1 << 17
"""Entries of gradients of some samples, spread over the positions of one of the others: 1 MiB of float64."""
_ON_DEVICES = 32
"""How much larger both are on a device, where a small product costs as much as a large one (a choice)."""
_PARTS = 4
"""Bands of rows of a symmetric product: of four, ten sixteenths of it are computed."""


def by_jacobians(first: Factors, second: Factors) -> torch.Tensor:
    """Return the product of two Jacobians, of which a panel of rows of the weight is formed at a time.

    Returns
    -------
    torch.Tensor
        Shape ``(samples, outputs, samples', outputs')``.
    """
    samples, outputs, _, width = first.gradients.shape
    others, other_outputs = second.gradients.shape[:2]
    total = first.gradients.new_zeros(samples * outputs, others * other_outputs)
    size = max(total.shape) * first.inputs.shape[2]
    step = max(1, _entries(_PANEL, total) // max(1, size))
    for start in range(0, width, step):
        own = _panel(first, slice(start, start + step))
        if first is second:
            add_lower(total, own)
        else:
            total.addmm_(own, _panel(second, slice(start, start + step)).T)
    if first is second:
        mirror(total)
    return total.view(samples, outputs, others, other_outputs)


def weighted(similar: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return ``Σ_ts X_atbs (g_akt · g'_bls)``, shape ``(a, k, b, l)``.

    Parameters
    ----------
    similar
        ``X``, shape ``(a, t, b, s)``.
    first, second
        ``g`` and ``g'``, shapes ``(a, k, t, width)`` and ``(b, l, s, width)``.
    """
    count, outputs, positions, width = first.shape
    others, other_outputs, other_positions, _ = second.shape
    if outputs == other_outputs == 1:
        aligned = first.flatten(0, 2) @ second.flatten(0, 2).T
        product = similar * aligned.view(count, positions, others, other_positions)
        return product.sum((1, 3))[:, None, :, None]
    own = first.permute(0, 2, 3, 1).contiguous().view(count, positions, width * outputs)  # outputs last, so
    other = second.permute(0, 2, 3, 1).contiguous().view(others, -1, other_outputs)  # that no product copies
    by_other = similar.permute(2, 0, 3, 1).contiguous()
    result = first.new_empty(others, count, outputs, other_outputs)
    step = max(1, min(count, _entries(_SPREAD, first) // (other_positions * width * outputs)))
    buffer = first.new_empty(step, other_positions, width * outputs)
    for start in range(0, count, step):
        some = slice(start, min(count, start + step))
        spread = buffer[: some.stop - start]
        columns = spread.view(some.stop - start, -1, outputs).transpose(1, 2)
        for place in range(others):
            torch.bmm(by_other[place, some], own[some], out=spread)
            torch.bmm(columns, other[place].expand(some.stop - start, -1, -1), out=result[place, some])
    return result.permute(1, 2, 0, 3)


def add_lower(total: torch.Tensor, rows: torch.Tensor) -> None:
    """Add ``A Aᵀ`` in place, of which what is far above the diagonal is left out: see :func:`mirror`.

    Parameters
    ----------
    total
        Shape ``(m, m)``.
    rows
        ``A``, shape ``(m, columns)``.
    """
    step = max(1, -(-len(rows) // _PARTS))
    for start in range(0, len(rows), step):
        stop = min(len(rows), start + step)
        total[start:stop, :stop].addmm_(rows[start:stop], rows[:stop].T)


def mirror(total: torch.Tensor) -> None:
    """Replace what is above the diagonal by what is below, in place."""
    size = len(total)
    for start in range(0, size, 256):  # a copy of a part at a time
        stop = min(size, start + 256)
        total[:start, start:stop] = total[start:stop, :start].T
        corner = total[start:stop, start:stop]
        corner.copy_(corner.tril() + corner.tril(-1).T)


def _panel(piece: Factors, some: slice) -> torch.Tensor:
    """Return columns of the Jacobian: those of some rows of the weight, shape ``(rows, rows · inputs)``."""
    gradients = piece.gradients[..., some].transpose(1, 2)
    samples, positions, outputs, _ = gradients.shape
    columns = gradients.reshape(samples, positions, -1).transpose(1, 2)
    return torch.bmm(columns, piece.inputs).view(samples * outputs, -1)


def _entries(number: int, like: torch.Tensor) -> int:
    return number if like.device.type == "cpu" else number * _ON_DEVICES
