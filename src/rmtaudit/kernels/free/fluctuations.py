"""How an empirical transform fluctuates: what makes ``χ²`` a test with the distribution of its name.

The trace of the resolvent of a real symmetric block of a large free matrix has a covariance and a bias that
its law alone decides. For ``m = mean 1/(λ - z)`` of ``n`` eigenvalues and ``F = -1/m``

    ``Cov(m(z), m(w)) = (2/n²) (F'(z)F'(w)/(F(z) - F(w))² - 1/(z - w)²)``,
    ``E m(z) + 1/F(z) = F''(z)/(2nF'(z))``.

That is the fluctuation around the law of an infinite matrix. Around the eigenvalues of a matrix of order
``N`` with random eigenvectors it is less: ``ψ(z) = (n/N)z + (1 - n/N)F(z)`` takes the place of ``F`` in
both expressions. (The second-order cumulants of a matrix with fixed eigenvalues are not 0, but such that
its own covariance is; those of a block are these, scaled.)

Points of a transform are far from independent. In the directions in which they are, the right law leaves
residuals that are standard normal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rmtaudit.kernels.free.empirical import Transform
from rmtaudit.kernels.free.measure import LevyMeasure, complex_transform

_FLOOR = 1e-3
"""Directions with a smaller share of the largest variance are left to the next order in ``1/n``."""
_MOST_STEPS = 500
"""A convention: iterations of a map that contracts slowly near the real line; not to converge is an error."""
_CONVERGED = 1e-11
"""Of a step, in units of the largest point: far below the noise of the data."""

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]


class Derivatives(NamedTuple):
    """``F`` of a law and its derivatives by ``z``, shape ``(M,)``, complex128 each."""

    f: Complex
    first: Complex
    second: Complex
    third: Complex


@dataclass(frozen=True, slots=True)
class Whitened:
    """An empirical transform without its bias, and the directions in which its noise is independent.

    Attributes
    ----------
    f
        Shape ``(M,)``, complex128: ``F`` without bias, in units of the standard deviation.
    u, slope
        Shape ``(M,)``: the parameter of the law that gave the covariance, and its ``F'``.
    rows
        Shape ``(K, 2M)``, float64: times real and imaginary parts of a residual of ``F``, of a law that has
        the mean of the sample, they give ``K`` numbers of variance 1.
    """

    f: Complex
    u: Complex
    slope: Complex
    rows: Real

    @property
    def n_data(self) -> int:
        """Number of independent data."""
        return len(self.rows)

    def apply(self, values: Complex) -> Real:
        """Return the coordinates of changes of ``F``, shape ``(M, ...)``, in the directions, ``(K, ...)``."""
        whitened: Real = self.rows @ np.concatenate([values.real, values.imag])
        return whitened


class Noise(NamedTuple):
    """The fluctuation of a transform around a law, and of the sample's mean with it.

    Attributes
    ----------
    f, slope
        Shape ``(M,)``: the expected ``F`` of a sample that has the law's mean, and its derivative.
    spread
        Shape ``(2M, K)``: times ``K`` standard normal numbers it gives real and imaginary parts of the
        fluctuation of ``F`` at a fixed sample mean.
    mean, rest
        Shape ``(K,)``, and a number: the fluctuation of the mean is ``mean`` times the same numbers and
        ``rest`` times another one.
    """

    f: Complex
    slope: Complex
    spread: Real
    mean: Real
    rest: float


def noise_of(given: Transform, measure: LevyMeasure, factor: float) -> Noise:
    """Return the fluctuation of the transform of a block of a matrix ``factor`` times as large, with a law.

    Parameters
    ----------
    given
        The transform of one spectrum near the law: its points.
    measure
        Of the law, in the units of the eigenvalues; its mean is that of the sample.
    factor
        ``N/n``.

    Raises
    ------
    ArithmeticError
        As :func:`whiten`.
    """
    law, _, variance = _law_at(given, measure)
    white = whiten_by(given, law, variance=variance, factor=factor)
    share = 1 / factor
    unit = 2 / given.size**2
    own = unit * (1 - share) * variance
    shift = 1 - (share + (1 - share) * law.first)
    across = unit * law.f**2 * shift + own * law.first
    mean = white.apply(across)
    rest = max(0.0, own - float(mean @ mean))
    bias = given.f.cpu().numpy() - white.f
    spread = np.asarray(np.linalg.pinv(white.rows), dtype=np.float64)
    return Noise(law.f + bias, law.first, spread, mean, math.sqrt(rest))


def whiten(given: Transform, measure: LevyMeasure) -> Whitened:
    """Return a transform with the covariance that a law near to its own implies.

    Parameters
    ----------
    given
        The transform of one spectrum, or of several independent ones.
    measure
        A fit of it, in the units of the eigenvalues.

    Raises
    ------
    ArithmeticError
        If the law's own transform could not be solved for, or points coincide.

    References
    ----------
    Collins, Mingo, Sniady, Speicher 2007 (second-order freeness: the covariance of resolvents where the
    second-order cumulants vanish, as those of a block of a large free matrix do); Redelmeier 2014 (real
    matrices: twice that covariance, and a bias).
    """
    law, u, variance = _law_at(given, measure)
    return replace(whiten_by(given, law, variance=variance), u=u)


def _law_at(given: Transform, measure: LevyMeasure) -> tuple[Derivatives, Complex, float]:
    """Return a law and its parameter at the points of a transform, and its variance in the same units."""
    scale = given.scale
    law = LevyMeasure(
        left=measure.left / scale,
        right=measure.right / scale,
        mass=measure.mass / scale**2,
        mean=measure.mean / scale,
        index=measure.index,
    ).pruned()
    z, empirical = given.z.cpu().numpy(), given.f.cpu().numpy()
    u = parameter(lambda at: _on_cpu(law, at), law.mean, law.index, z, empirical)
    return _derivatives(law, u), u, law.variance


def whiten_by(given: Transform, law: Derivatives, *, variance: float, factor: float = math.inf) -> Whitened:
    """Return a transform with the covariance that a law implies, given by its derivatives at the points.

    Parameters
    ----------
    given
        The transform of one spectrum, or of several independent ones.
    law
        ``F`` of the law and its derivatives at the points of the transform, in units of its standard
        deviation. ``F`` also stands in for the parameter ``u`` of the result.
    variance
        Of the law in these units.
    factor
        Order of the matrix over that of the block, where its own eigenvalues are held fixed and the
        eigenvectors are random: infinite for the fluctuation around the law of an infinite matrix.

    Raises
    ------
    ArithmeticError
        If points coincide.
    """
    z, empirical = given.z.cpu().numpy(), given.f.cpu().numpy()
    f, first = law.f, law.first
    samples = len(given.values) / given.size
    share = 1 / factor
    moved = Derivatives(
        share * z + (1 - share) * f, share + (1 - share) * first, *((1 - share) * part for part in law[2:])
    )
    covariance = _covariance((1 - share) * variance, z, law, moved) * (2 / given.size**2 / samples)
    own = np.diag(covariance)
    if not (np.isfinite(covariance).all() and (own > 0).all()):
        raise ArithmeticError("points of the transform are too near to each other to have a covariance")
    deviation = np.sqrt(own)
    variances, vectors = np.linalg.eigh(covariance / deviation[:, None] / deviation)
    kept = variances > _FLOOR * variances[-1]
    bias = f**2 * moved.second / moved.first / (2 * given.size)
    rows = (vectors[:, kept] / np.sqrt(variances[kept])).T / deviation
    return Whitened(empirical - bias, f, first, rows)


def parameter(
    transform: Callable[[Complex], tuple[Complex, Complex]],
    mean: float,
    index: float,
    z: Complex,
    start: Complex,
) -> Complex:
    """Return the ``u`` above the real line with ``z = u + κ₁ + (1 - index)T(u)``, by Newton's method.

    Parameters
    ----------
    transform
        ``T(u) = ∫G(dx)/(u - x)`` and its derivative.
    mean, index
        ``κ₁`` and the index of the law.
    z
        Shape ``(M,)``, complex128, above the real line.
    start
        Shape ``(M,)``: about ``u``, above the real line; there is one solution, whatever the start.

    Raises
    ------
    ArithmeticError
        If it does not converge.
    """
    u, scale = start, float(np.abs(z).max())
    before = np.full(len(z), np.inf)
    for _ in range(_MOST_STEPS):
        value, slope = transform(u)
        away = z - mean - (1 - index) * value - u
        newton = u + away / (1 + (1 - index) * slope)
        if not np.isfinite(newton).all():
            break
        if float(np.abs(newton - u).max()) <= _CONVERGED * scale:
            return newton
        # u -> z - κ₁ - (1 - index)T(u) contracts the half-plane, if slowly: a step of it where Newton's fail
        serves = (newton.imag >= z.imag) & (np.abs(away) < before / 2)
        u, before = np.where(serves, newton, u + away), np.where(serves, np.abs(away), np.inf)
    raise ArithmeticError("the transform of the law could not be solved for")


def _on_cpu(law: LevyMeasure, u: Complex) -> tuple[Complex, Complex]:
    value, slope = complex_transform(law, torch.from_numpy(u).to(law.mass.device))
    return value.cpu().numpy(), slope.cpu().numpy()


def _derivatives(law: LevyMeasure, u: Complex) -> Derivatives:
    """Return ``F`` and three derivatives with respect to ``z``: ``F = u - index·T`` and ``z`` as above."""
    index, share = law.index, 1 - law.index
    mass = law.mass.cpu().numpy()
    value, slope = _on_cpu(law, u)
    p, q = u[:, None] - law.left.cpu().numpy(), u[:, None] - law.right.cpu().numpy()
    curve, twist = ((p + q) / (p * q) ** 2) @ mass, -2 * ((p * p + p * q + q * q) / (p * q) ** 3) @ mass
    return chain_rule(
        u - index * value,
        (1 - index * slope, -index * curve, -index * twist),
        (1 + share * slope, share * curve, share * twist),
    )


def chain_rule(
    f: Complex, of_f: tuple[Complex, Complex, Complex], of_z: tuple[Complex, Complex, Complex]
) -> Derivatives:
    """Return the derivatives of ``F`` by ``z`` from those of both by a common parameter."""
    (f1, f2, f3), (z1, z2, z3) = of_f, of_z
    cross = f2 * z1 - f1 * z2
    third = ((f3 * z1 - f1 * z3) * z1 - 3 * cross * z2) / z1**5
    return Derivatives(f, f1 / z1, cross / z1**3, third)


def _covariance(variance: float, z: Complex, law: Derivatives, moved: Derivatives) -> Real:
    """Return the covariance of real and imaginary parts of ``F²δm + F'δκ₁``, times ``n²/2``.

    The second term is the sample's own mean, with ``Cov(m, κ₁) = (2/n²)(1 - ψ')`` and the variance
    ``2κ₂(1 - n/N)/n²``, where ``ψ = (n/N)z + (1 - n/N)F``.
    """
    f, first = law.f, law.first
    away = f**2 * (1 - moved.first)
    schwarzian = (moved.third / moved.first - 1.5 * (moved.second / moved.first) ** 2) / 6
    parts = []
    for conjugated in (False, True):
        w, g, slope, other, psi, psi1 = (
            part.conj() if conjugated else part for part in (z, f, first, away, moved.f, moved.first)
        )
        with np.errstate(divide="ignore", invalid="ignore"):  # of a point with itself there is a limit
            kernel = moved.first[:, None] * psi1 / (moved.f[:, None] - psi) ** 2 - 1 / (z[:, None] - w) ** 2
        if not conjugated:
            np.fill_diagonal(kernel, schwarzian)
        kernel *= f[:, None] ** 2 * g**2
        kernel += away[:, None] * slope + first[:, None] * other + variance * first[:, None] * slope
        parts.append(kernel)
    plain, hermitian = parts
    across = (plain - hermitian).imag / 2
    joint: Real = (
        np.block([[(hermitian + plain).real, 2 * across], [2 * across.T, (hermitian - plain).real]]) / 2
    )
    return (joint + joint.T) / 2
