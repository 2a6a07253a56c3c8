"""The Marchenko-Pastur fit of WeightWatcher 0.7.7: one free scale, by least squares on a density estimate.

The spectrum is scaled to mean 1; its density is estimated with a triangular kernel; ``sigma`` is the point
of a grid where the squared residual is least, refined by a simplex search. The peer spends its time on the
density, which it estimates again for every ``sigma``; here it is estimated once, and exactly, from prefix
sums of the sorted eigenvalues.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rmtaudit.kernels.nelder_mead import minimise

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

# As in WeightWatcher 0.7.7, but for _FLAT, which stands in for its rounding.
_BANDWIDTH = 0.1
_POINTS = 1000
_MARGIN = 0.5  # the density is estimated up to the largest value plus this
_LEAST_DENSITY = 0.01
_SPAN = (0.05, 2.0, 0.01)  # the grid of sigma, in units of the one that puts the edge at the largest value
_FLAT = 1 - 1e-12  # points of the density at least this much of the largest count as equal to it
_PENALTY = 1000.0**2  # per point, where the edges of the law miss the data


@dataclass(frozen=True, slots=True, kw_only=True)
class MarchenkoPasturFit:
    """A fitted Marchenko-Pastur law.

    Attributes
    ----------
    sigma
        Scale of the law for the spectrum of mean 1, dimensionless.
    scale
        ``sqrt(n/Σλ)``, the factor on the weights that brings the spectrum to mean 1, in 1/(weight units).
    lambda_minus, lambda_plus
        Edges of the law in the scale of the eigenvalues, (weight units)².
    soft_rank
        ``lambda_plus`` over the largest eigenvalue.
    spikes
        Number of eigenvalues beyond ``lambda_plus`` and the peer's margin.
    """

    sigma: float
    scale: float
    lambda_minus: float
    lambda_plus: float
    soft_rank: float
    spikes: int


def fit_marchenko_pastur(eigenvalues: torch.Tensor, longer: int, shorter: int) -> MarchenkoPasturFit:
    """Fit the scale of a Marchenko-Pastur law to a spectrum as WeightWatcher 0.7.7 does.

    Parameters
    ----------
    eigenvalues
        Shape ``(n,)``, float64, finite, not negative, in any order, in (weight units)².
    longer, shorter
        Sides ``N`` and ``M`` of the matrix; ``Q = N/M``.

    Raises
    ------
    ArithmeticError
        Where every eigenvalue is 0, or (``Q != 1``) the density estimate is nowhere above 0.01, so that there
        is nothing to fit (the peer reports -1).

    Notes
    -----
    For ``Q != 1`` the law is ``Q sqrt((b-x)(x-a))/(2π σ² x)`` with ``b, a = σ² (1 ± 1/sqrt(Q))²``, fitted to
    the eigenvalues. For ``Q == 1`` it is ``sqrt(4-x²)/(π σ²)``, fitted to their square roots: its radius is
    fixed and ``sigma`` scales the height alone, which is the peer's fault. So is the margin of the spikes,
    ``sqrt(Q^(-1/2) b^(2/3) M^(-2/3))``, which has no theory behind it.

    Equivalent to ``WeightWatcher.mp_fit`` (a scan by ``scipy.optimize.brute`` finished by ``fmin``).
    """
    values = np.sort(eigenvalues.detach().cpu().double().numpy())
    total = float(values.sum())
    if total <= 0:
        raise ArithmeticError("every eigenvalue is 0")
    scale = math.sqrt(values.size) / math.sqrt(total)
    values = values * (scale * scale)
    ratio = longer / shorter
    narrow = 1 / math.sqrt(ratio)
    residual = _circle_residual(values) if ratio == 1 else _law_residual(values, ratio)
    start, stop, step = (part * math.sqrt(values[-1]) / (1 + narrow) for part in _SPAN)
    grid = np.arange(math.ceil((stop - start) / step), dtype=np.float64) * step + start
    (sigma,) = minimise(
        lambda point: float(residual(np.array(point))[0]), [float(grid[np.argmin(residual(grid))])]
    )
    upper, lower = (sigma * (1 + narrow)) ** 2, (sigma * (1 - narrow)) ** 2
    margin = math.sqrt(narrow * upper ** (2 / 3) * shorter ** (-2 / 3))
    return MarchenkoPasturFit(
        sigma=sigma,
        scale=scale,
        lambda_minus=lower / scale**2,
        lambda_plus=upper / scale**2,
        soft_rank=upper / float(values[-1]),
        spikes=int(np.count_nonzero(values > upper + margin)),
    )


_Residual = Callable[["NDArray[np.float64]"], "NDArray[np.float64]"]


def _circle_residual(values: NDArray[np.float64]) -> _Residual:
    """Return the squared residual of the quarter circle at an array of sigmas."""
    x, density = triangular_density(np.sqrt(values))
    height = np.sqrt(np.maximum(4 - x**2, 0.0)) / math.pi
    # Σ (h/σ² - y)² is a polynomial in 1/σ²
    square, cross, constant = float(height @ height), float(height @ density), float(density @ density)

    def residual(sigma: NDArray[np.float64]) -> NDArray[np.float64]:
        inverse = 1 / sigma**2
        return square * inverse**2 - 2 * cross * inverse + constant

    return residual


def _law_residual(values: NDArray[np.float64], ratio: float) -> _Residual:
    """Return the squared residual of the Marchenko-Pastur law at an array of sigmas."""
    x, density = triangular_density(values)
    if not x.size:
        raise ArithmeticError(f"the density estimate is nowhere above {_LEAST_DENSITY:g}")
    # Two kernels that overlap have a flat top: the first point of it, whatever the rounding
    peak, last = float(x[np.argmax(density >= density.max() * _FLAT)]), float(x[-1])
    narrow = 1 / math.sqrt(ratio)
    positive = x > 0  # the law is 0 at 0
    inner, inner_density = x[positive], density[positive]
    at_zero = float((density[~positive] ** 2).sum())

    def residual(sigma: NDArray[np.float64]) -> NDArray[np.float64]:
        upper, lower = (sigma * (1 + narrow)) ** 2, (sigma * (1 - narrow)) ** 2
        result = np.full(sigma.shape, _PENALTY * x.size)
        fits = (upper >= peak) & (upper <= last) & (lower <= peak)
        b, a, s = upper[fits, None], lower[fits, None], sigma[fits, None]
        law = np.maximum((b - inner) * (inner - a), 0.0)
        np.sqrt(law, out=law)
        law *= ratio / (2 * math.pi * s * s)
        law /= inner
        law -= inner_density
        result[fits] = np.einsum("ij,ij->i", law, law) + at_zero
        return result

    return residual


def triangular_density(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points of a regular grid and the kernel density estimate there, where it is above 0.01.

    The kernel is ``(1 - |u|/h)/h`` with ``h = 0.1``, the grid 1000 points from 0 to 0.5 above
    the largest value.

    Parameters
    ----------
    values
        Shape ``(n,)``, float64, ascending.
    """
    x = np.linspace(0.0, float(values[-1]) + _MARGIN, _POINTS)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    left, middle, right = (np.searchsorted(values, x + shift) for shift in (-_BANDWIDTH, 0.0, _BANDWIDTH))
    # Σ (1 - |x - v|/h) over the values within h: below x the terms are 1 - x/h + v/h, above it 1 + x/h - v/h
    below = (middle - left) * (1 - x / _BANDWIDTH) + (sums[middle] - sums[left]) / _BANDWIDTH
    above = (right - middle) * (1 + x / _BANDWIDTH) - (sums[right] - sums[middle]) / _BANDWIDTH
    density = (below + above) / (values.size * _BANDWIDTH)
    dense = density > _LEAST_DENSITY
    return x[dense], density[dense]
