"""A number with its error, or the reason why there is none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from scipy.stats import t as student


class NumberStatus(StrEnum):
    """Whether there is a number."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
    FEW_SAMPLES = "too few samples"


CONFIDENCE = 0.95
"""Coverage of the intervals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number.

    Attributes
    ----------
    value, se, interval
        The number, its standard error, and its interval; ``None`` where there is none.
    naive
        The same of the sample covariance as it is, without correction.
    status, reason
        Why there is no number.
    """

    value: float | None = None
    se: float | None = None
    interval: tuple[float, float] | None = None
    naive: float | None = None
    status: NumberStatus = NumberStatus.OK
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "value": _finite(self.value),
            "se": _finite(self.se),
            "ci": None if self.interval is None else list(self.interval),
            "naive": _finite(self.naive),
            "status": str(self.status),
            "reason": self.reason,
        }


def without(status: NumberStatus, reason: str, *, naive: float | None = None) -> Number:
    """Return that there is no number."""
    return Number(status=status, reason=reason, naive=naive)


def jackknifed(value: float, replicates: Sequence[float], *, naive: float | None = None) -> Number:
    """Return a number with the error of a jackknife that leaves out groups of samples.

    ``se² = (G - 1)/G Σ (θ_(g) - θ_(·))²``, which on average is too large rather than too small; the interval
    is that of Student's t with ``G - 1`` degrees of freedom.

    References
    ----------
    Efron, Stein, *The jackknife estimate of variance*, Ann. Statist. 9 (1981).
    """
    count = len(replicates)
    mean = sum(replicates) / count
    se = math.sqrt((count - 1) / count * sum((each - mean) ** 2 for each in replicates))
    reach = float(student.ppf((1 + CONFIDENCE) / 2, count - 1)) * se
    return Number(value=value, se=se, interval=(value - reach, value + reach), naive=naive)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
