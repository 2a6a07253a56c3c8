"""Which law the entries of a random matrix were drawn from: normal, uniform or truncated normal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

from rmtaudit.kernels.forensics.samples import strided

Family = Literal["normal", "uniform", "truncated normal"]
FAMILIES: tuple[Family, ...] = ("normal", "uniform", "truncated normal")

_SAMPLE = 65_536
_CUT = 2.0
"""Truncated normal entries are cut at two standard deviations, as TensorFlow, JAX and timm do."""

_CUT_MASS = math.erf(_CUT / math.sqrt(2))
_CUT_SD = math.sqrt(1 - 2 * _CUT * math.exp(-(_CUT**2) / 2) / math.sqrt(2 * math.pi) / _CUT_MASS)

_ESTIMATED: dict[Family, float] = {"normal": 1.55, "uniform": 1.0, "truncated normal": 1.62}
"""What the Kolmogorov-Smirnov distance is multiplied by because mean and scale are estimated: quantiles of
Kolmogorov's law over simulated ones between 0.05 and 0.001 (20,000 samples of 1500): 1.50 to 1.58, 1.01 and
1.57 to 1.65."""

_FITTING = 1e-3
"""Of the laws whose p-value exceeds this, the one with the largest likelihood is taken."""

_OFFSET = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryLaw:
    """The law that the entries fit best, and how well.

    Attributes
    ----------
    family
        ``truncated normal``: cut at two standard deviations of the normal.
    p_value
        Of the entries under it; small rejects it.
    distance
        Kolmogorov-Smirnov distance to it, a measure of effect that does not depend on the number of entries.
    mean
        Of the sample, in weight units, where it is further from 0 than chance allows (4 standard errors);
        else 0.
    std
        Standard deviation, in weight units.
    kurtosis
        3 for a normal law, 1.8 for a uniform, 2.37 for a truncated normal.
    """

    family: Family
    p_value: float
    distance: float
    mean: float
    std: float
    kurtosis: float


def entry_law(values: torch.Tensor) -> EntryLaw:
    """Return which of three laws that layers are initialised with the entries fit best.

    Null hypothesis, for each: independent entries of that family with unknown mean and scale. Two tests on at
    most 65,536 evenly spaced entries: the kurtosis (normal, with the delta method's variance) and
    Kolmogorov-Smirnov with mean and scale estimated (Lilliefors; the uniform's from the extremes); twice the
    smaller p-value. A bounded family is rejected outright if an entry lies beyond its bound by more than 4
    standard errors of the scale.

    Parameters
    ----------
    values
        Any shape, float32 or float64, finite, not all equal.

    References
    ----------
    Lilliefors, *On the Kolmogorov-Smirnov test for normality with mean and variance unknown*, J. Amer.
    Statist. Assoc. 62 (1967).
    """
    sample = strided(values, _SAMPLE).double().cpu()
    mean, std = float(sample.mean()), float(sample.std(correction=0))
    unit = ((sample - mean) / std).sort().values
    kurtosis = float(unit.pow(4).mean())
    fits = {family: _fit(family, unit, kurtosis) for family in FAMILIES}
    fitting = [family for family in FAMILIES if fits[family][0] > _FITTING]
    if fitting:
        best = max(fitting, key=lambda family: _log_likelihood(family, unit))
    else:
        best = min(FAMILIES, key=lambda family: fits[family][1])
    offset = abs(mean) > _OFFSET * std / math.sqrt(len(unit))
    p_value, distance = fits[best]
    return EntryLaw(
        family=best,
        p_value=p_value,
        distance=distance,
        mean=mean if offset else 0.0,
        std=std,
        kurtosis=kurtosis,
    )


def _fit(family: Family, unit: torch.Tensor, kurtosis: float) -> tuple[float, float]:
    """Return p-value and Kolmogorov-Smirnov distance of sorted, standardised entries."""
    fourth, sixth, eighth = _moments(family)
    variance = eighth - fourth**2 + 4 * fourth**2 * (fourth - 1) - 4 * fourth * (sixth - fourth)
    n = len(unit)
    z = (kurtosis - fourth) / math.sqrt(variance / n)
    distance = _distance(family, unit)
    bound = {"normal": math.inf, "uniform": math.sqrt(3), "truncated normal": _CUT / _CUT_SD}[family]
    if float(unit.abs().max()) > bound * (1 + 4 * math.sqrt((fourth + 3) / (4 * n))):
        return 0.0, distance
    by_kurtosis = math.erfc(abs(z) / math.sqrt(2))
    by_distance = _kolmogorov_tail(_ESTIMATED[family] * math.sqrt(n) * distance)
    return min(1.0, 2 * min(by_kurtosis, by_distance)), distance


def _kolmogorov_tail(x: float) -> float:
    """Return the survival function of Kolmogorov's law, by the one of its two series that ends at once."""
    if x > 1:
        return 2 * sum((-1.0) ** (k - 1) * math.exp(-2 * (k * x) ** 2) for k in range(1, 6))
    if not x > 0.04:  # where it differs from 1 by less than 1e-300
        return 1.0
    odd = sum(math.exp(-(((2 * k - 1) * math.pi / x) ** 2) / 8) for k in range(1, 6))
    return 1 - math.sqrt(2 * math.pi) / x * odd


def _log_likelihood(family: Family, unit: torch.Tensor) -> float:
    """Return the mean log-likelihood of standardised entries at the best scale."""
    if family == "normal":
        return -0.5 * math.log(2 * math.pi * math.e)
    if family == "uniform":
        return -math.log(float(unit[-1] - unit[0]))
    sigma = max(1 / _CUT_SD, float(unit.abs().max()) / _CUT)
    return -0.5 * math.log(2 * math.pi) - math.log(sigma * _CUT_MASS) - 0.5 / sigma**2


def _distance(family: Family, unit: torch.Tensor) -> float:
    n = len(unit)
    if family == "normal":
        cdf = torch.special.ndtr(unit)
    elif family == "uniform":
        low, high = float(unit[0]), float(unit[-1])
        cdf = ((unit - (low + high) / 2) / ((high - low) * (n + 1) / (n - 1)) + 0.5).clamp(0, 1)
    else:
        low = (1 - _CUT_MASS) / 2
        cdf = ((torch.special.ndtr(unit * _CUT_SD) - low) / _CUT_MASS).clamp(0, 1)
    places = torch.arange(n, dtype=torch.float64)
    return max(float((cdf - places / n).max()), float(((places + 1) / n - cdf).max()))


def _moments(family: Family) -> tuple[float, float, float]:
    """Return E w⁴, E w⁶ and E w⁸ at unit variance."""
    if family == "normal":
        return 3.0, 15.0, 105.0
    if family == "uniform":
        return 9 / 5, 27 / 7, 9.0
    # by parts: E x^k = (k - 1) E x^(k-2) - 2 cut^(k-1) φ(cut)/P(|x| < cut)
    density = 2 * math.exp(-(_CUT**2) / 2) / math.sqrt(2 * math.pi) / _CUT_MASS
    moments = {0: 1.0}
    for order in (2, 4, 6, 8):
        moments[order] = (order - 1) * moments[order - 2] - _CUT ** (order - 1) * density
    fourth, sixth, eighth = (moments[order] / _CUT_SD**order for order in (4, 6, 8))
    return fourth, sixth, eighth


def truncated_std() -> float:
    """Return the standard deviation of a unit normal cut at two standard deviations: 0.8796."""
    return _CUT_SD
