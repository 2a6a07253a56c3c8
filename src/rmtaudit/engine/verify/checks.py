"""A number and its recomputation, and whether the two agree to the stated accuracy."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Literal

import numpy as np

from rmtaudit.errors import UsageError
from rmtaudit.report.second_opinion import Check as CheckEntry
from rmtaudit.report.second_opinion import NotCompared, Verification

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vector = NDArray[np.float64]

Scale = Literal["absolute", "relative", "floor"]

MOST_STARTS = 4096
"""Tails of more values are not searched again: the plain search takes the square of the number."""
_MODULES = ("powerlaw", "safetensors")


@unique
class Outcome(StrEnum):
    """What came of a verification."""

    AGREES = "agrees"
    DEVIATES = "deviates"
    NOTHING = "nothing compared"


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How far a number may be from its recomputation.

    Attributes
    ----------
    limit
        The greatest deviation.
    scale
        ``absolute``; ``relative`` to the recomputed number; ``floor``: over that of the layer.
    """

    limit: float
    scale: Scale


ACCURACY = {
    "values": Accuracy(0.0, "absolute"),
    "eigenvalues": Accuracy(1.0, "floor"),
    "log10_spectral_norm": Accuracy(1e-9, "absolute"),
    "log10_frobenius_norm": Accuracy(1e-9, "absolute"),
    "stable_rank": Accuracy(1e-9, "relative"),
    "alpha": Accuracy(1e-6, "relative"),
    "tail_size": Accuracy(0.0, "absolute"),
    "ks_distance": Accuracy(1e-6, "absolute"),
    "exponent": Accuracy(1e-6, "relative"),
}
"""The stated accuracy of every quantity that is checked; docs/commands/scan.md says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A number, its recomputation, and how far apart they are in the scale of its accuracy."""

    owner: str
    quantity: str
    library: str
    ours: float
    theirs: float
    deviation: float

    @property
    def agrees(self) -> bool:
        """Whether the deviation is within the stated accuracy; a NaN is not."""
        return self.deviation <= ACCURACY[self.quantity].limit


def check(owner: str, quantity: str, library: str, ours: float, theirs: float) -> Check:
    """Return the comparison of two numbers, for quantities of absolute or relative accuracy."""
    deviation = abs(ours - theirs)
    if ACCURACY[quantity].scale == "relative" and deviation:
        deviation = deviation / abs(theirs) if theirs else float("inf")
    return Check(
        owner=owner, quantity=quantity, library=library, ours=ours, theirs=theirs, deviation=deviation
    )


def require_libraries() -> None:
    """Raise ``UsageError`` RA-US-601 if a library of the second opinion is missing."""
    missing = [name for name in _MODULES if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            "RA-US-601",
            f"--verify needs {' and '.join(missing)}, which cannot be imported.",
            hint="Install them: pip install 'rmtaudit[verify]'.",
        )


def fit_checks(
    owner: str, values: Vector, *, exponent: str, alpha: float, xmin: float, size: int, distance: float,
    min_tail: int,
) -> Iterator[Check]:  # fmt: skip
    """Yield the checks of a power law ``alpha``, ``xmin`` that was fitted to positive ``values``.

    The exponent is that of the ``powerlaw`` package at the same start of the tail, the distance that of
    ``scipy.stats.kstest``; the least distance is looked for at every possible start, without bounds.
    """
    import powerlaw
    from scipy import stats

    values = np.sort(values)
    # the start is one of the values, recomputed: it corresponds to the nearest of theirs
    start = float(values[np.abs(values - xmin).argmin()])
    tail = values[values >= start]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = powerlaw.Fit(
            tail, xmin=start, parameter_ranges={"alpha": [1, None]}, discrete=False, verbose=False
        )
        theirs = float(fit.power_law.alpha)
    shift = 1.0 if exponent == "exponent" else 0.0
    yield check(owner, exponent, "powerlaw", alpha - shift, theirs - shift)
    yield check(owner, "tail_size", "numpy", size, len(tail))
    there = float(stats.kstest(tail, lambda x: 1 - (x / start) ** (1 - theirs)).statistic)
    least = there if len(values) > MOST_STARTS else min(there, _least_distance(values, min_tail))
    yield check(owner, "ks_distance", "scipy", distance, least)


def _least_distance(values: Vector, min_tail: int) -> float:
    best = float("inf")
    for first in np.unique(values, return_index=True)[1]:
        tail = values[first:] / values[first]
        count, logs = len(tail), float(np.log(tail).sum())
        if count < min_tail or not logs > 0:
            continue
        at = 1 - tail ** (-count / logs)
        below = np.arange(count) / count
        best = min(best, max(float((at - below).max()), float((below + 1 / count - at).max())))
    return best


def section(checks: Sequence[Check], skipped: Sequence[NotCompared], seed: int) -> Verification:
    """Return the section ``verification`` of a report: strict JSON, the largest deviations first."""
    agrees = all(each.agrees for each in checks)
    outcome = Outcome.NOTHING if not checks else Outcome.AGREES if agrees else Outcome.DEVIATES
    largest: dict[str, Check] = {}
    for each in checks:
        known = largest.get(each.quantity)
        if known is None or not each.deviation <= known.deviation:
            largest[each.quantity] = each
    return {
        "outcome": outcome.value,
        "seed": seed,
        "largest": [_entry(each) for each in largest.values()],
        "checks": [_entry(each) for each in checks],
        "not_compared": list(skipped),
    }


def _entry(each: Check) -> CheckEntry:
    accuracy = ACCURACY[each.quantity]
    return {
        "owner": each.owner,
        "quantity": each.quantity,
        "library": each.library,
        "ours": _finite(each.ours),
        "theirs": _finite(each.theirs),
        "deviation": _finite(each.deviation),
        "accuracy": accuracy.limit,
        "scale": accuracy.scale,
        "agrees": each.agrees,
    }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
