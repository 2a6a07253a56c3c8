"""Spectral densities: the kernel polynomial method with Jackson's damping, and Lanczos with Gaussians.

A density is always of the spectrum smoothed over a width; its standard errors are those of the probes, and
say nothing about finer detail. Counts with bounds are those of :func:`rmtaudit.kernels.slq.count`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from rmtaudit.kernels.lanczos import start
from rmtaudit.kernels.operators import Gram, Operator, Symmetric
from rmtaudit.kernels.slq.quadrature import gauss
from rmtaudit.kernels.slq.samplers import Sampler

_EDGE_STEPS = 20
"""A convention: Lanczos steps that bound the ends of the spectrum."""
_MARGIN = 0.01
"""A convention: of the range, added to the ends; moments that grow show that it was too little."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A function of the eigenvalue at the points asked for, float64, with its standard errors.

    ``width`` is that over which it is smoothed, at each point, in units of the eigenvalue.
    """

    points: torch.Tensor
    values: torch.Tensor
    standard_errors: torch.Tensor
    width: torch.Tensor


@dataclass(frozen=True, slots=True)
class ChebyshevDensity:
    """Chebyshev moments of the spectrum, probe by probe: densities and counts for any points.

    Attributes
    ----------
    moments
        ``uᵀ T_k((A - c)/h) u`` of each unit probe, shape ``(s, K)``.
    centre, half
        c and h, so that the spectrum lies in ``[c - h, c + h]``.
    size
        Order of the matrix.
    """

    moments: torch.Tensor
    centre: float
    half: float
    size: int

    def density(self, points: torch.Tensor) -> Curve:
        """Return the density of eigenvalues (its integral is 1) smoothed by Jackson's kernel.

        Weisse, Wellein, Alvermann, Fehske 2006, equations 71 and 83.
        """
        x, inside = self._inside(points)
        orders = torch.arange(self.moments.shape[1], dtype=torch.float64)
        basis = torch.cos(torch.outer(torch.arccos(x), orders)) * (2 * jackson(len(orders)))
        basis[:, 0] /= 2
        basis /= (math.pi * self.half * (1 - x**2).clamp(min=1e-12).sqrt())[:, None]
        return self._curve(points, basis * inside[:, None])

    def counts(self, points: torch.Tensor) -> Curve:
        """Return the smoothed number of eigenvalues below each point."""
        x, _ = self._inside(points)
        angle = torch.arccos(x)
        orders = torch.arange(1, self.moments.shape[1], dtype=torch.float64)
        basis = -2 * torch.sin(torch.outer(angle, orders)) / (math.pi * orders)
        basis = torch.cat([(1 - angle / math.pi)[:, None], basis], dim=1) * jackson(len(orders) + 1)
        return self._curve(points, basis * self.size)

    def _inside(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = (points.to(torch.float64) - self.centre) / self.half
        return x.clamp(-1, 1), (x.abs() < 1).to(torch.float64)

    def _curve(self, points: torch.Tensor, basis: torch.Tensor) -> Curve:
        each = self.moments @ basis.T
        x, _ = self._inside(points)
        width = math.pi * self.half / self.moments.shape[1] * (1 - x**2).sqrt()
        return Curve(points, each.mean(dim=0), each.std(dim=0) / math.sqrt(len(each)), width)


def kernel_polynomial(
    operator: Operator, sampler: Sampler, *, moments: int = 100, probes: int = 16
) -> ChebyshevDensity:
    """Return the Chebyshev moments of the spectrum; two moments a product.

    The spectrum's ends are those given with the operator, or the extreme Ritz values of 20 Lanczos steps
    with their residuals and 1 % of the range.

    Raises
    ------
    ArithmeticError
        If the moments grow: the spectrum reaches beyond those ends.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import operators, slq
    >>> matrix = torch.diag(torch.linspace(1, 2, 200, dtype=torch.float64))
    >>> operator = operators.dense(matrix, smallest=1.0)
    >>> law = slq.kernel_polynomial(operator, slq.Sampler(0))
    >>> below = law.counts(torch.tensor([1.5], dtype=torch.float64)).values
    >>> abs(float(below) - 100) < 5
    True
    """
    if probes < 2 or moments < 2:
        raise ValueError("at least 2 probes and 2 moments are needed")
    vectors = sampler.unit(range(probes), operator.size)
    low, high = _ends(operator, vectors)
    centre, half = (low + high) / 2, max((high - low) / 2, 1e-300)
    vectors = vectors.to(operator.device)

    def scaled(rows: torch.Tensor) -> torch.Tensor:
        return (_apply(operator, rows) - centre * rows) / half

    before, now = vectors, scaled(vectors)
    moments_of_probes = [
        torch.ones(probes, dtype=torch.float64, device=operator.device),
        (vectors * now).sum(dim=1),
    ]
    while len(moments_of_probes) < moments:
        moments_of_probes.append(2 * (now * now).sum(dim=1) - moments_of_probes[0])
        before, now = now, 2 * scaled(now) - before
        moments_of_probes.append(2 * (now * before).sum(dim=1) - moments_of_probes[1])
    table = torch.stack(moments_of_probes[:moments], dim=1).cpu()
    if not bool((table.abs() <= 1 + 1e-6).all()):
        raise ArithmeticError(f"the spectrum reaches beyond [{low:.6g}, {high:.6g}]: the moments grow")
    return ChebyshevDensity(table, centre, half, operator.size)


def lanczos_density(
    operator: Operator,
    points: torch.Tensor,
    width: float,
    sampler: Sampler,
    *,
    steps: int = 100,
    probes: int = 16,
) -> Curve:
    """Return the density of eigenvalues smoothed by a Gaussian of this standard deviation.

    Lin, Saad, Yang 2016, section 3.2.2. Finds the ends of the spectrum and isolated eigenvalues better than
    the kernel polynomial method, and smooth parts worse.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import operators, slq
    >>> matrix = torch.diag(torch.linspace(1, 2, 200, dtype=torch.float64))
    >>> operator = operators.dense(matrix, smallest=1.0)
    >>> middle = torch.tensor([1.5], dtype=torch.float64)
    >>> curve = slq.lanczos_density(operator, middle, 0.05, slq.Sampler(0))
    >>> abs(float(curve.values) - 1) < 0.02  # uniform on [1, 2]
    True
    """
    if not width > 0:
        raise ValueError(f"the width must be positive, not {width}")
    rule = gauss(start(operator, sampler.unit(range(probes), operator.size)).extend(steps))
    points = points.to(torch.float64)
    scaled = (points[None, :, None] - rule.nodes[:, None, :]) / width
    kernel = torch.exp(-(scaled**2) / 2) / (width * math.sqrt(2 * math.pi))
    each = (kernel * rule.weights[:, None, :]).sum(dim=2)
    return Curve(
        points, each.mean(dim=0), each.std(dim=0) / math.sqrt(probes), torch.full_like(points, width)
    )


def jackson(order: int) -> torch.Tensor:
    """Return Jackson's damping factors of a series of this many terms, shape ``(order,)``."""
    k = torch.arange(order, dtype=torch.float64)
    step = math.pi / (order + 1)
    inner = (order - k + 1) * torch.cos(k * step) + torch.sin(k * step) / math.tan(step)
    return inner / (order + 1)


def _ends(operator: Operator, vectors: torch.Tensor) -> tuple[float, float]:
    jacobi = start(operator, vectors).extend(_EDGE_STEPS)
    rule = gauss(jacobi)
    low = float((rule.nodes[:, 0] - jacobi.next * rule.last[:, 0]).min())
    high = float((rule.nodes[:, -1] + jacobi.next * rule.last[:, -1]).max())
    margin = _MARGIN * (high - low) + 1e-12 * max(abs(low), abs(high))
    known = 0.0 if isinstance(operator, Gram) and operator.smallest is None else operator.smallest
    return (
        low - margin if known is None else known - 1e-3 * margin,
        high + margin if operator.largest is None else operator.largest + 1e-3 * margin,
    )


def _apply(operator: Operator, rows: torch.Tensor) -> torch.Tensor:
    X = rows.to(operator.dtype).T
    if isinstance(operator, Symmetric):
        Y = operator.matmul(X)
    elif operator.rows >= operator.cols:
        Y = operator.transposed(operator.matmul(X))
    else:
        Y = operator.matmul(operator.transposed(X))
    return Y.T.to(torch.float64)
