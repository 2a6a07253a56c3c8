"""What ridge regression leaves of a target, from a spectrum alone, and how fast that falls with the ridge.

Features ``phi`` of ``n`` samples form the matrix ``Phi``, shape ``(n, p)``, with the sample covariance
``S = PhiᵀPhi/n``. Targets are ``y = <w, phi>`` without noise, with random ``w`` of unit variance in every
direction. Ridge regression with ridge ``mu`` has the error ``mu (S + mu)^-1 w`` in the coefficients. Two
averages of it depend on the spectrum of ``S`` alone:

* the *bias* ``L(mu) = mu² tr (S + mu)^-2 / p``, the mean squared error of the coefficients. It is the error
  of prediction where the features are isotropic, ``E phi phiᵀ = I``, and only there;
* the *risk*, the error of prediction for any covariance of the features, by generalised cross-validation. It
  is exact in the limit of many samples and features that concentrate.

Both are shares of the variance of the target, between 0 and 1. Only ratios of eigenvalues to ``mu`` enter, so
the eigenvalues may be those of ``S``, of ``PhiᵀPhi`` or of the kernel matrix ``Phi Phiᵀ``, with ``mu`` the
number that is added to that matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

Curve = TypeVar("Curve")


@dataclass(frozen=True, slots=True)
class RidgeBias:
    """The bias of a spectrum at several ridges.

    Attributes
    ----------
    mu
        Ridges, shape ``(m,)``, in the unit of the eigenvalues.
    bias, exponent
        ``L(mu)`` and ``d log L/d log mu``, shape ``(m,)``, float64.
    """

    mu: torch.Tensor
    bias: torch.Tensor
    exponent: torch.Tensor


@dataclass(frozen=True, slots=True)
class RidgeRisk:
    """The risk of a spectrum at several ridges; ``mu`` and ``exponent`` as in :class:`RidgeBias`.

    Attributes
    ----------
    risk
        Mean squared error of prediction over the variance of the target, shape ``(m,)``, float64.
    """

    mu: torch.Tensor
    risk: torch.Tensor
    exponent: torch.Tensor


def ridge_bias(eigenvalues: torch.Tensor, mu: torch.Tensor, *, zeros: int = 0) -> RidgeBias:
    """Return bias and exponent of a spectrum, exactly.

    Parameters
    ----------
    eigenvalues
        Of the ``p x p`` matrix, shape ``(r,)``, not negative.
    mu
        Shape ``(m,)``, positive.
    zeros
        Eigenvalues that are 0 and not in ``eigenvalues``: ``p - n`` where there are more features than
        samples and only the ``n`` eigenvalues of the kernel matrix are given.

    Raises
    ------
    ValueError
        If an eigenvalue is negative, a ridge not positive, or there is no eigenvalue.
    """
    values, ridges = _checked(eigenvalues, mu)
    left = 1 / (1 + values / ridges[:, None])  # the sum of both may leave the range of float64
    squares = left.square()
    total = squares.sum(1) + zeros
    exponent = 2 * (squares * (1 - left)).sum(1) / total
    return RidgeBias(ridges, total / (len(values) + zeros), exponent)


def ridge_risk(eigenvalues: torch.Tensor, mu: torch.Tensor, *, samples: int) -> RidgeRisk:
    """Return the risk of a random target and its exponent, for any covariance of the features.

    With the eigenvalues ``λ`` of the ``n x n`` matrix, the mean squared error on the samples is the mean of
    ``λ mu²/(λ + mu)²``, and generalised cross-validation divides it by the square of the mean of
    ``mu/(λ + mu)``.

    Parameters
    ----------
    eigenvalues
        Shape ``(r,)``, ``r <= samples``, not negative, not all 0. The others of the ``n x n`` matrix are 0.
    mu
        Shape ``(m,)``, positive.
    samples
        ``n``.

    Raises
    ------
    ValueError
        As :func:`ridge_bias`, and for more eigenvalues than samples or none above 0.

    References
    ----------
    Golub, Heath, Wahba, *Generalized cross-validation*, Technometrics 21 (1979); Wei, Hu, Steinhardt, *More
    than a toy: random matrix models predict how real-world neural representations generalize* (2022).
    """
    values, ridges = _checked(eigenvalues, mu)
    if len(values) > samples or not bool((values > 0).any()):
        raise ValueError("at most as many eigenvalues as samples, and one above 0")
    left = ridges[:, None] / (values + ridges[:, None])
    errors = values * left.square()
    residual = (left.sum(1) + samples - len(values)) / samples
    train = errors.sum(1) / values.sum()
    of_train = 2 * (errors * (1 - left)).sum(1) / errors.sum(1)
    of_residual = (left * (1 - left)).sum(1) / (samples * residual)
    return RidgeRisk(ridges, train / residual.square(), of_train - 2 * of_residual)


def bootstrap_ridge(
    curve: Callable[[torch.Tensor], Curve],
    eigenvalues: torch.Tensor,
    *,
    draws: int,
    generator: torch.Generator,
) -> list[Curve]:
    """Return ``curve`` of ``draws`` resampled spectra.

    The eigenvalues are resampled as if they were independent. Those of one matrix repel each other, so their
    sums vary less and most intervals are too wide; at ridges below most eigenvalues a few decide, and the
    interval of the exponent is too narrow.

    Parameters
    ----------
    curve
        :func:`ridge_bias` or :func:`ridge_risk` at given ridges, for example.
    eigenvalues
        Shape ``(r,)``.
    draws
        Number of resamples, at least 2. A resample without an eigenvalue above 0 is drawn again.
    generator
        On the CPU.
    """
    if draws < 2:
        raise ValueError(f"at least 2 resamples are needed, not {draws}")
    if not bool((eigenvalues > 0).any()):
        raise ValueError("no eigenvalue is above 0")
    curves: list[Curve] = []
    while len(curves) < draws:
        chosen = eigenvalues[torch.randint(len(eigenvalues), (len(eigenvalues),), generator=generator)]
        if bool((chosen > 0).any()):
            curves.append(curve(chosen))
    return curves


def _checked(eigenvalues: torch.Tensor, mu: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    values, ridges = eigenvalues.double(), mu.double()
    if not len(values) or not bool((values >= 0).all()):
        raise ValueError("eigenvalues must not be negative, and there must be one")
    if not bool((ridges > 0).all()):
        raise ValueError("ridges must be positive")
    return values, ridges
