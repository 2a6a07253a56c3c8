"""What the stored numbers themselves say: constant, denormal, beyond the range of float16."""

from __future__ import annotations

from dataclasses import dataclass

import torch

HALF_LARGEST = 65504.0
HALF_SMALLEST = 2.0**-25
"""What is not larger than this rounds to zero in float16."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteFacts:
    """Facts about the stored entries of a matrix.

    Attributes
    ----------
    constant
        The value that every entry has, if they all have the same; ``None`` otherwise.
    largest
        Largest absolute value.
    denormals
        Number of entries below the smallest normal number of the stored dtype, zeros not counted.
    overflowing, vanishing
        Number of entries that are infinite, or zero though stored as something else, in float16.
    """

    constant: float | None
    largest: float
    denormals: int
    overflowing: int
    vanishing: int


def byte_facts(matrix: torch.Tensor, stored: str) -> ByteFacts:
    """Return the facts about the entries.

    Parameters
    ----------
    matrix
        Shape ``(rows, cols)``, float32 or float64, finite, not empty.
    stored
        The dtype that the entries were stored in (torch's name).
    """
    low, high = (float(bound) for bound in torch.aminmax(matrix))
    largest = max(abs(low), abs(high))
    smallest_normal = float(torch.finfo(getattr(torch, stored)).smallest_normal)
    tiny = _tiny(matrix, max(HALF_SMALLEST, smallest_normal))
    return ByteFacts(
        constant=low if low == high else None,
        largest=largest,
        denormals=int((tiny < smallest_normal).sum()),
        overflowing=int((matrix.abs() > HALF_LARGEST).sum()) if largest > HALF_LARGEST else 0,
        vanishing=int((tiny <= HALF_SMALLEST).sum()),
    )


def _tiny(matrix: torch.Tensor, bound: float) -> torch.Tensor:
    """Return the sizes up to ``bound`` that are not zero; most matrices have none."""
    size = matrix.abs()
    if float(size.amin()) > bound:
        return size[:0]
    small = size[size <= bound]
    return small[small > 0]
