"""The Levy measure of a law, and the integrals over it that the evolution needs.

With ``m(z) = ∫ρ(x)/(x - z) dx`` and ``F = -1/m``, a law that can be decompressed without end has one finite
positive measure ``G`` with ``z = F(z) + κ₁ + ∫G(dx)/(F(z) - x)``. Here ``G`` is a histogram: every cell has
closed forms, and a cell of width 0 is an atom.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

_NARROW = 1e-6
"""Cells so much narrower than their distance from 0 are points: the next term is the square, 1e-12."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevyMeasure:
    """A positive measure on the real line in cells of constant density, and the mean of the law.

    Attributes
    ----------
    left, right
        Shape ``(K,)``, float64: edges of the cells, ``left <= right``, in eigenvalue units.
    mass
        Shape ``(K,)``, float64, not negative. Their sum is the variance of the law.
    mean
        First free cumulant ``κ₁``.
    index
        Reciprocal of the last factor to which the law can be decompressed: 0 without end. A negative index
        is a law that is the compression of nothing smaller in its own family (Meixner laws with ``q₂ > 0``).

    References
    ----------
    Nica, Speicher, *Lectures on the Combinatorics of Free Probability*, 2006, lectures 13 and 14 (compression
    and infinite divisibility); Maassen 1992 for the representation of ``F``.
    """

    left: torch.Tensor
    right: torch.Tensor
    mass: torch.Tensor
    mean: float
    index: float = 0.0

    def __post_init__(self) -> None:
        if not (self.left.shape == self.right.shape == self.mass.shape and self.left.ndim == 1):
            raise ValueError("the cells need one left edge, one right edge and one mass each")
        if not (bool((self.mass >= 0).all()) and bool((self.left <= self.right).all())):
            raise ValueError("masses must not be negative, and cells must not be reversed")

    @property
    def variance(self) -> float:
        """Total mass."""
        return float(self.mass.sum())

    def to(self, device: torch.device) -> LevyMeasure:
        """Return the measure on a device."""
        return replace(
            self, left=self.left.to(device), right=self.right.to(device), mass=self.mass.to(device)
        )

    def pruned(self) -> LevyMeasure:
        """Return the measure without the cells that hold less than 1e-14 of the mass."""
        kept = self.mass > 1e-14 * self.mass.sum()
        return LevyMeasure(
            left=self.left[kept],
            right=self.right[kept],
            mass=self.mass[kept],
            mean=self.mean,
            index=self.index,
        )

    def moment(self, order: int) -> float:
        """Return ``∫x^order G(dx)``; the free cumulant ``κ_{order+2}`` of a law with index 0."""
        width = self.right - self.left
        power = order + 1
        wide = (self.right**power - self.left**power) / (power * torch.where(width > 0, width, 1.0))
        narrow = width <= _NARROW * torch.maximum(self.left.abs(), self.right.abs())
        return float((torch.where(narrow, ((self.left + self.right) / 2) ** order, wide) * self.mass).sum())

    def inverse_moments(self) -> tuple[float, float]:
        """Return ``∫G(dx)/x`` and ``∫G(dx)/x²``; infinite where a cell with mass holds or touches 0."""
        held = self.mass > 0
        a, b, mass = self.left[held], self.right[held], self.mass[held]
        if bool((a * b <= 0).any()):
            return math.inf, math.inf
        width = b - a
        log = torch.log1p(width / a) / torch.where(width > 0, width, 1.0)
        first = torch.where(width <= _NARROW * a.abs(), 2 / (a + b), log)
        return float((mass * first).sum()), float((mass / (a * b)).sum())


def inverse_square(measure: LevyMeasure, s: torch.Tensor) -> torch.Tensor:
    """Return ``∫G(dx)/(s-x)²`` at real ``s``, shape ``(M,)``; infinite inside a cell with mass."""
    product = (measure.left - s[:, None]) * (measure.right - s[:, None])
    tiny = torch.finfo(s.dtype).tiny
    terms = torch.where(product > 0, measure.mass / product.clamp(min=tiny), torch.inf)
    return torch.where(measure.mass > 0, terms, 0.0).sum(1)


def real_transform(measure: LevyMeasure, s: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Return the real part of ``∫G(dx)/(u - x)``, ``u = s + iv``, ``v >= 0``, shape ``(M,)``."""
    return cauchy_real(measure.left, measure.right, s, v) @ measure.mass


def complex_transform(measure: LevyMeasure, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``∫G(dx)/(u - x)`` and its derivative at ``Im u > 0``, shape ``(M,)``, complex128."""
    value, slope = [], []
    for part in torch.split(u, 4096):
        s, v = part.real, part.imag
        real = cauchy_real(measure.left, measure.right, s, v) @ measure.mass
        value.append(torch.complex(real, cauchy_imaginary(measure.left, measure.right, s, v) @ measure.mass))
        cells = 1 / ((part[:, None] - measure.left) * (part[:, None] - measure.right))
        slope.append(-(cells @ measure.mass.to(cells.dtype)))
    return torch.cat(value), torch.cat(slope)


def cauchy_real(left: torch.Tensor, right: torch.Tensor, s: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Return the real part of the transform of each cell of mass 1, shape ``(M, K)``."""
    s, v = s[:, None], v[:, None]
    a, b, square = s - left, s - right, v * v
    width = right - left
    safe = torch.where(width > 0, width, 1.0)
    tiny = torch.finfo(s.dtype).tiny
    ratio = width * (a + b) / (b * b + square).clamp(min=tiny)
    middle = (a + b) / 2
    distance = (middle * middle + square).clamp(min=tiny)
    wide = torch.log1p(ratio.clamp(min=-1 + 1e-16)) / (2 * safe)
    return torch.where(width * width < _NARROW**2 * distance, middle / distance, wide)


def cauchy_imaginary(
    left: torch.Tensor, right: torch.Tensor, s: torch.Tensor, v: torch.Tensor
) -> torch.Tensor:
    """Return the imaginary part of the transform of each cell of mass 1 at ``v > 0``, shape ``(M, K)``."""
    s, v = s[:, None], v[:, None]
    width = right - left
    product = (s - left) * (s - right) + v * v
    across = width * v
    safe = torch.where(width > 0, width, 1.0)
    narrow = across < _NARROW * product  # never inside a cell, where the product is negative
    return -torch.where(narrow, v / product, torch.atan2(across, product) / safe)


def potential(
    measure: LevyMeasure, s: torch.Tensor, v: torch.Tensor, factor: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return real and imaginary part of ``∫log(z - λ)ρ(dλ)`` at ``z = factor·u + κ₁ + ∫G(dx)/(u - x)``.

    In closed form, for index 0: ``log(factor·u) - (1/factor) Σ_cells ∫[log(u/(u-x))/x² - 1/(x(u-x))]G(dx)``,
    and the integral over a cell of constant density is the difference of ``log(1 - x/u)/x`` at its edges. The
    imaginary part is π times the mass above ``z``.
    """
    if measure.index != 0:
        raise ValueError("the potential has a closed form only for index 0")
    real, imaginary = _cell_potentials(measure.left, measure.right, s[:, None], v[:, None])
    outer = torch.log(s * s + v * v) / 2 + math.log(factor)
    return outer - real @ measure.mass / factor, torch.atan2(v, s) - imaginary @ measure.mass / factor


def _cell_potentials(
    left: torch.Tensor, right: torch.Tensor, s: torch.Tensor, v: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    width, middle = right - left, (left + right) / 2
    safe = torch.where(width > 0, width, 1.0)
    edges, place = torch.unique(torch.cat([left, right]), return_inverse=True)
    at = _over_x(edges, s, v)
    first, second = place[: len(left)], place[len(left) :]
    distance = (s - middle) ** 2 + v * v
    centre = torch.where(middle == 0, 1.0, middle)
    log = _log_one_minus(middle, s, v)
    narrow = width < 1e-5 * torch.minimum(middle.abs(), distance.sqrt())
    real = -log[0] / centre**2 - (s - middle) / (distance * centre)
    imaginary = -log[1] / centre**2 + v / (distance * centre)
    # an atom at 0: the limit of the integrand is -1/(2u²)
    square = s * s + v * v
    at_zero = (width == 0) & (middle == 0)
    real = torch.where(at_zero, (v * v - s * s) / (2 * square**2), real)
    imaginary = torch.where(at_zero, s * v / square**2, imaginary)
    use = narrow | (width == 0)
    return (
        torch.where(use, real, (at[0][:, second] - at[0][:, first]) / safe),
        torch.where(use, imaginary, (at[1][:, second] - at[1][:, first]) / safe),
    )


def _over_x(x: torch.Tensor, s: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    real, imaginary = _log_one_minus(x, s, v)
    square = s * s + v * v
    safe = torch.where(x == 0, 1.0, x)
    return (
        torch.where(x == 0, -s / square, real / safe),
        torch.where(x == 0, v / square, imaginary / safe),
    )


def _log_one_minus(x: torch.Tensor, s: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``log(1 - x/u)``: its imaginary part lies between those of ``log(u - x)`` and ``log u``."""
    square = s * s + v * v
    # |u - x|²/|u|² - 1 without cancellation
    real = torch.log1p((x * (x - 2 * s) / square).clamp(min=-1 + 1e-16)) / 2
    return real, torch.atan2(x * v, square - x * s)
