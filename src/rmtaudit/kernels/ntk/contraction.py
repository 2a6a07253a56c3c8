"""Inner products of Jacobians of two sets of samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from rmtaudit.kernels.ntk.costs import Contraction, route_of
from rmtaudit.kernels.ntk.pieces import Factors, Lookup, Piece, Rows, part
from rmtaudit.kernels.ntk.products import add_lower, by_jacobians, mirror, weighted

_P = TypeVar("_P", Factors, Lookup)
_ENTRIES = 1 << 22
"""Entries of the inner products of inputs that are held at a time: 32 MiB of float64, a choice."""
_PARTS = 4
"""Parts of a block of samples, of whose pairs only those below and on the diagonal are multiplied."""


def contract(first: Piece, second: Piece) -> torch.Tensor:
    """Return the inner products of the rows of two Jacobians by the same parameter.

    Of factors, ``K = Σ_ts (a_t·a'_s) (g_kt·g'_ls)``: either the Gram matrix ``X`` of the inputs, then
    ``Z = Xᵀ g``, then ``Z g'`` (never the contraction over four indices), or a product of Jacobians, of which
    a few rows of the weight are formed at a time; whichever is cheaper.

    Parameters
    ----------
    first, second
        Of one kind and one dtype; the numbers of samples and positions may differ. :class:`Lookup` and
        :class:`Factors` mix: of a table that is also a linear map, as in tied embeddings. Where both are the
        same object, one half is computed and mirrored.

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
            return _in_chunks(first, second, _same_rows)
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
    rows = first.flatten(0, 1)
    if first is second:
        product = rows.new_zeros(len(rows), len(rows))
        add_lower(product, rows)
        mirror(product)
    else:
        product = rows @ second.flatten(0, 1).T
    return product.view(*first.shape[:2], *second.shape[:2])


def _of_factors(first: Factors, second: Factors) -> torch.Tensor:
    match route_of(first, second):
        case Contraction.ONE_POSITION:
            similar = first.inputs[:, 0] @ second.inputs[:, 0].T
            own = first.gradients[:, :, 0]
            other = own if first is second else second.gradients[:, :, 0]
            return _of_rows(own, other) * similar[:, None, :, None]
        case Contraction.JACOBIANS:
            return by_jacobians(first, second)
        case Contraction.FACTORS:
            return _in_chunks(first, second, _similar_inputs)


def _similar_inputs(first: Factors, second: Factors) -> torch.Tensor:
    """Return ``X`` of two sets of samples, shape ``(a, t, b, s)``."""
    product = first.inputs.flatten(0, 1) @ second.inputs.flatten(0, 1).T
    return product.view(*first.inputs.shape[:2], *second.inputs.shape[:2])


def _same_rows(first: Lookup, second: Lookup) -> torch.Tensor:
    """Return 1 where two positions take the same row of a table, shape ``(a, t, b, s)``."""
    same = (first.rows[:, :, None, None] == second.rows) & (first.rows >= 0)[:, :, None, None]
    return same.to(first.gradients.dtype)


def _in_chunks(first: _P, second: _P, similar: Callable[[_P, _P], torch.Tensor]) -> torch.Tensor:
    """Return the inner products, some of the first samples at a time; of one block with itself one half."""
    samples, outputs, positions, _ = first.gradients.shape
    others, other_outputs, other_positions, _ = second.gradients.shape
    step = max(1, _ENTRIES // max(1, positions * other_positions * others))
    half = first is second
    if half:
        step = min(step, -(-samples // _PARTS))
    result = first.gradients.new_zeros(samples, outputs, others, other_outputs)
    for start in range(0, samples, step):
        some = slice(start, min(samples, start + step))
        own, other = part(first, some), part(second, slice(0, some.stop)) if half else second
        products = weighted(similar(own, other), own.gradients, other.gradients)
        result[some, :, : products.shape[2]] = products
    if half:
        mirror(result.view(samples * outputs, -1))
    return result


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
