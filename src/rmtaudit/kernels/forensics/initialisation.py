"""Which initialisation a matrix of random entries came from: distribution, scale, orthogonality."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import scipy.special
import torch

from rmtaudit.kernels.forensics.samples import strided

Family = Literal["normal", "uniform", "truncated normal"]

_SAMPLE = 65_536
_MOMENTS: dict[Family, tuple[float, float, float]] = {
    "normal": (3.0, 15.0, 105.0),
    "uniform": (9 / 5, 27 / 7, 9.0),
}
"""E w⁴, E w⁶, E w⁸ of each family at unit variance; the truncated normal's are computed."""

_CUT = 2.0
_CUT_SD = math.sqrt(
    1 - 2 * _CUT * math.exp(-(_CUT**2) / 2) / math.sqrt(2 * math.pi) / math.erf(_CUT / math.sqrt(2))
)


@dataclass(frozen=True, slots=True)
class EntryFamily:
    """The distribution that the entries fit best, and how well.

    Attributes
    ----------
    family
        Of mean 0. ``truncated normal``: cut at two standard deviations of the normal.
    p_value
        Of the entries under it; small rejects it.
    kurtosis
        Of the sample: 3 for a normal distribution, 1.8 for a uniform, 2.37 for a truncated normal.
    """

    family: Family
    p_value: float
    kurtosis: float


def entry_family(matrix: torch.Tensor) -> EntryFamily:
    """Return the distribution, of three that layers are initialised with, that the entries fit best.

    Null hypothesis, for each: independent entries of that family with mean 0 and unknown scale. Two tests
    on at most 65,536 evenly spaced entries: the kurtosis (normal with the delta method's variance) and
    Kolmogorov-Smirnov with the scale estimated (so conservative: its p-value is too large); twice the smaller
    p-value. A bounded family is rejected
    outright if an entry lies beyond its bound by more than 4 standard errors of the scale.

    Parameters
    ----------
    matrix
        Shape ``(rows, cols)``, float32 or float64, finite, not all zero.
    """
    values = strided(matrix, _SAMPLE).double().cpu()
    rms = float(values.square().mean().sqrt())
    unit = (values / rms).sort().values
    kurtosis = float(unit.pow(4).mean())
    reach = float(unit.abs().max())
    families: tuple[Family, ...] = ("normal", "uniform", "truncated normal")
    fits = {family: _p_value(family, unit, kurtosis, reach) for family in families}
    best = max(families, key=lambda family: fits[family])
    return EntryFamily(best, fits[best], kurtosis)


def scale_names(family: Family, std: float, rows: int, cols: int, *, dense: bool) -> tuple[str, ...]:
    """Return the usual initialisations of this family whose scale this is, within 4 standard errors.

    Parameters
    ----------
    family
        As of :class:`EntryFamily`.
    std
        Root mean square of the entries, in weight units.
    rows, cols
        Shape: outputs and inputs. Keras stores the transpose, so both readings are tried.
    dense
        Whether the sides are the fans; of a flattened convolution only the inputs are.
    """
    kurtosis = _moments(family)[0]
    tolerance = 4 * math.sqrt((kurtosis - 1) / (4 * rows * cols)) + 1e-4
    return tuple(
        name
        for name, target in _usual_scales(family, rows, cols, dense=dense).items()
        if abs(math.log(std / target)) <= tolerance
    )


def is_orthogonal(eigenvalues: torch.Tensor, epsilon: float) -> bool:
    """Whether all singular values are equal within rounding: ``σ_min >= (1 - t) σ_max``.

    ``t = max(8 epsilon, 1e-5)`` for entries stored with unit round-off ``epsilon``: their rounding moves a
    singular value by about ``2 epsilon σ``. Needs at least 8 singular values, and says no where ``t``
    would be above 0.05 (fp8).
    """
    slack = max(8 * epsilon, 1e-5)
    if len(eigenvalues) < 8 or slack > 0.05 or not eigenvalues[0] > 0:
        return False
    return math.sqrt(float(eigenvalues[0] / eigenvalues[-1])) >= 1 - slack


def edge_excess(largest: float, std: float, rows: int, cols: int) -> float:
    """Return how far ``λ₁`` is above the edge of pure noise, in Tracy-Widom units (mean -1.2, sd 1.3).

    ``(λ₁/std² - μ)/s`` with ``μ = (√(rows-1) + √cols)²`` and ``s = √μ (1/√(rows-1) + 1/√cols)^{1/3}``;
    the larger side counts as ``rows`` (Johnstone, Ann. Statist. 29 (2001), theorem 1.1).
    """
    tall, short = max(rows, cols), min(rows, cols)
    center = (math.sqrt(tall - 1) + math.sqrt(short)) ** 2
    spread = math.sqrt(center) * (1 / math.sqrt(tall - 1) + 1 / math.sqrt(short)) ** (1 / 3)
    return float((largest / std**2 - center) / spread)


def _p_value(family: Family, unit: torch.Tensor, kurtosis: float, reach: float) -> float:
    fourth, sixth, eighth = _moments(family)
    variance = eighth - fourth**2 + 4 * fourth**2 * (fourth - 1) - 4 * fourth * (sixth - fourth)
    z = (kurtosis - fourth) / math.sqrt(variance / len(unit))
    bound = {"normal": math.inf, "uniform": math.sqrt(3), "truncated normal": _CUT / _CUT_SD}[family]
    if reach > bound * (1 + 4 * math.sqrt((fourth - 1) / (4 * len(unit)))):
        return 0.0
    return min(1.0, 2 * min(math.erfc(abs(z) / math.sqrt(2)), _kolmogorov(family, unit, bound)))


def _kolmogorov(family: Family, unit: torch.Tensor, bound: float) -> float:
    if family == "normal":
        cdf = torch.special.ndtr(unit)
    elif family == "uniform":
        cdf = ((unit / bound + 1) / 2).clamp(0, 1)
    else:
        low, high = (float(torch.special.ndtr(torch.tensor(x, dtype=torch.float64))) for x in (-_CUT, _CUT))
        cdf = ((torch.special.ndtr(unit * _CUT_SD) - low) / (high - low)).clamp(0, 1)
    n = len(unit)
    places = torch.arange(n, dtype=torch.float64)
    distance = max(float((cdf - places / n).max()), float(((places + 1) / n - cdf).max()))
    return float(scipy.special.kolmogorov(math.sqrt(n) * distance))


def _moments(family: Family) -> tuple[float, float, float]:
    if family in _MOMENTS:
        return _MOMENTS[family]
    # by parts: E x^k = (k - 1) E x^(k-2) - 2 cut^(k-1) φ(cut)/P(|x| < cut)
    density = 2 * math.exp(-(_CUT**2) / 2) / math.sqrt(2 * math.pi) / math.erf(_CUT / math.sqrt(2))
    moments = {0: 1.0}
    for order in (2, 4, 6, 8):
        moments[order] = (order - 1) * moments[order - 2] - _CUT ** (order - 1) * density
    fourth, sixth, eighth = (moments[order] / _CUT_SD**order for order in (4, 6, 8))
    return fourth, sixth, eighth


def _usual_scales(family: Family, rows: int, cols: int, *, dense: bool) -> dict[str, float]:
    """Return the standard deviations that libraries draw with."""
    names: dict[str, float] = {}
    fans = {"fan in": cols, **({"fan out": rows} if dense else {})}
    for fan, size in fans.items():
        names[f"Kaiming {family}, relu, {fan} {size}"] = math.sqrt(2 / size)
        names[f"LeCun {family}, {fan} {size}"] = math.sqrt(1 / size)
        if family == "uniform":
            names[f"PyTorch default (Kaiming uniform, a=√5), {fan} {size}"] = math.sqrt(1 / (3 * size))
    if dense:
        names[f"Xavier {family}, fans {cols} and {rows}"] = math.sqrt(2 / (rows + cols))
    if family == "uniform":
        names.update({f"uniform ±{a}": a / math.sqrt(3) for a in (0.01, 0.05, 0.1, 1.0)})
    else:
        cut = _CUT_SD if family == "truncated normal" else 1.0
        names.update({f"{family}, std {std}": std * cut for std in (0.01, 0.02, 0.05, 1.0)})
    return names
