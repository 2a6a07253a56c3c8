"""Jacobians of the outputs of some samples by one parameter, in the form that is cheapest to hold."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A Jacobian as it is.

    Attributes
    ----------
    values
        Shape ``(samples, outputs, parameters)``.
    """

    values: torch.Tensor

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return self.values.nbytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors:
    """The Jacobian of a linear map: for each output ``k`` the sum over positions ``t`` of ``g_kt a_tᵀ``.

    A convolution is one too, of the patches of its input.

    Attributes
    ----------
    inputs
        ``a``, shape ``(samples, positions, inputs)``.
    gradients
        ``g``, the gradient of every output of the network by the outputs of the map; shape ``(samples,
        outputs, positions, width)``.
    """

    inputs: torch.Tensor
    gradients: torch.Tensor

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return self.inputs.nbytes + self.gradients.nbytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """The Jacobian of a table from which rows are taken.

    Attributes
    ----------
    rows
        Which row each position takes, int64, shape ``(samples, positions)``; negative: none, or one that has
        no gradient (padding).
    gradients
        Shape ``(samples, outputs, positions, width)``.
    """

    rows: torch.Tensor
    gradients: torch.Tensor

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return self.rows.nbytes + self.gradients.nbytes


Piece = Rows | Factors | Lookup


_P = TypeVar("_P", Rows, Factors, Lookup)


def part(piece: _P, some: slice) -> _P:
    """Return the Jacobian of some of the samples; the memory is shared."""
    tensors = {each.name: getattr(piece, each.name)[some] for each in fields(piece)}
    return replace(piece, **tensors)
