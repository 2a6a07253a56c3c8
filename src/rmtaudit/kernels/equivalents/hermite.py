"""Hermite coefficients of activation functions: all that wide random layers depend on.

``a_k = E[φ(ξ) he_k(ξ)]`` with ``ξ`` standard normal and ``he_k = He_k/√k!``, so that ``E φ(ξ)² = Σ a_k²``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from rmtaudit.kernels.equivalents.activations import Activation, activation, normal_density

_REACH, _PANEL = 14.0, 0.5
"""A convention: the normal density beyond 14 is below 1e-43; panels end at multiples of 1/2, where
most activations have their kinks."""
_ORDER = 32
"""A convention: degree of the polynomial on a panel; its half has every second node."""
_ERROR, _DEPTH = 1e-12, 50
"""A convention: absolute error of a panel above which it is halved, and how often at most: a jump that no
panel ends at is then inside one of 1e-15."""
_INWARD = 1e-12
"""Nodes at the ends of a panel are moved inwards by this share: a jump there is not seen."""
_SMOOTH, _COMPARED = 1e-5, 8
"""A convention: a derivative of which one of the first 8 coefficients is off by more misses a jump."""


@dataclass(frozen=True, slots=True)
class HermiteCoefficients:
    """What a wide random layer keeps of its activation function.

    Attributes
    ----------
    values
        ``a_0, a_1, …``, shape ``(order + 1,)``, float64.
    second_moment
        ``ν = E φ(ξ)²``.
    derivative_moment
        ``ν' = E φ'(ξ)²``; ``None`` where ``φ`` jumps and there is none.
    """

    values: torch.Tensor
    second_moment: float
    derivative_moment: float | None

    @property
    def variance(self) -> float:
        """``Var φ(ξ) = ν - a_0²``."""
        return self.second_moment - float(self.values[0]) ** 2

    @property
    def linear_fraction(self) -> float:
        """``a_1²/(ν - a_0²)``: the share of the variance that is linear in the input."""
        return float(self.values[1]) ** 2 / self.variance


def hermite_coefficients(function: str | Activation, order: int = 2) -> HermiteCoefficients:
    """Return Hermite coefficients and second moments, with kinks and jumps wherever they are.

    Clenshaw-Curtis quadrature against the normal density on panels that are halved until both of two degrees
    agree. Gauss-Hermite quadrature, the usual choice, has three digits at a kink.

    Parameters
    ----------
    function
        A name (:data:`ACTIVATIONS`), or a function of a float64 tensor, elementwise, of at most exponential
        growth.
    order
        Highest ``k``, at least 1.

    Raises
    ------
    ValueError
        For an unknown name, an order below 1, values that are not finite, or a function that is constant.

    Examples
    --------
    >>> from rmtaudit.linalg import equivalents
    >>> relu = equivalents.hermite_coefficients("relu")
    >>> [round(a, 6) for a in relu.values.tolist()], round(relu.second_moment, 6)
    ([0.398942, 0.5, 0.282095], 0.5)
    """
    if order < 1:
        raise ValueError(f"the order must be at least 1, not {order}")
    phi = activation(function) if isinstance(function, str) else function
    x, weights = _nodes(phi)
    value = _checked(phi, x)
    basis = hermite_functions(x, order)
    coefficients = basis @ (weights * value)
    second = float(weights @ value.square())
    if not second - float(coefficients[0]) ** 2 > 1e-14 * second:
        raise ValueError("the activation function is constant")
    return HermiteCoefficients(coefficients, second, _derivative_moment(phi, x, weights * value, weights))


def hermite_functions(x: torch.Tensor, order: int) -> torch.Tensor:
    """Return ``he_0 … he_order`` at ``x``, orthonormal for the normal law, a row for each."""
    rows = [torch.ones_like(x), x]
    for k in range(1, order):
        rows.append((x * rows[k] - math.sqrt(k) * rows[k - 1]) / math.sqrt(k + 1))
    return torch.stack(rows[: order + 1])


def fixed_nodes() -> tuple[torch.Tensor, torch.Tensor]:
    """Return nodes, and weights with the normal density, for functions that are smooth but at 0."""
    t, fine, _ = _rule()
    low = torch.arange(-_REACH, _REACH, _PANEL, dtype=torch.float64)
    x = low[:, None] + _PANEL * (1 + t) / 2
    return x.reshape(-1), (_PANEL / 2 * fine * normal_density(x)).reshape(-1)


def _nodes(phi: Activation) -> tuple[torch.Tensor, torch.Tensor]:
    """Return nodes and weights, with the normal density in the weights, fine enough for ``phi``."""
    t, fine, coarse = _rule()
    low = torch.arange(-_REACH, _REACH, _PANEL, dtype=torch.float64)
    width = torch.full_like(low, _PANEL)
    nodes, weights = [], []
    for depth in range(_DEPTH + 1):
        x = low[:, None] + width[:, None] * (1 + t) / 2
        integrand = _checked(phi, x).square() * normal_density(x)
        plain = _checked(phi, x) * normal_density(x)
        error = torch.zeros_like(low)
        for part in (integrand, plain):
            error = torch.maximum(error, (width / 2 * (part @ fine - part @ coarse)).abs())
        settled = (error <= _ERROR) if depth < _DEPTH else torch.ones_like(error, dtype=torch.bool)
        nodes.append(x[settled].reshape(-1))
        weights.append((width[settled, None] / 2 * fine * normal_density(x[settled])).reshape(-1))
        if bool(settled.all()):
            break
        half = width[~settled] / 2
        low = torch.cat([low[~settled], low[~settled] + half])
        width = torch.cat([half, half])
    return torch.cat(nodes), torch.cat(weights)


def _rule() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return nodes on [-1, 1], and Clenshaw-Curtis weights of the full and of half the degree."""
    t = -torch.cos(math.pi * torch.arange(_ORDER + 1, dtype=torch.float64) / _ORDER)
    t[0], t[-1] = _INWARD - 1, 1 - _INWARD
    coarse = torch.zeros_like(t)
    coarse[::2] = _clenshaw_curtis(_ORDER // 2)
    return t, _clenshaw_curtis(_ORDER), coarse


def _clenshaw_curtis(order: int) -> torch.Tensor:
    j = torch.arange(order + 1, dtype=torch.float64)
    k = torch.arange(1, order // 2 + 1, dtype=torch.float64)
    terms = torch.where(k == order / 2, 1.0, 2.0) / (4 * k**2 - 1)
    weights = 2 / order * (1 - torch.cos(2 * math.pi * j[:, None] * k / order) @ terms)
    weights[0], weights[-1] = weights[0] / 2, weights[-1] / 2
    return weights


def _checked(phi: Activation, x: torch.Tensor) -> torch.Tensor:
    value = phi(x)
    if value.shape != x.shape or not bool(torch.isfinite(value).all()):
        raise ValueError("the activation function must be elementwise and finite")
    return value.double()


def _derivative_moment(
    phi: Activation, x: torch.Tensor, weighted: torch.Tensor, weights: torch.Tensor
) -> float | None:
    """Return ``E φ'²``; ``None`` where ``E φ' he_k = √(k+1) a_(k+1)`` does not hold: then ``φ`` jumps."""
    slope = _derivative(phi, x)
    if slope is None:
        return None
    basis = hermite_functions(x, _COMPARED)
    k = torch.arange(_COMPARED, dtype=torch.float64)
    excess = basis[:-1] @ (weights * slope) - (k + 1).sqrt() * (basis[1:] @ weighted)
    return float(weights @ slope.square()) if bool((excess.abs() < _SMOOTH).all()) else None


def _derivative(phi: Activation, x: torch.Tensor) -> torch.Tensor | None:
    """Return the derivative by automatic differentiation; ``None`` where the function has none."""
    with torch.enable_grad():
        at = x.clone().requires_grad_()
        value = phi(at)
        if not value.requires_grad:
            return None
        (slope,) = torch.autograd.grad(value.sum(), at)
    return slope
