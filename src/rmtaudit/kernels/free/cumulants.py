"""Free cumulants and moments, and the simple laws that a richer one has to beat.

Under decompression by ``α`` every free cumulant is multiplied by ``α^(j-1)``: two to four of them already
make a law. A prediction that does no better than these needed none of the rest.
"""

from __future__ import annotations

import torch

from rmtaudit.kernels.free.measure import LevyMeasure


def free_cumulants(moments: torch.Tensor) -> torch.Tensor:
    """Return the free cumulants ``κ₁ … κ_k`` of the moments ``μ₁ … μ_k``, shape ``(k,)``, float64.

    ``μ_n = Σ_s κ_s [z^(n-s)] M(z)^s`` with ``M(z) = 1 + Σ μ_j z^j`` (Nica, Speicher 2006, lecture 11).

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import free
    >>> free.free_cumulants(torch.tensor([0.0, 1.0, 0.0, 2.0]))  # of the semicircle: Catalan numbers
    tensor([0., 1., 0., 0.], dtype=torch.float64)
    """
    order = len(moments)
    moments = moments.double()
    series = torch.cat([moments.new_ones(1), moments])
    out = moments.new_zeros(order)
    for n in range(1, order + 1):
        known = sum((out[s - 1] * _power(series, s, n)[n - s] for s in range(1, n)), moments.new_zeros(()))
        out[n - 1] = series[n] - known
    return out


def moments_of(cumulants: torch.Tensor) -> torch.Tensor:
    """Return the moments ``μ₁ … μ_k`` of free cumulants; the inverse of :func:`free_cumulants`.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import free
    >>> free.moments_of(torch.tensor([0.0, 1.0, 0.0, 0.0]))
    tensor([0., 1., 0., 2.], dtype=torch.float64)
    """
    order = len(cumulants)
    cumulants = cumulants.double()
    series = cumulants.new_zeros(order + 1)
    series[0] = 1
    for n in range(1, order + 1):
        series[n] = sum(
            (cumulants[s - 1] * _power(series, s, n)[n - s] for s in range(1, n + 1)),
            cumulants.new_zeros(()),
        )
    return series[1:]


def evolved_cumulants(cumulants: torch.Tensor, factor: float) -> torch.Tensor:
    """Return the free cumulants of the matrix ``factor`` times as large: ``κ_j factor^(j-1)``.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import free
    >>> free.evolved_cumulants(torch.tensor([1.0, 1.0, 1.0], dtype=torch.float64), 2.0)
    tensor([1., 2., 4.], dtype=torch.float64)
    """
    powers = torch.arange(len(cumulants), dtype=torch.float64, device=cumulants.device)
    return cumulants * torch.tensor(factor, dtype=torch.float64) ** powers


def cumulant_laws(eigenvalues: torch.Tensor) -> dict[int, LevyMeasure]:
    """Return the laws with the first 2, 3 and 4 free cumulants of a spectrum: semicircle, Poisson, Meixner.

    A fourth cumulant that no free Meixner law has (the index would reach 1) leaves its entry out.
    """
    values = eigenvalues.double().reshape(-1)
    mean = float(values.mean())
    centred = values - mean
    variance, third, fourth = (float((centred**power).mean()) for power in (2, 3, 4))
    place = third / variance
    # κ₄ = μ₄ - 2κ₂², and κ₄ = g x² - index·g²
    index = (place**2 - (fourth / variance - 2 * variance)) / variance
    laws = {
        2: _one_atom(0.0, variance, mean, 0.0, like=values),
        3: _one_atom(place, variance, mean, 0.0, like=values),
    }
    if index < 1:
        laws[4] = _one_atom(place, variance, mean, index, like=values)
    return laws


def _one_atom(place: float, mass: float, mean: float, index: float, *, like: torch.Tensor) -> LevyMeasure:
    at = like.new_tensor([place])
    return LevyMeasure(left=at, right=at, mass=torch.full_like(at, mass), mean=mean, index=index)


def _power(series: torch.Tensor, exponent: int, order: int) -> torch.Tensor:
    """Return the coefficients up to ``order`` of a power of a series."""
    out = series.new_zeros(order + 1)
    out[0] = 1
    base = series[: order + 1]
    for _ in range(exponent):
        out = torch.stack([(out[: k + 1] * base[: k + 1].flip(0)).sum() for k in range(order + 1)])
    return out
