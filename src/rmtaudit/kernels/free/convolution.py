"""Spectra of sums and products of free matrices, by subordination: fixed points that always attract.

``F`` of a sum is ``F₁(ω₁)`` with ``ω₁ = z + h₂(ω₂)``, ``ω₂ = z + h₁(ω₁)``, ``h = F - id``; of a product the
same holds for ``η = ψ/(1 + ψ)`` with factors in place of terms. The iteration maps the upper half-plane into
itself and cannot pick a wrong branch. For laws without end a sum is exact: their Levy measures add.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from rmtaudit.kernels.free.measure import LevyMeasure

_STEPS, _TOLERANCE = 5_000, 1e-13
"""A convention: iterations of the fixed-point map, which contracts slowly near the real line, and the
relative change at which it ends, some hundreds of roundings of float64."""


def free_sum(one: LevyMeasure, other: LevyMeasure) -> LevyMeasure:
    """Return the measure of the sum of two free matrices, both decompressible without end (index 0).

    Raises
    ------
    ValueError
        If an index is not 0.

    Examples
    --------
    >>> from rmtaudit.linalg import free
    >>> wigner = free.semicircle(mean=0.0, radius=2.0).levy()
    >>> law = free.evolve(free.free_sum(wigner, wigner), 1.0)
    >>> round(law.edges[0][1], 2)  # variances add: the radius is 2√2
    2.83
    """
    if one.index or other.index:
        raise ValueError("only measures of index 0 can be added")
    edges = torch.unique(torch.cat([one.left, one.right, other.left, other.right]))
    left, right, mass = [], [], []
    for measure in (one, other):
        for a, b, held in zip(measure.left, measure.right, measure.mass, strict=True):
            if a == b:
                left.append(a[None])
                right.append(b[None])
                mass.append(held[None])
                continue
            inner = edges[(edges >= a) & (edges <= b)]
            left.append(inner[:-1])
            right.append(inner[1:])
            mass.append(held * torch.diff(inner) / (b - a))
    low, high, held = torch.cat(left), torch.cat(right), torch.cat(mass)
    order = torch.argsort((low + high) / 2)
    return LevyMeasure(left=low[order], right=high[order], mass=held[order], mean=one.mean + other.mean)


def sum_transform(one: torch.Tensor, other: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Return ``m(z) = ∫ρ(dx)/(x - z)`` of the free sum of two spectra.

    Parameters
    ----------
    one, other
        Shape ``(n,)`` and ``(k,)``, float64: eigenvalues.
    z
        Shape ``(M,)``, complex128, above the real line.

    Raises
    ------
    ValueError
        If a point does not lie above the real line.
    ArithmeticError
        If the iteration has not ended after 5,000 steps: the point is too close to the real line.

    References
    ----------
    Belinschi, Bercovici, *A new approach to subordination results in free probability*, J. Anal. Math. 2007.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import free
    >>> z = torch.tensor([1.0 + 0.5j], dtype=torch.complex128)
    >>> spectrum = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    >>> m = free.sum_transform(spectrum, torch.ones(3, dtype=torch.float64), z)  # plus the identity
    >>> bool((m - (1 / (spectrum + 1 - z)).mean()).abs() < 1e-9)
    True
    """
    _above(z)

    def step(omega: torch.Tensor) -> torch.Tensor:
        second = z + _reciprocal(one, omega) - omega
        return z + _reciprocal(other, second) - second

    first = _fixed_point(step, z)
    return -1 / _reciprocal(one, first)


def product_transform(one: torch.Tensor, other: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Return ``m(z)`` of the free product ``A^½ B A^½`` of two spectra, neither with negative eigenvalues.

    Parameters, errors and reference as of :func:`sum_transform`; ``ValueError`` for a negative eigenvalue.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import free
    >>> z = torch.tensor([-1.0 + 0.5j], dtype=torch.complex128)
    >>> spectrum = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    >>> m = free.product_transform(spectrum, torch.ones(3, dtype=torch.float64), z)  # times the identity
    >>> bool((m - (1 / (spectrum - z)).mean()).abs() < 1e-9)
    True
    """
    _above(z)
    if bool((one < 0).any()) or bool((other < 0).any()):
        raise ValueError("the eigenvalues of both factors must not be negative")
    inverse = 1 / z.conj()  # above the real line, where the iteration lives
    first = _fixed_point(lambda omega: inverse * _eta_ratio(other, inverse * _eta_ratio(one, omega)), inverse)
    eta = first * _eta_ratio(one, first)
    return (-(1 / (1 - eta)) * inverse).conj()


def _above(z: torch.Tensor) -> None:
    if not bool((z.imag > 0).all()):
        raise ValueError("the transform is computed above the real line only")


def _fixed_point(step: Callable[[torch.Tensor], torch.Tensor], start: torch.Tensor) -> torch.Tensor:
    omega = start
    for _ in range(_STEPS):
        moved = step(omega)
        if bool(((moved - omega).abs() <= _TOLERANCE * moved.abs()).all()):
            return moved
        omega = moved
    raise ArithmeticError(
        "the subordination iteration has not converged: the point is too close to the real line"
    )


def _reciprocal(values: torch.Tensor, omega: torch.Tensor) -> torch.Tensor:
    """Return ``F = 1/mean(1/(ω - λ))``."""
    return 1 / (1 / (omega[:, None] - values)).mean(1)


def _eta_ratio(values: torch.Tensor, omega: torch.Tensor) -> torch.Tensor:
    """Return ``η(ω)/ω``, ``η = ψ/(1 + ψ)``, ``ψ(ω) = mean(ωλ/(1 - ωλ))``."""
    below = 1 - omega[:, None] * values
    return (values / below).mean(1) / (1 / below).mean(1)
