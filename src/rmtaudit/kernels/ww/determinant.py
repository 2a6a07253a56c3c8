"""The determinant condition of WeightWatcher 0.7.7 (``detX``, the "ERG condition" of SETOL)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class DeterminantTail:
    """The largest eigenvalues whose product passes 1.

    ``size`` counts them; ``threshold`` is the smallest of them in (weight units)², ``rescaled`` the same for
    a spectrum of mean 1.
    """

    size: int
    threshold: float
    rescaled: float


def determinant_tail(eigenvalues: torch.Tensor) -> DeterminantTail:
    """Return how many of the largest eigenvalues, rescaled to mean 1, have a product that falls below 1.

    Eigenvalues are added from the top; the first that brings the product below 1 is the last one counted. If
    none does before the smallest eigenvalue, which is never tried, all count and ``threshold`` is the second
    smallest.

    Parameters
    ----------
    eigenvalues
        Shape ``(n,)``, float64, ascending.

    Raises
    ------
    ArithmeticError
        For fewer than 2 eigenvalues, or equal ones (the peer reports 0).

    Notes
    -----
    The product is a sum of logarithms here. WeightWatcher 0.7.7 multiplies in float64, which overflows where
    the product passes 1e308, from some 2500 eigenvalues on, and then counts too few.
    """
    values = eigenvalues.detach().cpu().double().numpy()
    if values.size < 2 or not values[0] < values[-1]:
        raise ArithmeticError("the determinant condition needs 2 distinct eigenvalues")
    rescaled = values * (values.size / values.sum())
    with np.errstate(divide="ignore"):  # log 0 = -inf ends the product, as 0 does
        products = np.cumsum(np.log(rescaled[:0:-1]))
    below = np.flatnonzero(products < 0)
    size = int(below[0]) + 1 if below.size else values.size
    index = max(1, values.size - size)
    return DeterminantTail(size, float(values[index]), float(rescaled[index]))
