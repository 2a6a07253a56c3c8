"""Upper bounds of the norm of what an approximation left out, from a few products with it.

For a standard normal ``ω``, ``|E ω|²`` is at least ``|E|² (v·ω)²``, ``v`` the leading right singular vector,
and ``v·ω`` is standard normal. So the sum over r probes over a low quantile of chi-squared with r degrees of
freedom is above ``|E|²``, with the quantile's probability, whatever ``E`` is. Powers sharpen the bound:
``|(EᵀE)^q ω|`` is at least ``|E|^2q |v·ω|``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy.special import chdtri

from rmtaudit.kernels.counter import normals

_RESIDUAL = 2  # purpose of a random stream, see rmtaudit.kernels.counter.stream


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualNorm:
    """Norms of a residual, estimated by ``probes`` random vectors.

    Attributes
    ----------
    frobenius
        Unbiased estimate of the Frobenius norm (of its square, before the root).
    frobenius_bound, spectral_bound
        Above the true norms with probability ``1 - failure`` each.
    probes, failure
        How many vectors, and the probability that a bound fails.
    """

    frobenius: float
    frobenius_bound: float
    spectral_bound: float
    probes: int
    failure: float


def residual_norm(
    apply: Callable[[torch.Tensor], torch.Tensor],
    size: int,
    seed: int,
    *,
    transposed: Callable[[torch.Tensor], torch.Tensor] | None = None,
    powers: int = 1,
    probes: int = 10,
    failure: float = 1e-3,
    device: torch.device | None = None,
) -> ResidualNorm:
    """Bound the norms of a matrix from products with it.

    Parameters
    ----------
    apply, transposed
        Products with ``E`` and ``Eᵀ`` (``None``: ``E`` is symmetric, or ``powers`` 0), of blocks of float64
        columns.
    size
        Columns of ``E``.
    seed
        Of the probes, which must be independent of ``E``: not one that ``E`` was built from.
    powers
        Times that ``EᵀE`` is applied before the spectral norm is bounded; the bound of the Frobenius norm
        needs none.
    failure
        Probability that a bound is too low, at most 0.01 (for larger ones the quantile argument of the
        Frobenius norm, Székely and Bakirov 2003, is not covered).
    """
    if not 0 < failure <= 0.01 or probes < 1:
        raise ValueError("at least one probe, and a chance of failure of at most 0.01, are needed")
    omega = normals(seed, _RESIDUAL, range(probes), size).T
    if device is not None:
        omega = omega.to(device)
    once = apply(omega)
    quantile = float(chdtri(probes, 1 - failure))
    energy = float((once**2).sum())
    best = energy / quantile
    current, order = once, 1
    back = transposed or apply
    for _ in range(powers):
        current = back(current)
        order += 1
        best = min(best, (float((current**2).sum()) / quantile) ** (1 / order))
        if order < 2 * powers:
            current = apply(current)
            order += 1
            best = min(best, (float((current**2).sum()) / quantile) ** (1 / order))
    return ResidualNorm(
        frobenius=(energy / probes) ** 0.5,
        frobenius_bound=(energy / quantile) ** 0.5,
        spectral_bound=best**0.5,
        probes=probes,
        failure=failure,
    )
