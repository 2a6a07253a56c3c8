"""Laws with closed forms whose evolution is known in closed form too: the oracles, and for users.

Every law whose transform solves ``Q(z)m² + P(z)m + 1 = 0``, ``Q = q₀ + q₁z + q₂z²``, ``P = p₀ + (1 + q₂)z``,
keeps that form under decompression by ``τ``: with ``D = 1 + q₂(τ - 1)``, ``q_i → τq_i/D`` and
``p₀ → (p₀ + q₁(τ - 1))/D``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from rmtaudit.kernels.free.evolution import evolve
from rmtaudit.kernels.free.measure import LevyMeasure

_NODES = 1000
"""A convention: nodes of Gauss and Legendre."""


@dataclass(frozen=True, slots=True)
class QuadraticLaw:
    """A free Meixner law: semicircle, Marchenko-Pastur, Kesten-McKay, Wachter and Meixner's own.

    Attributes
    ----------
    q0, q1, q2, p0
        Coefficients of the equation of the transform, ``q2 < 1``.

    References
    ----------
    Saitoh, Yoshida 2001; Bozejko, Bryc 2006 (free Meixner laws). Ameli et al., arXiv 2605.03634 (spectral
    curves under decompression).
    """

    q0: float
    q1: float
    q2: float
    p0: float

    def __post_init__(self) -> None:
        if not self.q2 < 1:
            raise ValueError(f"q2 must lie below 1, but is {self.q2}")

    @property
    def last_factor(self) -> float:
        """The factor that decompression cannot reach: ``1 - 1/q₂``, infinite if ``q₂ >= 0``."""
        return math.inf if self.q2 >= 0 else 1 - 1 / self.q2

    def decompress(self, factor: float) -> QuadraticLaw:
        """Return the law of the matrix ``factor`` times as large; ``ValueError`` where there is none."""
        if not 0 < factor < self.last_factor:
            raise ValueError(f"the factor must lie between 0 and {self.last_factor:g}, but is {factor:g}")
        divisor = 1 + self.q2 * (factor - 1)
        return QuadraticLaw(
            factor * self.q0 / divisor,
            factor * self.q1 / divisor,
            factor * self.q2 / divisor,
            (self.p0 + self.q1 * (factor - 1)) / divisor,
        )

    @property
    def edges(self) -> tuple[float, float]:
        """Ends of the continuous part: roots of ``P² = 4Q``."""
        a = (1 - self.q2) ** 2
        b = 2 * self.p0 * (1 + self.q2) - 4 * self.q1
        root = math.sqrt(max(b * b - 4 * a * (self.p0**2 - 4 * self.q0), 0.0))
        return (-b - root) / (2 * a), (-b + root) / (2 * a)

    @property
    def atoms(self) -> tuple[tuple[float, float], ...]:
        """Places and masses of the atoms: zeros of ``Q`` where the residue ``P/Q'`` has the right sign."""
        roots = (
            np.roots([self.q2, self.q1, self.q0])
            if self.q2
            else np.array([-self.q0 / self.q1] if self.q1 else [])
        )
        low, high = self.edges
        atoms = []
        for root in sorted(roots[np.isreal(roots)].real.tolist()):
            if low - 1e-12 < root < high + 1e-12:
                continue
            linear = self.p0 + (1 + self.q2) * root
            mass = linear / (self.q1 + 2 * self.q2 * root)
            # on the physical sheet m = (-P + sqrt(P² - 4Q))/(2Q), the root with the sign of z - middle
            if mass > 1e-12 and linear * (root - (low + high) / 2) < 0:
                atoms.append((root, mass))
        return tuple(atoms)

    def pdf(self, x: torch.Tensor) -> torch.Tensor:
        """Return the density of the continuous part, any shape, float64."""
        x = x.double()
        quadratic = self.q0 + x * (self.q1 + self.q2 * x)
        low, high = self.edges
        inside = (x > low) & (x < high)
        # 4Q - P² = (1 - q₂)²(x - low)(high - x), without cancellation
        root = (1 - self.q2) * ((x - low) * (high - x)).clamp(min=0).sqrt()
        return torch.where(inside, root / (2 * math.pi * torch.where(inside, quadratic, 1.0)), 0.0)

    def cdf(self, x: torch.Tensor) -> torch.Tensor:
        """Return the distribution function, any shape, float64, by Gauss quadrature in the angle."""
        flat = x.double().reshape(-1)
        low, high = self.edges
        middle, radius = (low + high) / 2, (high - low) / 2
        nodes, weights = (torch.from_numpy(part).to(flat) for part in np.polynomial.legendre.leggauss(_NODES))
        end = torch.acos(((middle - flat) / radius).clamp(-1, 1))
        angle = end[:, None] * (nodes + 1) / 2
        density = self.pdf(middle - radius * torch.cos(angle)) * radius * torch.sin(angle)
        level = (density @ weights) * end / 2
        for place, mass in self.atoms:
            level = level + torch.where(flat >= place, mass, 0.0)
        return level.reshape(x.shape)

    def levy(self) -> LevyMeasure:
        """Return the Levy measure: one atom, with the index ``-q₂/(1 - q₂)``."""
        index = -self.q2 / (1 - self.q2)
        mean = (self.q1 - self.p0) / (1 - self.q2)
        place = self.q1 / (1 - self.q2) - 2 * index * mean
        mass = self.q0 / (1 - self.q2) + place * mean + index * mean**2
        at = torch.tensor([place], dtype=torch.float64)
        return LevyMeasure(left=at, right=at, mass=torch.full_like(at, mass), mean=mean, index=index)

    def sample_matrix(self, size: int, generator: torch.Generator) -> torch.Tensor:
        """Return a random symmetric matrix with this law; see :func:`sample_matrix`."""
        return sample_matrix(self.levy(), size, generator)


def semicircle(mean: float, radius: float) -> QuadraticLaw:
    """Return Wigner's law of the given mean and radius. Decompression: the radius times ``√τ``.

    Examples
    --------
    >>> from rmtaudit.linalg import free
    >>> law = free.semicircle(mean=1.0, radius=2.0)
    >>> law.edges, law.decompress(4.0).edges
    ((-1.0, 3.0), (-3.0, 5.0))
    """
    return QuadraticLaw(radius**2 / 4, 0.0, 0.0, -mean)


def marchenko_pastur(ratio: float, scale: float = 1.0) -> QuadraticLaw:
    """Return the law of ``XXᵀ/d``, ``X`` of shape ``n x d``, ``ratio = n/d``; ``τ`` multiplies the ratio.

    Examples
    --------
    >>> from rmtaudit.linalg import free
    >>> free.marchenko_pastur(ratio=0.25).edges  # (1 ± √ratio)²
    (0.25, 2.25)
    """
    return QuadraticLaw(0.0, ratio * scale, 0.0, -scale * (1 - ratio))


def kesten_mckay(degree: float) -> QuadraticLaw:
    """Return the law of a random regular graph; after ``τ < d``, ``τ`` times that of degree ``d/τ``.

    Examples
    --------
    >>> from rmtaudit.linalg import free
    >>> low, high = free.kesten_mckay(5.0).edges
    >>> round(high, 12)  # 2√(d - 1)
    4.0
    """
    return QuadraticLaw(degree**2 / (degree - 1), 0.0, -1 / (degree - 1), 0.0)


def wachter(a: float, b: float) -> QuadraticLaw:
    """Return the law of ``A(A + B)⁻¹``, Wisharts of ``an``, ``bn`` degrees; ``a/τ``, ``b/τ`` after ``τ``.

    Examples
    --------
    >>> from rmtaudit.linalg import free
    >>> low, high = free.wachter(2.0, 2.0).edges  # symmetric about 1/2
    >>> round(low + high, 12)
    1.0
    """
    total = a + b - 1
    return QuadraticLaw(0.0, 1 / total, -1 / total, (1 - a) / total)


def meixner(mass: float, place: float, mean: float, q2: float) -> QuadraticLaw:
    """Return the free Meixner law with variance ``mass``, skewness ``place`` and the given ``q₂ < 1``.

    Examples
    --------
    >>> from rmtaudit.linalg import free
    >>> free.meixner(mass=1.0, place=0.0, mean=0.0, q2=0.0).edges  # the semicircle
    (-2.0, 2.0)
    """
    index = -q2 / (1 - q2)
    return QuadraticLaw(
        (mass - place * mean - index * mean**2) * (1 - q2),
        (place + 2 * index * mean) * (1 - q2),
        q2,
        (place - (1 - 2 * index) * mean) * (1 - q2),
    )


def compound_free_poisson(rate: float, jumps: torch.Tensor, weights: torch.Tensor) -> LevyMeasure:
    """Return the measure of ``R(w) = rate Σ w_j t_j/(1 - t_j w)``; after ``τ`` ``rate/τ``, ``τt_j``.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import free
    >>> measure = free.compound_free_poisson(2.0, torch.tensor([3.0]), torch.tensor([1.0]))
    >>> measure.mean, float(measure.mass.sum())  # rate x jump, rate x jump²
    (6.0, 18.0)
    """
    if not (rate > 0 and bool((weights > 0).all())):
        raise ValueError("rate and weights must be positive")
    order = torch.argsort(jumps)
    jumps, weights = jumps.double()[order], weights.double()[order]
    return LevyMeasure(
        left=jumps, right=jumps, mass=rate * weights * jumps**2, mean=rate * float((weights * jumps).sum())
    )


def free_levy(mean: float, variance: float, rate: float, jump: float) -> LevyMeasure:
    """Return the measure of a semicircle free of compound Poisson jumps: ``R = a + σ²w + λt/(1 - tw)``.

    Examples
    --------
    >>> from rmtaudit.linalg import free
    >>> measure = free.free_levy(mean=1.0, variance=1.0, rate=0.5, jump=2.0)
    >>> float(measure.mass.sum())  # variance + rate x jump²
    3.0
    """
    places = torch.tensor([0.0, jump], dtype=torch.float64)
    masses = torch.tensor([variance, rate * jump**2], dtype=torch.float64)
    order = torch.argsort(places)
    return LevyMeasure(left=places[order], right=places[order], mass=masses[order], mean=mean + rate * jump)


def decompress(measure: LevyMeasure, factor: float) -> LevyMeasure:
    """Return the measure of the law ``factor`` times as large: cells and masses times the factor.

    Examples
    --------
    >>> from rmtaudit.linalg import free
    >>> larger = free.decompress(free.free_levy(0.5, 1.0, 0.0, 1.0), 4.0)
    >>> larger.mean, float(larger.mass.sum())  # the mean stays, the variance grows with the size
    (0.5, 4.0)
    """
    if not (factor > 0 and factor * measure.index < 1):
        raise ValueError(f"no law of factor {factor:g} exists")
    return LevyMeasure(
        left=measure.left * factor,
        right=measure.right * factor,
        mass=measure.mass * factor,
        mean=measure.mean,
        index=measure.index * factor,
    )


def sample_matrix(measure: LevyMeasure, size: int, generator: torch.Generator) -> torch.Tensor:
    """Return a random symmetric ``size x size`` matrix with the law: a block of a larger free one.

    The quantiles of the law at twice the size (or half way to its last factor), in a uniform random basis,
    cut
    to a principal block: its spectrum fluctuates as that of a random matrix does.
    """
    factor = 2.0 if measure.index <= 0.25 else (1 + 1 / measure.index) / 2
    large = round(size * factor)
    eigenvalues = evolve(measure, large / size).quantiles(large)
    noise = torch.randn(large, size, generator=generator, dtype=torch.float64)
    columns: torch.Tensor = torch.linalg.qr(noise).Q
    return columns.T @ (eigenvalues[:, None] * columns)
