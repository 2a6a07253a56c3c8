"""The bias of ridge regression from a spectrum alone, and how fast it falls with the ridge.

Targets are ``y = <w, phi>`` with random ``w`` of unit variance; the Gram matrix of the features has the
spectrum ``λ``. What ridge regression with ridge ``mu`` leaves of the target is ``L(mu) = mu² E (λ + mu)^-2``
on average. Its local exponent ``d log L/d log mu`` lies between 0 and 2; for a ridge that falls as ``n^-l``
with the sample size it is ``l`` times the exponent of the bias in ``n``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


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


def ridge_bias(eigenvalues: torch.Tensor, mu: torch.Tensor) -> RidgeBias:
    """Return bias and exponent of a spectrum, exactly.

    Parameters
    ----------
    eigenvalues
        Shape ``(n,)``, not negative.
    mu
        Shape ``(m,)``, positive.

    Raises
    ------
    ValueError
        If an eigenvalue is negative, a ridge not positive, or there is no eigenvalue.
    """
    values, ridges = eigenvalues.double(), mu.double()
    if not len(values) or not bool((values >= 0).all()):
        raise ValueError("eigenvalues must not be negative, and there must be one")
    if not bool((ridges > 0).all()):
        raise ValueError("ridges must be positive")
    left = ridges[:, None] / (values + ridges[:, None])
    squares = left.square()
    bias = squares.mean(1)
    return RidgeBias(ridges, bias, 2 * (squares * (1 - left)).mean(1) / bias)


def bootstrap_ridge_bias(
    eigenvalues: torch.Tensor, mu: torch.Tensor, *, draws: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return bias and exponent of resampled spectra, shape ``(draws, m)`` each.

    The eigenvalues are resampled as if they were independent. Those of one matrix repel each other, so their
    sums vary less and most intervals are too wide; at ridges below most eigenvalues a few decide, and the
    interval of the exponent is too narrow.

    Parameters
    ----------
    eigenvalues, mu
        As for :func:`ridge_bias`.
    draws
        Number of resamples, at least 2.
    generator
        On the CPU.
    """
    if draws < 2:
        raise ValueError(f"at least 2 resamples are needed, not {draws}")
    found = []
    for _ in range(draws):
        chosen = torch.randint(len(eigenvalues), (len(eigenvalues),), generator=generator)
        found.append(ridge_bias(eigenvalues[chosen], mu))
    return torch.stack([each.bias for each in found]), torch.stack([each.exponent for each in found])
