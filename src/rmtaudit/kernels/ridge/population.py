"""The risk of ridge regression from the population: its eigenvalues, and where the target lies among them.

Features ``phi = Sigma^(1/2) z`` of ``n`` samples, ``z`` with independent entries of mean 0 and variance 1;
targets ``y = <w, phi>`` without noise. The risk is then close to a deterministic number: ridge regression
with ridge ``mu`` on ``n`` samples acts as one with the larger ridge ``kappa`` on infinitely many,

    kappa (1 - tr Sigma (Sigma + kappa)^-1 / n) = mu.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

_ITERATIONS = 200  # most steps of the fixed point, a guard
_TOLERANCE = 1e-13  # of kappa, relative


@dataclass(frozen=True, slots=True)
class PopulationRisk:
    """The risk at several ridges.

    Attributes
    ----------
    mu, kappa
        Ridges and effective ridges, shape ``(m,)``, in the unit of the eigenvalues.
    risk
        Mean squared error of prediction over the variance of the target, shape ``(m,)``.
    degrees
        ``tr Sigma (Sigma + kappa)^-1``, shape ``(m,)``: the equivalent of the degrees of freedom
        ``tr S (S + mu)^-1`` of the sample.
    """

    mu: torch.Tensor
    kappa: torch.Tensor
    risk: torch.Tensor
    degrees: torch.Tensor


def population_risk(
    population: torch.Tensor, signal: torch.Tensor, mu: torch.Tensor, *, samples: int
) -> PopulationRisk:
    """Return the deterministic equivalent of the risk.

    Parameters
    ----------
    population
        Eigenvalues of ``Sigma``, shape ``(p,)``, not negative, one above 0.
    signal
        Squares of the coefficients of the target along the eigenvectors of ``Sigma``, shape ``(p,)``, in the
        same order, not negative; any common factor. Equal ones are the average over random targets.
    mu
        Ridges that are added to ``S = PhiᵀPhi/n``, shape ``(m,)``, positive.
    samples
        ``n``, at least 1.

    Raises
    ------
    ValueError
        For other values, or a target whose variance is 0.
    ArithmeticError
        Where the equation for ``kappa`` is not solved after 200 steps.

    References
    ----------
    Hastie, Montanari, Rosset, Tibshirani, *Surprises in high-dimensional ridgeless least squares
    interpolation*, Annals of Statistics 50 (2022), theorem 5; Couillet, Liao, *Random Matrix Methods for
    Machine Learning* (2022), chapter 2.
    """
    values, squares, ridges = population.double(), signal.double(), mu.double()
    if values.shape != squares.shape or values.ndim != 1:
        raise ValueError("population and signal must be lists of the same length")
    if not bool((values >= 0).all() and (squares >= 0).all() and (ridges > 0).all()) or samples < 1:
        raise ValueError("eigenvalues and squares must not be negative, ridges and samples positive")
    variance = values @ squares
    if not bool(variance > 0):
        raise ValueError("the target has no variance")
    kappa = _effective_ridge(values, ridges, samples)
    kept = values / (values + kappa[:, None])
    left = 1 - kept
    noise = 1 - kept.square().sum(1) / samples
    risk = (left.square() * values * squares).sum(1) / (variance * noise)
    return PopulationRisk(ridges, kappa, risk, kept.sum(1))


def _effective_ridge(values: torch.Tensor, mu: torch.Tensor, samples: int) -> torch.Tensor:
    """Solve the convex equation by Newton's method from above, where every step stays above the root."""
    kappa = mu + values.sum() / samples
    for _ in range(_ITERATIONS):
        kept = values / (values + kappa[:, None])
        step = (kappa * (1 - kept.sum(1) / samples) - mu) / (1 - kept.square().sum(1) / samples)
        kappa = kappa - step
        if bool((step <= _TOLERANCE * kappa).all()):  # a step below 0 is rounding
            return kappa
    raise ArithmeticError("the effective ridge is not found")
