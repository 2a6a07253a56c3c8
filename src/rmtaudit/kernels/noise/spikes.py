"""Directions that stand out of noise: their true strength, their alignment, and what to keep of them.

Two models of the same picture. *Population* spikes: columns drawn with covariance ``I + ℓ uuᵀ``; ``ℓ`` is a
variance. *Additive* spikes: ``Y = X + σG/√n`` with a fixed low-rank ``X`` of singular values ``x``. Lengths
are in units of σ throughout; ``ratio`` is the shorter side over the longer one, at most 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PopulationSpike:
    """A population spike seen through noise: ``strength`` ``ℓ`` (0 below the transition) and ``cos²``."""

    strength: float
    cosine2: float


@dataclass(frozen=True, slots=True)
class AdditiveSpike:
    """An additive spike seen through noise: singular value ``strength`` and ``cos²`` on both sides.

    ``cosine2_short`` is of the singular vector of the shorter side. All are 0 below the transition.
    """

    strength: float
    cosine2_short: float
    cosine2_long: float


def population_eigenvalue(strength: float, ratio: float) -> float:
    """Return where a population spike ``ℓ`` puts an eigenvalue: ``(1 + ℓ)(1 + c/ℓ)``, or the edge.

    Raises
    ------
    ValueError
        If the strength is negative or the ratio not in (0, 1].

    References
    ----------
    Baik, Ben Arous, Péché, Ann. Probab. 33 (2005); Baik, Silverstein, J. Multivar. Anal. 97 (2006), theorem
    1.2.
    """
    _check(strength, ratio)
    if strength <= math.sqrt(ratio):
        return (1 + math.sqrt(ratio)) ** 2
    return (1 + strength) * (1 + ratio / strength)


def population_spike(eigenvalue: float, ratio: float) -> PopulationSpike:
    """Return the spike behind an eigenvalue ``λ`` of ``XXᵀ/n``: the inverse of :func:`population_eigenvalue`.

    ``ℓ = (λ - 1 - c + √((λ - 1 - c)² - 4c))/2`` and ``cos² = (1 - c/ℓ²)/(1 + c/ℓ)``; zeros up to the edge.

    References
    ----------
    Paul, *Asymptotics of sample eigenstructure for a large dimensional spiked covariance model*, 2007,
    theorem 4.
    """
    _check(eigenvalue, ratio)
    middle = eigenvalue - 1 - ratio
    discriminant = middle * middle - 4 * ratio
    if middle <= 0 or discriminant <= 0:
        return PopulationSpike(0.0, 0.0)
    strength = (middle + math.sqrt(discriminant)) / 2
    return PopulationSpike(strength, (1 - ratio / strength**2) / (1 + ratio / strength))


def additive_singular_value(strength: float, ratio: float) -> float:
    """Return where a spike ``x`` puts a singular value: ``√((x + 1/x)(x + β/x))``, or the edge.

    References
    ----------
    Benaych-Georges, Nadakuditi, J. Multivar. Anal. 111 (2012), section 3.1; Gavish, Donoho 2017, equation 4.
    """
    _check(strength, ratio)
    if strength <= ratio**0.25:
        return 1 + math.sqrt(ratio)
    return math.sqrt((strength + 1 / strength) * (strength + ratio / strength))


def additive_spike(singular_value: float, ratio: float) -> AdditiveSpike:
    """Return the spike behind a singular value ``y``: inverts :func:`additive_singular_value`.

    ``cos²`` is ``(x⁴ - β)/(x⁴ + βx²)`` on the shorter side and ``(x⁴ - β)/(x⁴ + x²)`` on the longer.

    References
    ----------
    Gavish, Donoho, *Optimal shrinkage of singular values*, IEEE Trans. Inf. Theory 63 (2017), equations 4-6.
    """
    _check(singular_value, ratio)
    middle = singular_value**2 - ratio - 1
    discriminant = middle * middle - 4 * ratio
    if middle <= 0 or discriminant <= 0:
        return AdditiveSpike(0.0, 0.0, 0.0)
    square = (middle + math.sqrt(discriminant)) / 2
    excess = square**2 - ratio
    return AdditiveSpike(
        math.sqrt(square), excess / (square**2 + ratio * square), excess / (square**2 + square)
    )


def frobenius_shrinkage(singular_value: float, ratio: float) -> float:
    """Return what to keep of a singular value for the least squared error: ``√((y² - β - 1)² - 4β)/y``, or 0.

    References
    ----------
    Gavish, Donoho 2017, equation 7.
    """
    _check(singular_value, ratio)
    if singular_value <= 1 + math.sqrt(ratio):
        return 0.0
    return math.sqrt((singular_value**2 - ratio - 1) ** 2 - 4 * ratio) / singular_value


def hard_threshold(ratio: float) -> float:
    """Return the best threshold on singular values: ``√(2(β+1) + 8β/(β+1+√(β²+14β+1)))``; ``4/√3`` at 1.

    References
    ----------
    Gavish, Donoho, *The optimal hard threshold for singular values is 4/√3*, 2014, equation 11.
    """
    _check(0.0, ratio)
    return math.sqrt(2 * (ratio + 1) + 8 * ratio / (ratio + 1 + math.sqrt(ratio**2 + 14 * ratio + 1)))


def _check(value: float, ratio: float) -> None:
    if not 0 < ratio <= 1:
        raise ValueError(f"the ratio must lie in (0, 1], not {ratio}")
    if not value >= 0:
        raise ValueError(f"a strength or singular value must not be negative, but is {value}")
