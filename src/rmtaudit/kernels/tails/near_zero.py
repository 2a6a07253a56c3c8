"""Near zero: whether a sample dies out as an inverse gamma law does, or as a power of the value.

The inverse gamma law ``x^(-power) e^(-rate/x)``, cut off above at a low quantile, is a power law with
exponential cut-off of ``1/x``. Its power law is the case ``rate = 0``: ``P(x < y) ~ y^exponent``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from rmtaudit.kernels.powerlaw.bootstrap import percentile_interval, random_integers
from rmtaudit.kernels.powerlaw.fit import NoFit
from rmtaudit.kernels.tails.bent import BentFit, fit_bent
from rmtaudit.kernels.tails.tail import side_values
from rmtaudit.kernels.tails.ties import tied, too_few_values

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class NearZero:
    """The lowest values of a sample, as an inverse gamma law and as a power law.

    Attributes
    ----------
    fraction, threshold, tail_size
        The share asked for, the quantile of the positive values that is the threshold, and how many values
        are at most that.
    power, power_se
        Of ``x^(-power) e^(-rate/x)``; any real number. The inverse gamma shape is ``power - 1``.
    rate, rate_se
        In the unit of the values. The standard errors take the threshold as given.
    exponent, exponent_se
        Of the pure power law, ``P(x < y) ~ y^exponent``.
    gain
        Log-likelihood of the inverse gamma law less that of the pure power law, in nats; never negative.
    p_value
        Of such a gain from independent draws of the pure power law: ``2 gain`` against chi-squared with one
        degree of freedom.
    degenerate
        The most likely inverse gamma law is the power law: ``rate`` is 0, and has no standard error.
    size, excluded
        Values that entered, and those that did not: zeros and negative ones.
    """

    fraction: float
    threshold: float
    tail_size: int
    power: float
    power_se: float
    rate: float
    rate_se: float | None
    exponent: float
    exponent_se: float
    gain: float
    p_value: float
    degenerate: bool
    size: int
    excluded: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NearZeroBootstrap:
    """Percentile intervals of the estimates over resamples of all the values, and a calibrated ``p_value``.

    ``p_value`` is ``(1 + count)/(1 + replicas)``, where ``count`` samples of the fitted power law gain as
    much.
    """

    power_ci: tuple[float, float]
    rate_ci: tuple[float, float]
    exponent_ci: tuple[float, float]
    p_value: float
    confidence: float
    replicas: int


def fit_near_zero(values: torch.Tensor, *, fraction: float = 0.05, min_tail: int = 8) -> NearZero | NoFit:
    """Fit the lowest ``fraction`` of the positive values: a left-truncated gamma law of ``1/x``.

    Parameters
    ----------
    values
        Shape ``(n,)``, any real dtype, finite, in any order.
    fraction
        Share of the positive values, in (0, 1]. The threshold is their quantile.
    min_tail
        Least number of values.

    Returns
    -------
    NearZero or NoFit
        ``NoFit`` for fewer than ``min_tail`` values, or values that are all equal.

    Raises
    ------
    ValueError
        For values that are not finite or not one-dimensional, or a fraction outside (0, 1].

    References
    ----------
    Hodgkinson, Wang, Mahoney, arXiv 2506.03470 (2025): the inverse gamma law near zero.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must be in (0, 1], not {fraction}")
    x, excluded = side_values(values, "upper")
    threshold, v = _lowest(x, fraction) if x.size else (math.nan, x)
    if v.size < min_tail:
        reason = f"{v.size} values in the lowest {100 * fraction:.4g} % of {x.size}, fewer than {min_tail}"
        return NoFit(reason, x.size, excluded)
    if not v.max() > v.min():
        return NoFit("the lowest values are all equal", x.size, excluded)
    try:
        fit = fit_bent(v, "cut-off")
    except ArithmeticError as error:
        return NoFit(str(error), x.size, excluded)
    mean = float(v.mean())
    power, power_se, rate, rate_se = _inverse_gamma(fit, threshold)
    gain = _gain(fit, v)
    return NearZero(
        fraction=fraction,
        threshold=threshold,
        tail_size=v.size,
        power=power,
        power_se=power_se,
        rate=rate,
        rate_se=rate_se,
        exponent=1 / mean,
        exponent_se=1 / (mean * math.sqrt(v.size)),
        gain=gain,
        p_value=math.erfc(math.sqrt(gain)),
        degenerate=fit.curvature == 0,
        size=x.size,
        excluded=excluded,
    )


def lowest_values_problem(values: torch.Tensor, threshold: float) -> str:
    """Return why the values up to ``threshold`` say nothing; empty where they may."""
    x, _ = side_values(values, "lower")
    lowest = x[x >= 1 / threshold]
    problem = too_few_values(lowest)
    if problem or tied(lowest, "continuous") is None:
        return problem
    return (
        f"of the {lowest.size} lowest values, only {np.unique(lowest).size} are distinct, so no law is judged"
    )


def bootstrap_near_zero(
    values: torch.Tensor,
    fit: NearZero,
    *,
    replicas: int,
    generator: torch.Generator,
    confidence: float = 0.9,
) -> NearZeroBootstrap | NoFit:
    """Measure the spread of the estimates and how often a power law gains as much, with ``2·replicas`` fits.

    Raises
    ------
    ValueError
        For fewer than two replicas or a confidence outside (0, 1).
    """
    if replicas < 2:
        raise ValueError(f"replicas must be at least 2, not {replicas}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    x, _ = side_values(values, "upper")
    estimates = []
    for _ in range(replicas):
        threshold, v = _lowest(np.sort(x[random_integers(x.size, x.size, generator)]), fit.fraction)
        if v.max() > v.min():
            power, _, rate, _ = _inverse_gamma(fit_bent(v, "cut-off"), threshold)
            estimates.append((power, rate, 1 / float(v.mean())))
    if len(estimates) < 2:
        return NoFit("fewer than two resamples hold two distinct values", x.size, fit.excluded)
    count = 0
    for _ in range(replicas):
        uniform = torch.rand(fit.tail_size, dtype=torch.float64, generator=generator).numpy()
        v = -np.log1p(-uniform) / fit.exponent
        count += _gain(fit_bent(v, "cut-off"), v) >= fit.gain
    spread = np.array(estimates)
    return NearZeroBootstrap(
        power_ci=percentile_interval(spread[:, 0], confidence),
        rate_ci=percentile_interval(spread[:, 1], confidence),
        exponent_ci=percentile_interval(spread[:, 2], confidence),
        p_value=(1 + count) / (1 + replicas),
        confidence=confidence,
        replicas=replicas,
    )


def _lowest(x: NDArray[np.float64], fraction: float) -> tuple[float, NDArray[np.float64]]:
    """Return the threshold and ``log(threshold/x)`` of the values up to it; ``x`` ascending."""
    threshold = float(np.quantile(x, fraction))
    return threshold, np.log(threshold) - np.log(x[: np.searchsorted(x, threshold, side="right")])


def _inverse_gamma(fit: BentFit, threshold: float) -> tuple[float, float, float, float | None]:
    """Return power and rate of ``x``, each with its standard error, from the law of ``1/x``."""
    # 1/x has the exponent alpha = 1 + slope - curvature, and x the power 2 - alpha
    power = 1 - fit.slope + fit.curvature
    covariance = fit.covariance
    if fit.curvature == 0:
        return power, math.sqrt(float(covariance[0, 0])), 0.0, None
    variance = float(covariance[0, 0] - 2 * covariance[0, 1] + covariance[1, 1])
    rate_se = math.sqrt(float(covariance[1, 1])) * threshold
    return power, math.sqrt(max(variance, 0.0)), fit.curvature * threshold, rate_se


def _gain(fit: BentFit, v: NDArray[np.float64]) -> float:
    pure = -1 - math.log(float(v.mean()))
    return max(v.size * (fit.mean_log_likelihood - pure), 0.0)
