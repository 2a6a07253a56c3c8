"""One unit's values on equally spaced levels: the step, the levels, and how much chance it would take."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

LEVELS = 257
"""Most levels of a grid: 8 bits, and one more for schemes that use both -128 and 128."""

_LEAST = 6
_FEW = 64
_MULTIPLES = (1, 2, 3)
_TRIES = 2 * len(_MULTIPLES)
_ROUNDINGS = 3.0
"""Rounding errors between a level and the stored entry: of step, product, and sum with the offset."""

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """Levels ``origin + step · k`` for ``low <= k <= high``.

    Attributes
    ----------
    step
        In weight units; 0 where the unit says nothing (too few values, or a single one).
    low, high
        Least and greatest level in use, counted from zero if ``anchored``, else from the entry nearest to it.
    anchored
        Zero is a level.
    evidence
        In nats: minus the log of the probability that entries of a smooth density fit; 0 if nothing is said.
    values
        Number of entries that it is made of, zeros not counted.
    """

    step: float
    low: int
    high: int
    anchored: bool
    evidence: float
    values: int


SILENT = Lattice(step=0.0, low=0, high=0, anchored=True, evidence=0.0, values=0)


def fit_lattice(values: torch.Tensor, epsilon: float, smallest_normal: float) -> Lattice | None:
    """Return the lattice that all values lie on, within their rounding errors; ``None`` if there is none.

    Parameters
    ----------
    values
        Shape ``(n,)``, real floating dtype, finite. Zeros are left out: they lie on any lattice.
    epsilon, smallest_normal
        Unit round-off and smallest normal number of the format of the values.
    """
    all_values = values.double().cpu().numpy()
    distinct, counts = np.unique(all_values[all_values != 0], return_counts=True)
    if len(distinct) > LEVELS:
        return None
    if counts.sum() < _LEAST or len(distinct) < 2:
        return SILENT
    tolerance = _ROUNDINGS * epsilon * np.maximum(np.abs(distinct), smallest_normal)
    through_zero = _fit(distinct, tolerance, counts, anchored=True)
    if through_zero is not None and counts.sum() < len(all_values):
        return through_zero  # some entries are zero: zero is a level
    shifted_fit = _fit_shifted(distinct, tolerance, counts)
    if through_zero is None and shifted_fit is None:
        # ``step · k + offset`` rounds the product and the offset first: near zero the sum inherits errors
        # that are as large as those of the largest entry.
        shifted_fit = _fit_shifted(distinct, np.full(len(distinct), tolerance.max()), counts)
    # Half-way levels, as ±s/2, ±3s/2, also lie on the lattice of half the step through zero.
    if through_zero is None or (shifted_fit is not None and shifted_fit.step > 1.9 * through_zero.step):
        return shifted_fit
    return through_zero


def _fit_shifted(distinct: Values, tolerance: Values, counts: npt.NDArray[np.int64]) -> Lattice | None:
    """Fit a lattice through the entry nearest to zero."""
    nearest = int(np.argmin(np.abs(distinct)))
    others = np.arange(len(distinct)) != nearest
    shifted = distinct[others] - distinct[nearest]
    return _fit(shifted, tolerance[others] + tolerance[nearest], counts[others], anchored=False)


def _fit(
    places: Values, tolerance: Values, counts: npt.NDArray[np.int64], *, anchored: bool
) -> Lattice | None:
    order = np.argsort(np.abs(places))
    gap = _least_gap(np.abs(places)[order], tolerance[order])
    # A small unit may use no two neighbouring levels: then the least gap is a small multiple of the step.
    for multiple in _MULTIPLES if len(places) <= _FEW else (1,):
        found = _fit_step(places, tolerance, counts, gap / multiple, anchored=anchored)
        if found is not None:
            return found
    return None


def _fit_step(
    places: Values, tolerance: Values, counts: npt.NDArray[np.int64], step: float, *, anchored: bool
) -> Lattice | None:
    size = np.abs(places)
    if step <= 0 or size.max() > (LEVELS + 0.5) * step:
        return None
    # The error of the first step grows with the level: near levels correct it before far ones are counted.
    for near in (8, 32, 128, 2 * LEVELS):
        inside = size[size <= (near + 0.5) * step]
        if not len(inside):
            continue
        before, step = (
            step,
            float(np.add.reduce(inside / np.maximum(np.rint(inside / step), 1)) / len(inside)),
        )
        if step == before and len(inside) == len(size):
            break  # further rounds would change nothing
    level = np.rint(places / step)
    if np.any(np.abs(places - step * level) > tolerance + 1e-14 * size) or not level.all():
        return None
    low, high = min(int(level.min()), 0), max(int(level.max()), 0)
    if high - low >= LEVELS:
        return None
    surprise = -np.log(np.minimum(1.0, 2 * tolerance / step))
    # The step was fitted, which makes the best entry fit for nothing; and it is the best of a few tries.
    evidence = float((surprise * counts).sum() - surprise.max()) - math.log(_TRIES)
    return Lattice(
        step=step,
        low=low,
        high=high,
        anchored=anchored,
        evidence=max(evidence, 0.0),
        values=int(counts.sum()),
    )


def _least_gap(size: Values, slack: Values) -> float:
    """Return the least distance between neighbours (zero included) that rounding cannot have made.

    Of those about as small, the one nearest to zero: it is the most exact.
    """
    gaps, room = size.copy(), slack.copy()
    gaps[1:] -= size[:-1]
    room[1:] += slack[:-1]
    real = gaps[gaps > room]
    return float(real[real <= 1.4 * real.min()][0]) if len(real) else 0.0
