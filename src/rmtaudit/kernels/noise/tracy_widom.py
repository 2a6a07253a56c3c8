"""The Tracy-Widom law of order 1: how the largest eigenvalue of noise fluctuates about its edge."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch

_NODES = 32
_REACH = 14.0
"""Points and length of the quadrature: a convention, by which :func:`cdf` errs by less than 1e-13."""
_LOWEST, _HIGHEST = -10.0, 60.0
"""Ends beyond which the distribution function is taken for 0 or 1, within the same error."""

_AIRY_WRONG = (-5.0, -2.09)
"""Where torch's Airy function errs by up to 3e-6 (torch 2.13, 200,000 points); elsewhere from -12 to 40 it
agrees with SciPy's to 4e-14."""
_AIRY_CENTRE, _AIRY_VALUE, _AIRY_SLOPE = -3.5, -0.37553382314043193, -0.34344343345404815
"""A point between them, with Airy's function and its derivative there (mpmath, 25 digits)."""
_AIRY_TERMS = 36
"""Of the Taylor series about it: at a distance of 1.5 the next is below 1e-17."""

MEAN, STANDARD_DEVIATION = -1.2065335745820, 1.2679806040
"""Of the law (Bornemann 2010, table 6)."""


def soft_edge(rows: int, cols: int) -> tuple[float, float]:
    """Return centre and width of the largest eigenvalue of ``WᵀW``, for unit noise of shape ``rows x cols``.

    ``(λ₁ - centre)/width`` has the Tracy-Widom law of order 1 in the limit. The centre is a little below the
    edge ``(√rows + √cols)²`` of the bulk; a half is taken off either side, which makes the error of second
    order in the smaller side.

    Raises
    ------
    ValueError
        If a side is below 1.

    References
    ----------
    Johnstone, *On the distribution of the largest eigenvalue in principal components analysis*, Ann. Stat. 29
    (2001), theorem 1.1, with the constants of Ma, *Accuracy of the Tracy-Widom limits*, Bernoulli 18 (2012).
    """
    if min(rows, cols) < 1:
        raise ValueError(f"a matrix has sides of at least 1, not {rows} x {cols}")
    a, b = math.sqrt(rows - 0.5), math.sqrt(cols - 0.5)
    return (a + b) ** 2, (a + b) * (1 / a + 1 / b) ** (1 / 3)


def cdf(s: float) -> float:
    """Return ``F₁(s)``, with an absolute error under 1e-13.

    Notes
    -----
    ``F₁(s) = det(1 - B_s)`` on ``L²(0, ∞)``, ``B_s(x, y) = Ai((x + y)/2 + s)/2``, by Gauss-Legendre
    quadrature.

    References
    ----------
    Ferrari, Spohn, *A determinantal formula for the GOE Tracy-Widom distribution*, 2005; Bornemann, *On the
    numerical evaluation of Fredholm determinants*, Math. Comp. 79 (2010).
    """
    if s <= _LOWEST:
        return 0.0
    if s >= _HIGHEST:
        return 1.0
    return float(np.exp(_log_determinant(s)))


def sf(s: float) -> float:
    """Return ``1 - F₁(s)``, with a relative error under 1e-9 however small it is.

    0 is returned above 60, where it is below 1e-130.
    """
    if s <= _LOWEST:
        return 1.0
    if s >= _HIGHEST:
        return 0.0
    return float(-np.expm1(_log_determinant(s)))


@cache
def upper_quantile(probability: float) -> float:
    """Return the ``s`` with ``sf(s) = probability``, for a probability from 1e-100 to 1 - 1e-12.

    Raises
    ------
    ValueError
        For another probability.
    """
    if not 1e-100 <= probability <= 1 - 1e-12:
        raise ValueError(f"the probability must lie between 1e-100 and 1 - 1e-12, not {probability}")
    low, high = _LOWEST, _HIGHEST
    while high - low > 1e-12 * max(1.0, abs(low)):
        middle = (low + high) / 2
        low, high = (middle, high) if sf(middle) > probability else (low, middle)
    return (low + high) / 2


def _log_determinant(s: float) -> float:
    """Return ``log det(1 - B_s)`` as a sum over eigenvalues, precise where it is small too."""
    nodes, weights = _quadrature()
    # eigvalsh reads the lower triangle alone, and the Airy function is what costs
    i, j = np.tril_indices(nodes.size)
    kernel = np.zeros((nodes.size, nodes.size))
    kernel[i, j] = _airy(nodes[i] + nodes[j] + s) * weights[i] * weights[j]
    return float(np.log1p(-np.clip(np.linalg.eigvalsh(kernel), None, 1 - 1e-16)).sum())


def _airy(x: np.ndarray) -> np.ndarray:
    """Return the Airy function; SciPy's would take longer to import than a scan computes with it."""
    values: np.ndarray = torch.special.airy_ai(torch.from_numpy(x)).numpy()
    wrong = (x > _AIRY_WRONG[0]) & (x < _AIRY_WRONG[1])
    if wrong.any():
        values[wrong] = np.polynomial.polynomial.polyval(x[wrong] - _AIRY_CENTRE, _airy_series())
    return values


@cache
def _airy_series() -> np.ndarray:
    """Return the coefficients about the centre, by the recurrence that ``y'' = x y`` gives."""
    series = [_AIRY_VALUE, _AIRY_SLOPE, _AIRY_CENTRE * _AIRY_VALUE / 2]
    for k in range(3, _AIRY_TERMS):
        series.append((_AIRY_CENTRE * series[k - 2] + series[k - 3]) / (k * (k - 1)))
    return np.array(series)


@cache
def _quadrature() -> tuple[np.ndarray, np.ndarray]:
    """Return nodes of ``x/2`` and roots of the weights: the kernel is ``Ai(x + y + s)`` in them."""
    x, w = np.polynomial.legendre.leggauss(_NODES)
    return (x + 1) * (_REACH / 2), np.sqrt(w * _REACH / 2)
