"""The laws of a larger parent that explain a block: a linear problem in a positive measure.

Let ``m`` be the transform ``mean 1/(λ - z)`` of a block of order ``n``, ``F = -1/m``, and ``ν`` the
spectral law of a free matrix ``t`` times as large that the block is a principal submatrix of. At ``ζ = z +
(t - 1)F(z)``, which lies above the real line,

    ``∫ν(dy)/(y - ζ) = m(z)/t``.

The points ``ζ`` follow from the data alone, so every law of the parent that fits the block solves one linear
system with ``ν >= 0``. A residual ``r`` of it is an error ``dF = -r t F² (1 + (t - 1)F')`` of the block's own
transform, whose covariance is known (:mod:`rmtaudit.kernels.free.fluctuations`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from rmtaudit.kernels.free.empirical import Transform
from rmtaudit.kernels.free.fluctuations import (
    Complex,
    Derivatives,
    Real,
    Whitened,
    chain_rule,
    whiten_by,
)

PLACES = 110
"""Points that a parent's law is supported on; at 240 the widths of bands changed by less than 0.002."""
_HARD = 1e3
"""Weight of the rows that fix mass and mean, in standard deviations of the data."""
_IGNORED = 3e-3
"""Directions in which no law of mass 1 changes the residuals by more than this are left out."""
_NEAR_ZERO = tuple(10.0**power for power in range(-8, 0))
"""A convention: places near 0, in units of the first place above it, for spectra that reach down over
decades."""
_ALIKE = 3e-3
"""Places near 0 whose effect on the residuals differs by less are taken for one."""
_RIDGE = 1e-4
"""In standard deviations of the data for a mass of 1: far below the noise."""
_TIED = 3
"""So many equal eigenvalues make a point mass, which the parent has at the same place."""
_STEPS, _CONVERGED = 300, 1e-11
"""A convention: iterations of a map that contracts slowly near the real line; and the step that ends them,
far below the noise of the data."""
_MUCH_WORSE = 1.3
"""A convention: the second of two parents is taken for the noise where its ``χ²`` is less by this factor."""


@dataclass(frozen=True, slots=True)
class ParentLaw:
    """A discrete law of the parent, in units of the block's standard deviation.

    Attributes
    ----------
    places, masses
        Shape ``(K,)``, float64: the point masses, all positive, which sum to 1.
    chi_square
        ``χ²`` of the block given this law.
    """

    places: Real
    masses: Real
    chi_square: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentSystem:
    """The least-squares problem for the laws of one parent.

    Attributes
    ----------
    growth
        ``t``: the order of the parent over that of the block.
    places
        Shape ``(K,)``: where the parent may have mass.
    rows, target
        Shapes ``(r + 2, K)`` and ``(r + 2,)``: data in directions of variance 1, then mass and mean.
    whole, data
        Shapes ``(D, K)`` and ``(D,)``: the data before they are reduced to ``r`` directions.
    directions
        Shape ``(D, r)``: what reduces them.
    """

    growth: float
    places: Real
    rows: Real
    target: Real
    whole: Real
    data: Real
    directions: Real

    def reduced(self, data: Real) -> Real:
        """Return the target for other data, shape ``(D,)``."""
        return np.concatenate([self.directions.T @ data, self.target[-2:]])

    def solve(self, data: Real | None = None) -> tuple[Real, float]:
        """Return the masses that fit best, shape ``(K,)``, and their ``χ²``."""
        data = self.data if data is None else data
        masses = least_squares(self.rows, self.reduced(data))
        return masses, float(((self.whole @ masses - data) ** 2).sum())

    def law(self, masses: Real) -> ParentLaw:
        """Return masses as a law."""
        held = masses > 0
        chi_square = float(((self.whole @ masses - self.data) ** 2).sum())
        return ParentLaw(self.places[held], masses[held] / masses.sum(), chi_square)


def least_squares(rows: Real, target: Real) -> Real:
    """Return the non-negative least-squares solution.

    Raises
    ------
    ArithmeticError
        If the active-set method does not end.
    """
    size = rows.shape[1]
    try:
        solution: Real = nnls(rows, target, maxiter=3 * size)[0]
    except RuntimeError:
        # equal columns make the method cycle; a ridge far below the noise tells them apart
        ridge = _RIDGE * np.eye(size)
        try:
            solution = nnls(np.vstack([rows, ridge]), np.append(target, np.zeros(size)), maxiter=10 * size)[0]
        except RuntimeError as error:
            raise ArithmeticError("the non-negative least-squares problem could not be solved") from error
    return solution


def whitened_block(given: Transform, factor: float, *, positive: bool) -> Whitened:
    """Return the block's transform without bias, and the directions in which its noise is independent.

    The covariance is that of the law that a parent gives the block: a parent twice as large as the target
    where that fits about as well as one of the target's own size, which is assumed otherwise.

    Parameters
    ----------
    given
        The transform of the block.
    factor
        Order of the target over that of the block.
    positive
        Whether the matrix is positive semidefinite.

    Raises
    ------
    ArithmeticError
        If the law's own transform could not be solved for, or points coincide.
    """
    z, f, values = given.z.cpu().numpy(), given.f.cpu().numpy(), given.values.cpu().numpy()
    noise = given.noise.cpu().numpy()
    inverse = 1 / (values - z[:, None])
    slope = (inverse * inverse).mean(1) * f * f
    crude = Whitened(f, f, slope, np.diag(1 / np.concatenate([noise, noise])))
    best: tuple[float, ParentSystem, Real] | None = None
    for size in (2.0, 1.0):
        system = parent_system(given, crude, size * factor, positive=positive)
        masses, chi_square = system.solve()
        if best is None or chi_square * _MUCH_WORSE < best[0]:
            best = chi_square, system, masses
    assert best is not None
    _, system, masses = best
    law = system.law(masses)
    variance = float(law.masses @ law.places**2) - float(law.masses @ law.places) ** 2
    return whiten_by(
        given,
        derivatives(law, system.growth, z, f),
        variance=variance / system.growth,
        factor=factor,
    )


def parent_system(given: Transform, white: Whitened, growth: float, *, positive: bool) -> ParentSystem:
    """Return the system for parents ``growth`` times as large as the block.

    Parameters
    ----------
    given
        The transform of the block.
    white
        The same without bias, and its independent directions.
    growth
        ``t``, above 1.
    positive
        Whether the parent is positive semidefinite.
    """
    places = _places(given, growth, positive=positive)
    f = white.f
    points = given.z.cpu().numpy() + (growth - 1) * f
    weight = -growth * f * f * (1 + (growth - 1) * white.slope)
    whole = white.apply(weight[:, None] / (places - points[:, None]))
    if positive:
        kept = _different(places, whole)
        places, whole = places[kept], whole[:, kept]
    data = white.apply(-weight / (growth * f))
    left, singular, right = np.linalg.svd(whole, full_matrices=False)
    held = singular > _IGNORED
    spread = math.sqrt(growth)
    rows = np.vstack(
        [
            singular[held, None] * right[held],
            np.full(len(places), _HARD),
            _HARD * (places - given.mean) / spread,
        ]
    )
    directions = left[:, held]
    target = np.concatenate([directions.T @ data, [_HARD, 0.0]])
    return ParentSystem(
        growth=growth, places=places, rows=rows, target=target, whole=whole, data=data, directions=directions
    )


def _different(places: Real, whole: Real) -> NDArray[np.bool_]:
    """Return which places act otherwise than the one kept before; 0 and what is not near it are kept."""
    kept: NDArray[np.bool_] = np.ones(len(places), dtype=bool)
    last = 0
    for index in range(1, len(_NEAR_ZERO) + 1):
        kept[index] = float(np.linalg.norm(whole[:, index] - whole[:, last])) > _ALIKE
        last = index if kept[index] else last
    return kept


def derivatives(law: ParentLaw, growth: float, z: Complex, start: Complex) -> Derivatives:
    """Return ``F`` of a block of a parent and its three derivatives at ``z``.

    Parameters
    ----------
    law
        Of the parent.
    growth
        ``t``.
    z
        Shape ``(M,)``, above the real line.
    start
        Shape ``(M,)``: about ``F``.

    Raises
    ------
    ArithmeticError
        If it does not converge.
    """
    share = growth - 1
    zeta, scale = z + share * start, float(np.abs(z).max())
    for _ in range(_STEPS):
        inverse = 1 / (law.places - zeta[:, None])
        m, m1 = inverse @ law.masses, (inverse**2) @ law.masses
        f, f1 = -1 / (growth * m), m1 / (growth * m**2)
        newton = zeta + (z - zeta + share * f) / (1 - share * f1)
        # ζ -> z + (t - 1)F contracts the half-plane, if slowly
        moved = np.where(newton.imag > z.imag, newton, z + share * f)
        step, zeta = float(np.abs(moved - zeta).max()), moved
        if step <= _CONVERGED * scale * growth:
            break
    else:
        raise ArithmeticError("the transform of the law could not be solved for")
    inverse = 1 / (law.places - zeta[:, None])
    m, m1, m2, m3 = (math.factorial(k) * (inverse ** (k + 1)) @ law.masses for k in range(4))
    f, f1 = -1 / (growth * m), m1 / (growth * m**2)
    f2 = (m2 / m**2 - 2 * m1**2 / m**3) / growth
    f3 = (m3 / m**2 - 6 * m1 * m2 / m**3 + 6 * m1**3 / m**4) / growth
    return chain_rule(f, (f1, f2, f3), (1 - share * f1, -share * f2, -share * f3))


def _places(given: Transform, growth: float, *, positive: bool) -> Real:
    """Return points over the range that the parent can have, dense around the mean, and at point masses."""
    values = given.values.cpu().numpy()
    least = given.size ** (-2 / 3)
    low, high = values[0] - max(3 * (values[1] - values[0]), least), values[-1]
    high = high + max(3 * (values[-1] - values[-2]), least)
    # the images of the edges along their real characteristics bound the parent's support
    low, high = (end - (growth - 1) / float((1 / (values - end)).mean()) for end in (low, high))
    low, high = min(low, values[0]), max(high, values[-1])
    spread = math.sqrt(growth)
    if positive:
        low = 0.0
    first, last = (math.asinh((end - given.mean) / spread) for end in (low, high))
    share = np.linspace(first, last, PLACES)
    places = given.mean + spread * np.sinh(share)
    distinct, count = np.unique(values, return_counts=True)
    extra = [distinct[count >= _TIED]]
    if positive:
        places[0] = 0.0
        extra.append(places[1] * np.array(_NEAR_ZERO))
    return np.unique(np.concatenate([places, *extra]))
