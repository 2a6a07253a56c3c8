"""Rows or columns that stand apart from the others by their size."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rmtaudit.kernels.forensics.outliers import SUSPECTS, TAIL, widest_gap

_LEAST = 16
"""Lines below the suspects that a tail is fitted on, at least."""


@dataclass(frozen=True, slots=True)
class LoudLines:
    """The largest rows or columns of a matrix, down to the widest gap below one of the four largest.

    Attributes
    ----------
    positions, sizes
        Of the lines that stand apart, largest first; sizes are root mean squares, in weight units.
    next_largest
        Size of the largest line below them.
    p_value
        That they belong to the tail of the other lines, corrected for the number of suspects tried (at
        most 4).
    """

    positions: tuple[int, ...]
    sizes: tuple[float, ...]
    next_largest: float
    p_value: float

    @property
    def gap(self) -> float:
        """How many times larger the smallest of them is than the largest of the others."""
        return self.sizes[-1] / self.next_largest


def loud_lines(sizes: torch.Tensor, *, least_gap: float = 1.0) -> LoudLines | None:
    """Test whether the largest lines belong to the tail of the others.

    Null hypothesis: above some threshold the sizes are Pareto or lighter, as for entries
    (:func:`~rmtaudit.kernels.forensics.outliers.largest_entries`); the tail is half of the lines, at most
    100.

    Parameters
    ----------
    sizes
        Root mean squares of the rows or columns, shape ``(n,)``. Those of dead lines are 0 and do not count.
    least_gap
        Ratio of neighbours among the five largest from which a gap is looked at.

    Returns
    -------
    LoudLines or None
        ``None`` for fewer than 37 lines that are not dead, or where no gap is that wide.
    """
    if sizes.shape[0] > SUSPECTS:
        largest, *_, fifth = sizes.topk(SUSPECTS + 1).values.tolist()
        if fifth > 0 and largest / fifth < least_gap:
            return None  # nor is any gap between the two that wide
    ordered, places = sizes.sort(descending=True, stable=True)
    values = ordered[ordered > 0].cpu().numpy()
    tail = min(TAIL, (len(values) - SUSPECTS - 1) // 2)
    if tail < _LEAST:
        return None
    gap = widest_gap(values[: tail + SUSPECTS + 1], tail)
    if gap.ratio < least_gap:
        return None
    return LoudLines(
        positions=tuple(int(place) for place in places[: gap.above]),
        sizes=tuple(float(value) for value in values[: gap.above]),
        next_largest=float(values[gap.above]),
        p_value=gap.p_value,
    )
