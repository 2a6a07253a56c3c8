"""The spectrum of a population from that of a sample: El Karoui's inversion, a linear problem.

With the companion transform ``v`` of the sample, ``1/v(z) + z = c ∫ t dH(t)/(1 + t v(z))`` is linear in
``H``: non-negative least squares over a grid of atoms solve it at many ``z`` at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import nnls

from rmtaudit.kernels.equivalents.population import Population, population
from rmtaudit.kernels.equivalents.row_scales import dual_transforms, log_mean_bias

Complex = np.ndarray[tuple[int], np.dtype[np.complex128]]

_ATOMS = 120
"""A convention: atoms of the grid, evenly spaced in the logarithm."""
_HEIGHTS = (0.1, 0.3, 1.0)
"""A convention: ``Im z`` in units of ``Re z``, so that small and large eigenvalues are seen equally well.
Lower, the noise of single eigenvalues enters; higher, the resolution goes."""
_ABSCISSAE = 60
"""A convention: real parts for each height, evenly spaced in the logarithm."""
_BEHIND = -1 + 0.5j
"""A convention: one more ``z`` for each real part, in this multiple of it."""
_TOTAL, _MEAN = 1e3, 1e2
"""Weights of the equations that the masses sum to 1, and that the mean is that of the sample, in units of the
root mean square of the others."""
_SPAN = 1e-6
"""The grid starts no lower than this share of the largest eigenvalue."""


@dataclass(frozen=True, slots=True)
class PopulationEstimate:
    """A population estimated from a sample.

    Attributes
    ----------
    population
        The estimated law of the eigenvalues of ``Σ``: neighbouring atoms of the grid stand for one.
    log_mean
        ``tr log Σ / p`` of it.
    effective_rank
        ``p exp(-Σ s log s)``, ``s`` the eigenvalues over their sum: the entropy rank of ``Σ``.
    residual
        Root mean square of what the equations leave, over that of their left side.
    """

    population: Population
    log_mean: float
    effective_rank: float
    residual: float


def estimate_population(
    eigenvalues: torch.Tensor, samples: int, *, scales: torch.Tensor | None = None
) -> PopulationEstimate:
    """Return the population spectrum behind a sample covariance.

    Parameters
    ----------
    eigenvalues
        All ``p`` of ``S = XXᵀ/n``, ``X`` of shape ``p x n``, zeros included, not negative.
    samples
        ``n``.
    scales
        Squared scales of the samples, of mean 1, where each sample has one of its own: their law, so any
        number of them. ``None``: equal ones.

    Raises
    ------
    ValueError
        For other eigenvalues, or fewer than 1 sample.
    ArithmeticError
        The scales vary so much that the equations are not solved at most points.

    Notes
    -----
    With ``p > n`` small eigenvalues of the population hardly show in the sample: ``log_mean`` then depends on
    what cannot be seen. A population eigenvalue of 0 gets a small atom in its place.

    References
    ----------
    El Karoui, *Spectrum estimation for large dimensional covariance matrices using random matrix theory*,
    Ann. Statist. 36 (2008); effective rank: Roy, Vetterli (2007).

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import equivalents
    >>> _ = torch.manual_seed(0)
    >>> sample = torch.randn(300, 600).double()  # a population of ones
    >>> eigenvalues = torch.linalg.eigvalsh(sample @ sample.T / 600)
    >>> estimate = equivalents.estimate_population(eigenvalues, samples=600)
    >>> abs(estimate.log_mean) < 0.02, float(eigenvalues.log().mean()) < -0.25
    (True, True)
    """
    values = eigenvalues.double()
    if values.ndim != 1 or not len(values) or samples < 1:
        raise ValueError("a list of eigenvalues and at least one sample are needed")
    if not bool((values >= 0).all() and (values < torch.inf).all() and (values > 0).any()):
        raise ValueError("eigenvalues must be finite and not negative, and one must be above 0")
    scale = float(values.mean())
    values = values / scale
    ratio = len(values) / samples
    top = float(values.max())
    seen = values[values > len(values) * 2.0**-52 * top]
    low = max(float(seen.min()) / (1 + ratio**0.5) ** 2, _SPAN * top)
    atoms = np.geomspace(low, top, _ATOMS)
    real = np.geomspace(low / 2, 1.5 * top, _ABSCISSAE)
    z = (real[:, None] * np.append(1 + 1j * np.array(_HEIGHTS), _BEHIND)).reshape(-1)
    m = (1 / (values.cpu().numpy()[None, :] - z[:, None])).mean(1)
    v = ratio * m - (1 - ratio) / z
    left, dual = (1 / v + z, v) if scales is None else _solved(*dual_transforms(v, z, scales))
    right = ratio * atoms / (1 + atoms * dual[:, None])
    # every equation counts by its relative error, whatever the size of the eigenvalues near its z
    weight = np.abs(dual)
    right, left = right * weight[:, None], left * weight
    system, target = np.concatenate([right.real, right.imag]), np.concatenate([left.real, left.imag])
    size = float(np.sqrt(np.mean(target**2)))
    exact = size * np.vstack([np.full(_ATOMS, _TOTAL), _MEAN * atoms])
    masses, _ = nnls(np.vstack([system, exact]), np.append(target, [size * _TOTAL, size * _MEAN]))
    residual = float(np.sqrt(np.mean((system @ masses - target) ** 2))) / size
    kept = masses > 0
    law = population(*(torch.from_numpy(each[kept]).to(values) for each in (atoms * scale, masses)))
    shares = law.values / law.mean
    entropy = float((law.weights * shares * shares.log()).sum())
    return PopulationEstimate(
        population=law,
        log_mean=float(law.weights @ law.values.log()),
        effective_rank=len(values) * math.exp(-entropy),
        residual=residual,
    )


def _solved(left: Complex, dual: Complex) -> tuple[Complex, Complex]:
    kept = ~np.isnan(left)
    if 2 * int(kept.sum()) < len(kept):
        raise ArithmeticError(
            "the equations of rows with such different scales are not solved at most points"
        )
    return left[kept], dual[kept]


def corrected_log_mean(
    eigenvalues: torch.Tensor, samples: int, *, scales: torch.Tensor | None = None
) -> tuple[float, float]:
    """Return ``tr log Σ / p`` and its standard error from a sample with ``p < n``, in closed form.

    ``log det S - log det Σ`` does not depend on ``Σ``: its mean is ``p (-1 - (1 - c) log(1 - c)/c)`` and its
    variance ``-2 log(1 - c)`` for normal samples, in the limit.

    Parameters
    ----------
    eigenvalues
        All ``p`` of ``S``, positive.
    samples
        ``n``, above ``p``.
    scales
        Squared scales of the samples, of mean 1, where each sample has one of its own: their law, so any
        number of them. ``None``: equal ones. The standard error takes them as given.

    Raises
    ------
    ValueError
        For other eigenvalues, or not more samples than eigenvalues.

    References
    ----------
    Bai, Silverstein, *CLT for linear spectral statistics of large-dimensional sample covariance matrices*,
    Ann. Probab. 32 (2004), section 5.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import equivalents
    >>> _ = torch.manual_seed(0)
    >>> sample = torch.randn(300, 600).double()  # a population of ones
    >>> eigenvalues = torch.linalg.eigvalsh(sample @ sample.T / 600)
    >>> log_mean, error = equivalents.corrected_log_mean(eigenvalues, samples=600)
    >>> abs(log_mean) < 3 * error
    True
    """
    values = eigenvalues.double()
    count = len(values)
    if not count or not bool((values > 0).all()) or samples <= count:
        raise ValueError("positive eigenvalues and more samples than eigenvalues are needed")
    ratio = count / samples
    if scales is None:
        bias = -1 - (1 - ratio) / ratio * math.log1p(-ratio)
        error = math.sqrt(-2 * math.log1p(-ratio))
    else:
        bias, error = log_mean_bias(ratio, scales)
    return float(values.log().mean()) - bias, error / count
