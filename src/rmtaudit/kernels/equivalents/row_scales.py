"""Samples whose rows have scales of their own: how much the scales vary, and what they do to spectra.

A row is ``s z`` with ``z`` of covariance ``Σ`` and a scale ``s`` that is common to all its entries. The
sample covariance is then ``Σ^½ Z D Zᵀ Σ^½ / n`` with the squared scales ``d = s²/E s²`` on the diagonal of
``D``, and the law of its eigenvalues is another one than for equal scales.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import brentq

Complex = np.ndarray[tuple[int], np.dtype[np.complex128]]

_DIRECTIONS = 16
"""A convention: principal directions that are taken apart, at most, before the others are halved."""
_CONTINUATION = 16
"""Steps from equal scales to the given ones. A convention."""
_NEWTON = 3
"""Steps of Newton's method after each of them. A convention."""
_NOTHING = 2.0**-40
"""Share of the variance in one half below which there is only rounding."""
_TOLERANCE = 1e-8
"""Residual of a solution at most."""


@dataclass(frozen=True, slots=True)
class ScaleVariance:
    """How much the squared scales of rows vary.

    Attributes
    ----------
    value
        Estimate of the squared coefficient of variation of the squared scales: 0 for equal ones.
    se
        Its standard error.
    """

    value: float
    se: float


def scale_variance(rows: torch.Tensor) -> ScaleVariance:
    """Return how much the squared scales of rows vary.

    The squared lengths of a row in two orthogonal subspaces depend on each other by the common scale alone,
    if the subspaces are those of principal directions: ``E a b = (1 + v)(tr A tr B + 2 tr C Cᵀ)`` with the
    covariances ``A``, ``B`` within the subspaces and ``C`` between them. A heavy tail in single directions is
    in one of the lengths only, and no common scale.

    Parameters
    ----------
    rows
        Shape ``(n, p)``, about their mean, float64.

    Returns
    -------
    ScaleVariance
        With an infinite standard error where the rows vary in one direction only, or are fewer than 4.
    """
    count, size = rows.shape
    if count < 4:
        return ScaleVariance(0.0, math.inf)
    frame = _principal(rows, min(_DIRECTIONS, count // 10, size // 4))
    scores = rows @ frame
    rest = rows - scores @ frame.T
    halves = [torch.cat([scores[:, start::2], rest[:, start::2]], dim=1) for start in (0, 1)]
    first, second = (half @ half.T for half in halves)
    a, b = first.diagonal(), second.diagonal()
    if min(float(a.sum()), float(b.sum())) <= _NOTHING * float(rows.square().sum()):
        return ScaleVariance(0.0, math.inf)
    pairs = count * (count - 1)
    between = (float((first * second).sum()) - float(a @ b)) / pairs
    apart_traces = (float(a.sum()) * float(b.sum()) - float(a @ b)) / pairs
    value = float((a * b).mean()) / (apart_traces + 2 * between) - 1
    spread = (a / a.mean() - 1) * (b / b.mean() - 1)
    return ScaleVariance(value, float(spread.std()) / math.sqrt(count))


def _principal(rows: torch.Tensor, count: int) -> torch.Tensor:
    """Return the first principal directions as columns, from the smaller of the two products."""
    if rows.shape[1] <= rows.shape[0]:
        vectors: torch.Tensor = torch.linalg.eigh(rows.T @ rows).eigenvectors
        return vectors[:, rows.shape[1] - count :]
    left = torch.linalg.eigh(rows @ rows.T).eigenvectors[:, len(rows) - count :]
    directions: torch.Tensor = torch.linalg.qr(rows.T @ left).Q
    return directions


def squared_scales(lengths: torch.Tensor, variance: float) -> torch.Tensor:
    """Return squared scales of mean 1 that vary as stated, from squared lengths of rows.

    Lengths vary more than scales do: the logarithms of the lengths are shrunk until the variance is that of
    the scales.

    Parameters
    ----------
    lengths
        Squared lengths about the mean, shape ``(n,)``, positive.
    variance
        The squared coefficient of variation of the squared scales, not negative.
    """
    logs = torch.log(lengths / lengths.mean()).cpu().numpy()

    def scales(power: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        values: np.ndarray[tuple[int], np.dtype[np.float64]] = np.exp(power * logs)
        unit: np.ndarray[tuple[int], np.dtype[np.float64]] = values / values.mean()
        return unit

    def excess(power: float) -> float:
        return float(scales(power).var(ddof=1)) - variance

    power = float(brentq(excess, 0.0, 1.0)) if excess(1.0) > 0 else 1.0
    return torch.from_numpy(scales(power)).to(lengths.device)


def log_mean_bias(ratio: float, scales: torch.Tensor) -> tuple[float, float]:
    """Return the mean of ``(log det S - log det Σ)/p`` and ``p`` times its standard error given the scales.

    With ``1 = mean(d m/(1 + c d m))`` the mean is ``-log m + mean(log(1 + c d m))/c - 1``, and the variance
    of the log-determinant is ``-2 log(1 - mean((c d m/(1 + c d m))²)/c)``, both in the limit. For equal
    scales these are ``-1 - (1 - c) log(1 - c)/c`` and ``-2 log(1 - c)``.

    Parameters
    ----------
    ratio
        ``c = p/n``, below the share of the scales that are not 0.
    scales
        ``d``, squared scales of mean 1.

    References
    ----------
    Hachem, Loubaton, Najim, *A CLT for information-theoretic statistics of Gram random matrices with a given
    variance profile*, Ann. Appl. Probab. 18 (2008).
    """
    values = scales.double().cpu().numpy()

    def missing(log_m: float) -> float:
        product = values * math.exp(log_m)
        return float(np.mean(product / (1 + ratio * product))) - 1

    log_m = float(brentq(missing, -50.0, 200.0))
    product = ratio * values * math.exp(log_m)
    bias = -log_m + float(np.mean(np.log1p(product))) / ratio - 1
    share = float(np.mean((product / (1 + product)) ** 2)) / ratio
    return bias, math.sqrt(-2 * math.log1p(-share))


def dual_transforms(v: Complex, z: Complex, scales: torch.Tensor) -> tuple[Complex, Complex]:
    """Return the two transforms that the population enters linearly, from the companion transform.

    ``-z v = mean(1/(1 + d δ))`` is solved for ``δ``; then ``ṽ = -mean(d/(1 + d δ))/z`` and
    ``-z δ = c ∫ t dH(t)/(1 + t ṽ)``. For equal scales ``-z δ = 1/v + z`` and ``ṽ = v``.

    Parameters
    ----------
    v
        Companion Stieltjes transform of the sample at ``z``.
    z
        Not real.
    scales
        ``d``, squared scales of mean 1.

    Returns
    -------
    left, dual
        ``-z δ`` and ``ṽ``; NaN where Newton's method, continued from equal scales, does not converge.

    References
    ----------
    Separable covariances: Paul, Silverstein, *No eigenvalues outside the support of the limiting empirical
    spectral distribution of a separable covariance matrix*, J. Multivariate Anal. 100 (2009).
    """
    values = scales.double().cpu().numpy()
    target = -z * v
    delta = 1 / target - 1
    for power in np.linspace(0, 1, _CONTINUATION + 1)[1:]:
        current = values**power
        current = current / current.mean()
        for _ in range(_NEWTON):
            below = 1 + delta[:, None] * current
            delta = delta + ((1 / below).mean(1) - target) / (current / below**2).mean(1)
    below = 1 + delta[:, None] * values
    solved = np.abs((1 / below).mean(1) - target) < _TOLERANCE * np.abs(target)
    solved &= (delta.imag * z.imag > 0) & np.isfinite(delta)
    dual = -(values / below).mean(1) / z
    nothing = np.complex128(complex(math.nan, math.nan))
    return np.where(solved, -z * delta, nothing), np.where(solved, dual, nothing)
