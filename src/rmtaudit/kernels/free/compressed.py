"""The law of a free block of a discrete law: boundary values by subordination.

Of a law ``ν`` and its free block of ``1/c`` its order, ``F`` at a real ``x`` is ``F_ν(ζ)/c`` with the one
``ζ`` above the real line (or its limit) that solves ``ζ - (1 - 1/c)F_ν(ζ) = x``. The share of eigenvalues
at or below ``x`` is then ``1 - (c ∫arg(ζ - y)ν(dy) - (c - 1) arg F_ν(ζ))/π``. It is stationary in ``ζ``, so
that its derivative in the direction of a mass at ``y`` is ``-(c/π) arg(ζ - y)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from rmtaudit.kernels.free.fluctuations import Complex, Real
from rmtaudit.kernels.free.parent import ParentLaw

_FIRST, _LAST, _DECREASE = 4.0, 1e-8, 8.0
"""Heights above the real line at which ``ζ`` is solved for, in standard deviations, each from the last."""
_STEPS, _HALVINGS = 40, 12
"""A convention: Newton steps at each height, and halvings of a step that does not bring the residual down."""
_CONVERGED = 1e-9
"""Of a step, in standard deviations: Newton converges quadratically, and the next one is below float64."""
_COARSE, _FINE = 120, 240
"""A convention: points of the curve that are evenly spread, and those added where the mass lies."""
_EMPTY = 1e-4
"""Densities below this share of the mean density over the standard deviation are none."""


def subordination(places: Real, masses: Real, share: float, x: Real, start: Complex | None = None) -> Complex:
    """Return ``ζ`` at real ``x``, shape ``(M,)``, by Newton's method from far above the real line downwards.

    Parameters
    ----------
    places
        Shape ``(K,)``: where ``ν`` has mass.
    masses
        Shape ``(K,)``, or ``(M, K)`` for a law of its own at every ``x``.
    share
        ``c``, at least 1: the order of the parent over that of the block.
    x
        Shape ``(M,)``, in the units of the places.
    start
        Shape ``(M,)``: about ``ζ``, above the real line. Where Newton's method fails from there, the points
        are solved for from far above; there is one solution, whatever the start.
    """
    if start is not None:
        zeta, converged = _descended(places, masses, share=share, x=x, height=_LAST, zeta=start)
        left = ~converged
        if left.any():
            own = masses if masses.ndim == 1 else masses[left]
            zeta[left] = subordination(places, own, share, x[left])
        return zeta
    spread = _spread(places, masses)
    height = _FIRST
    zeta = x + 1j * height * spread
    while True:
        zeta, _ = _descended(places, masses, share=share, x=x, height=height, zeta=zeta)
        if height <= _LAST:
            return zeta
        height = max(height / _DECREASE, _LAST)


def _descended(
    places: Real, masses: Real, share: float, x: Real, height: float, zeta: Complex
) -> tuple[Complex, NDArray[np.bool_]]:
    """Return ``ζ`` so many standard deviations above ``x``, from a point near it, and where it converged."""
    kept, spread = 1 - 1 / share, np.broadcast_to(_spread(places, masses), x.shape)
    zeta, left = zeta.copy(), np.arange(len(x))
    for _ in range(_STEPS):
        own = masses if masses.ndim == 1 else masses[left]
        here, target = zeta[left], x[left] + 1j * height * spread[left]
        f, slope = _reciprocal(places, own, here)
        away = here - kept * f - target
        step = -away / (1 - kept * slope)
        going = np.abs(step) > _CONVERGED * spread[left]
        if not going.any():
            left = left[going]
            break
        left = left[going]
        here, target, away, step = (part[going] for part in (here, target, away, step))
        own = own if masses.ndim == 1 else own[going]
        length = np.ones(len(left))
        for _ in range(_HALVINGS):
            moved = here + length * step
            above = moved.imag > 0
            off = moved - kept * _reciprocal(places, own, np.where(above, moved, here))[0] - target
            serves = above & (np.abs(off) <= (1 - 0.1 * length) * np.abs(away))
            if serves.all():
                break
            length = np.where(serves, length, length / 2)
        moved = here + length * step
        zeta[left] = np.where(moved.imag > 0, moved, here)
    converged: NDArray[np.bool_] = np.ones(len(x), dtype=bool)
    converged[left] = False
    return zeta, converged


def distribution(places: Real, masses: Real, share: float, x: Real) -> Real:
    """Return the mass of the block's law at or below ``x``, shape ``(M,)``; arguments as above."""
    if share == 1:
        shares: Real = ((places <= x[:, None]) * masses).sum(-1)
        return shares
    return _below(places, masses, share, subordination(places, masses, share, x))


def gradient(places: Real, masses: Real, share: float, x: Real) -> Real:
    """Return how the mass at or below each ``x`` changes with mass of the parent, shape ``(M, K)``.

    It is known up to a constant, which drops out because the total mass is fixed.
    """
    if share == 1:
        below: Real = (places <= x[:, None]).astype(np.float64)
        return below
    zeta = subordination(places, masses, share, x)
    return -share / math.pi * np.angle(zeta[:, None] - places)


@dataclass(frozen=True)
class CompressedLaw:
    """The law of a free block, in eigenvalue units: of the matrix that a parent's law stands for.

    Attributes
    ----------
    parent
        The parent's law, in units of ``scale``.
    share
        ``c``: the order of the parent over that of the block.
    scale
        One unit in eigenvalue units.
    """

    parent: ParentLaw
    share: float
    scale: float

    @cached_property
    def _spread(self) -> float:
        return float(_spread(self.parent.places, self.parent.masses))

    @cached_property
    def atoms(self) -> tuple[tuple[float, float], ...]:
        """Places and masses of point masses."""
        left = 1 - self.share * (1 - self.parent.masses)
        return tuple(
            (float(place) * self.scale, float(mass))
            for place, mass in zip(self.parent.places, left, strict=True)
            if mass > 1e-9
        )

    @cached_property
    def _curve(self) -> tuple[Real, Real, Real]:
        """Eigenvalues, ascending, with the mass at or below each and the density there."""
        places, spread = self.parent.places, self._spread / math.sqrt(self.share)
        if not spread > 0:
            raise ArithmeticError("the parent's law is a point, and so is that of its blocks")
        low, high = places[0] - 1e-3 * spread, places[-1] + 1e-3 * spread
        centre = float(self.parent.masses @ places)
        ends = np.arcsinh((np.array([low, high]) - centre) / spread)
        x = centre + spread * np.sinh(np.linspace(float(ends[0]), float(ends[1]), _COARSE))
        point_masses = np.array([place / self.scale for place, _ in self.atoms])
        x = np.unique(np.concatenate([x, point_masses - 1e-5 * spread, point_masses + 1e-5 * spread]))
        law = self.parent
        zeta = subordination(law.places, law.masses, self.share, x)
        level = np.maximum.accumulate(np.clip(_below(law.places, law.masses, self.share, zeta), 0, 1))
        more = np.interp(np.linspace(1e-5, 1 - 1e-5, _FINE), level + 1e-12 * np.arange(len(x)), x)
        right = np.searchsorted(x, more).clip(1, len(x) - 1)
        near = np.where(more - x[right - 1] < x[right] - more, zeta[right - 1], zeta[right])
        further = subordination(law.places, law.masses, self.share, more, near)
        x, first = np.unique(np.concatenate([x, more]), return_index=True)
        zeta = np.concatenate([zeta, further])[first]
        level = np.maximum.accumulate(np.clip(_below(law.places, law.masses, self.share, zeta), 0, 1))
        transform = -self.share / _reciprocal(self.parent.places, self.parent.masses, zeta)[0]
        level[0], level[-1] = 0.0, 1.0
        return x * self.scale, level, np.maximum(transform.imag, 0) / math.pi / self.scale

    @cached_property
    def edges(self) -> tuple[tuple[float, float], ...]:
        """Ends of the intervals that hold the continuous part, to the curve's resolution."""
        x, _, density = self._curve
        held = density * self._spread * self.scale > _EMPTY
        for place, _ in self.atoms:
            held &= np.abs(x - place) > 1e-4 * self._spread * self.scale
        change = np.diff(np.concatenate([[0], held.astype(np.int8), [0]]))
        starts = np.flatnonzero(change == 1).clip(min=1) - 1
        ends = np.flatnonzero(change == -1).clip(max=len(x) - 1)
        return tuple(zip(x[starts].tolist(), x[ends].tolist(), strict=True))

    @cached_property
    def mass(self) -> float:
        """Mass of the continuous part by quadrature of the density, plus that of the atoms."""
        x, _, density = self._curve
        keep: NDArray[np.bool_] = np.ones(len(x), dtype=bool)
        for place, _ in self.atoms:
            keep &= np.abs(x - place) > 1e-4 * self._spread * self.scale
        return float(np.trapezoid(density[keep], x[keep])) + math.fsum(mass for _, mass in self.atoms)

    def pdf(self, x: torch.Tensor) -> torch.Tensor:
        """Return the density of the continuous part at ``x``, any shape, float64."""
        at, _, density = self._curve
        return torch.as_tensor(
            np.interp(x.double().cpu().numpy(), at, density, left=0, right=0), device=x.device
        )

    def cdf(self, x: torch.Tensor) -> torch.Tensor:
        """Return the mass at or below ``x``, any shape, float64."""
        at, level, _ = self._curve
        return torch.as_tensor(
            np.interp(x.double().cpu().numpy(), at, level, left=0, right=1), device=x.device
        )

    def ppf(self, q: torch.Tensor) -> torch.Tensor:
        """Return the quantiles at the levels ``q`` in [0, 1], any shape, float64."""
        at, level, _ = self._curve
        kept = np.concatenate([[True], np.diff(level) > 1e-13])
        return torch.as_tensor(np.interp(q.double().cpu().numpy(), level[kept], at[kept]), device=q.device)

    def quantiles(self, count: int) -> torch.Tensor:
        """Return ``count`` quantiles at the levels ``(i + 1/2)/count``: the eigenvalues predicted."""
        return self.ppf((torch.arange(count, dtype=torch.float64) + 0.5) / count)


def _below(places: Real, masses: Real, share: float, zeta: Complex) -> Real:
    f, _ = _reciprocal(places, masses, zeta)
    angles = (np.angle(zeta[:, None] - places) * masses).sum(-1)
    shares: Real = 1 - (share * angles - (share - 1) * np.angle(f)) / math.pi
    return shares


def _reciprocal(places: Real, masses: Real, zeta: Complex) -> tuple[Complex, Complex]:
    """Return ``F_ν`` and its derivative."""
    inverse = 1 / (places - zeta[:, None])
    if masses.ndim == 1:
        m, slope = inverse @ masses, (inverse * inverse) @ masses
    else:
        weighted = inverse * masses
        m, slope = weighted.sum(-1), (weighted * inverse).sum(-1)
    return -1 / m, slope / m**2


def _spread(places: Real, masses: Real) -> Real:
    """Return standard deviations, shape ``()`` or ``(M,)``."""
    mean = masses @ places
    deviations: Real = np.sqrt(np.maximum(masses @ places**2 - mean**2, 0))
    return deviations
