"""The p-value of a relation statistic under uniform relabelling, and what it would have detected."""

from __future__ import annotations

import math
from collections.abc import Iterator
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

_MOST_DRAWN = 1 << 24
"""Scores that are gathered over all relabellings: with more, the tail is always a law."""

_SKEWNESS_DRAWS, _FEWEST_DRAWS, _MOST_FOR_SKEWNESS = 1000, 200, 1 << 24
"""Relabellings from which the skewness is estimated where weights connect the units, and scores that are
gathered for it: its standard error is .08, that of the tail at .001 a quarter, over and under alike."""

_CENTRAL = 0.2
"""P-values above this do not need the skewness."""

_BATCH = 1 << 20
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
        Mean cosine of units with the same label, corrected for chance.
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
    longer; it is then that of the shifted gamma law with the same three moments. The third moment is exact
    for the linear part, and estimated from drawn relabellings where rows and columns are relabelled together.
    Drawn relabellings give the exact p-value ``(1 + #{T_π >= T}) / (1 + permutations)``.
    """
    variance = scores.variance
    deviation = math.sqrt(variance) if variance > 0 else 0.0
    z = scores.statistic / deviation if deviation else 0.0
    p_value, tail = _tail(z, _skewness(scores, deviation, z, generator)) if deviation else (1.0, Tail.NORMAL)
    few = len(scores.linear) == 1 and scores.linear.shape[1] < _FEW_UNITS
    near = level / _NEAR < p_value < level * _NEAR
    affordable = permutations * (scores.units + scores.first.numel()) <= _MOST_DRAWN
    if deviation and generator is not None and affordable and (few or near):
        p_value, tail = _counted(scores, generator, permutations), Tail.PERMUTATIONS
    reach = upper_normal(level) + upper_normal(1 - power)
    return RelabellingTest(
        z=z,
        p_value=max(SMALLEST_P, p_value),
        tail=tail,
        units=scores.units,
        cosine=scores.cosine,
        detectable=min(1.0, reach * deviation / scores.weight) if deviation else 1.0,
    )


def _tail(z: float, skewness: float) -> tuple[float, Tail]:
    from scipy.special import gammaincc

    if skewness < _SYMMETRIC or z <= 0:
        return math.erfc(z / math.sqrt(2)) / 2, Tail.NORMAL
    root = 2 / skewness
    return float(gammaincc(root * root, root * root + z * root)), Tail.GAMMA


def _skewness(scores: UnitScores, deviation: float, z: float, generator: torch.Generator | None) -> float:
    draws = min(_SKEWNESS_DRAWS, _MOST_FOR_SKEWNESS // (scores.units + scores.first.numel()))
    central = math.erfc(z / math.sqrt(2)) / 2 > _CENTRAL
    if not len(scores.first) or generator is None or central or draws < _FEWEST_DRAWS:
        return scores.third_moment / deviation**3
    values = torch.cat(list(_drawn(scores, generator, draws))) / deviation
    return float(values.pow(3).mean())


def _counted(scores: UnitScores, generator: torch.Generator, permutations: int) -> float:
    observed = scores.statistic
    tolerance = 1e-9 * math.sqrt(scores.variance)  # relabellings with the same sum differ by rounding
    reached = sum(
        int((values >= observed - tolerance).sum()) for values in _drawn(scores, generator, permutations)
    )
    return (1 + reached) / (1 + permutations)


def _drawn(scores: UnitScores, generator: torch.Generator, permutations: int) -> Iterator[torch.Tensor]:
    """Yield the statistic, less its mean, of so many random relabellings, in batches."""
    strata, n, _ = scores.linear.shape
    device = scores.linear.device
    batch = max(1, _BATCH // (scores.units + scores.first.numel()))
    units = torch.arange(n, device=device)
    strata_at = torch.arange(strata, device=device)[:, None]
    for start in range(0, permutations, batch):
        shape = (min(batch, permutations - start), strata, n)
        labels = torch.rand(shape, generator=generator, dtype=torch.float64, device=device).argsort(dim=2)
        values = scores.linear[strata_at, units, labels].sum(dim=(1, 2))
        if len(scores.first):
            order = labels[:, 0]
            relabelled = scores.second[:, order[:, :, None], order[:, None, :]]
            values += torch.einsum("gik,gpik->p", scores.first, relabelled)
        yield values
