"""Numbers with their uncertainty, and whether they lie within limits: yes, no, or it cannot be told.

A number passes only if its whole interval lies within the limits, and fails only if none of it does. Whoever
acts on a failure then knows that it is no accident of estimation, and whoever relies on a pass as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, mean, median
from typing import Literal

from rmtaudit.report.layer import MetricResult

Outcome = Literal["passed", "failed", "inconclusive"]

_NOMINAL = 0.9
"""Confidence of the intervals that metrics state: that of alpha, ``powerlaw.confidence`` by default."""

_EQUAL = 1e-9
"""Relative difference up to which two numbers differ by the order of additions alone."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its interval; equal ends for one that is exact."""

    value: float
    low: float
    high: float

    @property
    def is_exact(self) -> bool:
        """Whether there is no interval."""
        return self.low == self.high


@dataclass(frozen=True, slots=True)
class Limits:
    """The lowest and the highest number allowed; ``None``: any."""

    low: float | None = None
    high: float | None = None

    def outcome(self, estimate: Estimate) -> Outcome:
        """Return whether an estimate lies within."""
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        if low <= estimate.low and estimate.high <= high:
            return "passed"
        return "failed" if estimate.high < low or estimate.low > high else "inconclusive"

    def nearest(self, estimate: Estimate) -> float | None:
        """Return the limit that the estimate exceeds or comes nearest to."""
        ends = [end for end in (self.low, self.high) if end is not None]
        return min(ends, key=lambda end: abs(end - estimate.value), default=None)

    def excess(self, estimate: Estimate) -> float:
        """Return how far the value lies beyond the limits; negative within."""
        beyond = [
            *([] if self.low is None else [self.low - estimate.value]),
            *([] if self.high is None else [estimate.value - self.high]),
        ]
        return max(beyond, default=0.0)


def estimate_of(result: MetricResult, confidence: float) -> Estimate | None:
    """Return the value of a metric with its interval at a confidence; ``None`` where it is no number.

    An interval with a standard error is widened as the normal law has it. An interval alone is a bound or
    that of a method of its own, and is taken as it is. A confidence of 0 takes the value alone.
    """
    if result.value is None or isinstance(result.value, str):
        return None
    value = float(result.value)
    if confidence == 0 or (result.se is None and result.ci is None):
        return Estimate(value, value, value)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    if result.ci is None:
        reach = z * float(result.se or 0.0)
        return Estimate(value, value - reach, value + reach)
    low, high = map(float, result.ci)
    factor = 1.0 if result.se is None else z / NormalDist().inv_cdf((1 + _NOMINAL) / 2)
    return Estimate(
        value, min(value, value - factor * (value - low)), max(value, value + factor * (high - value))
    )


def change_of(candidate: Estimate, baseline: Estimate, *, relative: bool) -> Estimate:
    """Return the change against the baseline, of its size if ``relative``, with an interval.

    The interval takes the two errors as independent. Equal values with equal intervals come from equal
    weights by the same method: the change is 0. A relative change of a baseline of 0 is infinite.
    """
    if _equal(candidate.value, baseline.value) and _equal(candidate.low, baseline.low):
        return Estimate(0.0, 0.0, 0.0)
    value = candidate.value - baseline.value
    down = math.hypot(candidate.value - candidate.low, baseline.high - baseline.value)
    up = math.hypot(candidate.high - candidate.value, baseline.value - baseline.low)
    size = abs(baseline.value) if relative else 1.0
    if size == 0:
        infinite = math.copysign(math.inf, value)
        return Estimate(infinite, infinite, infinite)
    return Estimate(value / size, (value - down) / size, (value + up) / size)


def aggregated(estimates: Sequence[Estimate], how: str) -> Estimate:
    """Return the mean, median, lowest or highest of estimates; its ends are those of the ends."""
    functions: dict[str, Callable[[list[float]], float]] = {
        "mean": mean,
        "median": median,
        "lowest": min,
        "highest": max,
    }
    function = functions[how]
    return Estimate(
        function([each.value for each in estimates]),
        function([each.low for each in estimates]),
        function([each.high for each in estimates]),
    )


def _equal(first: float, second: float) -> bool:
    return abs(first - second) <= _EQUAL * max(abs(first), abs(second))
