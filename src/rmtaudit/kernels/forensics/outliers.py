"""Entries that stand apart from a layer's own tail.

Trained layers are heavy-tailed, and a few healthy ones have "super weights" far above the rest (Yu et
al., *The super weight in large language models*, 2024): neither a Gaussian nor a fixed multiple of the
standard deviation can be the null. The largest entries are compared with the tail below them instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from rmtaudit.kernels.forensics.survey import Survey, survey

TAIL = 100
"""Order statistics below the suspects that the tail is fitted on."""

SUSPECTS = 4
"""How many of the largest entries may stand apart together."""

DEFLATION = 0.6
"""Power that the p-value of the model is raised to.

The few largest entries of healthy trained layers stand apart more often than under a Pareto tail: at this
power no healthy layer measured is more extreme than chance allows (docs/analyzers/forensics.md).
"""


@dataclass(frozen=True, slots=True)
class WidestGap:
    """The widest gap among the largest of some values.

    Attributes
    ----------
    above
        Number of values above it, at most 4.
    ratio
        Of the smallest value above it to the largest below it.
    p_value
        Under a Pareto tail, corrected for the number of places where the gap may be.
    """

    above: int
    ratio: float
    p_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlierTest:
    """What the largest entries of a matrix say.

    Attributes
    ----------
    p_value
        After deflation and correction for the number of suspects tried.
    model_p_value
        Under the Pareto tail, corrected for the number of suspects only.
    positions, values
        Row, column and value of the entries that stand apart most, largest first.
    next_largest
        Largest absolute value below them.
    tail_index
        Hill's estimate ``1/γ`` from the entries below them (infinite for equal ones): small is heavy.
    widest
        The widest gap below one of the four largest entries, however many of them stand apart most.
    largest_positions, largest_values
        Of the five largest entries, largest first.
    """

    p_value: float
    model_p_value: float
    positions: tuple[tuple[int, int], ...]
    values: tuple[float, ...]
    next_largest: float
    tail_index: float
    widest: WidestGap
    largest_positions: tuple[tuple[int, int], ...]
    largest_values: tuple[float, ...]


def largest_entries(matrix: torch.Tensor, known: Survey | None = None) -> OutlierTest | None:
    r"""Test whether the largest absolute entries belong to the tail of the others.

    Null hypothesis: above some threshold ``|w|`` is Pareto (regularly varying) or lighter. Then the scaled
    log-spacings :math:`E_i = i (\log X_{(i)} - \log X_{(i+1)})` of the order statistics are independent,
    exponential of mean γ (Rényi), or smaller at the top than below it. For ``j = 1 … 4`` suspects,
    ``Σ_{i≤j} E_i / (j γ̂)`` with Hill's γ̂ from the next spacings has the F distribution with
    ``(2j, 2m)`` degrees of freedom: an exact test for a Pareto tail at any sample size, conservative for a
    lighter one. The least p-value is multiplied by the number of ``j`` tried, and raised to the power
    :data:`DEFLATION`, with which it holds for healthy trained layers.

    Parameters
    ----------
    matrix
        Shape ``(rows, cols)``, real floating dtype.
    known
        The survey of the matrix, where there is one already.

    Returns
    -------
    OutlierTest or None
        ``None`` for fewer than 200 entries, if most are zero, or if the largest ones are all equal.

    References
    ----------
    Rényi, Acta Math. Acad. Sci. Hung. 4 (1953); Hill, Ann. Statist. 3 (1975).
    """
    tail = min(TAIL, matrix.numel() // 10)
    if tail < TAIL // 5:
        return None
    top = (known or survey(matrix)).top
    values = np.abs(top.values[: tail + SUSPECTS + 1])
    if not values[-1] > 0:
        return None
    p, suspects, gamma = apart_from_tail(values, tail)
    if not suspects:
        return None
    cols = matrix.shape[1]
    largest = tuple(divmod(place, cols) for place in top.places[: SUSPECTS + 1].tolist())
    largest_values = tuple(top.values[: SUSPECTS + 1].tolist())
    return OutlierTest(
        p_value=p**DEFLATION,
        model_p_value=p,
        positions=largest[:suspects],
        values=largest_values[:suspects],
        next_largest=float(values[suspects]),
        tail_index=1 / gamma if gamma else math.inf,
        widest=widest_gap(values, tail),
        largest_positions=largest,
        largest_values=largest_values,
    )


def apart_from_tail(values: np.ndarray, tail: int) -> tuple[float, int, float]:
    """Return how surprising the largest values are: p-value, number of suspects and Hill's ``γ`` below them.

    Parameters
    ----------
    values
        At least ``tail + 5``, positive, descending.
    tail
        Number of spacings below the suspects that γ is estimated from.

    Returns
    -------
    tuple
        The p-value under a Pareto tail, corrected for the number of suspects tried. No suspects (0) if the
        largest values are all equal.
    """
    spacings = _spacings(values)
    best: tuple[float, int, float] = (math.inf, 0, 0.0)
    for suspects in range(1, SUSPECTS + 1):
        below = spacings[suspects : suspects + tail]
        gamma = float(below.sum()) / len(below)
        above = float(spacings[:suspects].sum())
        if not above > 0:
            continue
        p = _survival(above, gamma, suspects, len(below))
        if p < best[0]:
            best = (p, suspects, gamma)
    p, suspects, gamma = best
    return min(1.0, SUSPECTS * p), suspects, gamma


def widest_gap(values: np.ndarray, tail: int) -> WidestGap:
    """Return the widest gap below one of the four largest values, and how surprising it is.

    The exact test of :func:`apart_from_tail` for the number of values above the gap, times four.

    Parameters
    ----------
    values
        At least ``tail + 5``, positive, descending.
    tail
        Number of spacings below the gap that γ is estimated from.
    """
    ratios = values[:SUSPECTS] / values[1 : SUSPECTS + 1]
    above = int(np.argmax(ratios)) + 1
    spacings = _spacings(values)
    below = spacings[above : above + tail]
    total = float(spacings[:above].sum())
    gamma = float(below.sum()) / len(below)
    p_value = _survival(total, gamma, above, len(below)) if total > 0 else 1.0
    return WidestGap(above, float(ratios[above - 1]), min(1.0, SUSPECTS * p_value))


def _spacings(values: np.ndarray) -> np.ndarray:
    """Return the scaled log-spacings of descending values."""
    logs: np.ndarray = np.log(values)
    spacings: np.ndarray = np.arange(1, len(values)) * (logs[:-1] - logs[1:])
    return spacings


def _survival(above: float, gamma: float, suspects: int, below: int) -> float:
    """Return the upper tail of ``F(2 suspects, 2 below)``: an incomplete beta function with whole numbers."""
    x = below * gamma / (below * gamma + above)
    return x**below * sum(math.comb(below + j - 1, j) * (1 - x) ** j for j in range(suspects))
