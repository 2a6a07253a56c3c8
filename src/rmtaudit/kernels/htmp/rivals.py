"""HTMP compared with other laws of eigenvalues, by composite likelihood and BIC.

Each law is fitted to the eigenvalues as if they were independent draws. They are not (they repel each other),
so a difference of BIC is a measure of fit that charges for parameters, not a probability.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from rmtaudit.kernels.htmp.density import Array, Density
from rmtaudit.kernels.htmp.ensemble import Ensemble
from rmtaudit.kernels.htmp.estimate import fit_joint
from rmtaudit.kernels.htmp.fit import best_kappa, density_for, fit_scale
from rmtaudit.kernels.noise.marchenko_pastur import fit_bulk

_DIGAMMA_STEPS = 50  # most steps of Newton's method for the shape of the gamma law, a guard
_GAIN = 0.01  # accuracy of a log-likelihood


@dataclass(frozen=True, slots=True)
class Candidate:
    """One fitted law.

    Attributes
    ----------
    name
        ``"HTMP"``, ``"inverse HTMP"``, ``"gamma"``, ``"lognormal"``, ``"inverse gamma"``, ``"MP"`` or
        ``"MP with spikes"``.
    parameters
        Number of parameters fitted.
    log_likelihood
        Sum of the log-densities of the eigenvalues; changes with their unit, its differences do not.
    bic
        ``parameters log n - 2 log_likelihood``: the lower, the better.
    """

    name: str
    parameters: int
    log_likelihood: float
    bic: float


def compare(eigenvalues: torch.Tensor, rows: int, cols: int, *, start: float) -> tuple[Candidate, ...]:
    """Return the laws fitted to a spectrum, best first.

    The Marchenko-Pastur law itself gives an eigenvalue outside its edges the probability 0, and finite
    matrices have some; in its place stands HTMP at ``kappa = N``, which a Gaussian matrix of this size has.
    With spikes, what lies above the bulk (:func:`~rmtaudit.kernels.noise.marchenko_pastur.fit_bulk`) is
    uniform in the logarithm, from the threshold to the largest.

    Parameters
    ----------
    eigenvalues
        Shape ``(N,)``, ``N = min(rows, cols) >= 8``, ascending, positive.
    rows, cols
        Shape of the matrix.
    start
        A guess of ``kappa``.
    """
    size, longer = sorted((rows, cols))
    values = eigenvalues.detach().cpu().double()
    logs: Array = np.log(values.numpy())
    _, scale = best_kappa(logs, size, longer, start, gain=_GAIN)
    likelihoods = {"HTMP": (2, scale.log_likelihood)}
    # of the reciprocals: the density of 1/x is x² times that of x
    _, scale = best_kappa(-logs[::-1], size, longer, _guess(1 / values.flip(0), rows, cols), gain=_GAIN)
    likelihoods["inverse HTMP"] = (2, scale.log_likelihood - 2 * float(logs.sum()))
    likelihoods["gamma"] = (2, _gamma(logs))
    likelihoods["inverse gamma"] = (2, _gamma(-logs) - 2 * float(logs.sum()))
    spread = float(logs.std())
    normal = (
        -logs.size * (math.log(spread) + 0.5 * math.log(2 * math.pi * math.e)) if spread > 0 else math.inf
    )
    likelihoods["lognormal"] = (2, normal - float(logs.sum()))
    likelihoods["MP"] = (1, fit_scale(logs, _noise(size, longer)).log_likelihood)
    spiked = _with_spikes(values, logs, rows, cols)
    if spiked is not None:
        likelihoods["MP with spikes"] = (3, spiked)
    price = math.log(size)
    candidates = (
        Candidate(name, count, likelihood, count * price - 2 * likelihood)
        for name, (count, likelihood) in likelihoods.items()
    )
    return tuple(sorted(candidates, key=lambda candidate: candidate.bic))


@lru_cache(maxsize=8)
def _noise(size: int, longer: int) -> Density:
    """Return the law of a Gaussian matrix of this size."""
    return density_for(Ensemble(float(size), size, longer))


def _guess(values: torch.Tensor, rows: int, cols: int) -> float:
    try:
        return fit_joint(values, rows, cols).kappa
    except ArithmeticError:
        return 1.0


def _gamma(logs: Array) -> float:
    """Return the greatest log-likelihood of a gamma law: ``log k - digamma(k) = log mean - mean log``."""
    top = float(logs.max())
    mean = top + math.log(float(np.exp(logs - top).mean()))
    gap = max(mean - float(logs.mean()), 1e-12)
    shape = (3 - gap + math.sqrt((gap - 3) ** 2 + 24 * gap)) / (12 * gap)
    for _ in range(_DIGAMMA_STEPS):
        at = torch.tensor(shape, dtype=torch.float64)
        excess = math.log(shape) - float(torch.digamma(at)) - gap
        slope = 1 / shape - float(torch.polygamma(1, at))
        # Newton's step in log k
        step = -excess / (shape * slope)
        shape *= math.exp(min(max(step, -1.0), 1.0))
        if abs(step) < 1e-12:
            break
    rate = math.log(shape) - mean
    each = shape * rate - math.lgamma(shape) + (shape - 1) * float(logs.mean()) - shape
    return logs.size * each


def _with_spikes(values: torch.Tensor, logs: Array, rows: int, cols: int) -> float | None:
    try:
        bulk = fit_bulk(values, rows, cols)
    except (ArithmeticError, ValueError):
        return None
    count, size, longer = bulk.spikes, *sorted((rows, cols))
    if not count or size - count < 3:
        return None
    left = size - count
    inside = fit_scale(logs[:left], _noise(left, longer - count)).log_likelihood + left * math.log(
        left / size
    )
    width = max(float(logs[-1]) - math.log(bulk.threshold), 1e-3)
    outside = count * math.log(count / size / width) - float(logs[left:].sum())
    return inside + outside
