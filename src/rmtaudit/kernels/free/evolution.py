"""The law of a larger matrix: evolution of a Levy measure, by one monotone root find a point.

The boundary of the law at factor ``α`` is the image of the curve ``u = s + iv(s)`` under
``z = αu + κ₁ + (1-β)T(u)``, ``F = αu - βT(u)``, ``T(u) = ∫G(dx)/(u - x)``, ``β = α·index``. There ``z`` is
real and increases with ``s``: density, distribution and quantiles need no search in the complex plane.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from rmtaudit.kernels.free.grids import first_grid, interpolate, second_grid
from rmtaudit.kernels.free.heights import heights
from rmtaudit.kernels.free.measure import (
    LevyMeasure,
    complex_transform,
    inverse_square,
    potential,
    real_transform,
)

_BISECTIONS = 60
"""Halvings of an interval: more than the 53 bits of float64."""
_PANEL = 4
"""Nodes of Gauss and Legendre in each interval of the curve: exact up to degree 7."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvolvedLaw:
    """The law at one factor, as a fine curve and as functions of the eigenvalue.

    Attributes
    ----------
    measure, factor
        What it is the evolution of, and by how much the matrix grows.
    s, v
        Shape ``(M,)``: the curve in the plane of ``u``.
    x, density, level
        Shape ``(M,)``, ascending in ``x``: eigenvalue, density of the continuous part there, and mass at or
        below it.
    atoms
        Places and masses of point masses.
    """

    measure: LevyMeasure
    factor: float
    s: torch.Tensor
    v: torch.Tensor
    x: torch.Tensor
    density: torch.Tensor
    level: torch.Tensor
    atoms: tuple[tuple[float, float], ...]

    @property
    def mass(self) -> float:
        """Mass of the continuous part by quadrature of the density, plus that of the atoms: 1 if all is well.

        The quadrature goes along chords of the curve, where the integrand is analytic, so that a density
        that is infinite at an edge costs no accuracy.
        """
        continuous = float(_mass_between(self.measure, self.s, self.v, self.factor).sum())
        return continuous + math.fsum(mass for _, mass in self.atoms)

    def pdf(self, x: torch.Tensor) -> torch.Tensor:
        """Return the density of the continuous part at ``x``, any shape, float64, on the device of ``x``."""
        s, v = self._parameter(x)
        return _density(self.measure, s, v, self.factor).reshape(x.shape).to(x.device)

    def cdf(self, x: torch.Tensor) -> torch.Tensor:
        """Return the mass at or below ``x``, any shape, float64, on the device of ``x``."""
        flat = x.to(self.x).reshape(-1)
        s, v = self._parameter(flat)
        if self.measure.index == 0:
            level = 1 - potential(self.measure, s, v, self.factor)[1] / math.pi
        else:
            before = (torch.searchsorted(self.s, s, right=True) - 1).clamp(min=0)
            ends = torch.stack([self.s[before], s], 1), torch.stack([self.v[before], v], 1)
            level = self.level[before] + _mass_between(self.measure, *ends, self.factor)[:, 0]
        level = torch.where(flat < self.x[0], 0.0, torch.where(flat >= self.x[-1], 1.0, level))
        for place, mass in self.atoms:  # beside a gap's atom the parameter cannot tell the two sides apart
            near = (flat - place).abs() <= 1e-12 * (self.x[-1] - self.x[0])
            if bool(near.any()):
                level = torch.where(near, self._below(place) + mass, level)
        return level.clamp(0, 1).reshape(x.shape).to(x.device)

    def ppf(self, q: torch.Tensor) -> torch.Tensor:
        """Return the quantiles at the levels ``q`` in [0, 1], any shape, float64, on the device of ``q``."""
        if not bool(((q >= 0) & (q <= 1)).all()):
            raise ValueError("probabilities must lie between 0 and 1")
        flat = q.to(self.x).reshape(-1)
        out = interpolate(flat, self.level, self.x)
        for place, mass in self.atoms:
            below = self._below(place)
            out = torch.where((flat > below) & (flat <= below + mass), place, out)
        return out.reshape(q.shape).to(q.device)

    def quantiles(self, count: int) -> torch.Tensor:
        """Return ``count`` quantiles at the levels ``(i + 1/2)/count``: the eigenvalues predicted."""
        levels = (torch.arange(count, dtype=torch.float64, device=self.x.device) + 0.5) / count
        return self.ppf(levels)

    def log_det(self, ridge: float = 0.0) -> float:
        """Return ``∫log|λ + ridge|ρ(dλ)``, exact for index 0; ``-inf`` where an atom sits at ``-ridge``."""
        if any(abs(place + ridge) <= 1e-12 * float(self.x[-1] - self.x[0]) for place, _ in self.atoms):
            return -math.inf
        if self.measure.index == 0:
            s, v = self._parameter(torch.tensor([-ridge], dtype=torch.float64, device=self.x.device))
            return float(potential(self.measure, s, v, self.factor)[0])
        values = (self.quantiles(100_000) + ridge).abs()
        return float(values.clamp(min=1e-300).log().mean())

    @property
    def edges(self) -> tuple[tuple[float, float], ...]:
        """Ends of the intervals of the continuous part, to the curve's resolution, without the atoms."""
        inside = self.v > 0
        change = torch.diff(torch.nn.functional.pad(inside.to(torch.int8), (1, 1)))
        starts = torch.nonzero(change == 1).flatten().tolist()
        ends = torch.nonzero(change == -1).flatten().tolist()
        return tuple(
            (float(self.x[max(start - 1, 0)]), float(self.x[min(end, len(self.x) - 1)]))
            for start, end in zip(starts, ends, strict=True)
        )

    def _below(self, place: float) -> torch.Tensor:
        """Return the mass below an atom: the level of the point of the curve beside it."""
        left_of_place = place - 1e-13 * float(self.x[-1] - self.x[0])
        return self.level[(torch.searchsorted(self.x, self.x.new_tensor(left_of_place)) - 1).clamp(min=0)]

    def _parameter(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the points of the curve whose eigenvalue is ``x``: a bracketed search, monotone."""
        flat = x.to(self.x).reshape(-1)
        low, high = _brackets(self, flat)
        f_low, f_high = self._heights(low)[1] - flat, self._heights(high)[1] - flat
        side = torch.zeros_like(flat)
        s, height = low.clone(), torch.zeros_like(low)
        left = torch.arange(len(flat), device=flat.device)
        for _ in range(_BISECTIONS):
            guess = low - f_low * (high - low) / (f_high - f_low).clamp(min=1e-300)
            s[left] = middle = torch.where((guess > low) & (guess < high), guess, (low + high) / 2)
            height[left], image = self._heights(middle)
            error = image - flat[left]
            going = error.abs() > 1e-13 * (flat[left].abs() + self.x[-1] - self.x[0])
            if not bool(going.any()):
                break
            below = error < 0
            # Illinois: the end that stays twice counts half
            f_high = torch.where(below, torch.where(side < 0, f_high / 2, f_high), error)[going]
            f_low = torch.where(below, error, torch.where(side > 0, f_low / 2, f_low))[going]
            low, high = torch.where(below, middle, low)[going], torch.where(below, high, middle)[going]
            side, left = torch.where(below, -1.0, 1.0)[going], left[going]
        return s, height

    def _heights(self, s: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the heights of the boundary at ``s``, and the eigenvalues there."""
        effective = self.factor / (1 - self.factor * self.measure.index)
        v = heights(self.measure, s, effective, interpolate(s, self.s, self.v))
        return v, _image(self.measure, s, v, self.factor)


def evolve(measure: LevyMeasure, factor: float, points: int = 4000) -> EvolvedLaw:
    """Return the law of a matrix ``factor`` times as large as the one that the measure describes.

    Parameters
    ----------
    measure
        A Levy measure.
    factor
        ``α > 0``. Above 1 decompresses, below 1 compresses.
    points
        Points of the curve.

    Raises
    ------
    ValueError
        If the factor is not positive, or not below ``1/index``: no such law exists.

    References
    ----------
    Ameli et al., *Spectral Estimation with Free Decompression*, arXiv 2506.11994, for the flow; the solution
    through the Levy measure is the free analogue of a Levy-Khintchine formula (Bercovici, Voiculescu 1993).

    Examples
    --------
    >>> from rmtaudit.linalg import free
    >>> law = free.evolve(free.semicircle(mean=0.0, radius=2.0).levy(), 4.0)
    >>> ((low, high),) = law.edges  # the radius doubles
    >>> round(low, 2), round(high, 2)
    (-4.0, 4.0)
    """
    if not (factor > 0 and math.isfinite(factor)):
        raise ValueError(f"the factor must be positive and finite, not {factor}")
    if factor * measure.index >= 1:
        raise ValueError(f"the law can be decompressed by less than {1 / measure.index:g}, not by {factor:g}")
    measure = measure.pruned()
    if not len(measure.mass):
        raise ValueError("a law without variance is a point, and stays one")
    effective = factor / (1 - factor * measure.index)
    coarse = first_grid(measure, factor)
    v = heights(measure, coarse, effective)
    zeros = _zeros(measure, coarse, v, factor)
    x = torch.cummax(_image(measure, coarse, v, factor), 0).values
    s = second_grid(
        measure,
        coarse,
        v=v,
        x=x,
        density=_density(measure, coarse, v, factor),
        factor=factor,
        points=points,
        zeros=zeros,
    )
    v = heights(measure, s, effective, interpolate(s, coarse, v))
    x = torch.cummax(_image(measure, s, v, factor), 0).values
    density = _density(measure, s, v, factor)
    atoms = tuple(_atom(measure, zero, factor) for zero in zeros)
    return EvolvedLaw(
        measure=measure,
        factor=factor,
        s=s,
        v=v,
        x=x,
        density=density,
        level=_levels(measure, s, v=v, x=x, atoms=atoms, factor=factor),
        atoms=atoms,
    )


def _image(measure: LevyMeasure, s: torch.Tensor, v: torch.Tensor, factor: float) -> torch.Tensor:
    return factor * s + measure.mean + (1 - factor * measure.index) * real_transform(measure, s, v)


def _density(measure: LevyMeasure, s: torch.Tensor, v: torch.Tensor, factor: float) -> torch.Tensor:
    if measure.index == 0:
        return v / (math.pi * factor * (s * s + v * v))  # s is never 0
    share = factor * measure.index
    real = factor * s - share * real_transform(measure, s, v)
    imaginary = factor * v / (1 - share)
    square = (real * real + imaginary * imaginary).clamp(min=torch.finfo(s.dtype).tiny)
    return imaginary / (math.pi * square)


def _mass_between(measure: LevyMeasure, s: torch.Tensor, v: torch.Tensor, factor: float) -> torch.Tensor:
    """Return the mass of the continuous part between neighbours in the last dimension of the curve.

    ``-Im ∫ dz/F/π`` along the chord, by Gauss quadrature: the integrand is analytic above the real line.
    """
    u = torch.complex(s, v)
    start, step = u[..., :-1], torch.diff(u)
    above = (v[..., :-1] > 0) | (v[..., 1:] > 0)
    start, step = start[above], step[above]
    share = factor * measure.index
    total = torch.zeros_like(start)
    for node, weight in zip(*np.polynomial.legendre.leggauss(_PANEL), strict=True):
        at = start + step * (node + 1) / 2
        transform, slope = complex_transform(measure, at)
        total += weight / 2 * (factor + (1 - share) * slope) / (factor * at - share * transform)
    out = torch.zeros(above.shape, dtype=s.dtype, device=s.device)
    out[above] = -(total * step).imag / math.pi
    return out


def _levels(
    measure: LevyMeasure,
    s: torch.Tensor,
    v: torch.Tensor,
    x: torch.Tensor,
    atoms: tuple[tuple[float, float], ...],
    factor: float,
) -> torch.Tensor:
    if measure.index == 0:
        level = 1 - potential(measure, s, v, factor)[1] / math.pi
    else:
        level = torch.cumsum(_mass_between(measure, s, v, factor), 0)
        level = torch.cat([torch.zeros_like(level[:1]), level])
        for place, mass in atoms:
            level = level + torch.where(x > place, mass, 0.0)
    return torch.cummax(level.clamp(0, 1), 0).values


def _zeros(measure: LevyMeasure, s: torch.Tensor, v: torch.Tensor, factor: float) -> tuple[float, ...]:
    """Return the zeros of ``F`` on the real line outside the support: the places of atoms, as ``u``."""
    if measure.index == 0:
        return (0.0,) if measure.inverse_moments()[1] < factor * (1 - 1e-12) else ()
    share = factor * measure.index
    effective = factor / (1 - share)
    if share > 0:
        low, high = _gaps(measure, s, effective)
    else:
        real = factor * s - share * real_transform(measure, s, v)
        at = torch.nonzero((v[:-1] == 0) & (v[1:] == 0) & (real[:-1] <= 0) & (real[1:] > 0)).flatten()
        low, high = s[at], s[at + 1]
    start, end = low, high
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        below = factor * middle - share * real_transform(measure, middle, torch.zeros_like(middle)) <= 0
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    # a sign changes at a pole too, and F may have none within the outermost intervals
    inside = (inverse_square(measure, low) < effective * (1 - 1e-12)) & (low > start) & (high < end)
    return tuple(low[inside].tolist())


def _gaps(measure: LevyMeasure, s: torch.Tensor, effective: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the intervals between cells, and beyond them, that can reach outside the support.

    There ``F`` rises from below 0 to above it. Outside the support ``∫G(dx)/(s-x)² < effective``, so that the
    nearest cells alone keep off by ``√(mass/effective)`` where they are atoms, and less where they are wide.
    """
    left, right, width = measure.left, measure.right, measure.right - measure.left
    # of a cell of width w at a distance d from its edge: mass/(d(d + w)) = effective
    off = torch.hypot(width / 2, (measure.mass / effective).sqrt()) - width / 2
    open_ = left[1:] - right[:-1] > off[1:] + off[:-1]
    low = torch.cat([s[:1], right[:-1][open_], right[-1:]])
    high = torch.cat([left[:1], left[1:][open_], s[-1:]])
    kept = high > low
    return low[kept], high[kept]


def _atom(measure: LevyMeasure, zero: float, factor: float) -> tuple[float, float]:
    """Return place and mass, ``1/F'``, of the atom at a zero of ``F``."""
    if measure.index == 0:
        first, second = measure.inverse_moments()
        place = measure.mean - first
        return (0.0 if abs(place) <= 1e-14 * abs(measure.mean) else place), 1 - second / factor
    at = torch.tensor([zero], dtype=torch.float64, device=measure.mass.device)
    square, share = float(inverse_square(measure, at)), factor * measure.index
    place = float(_image(measure, at, torch.zeros_like(at), factor))
    return place, (factor - (1 - share) * square) / (factor + share * square)


def _brackets(law: EvolvedLaw, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return values of ``s`` whose images lie on both sides of ``x``, also beyond the curve."""
    right = torch.searchsorted(law.x, x.contiguous()).clamp(1, len(law.x) - 1)
    low, high = law.s[right - 1].clone(), law.s[right].clone()
    span = law.s[-1] - law.s[0]
    reach = (x - law.x[0]).abs().maximum((x - law.x[-1]).abs()) / law.factor + span
    low = torch.where(x < law.x[0], law.s[0] - reach, low)
    high = torch.where(x > law.x[-1], law.s[-1] + reach, high)
    return low, high
