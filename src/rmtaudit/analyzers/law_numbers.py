"""Numbers of a predicted law as metrics: what :mod:`extrapolate` and :mod:`predicted` have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmtaudit.analyzers.base import MetricValue, skipped

if TYPE_CHECKING:
    from rmtaudit.kernels.extrapolation import Interval, Prediction

REFERENCE = "Ameli et al. 2025, arXiv 2506.11994; of rows that differ in size, Nica, Speicher 1996"
FEWEST, MOST, SAMPLES = 128, 1024, 4
"""Order below which nothing can be validated; order and number of blocks of a larger matrix."""

NUMBERS = (
    ("edge", "upper_edge", "w²", "Upper edge of the predicted bulk of WᵀW"),
    ("log_det", "log_det", "nats", "Predicted mean logarithm of the eigenvalues of WᵀW"),
    (
        "effective_rank_share",
        "effective_rank",
        "",
        "Exponential of the entropy of the predicted eigenvalues' shares, divided by the size,",
    ),
)
"""Metric, functional, unit, and what it is."""


def route_of(prediction: Prediction) -> str:
    """Return what the prediction is by, in words."""
    return "free decompression" if prediction.route == "free" else "growth by rows"


def value_of(prediction: Prediction, interval: Interval | None) -> MetricValue:
    """Return a number of the law with its interval, or why there is none."""
    if interval is None:
        return skipped(f"{prediction.verdict.word}: {prediction.reason}")
    if interval.value is None:
        return skipped(interval.reason)
    ends = None if interval.low is None or interval.high is None else (interval.low, interval.high)
    return MetricValue(value=interval.value, ci=ends)
