"""Injuries that a layer's entries show beyond zeros, grids and copies: found here, worded in ``describe``."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from rmtaudit.kernels.forensics.bitflips import FlippedBits
from rmtaudit.kernels.forensics.clipping import Clipping, clipping
from rmtaudit.kernels.forensics.line_order import LineOrder, line_order
from rmtaudit.kernels.forensics.lines import LoudLines, loud_lines
from rmtaudit.kernels.forensics.survey import Survey

ORDERED_SIDE = 64
"""Least side of a matrix whose lines are tested for their order: below, healthy layers pass for shuffled."""

LINE_GAP = 3.0
"""A row or column stands apart from this ratio to the next one. In 1830 layers of 50 healthy models the
largest ratio with a p-value of at most 1e-5 is 2.25 (benchmarks/injuries.py)."""

_MOSTLY = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Injuries:
    """What was found; ``None`` where a test does not apply or finds nothing. Sizes are in weight units.

    ``mean`` and ``sd`` are those of the entries; ``ordered_rows`` and ``ordered_columns`` the order within
    the lines.
    """

    flipped: FlippedBits | None
    clipped: Clipping | None
    loud_rows: LoudLines | None
    loud_columns: LoudLines | None
    mean: float
    sd: float
    ordered_rows: LineOrder | None
    ordered_columns: LineOrder | None


def gather_injuries(
    work: torch.Tensor,
    scale: float,
    *,
    known: Survey,
    flipped: FlippedBits | None,
    quantised: bool,
    coarse: bool,
    zero_share: float,
) -> Injuries:
    """Run the tests that apply to a stored layer whose entries are not all equal.

    Parameters
    ----------
    work
        Shape ``(rows, cols)``, the entries over ``scale``, flipped bits restored.
    scale
        Power of two.
    known
        The survey of ``work``.
    flipped
        What was restored.
    quantised, coarse
        Whether the entries lie on a grid or in a code book, or were rounded to fp8: ties are no clipping
        then.
    zero_share
        Share of exact zeros.
    """
    mean = known.mean
    mean_square = float(known.rows.square().mean())
    ordered = not coarse and min(work.shape) >= ORDERED_SIDE and zero_share <= _MOSTLY
    return Injuries(
        flipped=flipped,
        clipped=None if quantised or coarse else _rescaled(clipping(work, known), scale),
        loud_rows=_loud(known.rows, scale),
        loud_columns=_loud(known.columns, scale),
        mean=mean * scale,
        sd=math.sqrt(max(mean_square - mean * mean, 0.0)) * scale,
        ordered_rows=line_order(work) if ordered else None,
        ordered_columns=line_order(work.T) if ordered else None,
    )


def _loud(sizes: torch.Tensor, scale: float) -> LoudLines | None:
    return loud_lines(sizes if scale == 1 else sizes * scale, least_gap=LINE_GAP)


def _rescaled(clipping: Clipping | None, scale: float) -> Clipping | None:
    if clipping is None or scale == 1:
        return clipping
    low, high = (None if bound is None else bound * scale for bound in (clipping.low, clipping.high))
    return Clipping(low, high, clipping.clipped)
