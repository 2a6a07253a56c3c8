"""What the stored numbers themselves say: constant, denormal, beyond the range of float16."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rmtaudit.kernels.forensics.survey import Survey, survey

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


def byte_facts(matrix: torch.Tensor, stored: str, known: Survey | None = None) -> ByteFacts:
    """Return the facts about the entries.

    Parameters
    ----------
    matrix
        Shape ``(rows, cols)``, float32 or float64, finite, not empty.
    stored
        The dtype that the entries were stored in (torch's name).
    known
        The survey of the matrix, where there is one already.
    """
    known = known or survey(matrix)
    low, high, largest = known.low, known.high, known.largest
    smallest_normal = float(torch.finfo(getattr(torch, stored)).smallest_normal)
    tiny = _tiny(known, max(HALF_SMALLEST, smallest_normal))
    return ByteFacts(
        constant=low if low == high else None,
        largest=largest,
        denormals=int((tiny < smallest_normal).sum()),
        overflowing=_overflowing(known),
        vanishing=int((tiny <= HALF_SMALLEST).sum()),
    )


def _overflowing(known: Survey) -> int:
    if known.largest <= HALF_LARGEST:
        return 0
    beyond = (known.lowest < -HALF_LARGEST) | (known.highest > HALF_LARGEST)
    return sum(int((band.abs() > HALF_LARGEST).sum()) for band in known.bands(beyond))


def _tiny(known: Survey, bound: float) -> torch.Tensor:
    """Return the sizes up to ``bound`` that are not zero; most matrices have none."""
    sizes = [known.lines.new_empty(0)]
    if known.least > bound:
        return sizes[0]
    for band in known.bands(known.smallest <= bound):
        size = band.abs()
        size = size[size.amin(1) <= bound]  # few rows have any
        sizes.append(size[(size <= bound) & (size > 0)])
    return torch.cat(sizes)
