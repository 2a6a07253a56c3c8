"""Independent p-values combined (Stouffer et al. 1949)."""

from __future__ import annotations

import math
from collections.abc import Sequence

SMALLEST_P = 1e-12
"""No p-value of this family is smaller: the normal tail is not trusted so far out."""


def upper_normal(p_value: float) -> float:
    """Return the standard score that is exceeded with this probability."""
    from scipy.special import ndtri

    return -float(ndtri(min(max(p_value, SMALLEST_P), 1 - SMALLEST_P)))


def stouffer_p_value(p_values: Sequence[float]) -> float:
    """Return one p-value for independent one-sided ones, equal weights; 1 for none."""
    if not p_values:
        return 1.0
    if len(p_values) == 1:
        return max(SMALLEST_P, p_values[0])
    score = sum(upper_normal(p_value) for p_value in p_values) / math.sqrt(len(p_values))
    return max(SMALLEST_P, math.erfc(score / math.sqrt(2)) / 2)
