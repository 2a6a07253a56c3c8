"""Inner products of Jacobians of two sets of samples."""

from __future__ import annotations

import torch

from rmtaudit.kernels.ntk.pieces import Factors, Lookup, Piece, Rows

_CACHED = 1 << 17
"""Entries of the product that is used at once: 1 MiB of float64, about what a core caches."""
_ENTRIES = 1 << 22
"""Entries of temporaries: 32 MiB of float64, a choice."""


def contract(first: Piece, second: Piece) -> torch.Tensor:
    """Return the inner products of the rows of two Jacobians by the same parameter.

    Of factors, ``K = Σ_ts (a_t·a'_s) (g_kt·g'_ls)``: the Gram matrix ``X`` of the inputs, then ``Z = Xᵀ g``,
    then ``Z g'``, never the contraction over four indices.

    Parameters
    ----------
    first, second
        Of one kind and one dtype; the numbers of samples and positions may differ. :class:`Lookup` and
        :class:`Factors` mix: of a table that is also a linear map, as in tied embeddings.

    Returns
    -------
    torch.Tensor
        Shape ``(samples, outputs, samples', outputs')``.
    """
    match first, second:
        case Rows(), Rows():
            return _of_rows(first.values, second.values)
        case Factors(), Factors():
            return _of_factors(first, second)
        case Lookup(), Lookup():
            return _of_lookups(first, second)
        case Factors(), Lookup():
            return _of_both(first, second)
        case Lookup(), Factors():
            return _of_both(second, first).permute(2, 3, 0, 1)
        case _:
            raise TypeError(f"no inner products of {type(first).__name__} and {type(second).__name__}")


def jacobian(piece: Piece, *, rows: int = 0) -> Rows:
    """Return a Jacobian as it is: shape ``(samples, outputs, width · inputs)``, the width first.

    Parameters
    ----------
    piece
        Its own memory is left alone.
    rows
        Of a :class:`Lookup`, how many rows its table has.
    """
    match piece:
        case Rows():
            return piece
        case Factors():
            product = piece.gradients.transpose(2, 3) @ piece.inputs.unsqueeze(1)
            return Rows(values=product.flatten(2))
        case Lookup():
            samples, outputs, positions, width = piece.gradients.shape
            table = piece.gradients.new_zeros(samples, rows + 1, outputs, width)
            places = torch.where(piece.rows < 0, rows, piece.rows)
            index = places[:, :, None, None].expand(samples, positions, outputs, width)
            table.scatter_add_(1, index, piece.gradients.transpose(1, 2))
            return Rows(values=table[:, :rows].transpose(1, 2).flatten(2))


def _of_rows(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    product = first.flatten(0, 1) @ second.flatten(0, 1).T
    return product.view(*first.shape[:2], *second.shape[:2])


def _of_factors(first: Factors, second: Factors) -> torch.Tensor:
    positions = (first.inputs.shape[1], second.inputs.shape[1])
    if positions == (1, 1):
        similar = first.inputs[:, 0] @ second.inputs[:, 0].T
        return _of_rows(first.gradients[:, :, 0], second.gradients[:, :, 0]) * similar[:, None, :, None]
    parts = []
    for chunk in _chunks(first.inputs.shape[0], positions[0] * positions[1] * second.inputs.shape[0]):
        inputs = first.inputs[chunk]
        similar = inputs.flatten(0, 1) @ second.inputs.flatten(0, 1).T
        similar = similar.view(*inputs.shape[:2], *second.inputs.shape[:2])
        parts.append(_weighted(similar, first.gradients[chunk], second.gradients))
    return torch.cat(parts)


def _of_lookups(first: Lookup, second: Lookup) -> torch.Tensor:
    parts = []
    size = first.rows.shape[1] * second.rows.numel()
    for chunk in _chunks(first.rows.shape[0], size):
        rows = first.rows[chunk]
        same = (rows[:, :, None, None] == second.rows) & (rows >= 0)[:, :, None, None]
        parts.append(_weighted(same.to(first.gradients.dtype), first.gradients[chunk], second.gradients))
    return torch.cat(parts)


def _weighted(similar: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
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
    flat = first.permute(0, 2, 3, 1).reshape(
        count, positions, width * outputs
    )  # outputs last: no copies below
    against = second.permute(0, 2, 3, 1).reshape(others, other_positions * width, other_outputs)
    result = first.new_empty(count, others, outputs, other_outputs)
    step = max(1, min(others, _CACHED // (other_positions * width * outputs)))
    buffer = first.new_empty(step * other_positions, width * outputs)
    for start in range(0, others, step):
        some = slice(start, min(others, start + step))
        spread = buffer[: (some.stop - start) * other_positions]
        for place in range(count):
            torch.mm(similar[place, :, some].flatten(1).T, flat[place], out=spread)
            products = spread.view(some.stop - start, -1, outputs).transpose(1, 2)
            torch.bmm(products, against[some], out=result[place, some])
    return result.transpose(1, 2)


def _of_both(linear: Factors, table: Lookup) -> torch.Tensor:
    """Return the inner products of a linear map ``(rows, inputs)`` and of the table that is its weight.

    ``Σ_ts g_kt[row_s] (a_t · h_ls)``: the gradient by the map's output that the row of the table makes.
    """
    count, outputs = linear.gradients.shape[:2]
    others, other_outputs, positions, _ = table.gradients.shape
    real = table.rows >= 0
    rows = torch.where(real, table.rows, 0).flatten()
    hidden = (table.gradients * real[:, None, :, None].to(table.gradients.dtype)).flatten(0, 2)
    result = hidden.new_empty(count, outputs, others, other_outputs)
    for place in range(count):
        taken = linear.gradients[place].index_select(2, rows).view(outputs, -1, others, positions)
        aligned = (linear.inputs[place] @ hidden.T).view(-1, others, other_outputs, positions)
        result[place] = torch.einsum("ktbs,tbls->kbl", taken, aligned)
    return result


def _chunks(count: int, size: int) -> list[slice]:
    """Return slices of ``count`` samples whose temporaries, of ``size`` entries each, stay small."""
    step = max(1, _ENTRIES // max(1, size))
    return [slice(start, min(count, start + step)) for start in range(0, count, step)]
