"""From a tensor to the constant that it is, if it is one."""

from __future__ import annotations

import math
from enum import StrEnum

import torch

from rmtaudit.kernels.constants.grids import is_coordinate_grid
from rmtaudit.kernels.constants.patterns import (
    has_two_values,
    is_diagonal,
    is_filter_bank,
    is_haar_basis,
    is_index_table,
    is_masked_triangle,
    is_one_entry_per_line,
    is_triangular,
)
from rmtaudit.kernels.constants.recurrences import Oscillation, oscillation
from rmtaudit.kernels.constants.symmetries import (
    is_semi_orthogonal,
    is_wigner_tensor,
    kernels_are_symmetric,
)

_LEAST = 9
_MASKED = -100.0
"""An additive mask holds this or less where attention is forbidden; no weight does."""


class Constant(StrEnum):
    """A kind of constant tensor, as it is named in a report."""

    IDENTITY = "identity"
    DIAGONAL = "diagonal"
    PERMUTATION = "permutation"
    CAUSAL_MASK = "causal mask"
    MASK = "mask"
    INDEX_TABLE = "index table"
    LINEAR_TABLE = "linear table"
    SINUSOID = "sinusoid"
    FOURIER_BASIS = "windowed Fourier basis"
    FILTER_BANK = "filter bank"
    FIXED_KERNEL = "symmetric kernel"
    WIGNER = "Wigner tensor"
    GRID = "grid of coordinates"
    HAAR = "Haar wavelets"


def recognise_constant(tensor: torch.Tensor, epsilon: float) -> Constant | None:
    """Return which constant of the architecture a tensor is, by its values alone, or ``None``.

    Every rule is one that trained weights do not meet: two values of which one is 0 and the other 1 or
    minus infinity, entries off the diagonal exactly 0, kernels equal to their mirror images to rounding,
    fibres that obey a recurrence of order 2 or 6 to rounding, and so on. An orthonormal cosine basis and a
    Dirac kernel are left to the known initialisations, which have the same values.

    Parameters
    ----------
    tensor
        As stored, any number of sides, float32 or float64, on the CPU. Infinite entries are allowed: masks
        have them.
    epsilon
        Unit round-off of the dtype that the entries were stored in.
    """
    sides = tuple(side for side in tensor.shape if side > 1)
    if tensor.numel() < _LEAST or len(sides) < 2:
        return None
    compact = tensor.reshape(sides)
    low, high = (float(bound) for bound in torch.aminmax(compact))
    if low == high or math.isnan(low) or math.isnan(high):
        return None
    if has_two_values(compact, low, high):
        return _two_valued(compact, low, high)
    if low <= _MASKED and is_masked_triangle(compact == low):
        return Constant.CAUSAL_MASK  # with something added to it: the slopes of ALiBi
    if not (math.isfinite(low) and math.isfinite(high)):
        return None
    return _of_structure(tensor, compact, epsilon) or _of_oscillation(compact, epsilon)


def _two_valued(tensor: torch.Tensor, low: float, high: float) -> Constant | None:
    occupied = tensor != 0
    if tensor.ndim == 2 and is_diagonal(tensor) and 0.0 in (low, high):
        return Constant.IDENTITY
    if (low, high) == (0.0, 1.0):
        if is_one_entry_per_line(occupied.reshape(len(tensor), -1)):
            return Constant.PERMUTATION if tensor.ndim == 2 else None
        return Constant.CAUSAL_MASK if is_triangular(occupied) else Constant.MASK
    if high in (0.0, 1.0) and low <= _MASKED:
        return Constant.CAUSAL_MASK if is_triangular(tensor == low) else Constant.MASK
    return None


def _of_structure(tensor: torch.Tensor, compact: torch.Tensor, epsilon: float) -> Constant | None:
    if compact.ndim == 2 and is_diagonal(compact):
        return Constant.DIAGONAL
    if compact.ndim == 2 and is_haar_basis(compact, epsilon):
        return Constant.HAAR
    if compact.ndim == 2 and is_filter_bank(compact):
        return Constant.FILTER_BANK
    if is_index_table(compact):
        return Constant.INDEX_TABLE
    if is_coordinate_grid(compact, epsilon):
        return Constant.GRID
    if kernels_are_symmetric(tensor, epsilon):
        return Constant.FIXED_KERNEL
    return Constant.WIGNER if is_wigner_tensor(compact, epsilon) else None


def _of_oscillation(compact: torch.Tensor, epsilon: float) -> Constant | None:
    found = oscillation(compact, epsilon)
    if found is None:
        return None
    if found is Oscillation.WINDOWED:
        return Constant.FOURIER_BASIS
    if is_semi_orthogonal(compact.reshape(len(compact), -1), epsilon):
        return None
    return Constant.LINEAR_TABLE if found is Oscillation.LINEAR else Constant.SINUSOID
