"""The p-value of a relation statistic under uniform relabelling, and what it would have detected."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import torch

from rmtaudit.kernels.relation.scores import UnitScores
from rmtaudit.kernels.relation.stouffer import SMALLEST_P, upper_normal

_FEW_UNITS = 20
"""Below this many units a stratum in a single stratum, the tail is counted over drawn relabellings."""

_NEAR = 4.0
"""A p-value within this factor of the level is counted over drawn relabellings too."""

_SYMMETRIC = 1e-4
"""Below this skewness the normal tail is used: the gamma law is nearly the same and loses precision."""

_BATCH = 1 << 22
"""Scores that are gathered at a time, over all relabellings of a batch."""


class Tail(StrEnum):
    """How the p-value was computed."""

    NORMAL = "normal"
    GAMMA = "gamma"
    PERMUTATIONS = "permutations"


@dataclass(frozen=True, slots=True, kw_only=True)
class RelabellingTest:
    """The result of one test.

    Attributes
    ----------
    z
        Observed statistic less its exact mean, over its exact standard deviation; 0 without variance.
    p_value
        One-sided: that a random relabelling agrees at least as well; never below 1e-12.
    tail
        How the p-value was computed.
    units
        Number of units that were relabelled.
    cosine
        Mean cosine of units with the same label, above the mean of all pairs.
    detectable
        The smallest mean cosine that would have been detected at ``level`` with probability ``power``.
    """

    z: float
    p_value: float
    tail: Tail
    units: int
    cosine: float
    detectable: float


def relabelling_test(
    scores: UnitScores,
    *,
    level: float = 1e-4,
    power: float = 0.9,
    generator: torch.Generator | None = None,
    permutations: int = 20_000,
) -> RelabellingTest:
    """Test whether two networks agree unit by unit more than under random relabelling.

    Parameters
    ----------
    scores
        Of one group of units.
    level
        The decision is made at this level: p-values near it are counted over drawn relabellings, and the
        power refers to it.
    power
        Probability with which ``detectable`` would have been detected.
    generator
        For the relabellings; without one, none are drawn and the tail is always a law.
    permutations
        Number of relabellings that are drawn.

    Notes
    -----
    ``z`` is normal in the limit of many units (Hoeffding 1951). A positive skewness makes the upper tail
    longer; it is then that of the shifted gamma law with the same three moments. Drawn relabellings give the
    exact p-value ``(1 + #{T_π >= T}) / (1 + permutations)``.
    """
    variance = scores.variance
    deviation = math.sqrt(variance) if variance > 0 else 0.0
    z = scores.statistic / deviation if deviation else 0.0
    p_value, tail = (1.0, Tail.NORMAL) if not deviation else _tail(z, scores.third_moment / deviation**3)
    few = len(scores.linear) == 1 and scores.linear.shape[1] < _FEW_UNITS
    near = level / _NEAR < p_value < level * _NEAR
    if deviation and generator is not None and (few or near):
        p_value, tail = _counted(scores, generator, permutations), Tail.PERMUTATIONS
    reach = upper_normal(level) + upper_normal(1 - power)
    return RelabellingTest(
        z=z,
        p_value=max(SMALLEST_P, p_value),
        tail=tail,
        units=scores.units,
        cosine=scores.cosine,
        detectable=reach * deviation / scores.weight if deviation else 1.0,
    )


def _tail(z: float, skewness: float) -> tuple[float, Tail]:
    from scipy.special import gammaincc

    if skewness < _SYMMETRIC or z <= 0:
        return math.erfc(z / math.sqrt(2)) / 2, Tail.NORMAL
    root = 2 / skewness
    return float(gammaincc(root * root, root * root + z * root)), Tail.GAMMA


def _counted(scores: UnitScores, generator: torch.Generator, permutations: int) -> float:
    observed = scores.statistic
    tolerance = 1e-9 * math.sqrt(scores.variance)  # relabellings with the same sum differ by rounding
    reached = 0
    drawn = 0
    strata, n, _ = scores.linear.shape
    batch = max(1, _BATCH // (scores.units + scores.first.numel()))
    rows = torch.arange(n, device=scores.linear.device)
    strata_at = torch.arange(strata, device=scores.linear.device)[:, None]
    while drawn < permutations:
        count = min(batch, permutations - drawn)
        keys = torch.rand(
            (count, strata, n), generator=generator, dtype=torch.float64, device=scores.linear.device
        )
        labels = keys.argsort(dim=2)
        values = scores.linear[strata_at, rows, labels].sum(dim=(1, 2))
        if len(scores.first):
            order = labels[:, 0]
            relabelled = scores.second[:, order[:, :, None], order[:, None, :]]
            values += torch.einsum("gik,gpik->p", scores.first, relabelled)
        reached += int((values >= observed - tolerance).sum())
        drawn += count
    return (1 + reached) / (1 + permutations)
