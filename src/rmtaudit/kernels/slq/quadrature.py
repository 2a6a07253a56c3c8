"""Gauss and Gauss-Radau rules of Jacobi matrices, and the bracket that they put around ``uᵀ f(A) u``.

Golub, Meurant 2010, *Matrices, Moments and Quadrature with Applications*, chapter 6. With ``l`` nodes the
error of Gauss is ``f^(2l)(ξ)/(2l)!`` times a positive integral; of Gauss-Radau with a node at ``a`` below
the spectrum is ``f^(2l+1)(ξ)`` times a positive one, with a node ``b`` above it times a negative one. So
functions whose derivatives keep their signs are bracketed, with no constant to be estimated.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rmtaudit.kernels.lanczos import EPSILON, Jacobi
from rmtaudit.kernels.slq.integrands import Integrand


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule a probe: nodes (ascending), weights (they sum to 1), and the sizes of the last components.

    Shapes ``(s, l)``. The residual of a Ritz pair is its last component times the next off-diagonal entry.
    """

    nodes: torch.Tensor
    weights: torch.Tensor
    last: torch.Tensor

    def integral(self, integrand: Integrand) -> torch.Tensor:
        """Return ``Σ w f(θ)`` for each probe, shape ``(s,)``."""
        return (self.weights * integrand.value(self.nodes)).sum(dim=1)


@dataclass(frozen=True, slots=True)
class Bracket:
    """Bounds of ``uᵀ f(A) u`` for each probe, shapes ``(s,)``; infinite where there is none."""

    lower: torch.Tensor
    upper: torch.Tensor
    gauss: torch.Tensor
    rounding: torch.Tensor


def gauss(jacobi: Jacobi) -> Rule:
    """Return the Gauss rules; of Golub-Kahan from the singular values of ``B``: small nodes are exact."""
    if jacobi.factor is None:
        values, vectors = torch.linalg.eigh(_tridiagonal(jacobi.diagonal, jacobi.off))
        return Rule(values, vectors[:, 0, :] ** 2, vectors[:, -1, :].abs())
    rho, psi = jacobi.factor
    return _bidiagonal_rule(rho, psi)


def radau(jacobi: Jacobi, node: float) -> Rule:
    """Return the Gauss-Radau rules with one node given, outside all the Gauss nodes.

    Raises
    ------
    ArithmeticError
        If the node lies inside the spectrum: it is no bound.
    """
    if jacobi.factor is not None and node >= 0:
        below = _radau_below(jacobi, node)
        if below is not None:
            return below
    pivot = jacobi.diagonal[:, 0] - node
    side = torch.sign(pivot[0])
    for k in range(1, jacobi.diagonal.shape[1]):
        _check_side(pivot, side, node)
        pivot = jacobi.diagonal[:, k] - node - jacobi.off[:, k - 1] ** 2 / pivot
    _check_side(pivot, side, node)
    rule = with_last(jacobi, node + jacobi.next**2 / pivot)
    # the node is known; rounding must not carry it out of the domain of f
    rule.nodes[:, 0 if side > 0 else -1] = node
    return rule


def bracket(
    jacobi: Jacobi,
    rule: Rule,
    integrand: Integrand,
    smallest: float | None,
    largest: float | None,
    epsilon: float,
) -> Bracket:
    """Return the bracket of every probe.

    Parameters
    ----------
    jacobi, rule
        Of every probe; the rule is its Gauss rule.
    integrand
        f.
    smallest, largest
        Bounds of the spectrum; ``None`` where there is none, and then one side of the bracket may be
        infinite.
    epsilon
        Unit round-off of the products.

    Notes
    -----
    ``rounding`` is ``8 sqrt(l) eps (θ_max Σ w |f'(θ)| + |Σ w f(θ)|)``: first-order, for a perturbation of the
    matrix by that multiple of its norm; of a Gram matrix, of ``W`` by that of its own. It is a bound that no
    measured error has passed, not a proven one. Both ends are moved outwards by it.
    """
    middle = rule.integral(integrand)
    steps = rule.nodes.shape[1]
    # a change of W by eps |W| moves an eigenvalue by 2 eps sqrt(θ θ_max), one of A by eps |A| by that
    size = rule.nodes.abs().amax(dim=1, keepdim=True)
    moved = size if jacobi.factor is None else 2 * (size * rule.nodes).sqrt() + epsilon * size
    slope = (rule.weights * integrand.slope(rule.nodes).abs() * moved).sum(dim=1)
    rounding = 8 * steps**0.5 * epsilon * (slope + middle.abs())
    lower = torch.full_like(middle, -torch.inf)
    upper = torch.full_like(middle, torch.inf)
    if 2 * steps > integrand.order and integrand.even:
        if integrand.even > 0:
            lower = middle
        else:
            upper = middle
        for node, sign in ((smallest, integrand.odd), (largest, -integrand.odd)):
            if node is None or (integrand.positive and node <= 0):
                continue
            value = radau(jacobi, node).integral(integrand)
            if sign > 0:
                lower = torch.maximum(lower, value)
            else:
                upper = torch.minimum(upper, value)
    # the rule of an exhausted probe is the integral itself, whatever f
    whole = jacobi.next == 0
    lower, upper = torch.where(whole, middle, lower), torch.where(whole, middle, upper)
    return Bracket(lower - rounding, upper + rounding, middle, rounding)


def step_bracket(jacobi: Jacobi, threshold: float) -> Bracket:
    """Return bounds of the measure of ``(-inf, x]``, by the inequalities of Chebyshev, Markov and Stieltjes.

    The rule with a node at ``x`` itself, wherever it lies, bounds the measure by the weights below the node
    and those weights with the node's own; no rule of as many moments does better (Szegő 1975, section 3.41).
    """
    pivot = jacobi.diagonal[:, 0] - threshold
    scale = jacobi.diagonal.abs().amax(dim=1) + jacobi.next
    for k in range(1, jacobi.diagonal.shape[1]):
        pivot = jacobi.diagonal[:, k] - threshold - jacobi.off[:, k - 1] ** 2 / away_from_zero(pivot, scale)
    rule = with_last(jacobi, threshold + jacobi.next**2 / away_from_zero(pivot, scale))
    at = (rule.nodes - threshold).abs().argmin(dim=1, keepdim=True)
    # the other nodes lie on the side that the pivots put them; the node itself is known
    before = torch.nn.functional.pad(torch.cumsum(rule.weights, dim=1), (1, 0))
    lower, upper = before.gather(1, at).squeeze(1), before.gather(1, at + 1).squeeze(1)
    rounding = torch.full_like(lower, 8 * rule.nodes.shape[1] ** 0.5 * EPSILON)
    whole = jacobi.next == 0
    if bool(whole.any()):
        plain = gauss(jacobi)
        margin = 8 * EPSILON * scale[:, None] * rule.nodes.shape[1] ** 0.5
        sure = (plain.weights * (plain.nodes < threshold - margin)).sum(dim=1)
        most = (plain.weights * (plain.nodes <= threshold + margin)).sum(dim=1)
        lower, upper = torch.where(whole, sure, lower), torch.where(whole, most, upper)
    return Bracket(
        (lower - rounding).clamp(min=0), (upper + rounding).clamp(max=1), (lower + upper) / 2, rounding
    )


def away_from_zero(pivot: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Keep pivots from 0: that shifts a node by less than rounding does."""
    tiny = 1e-3 * EPSILON * scale
    return torch.where(pivot.abs() > tiny, pivot, tiny)


def with_last(jacobi: Jacobi, last: torch.Tensor) -> Rule:
    """Return the rules with one step more, whose diagonal entry is ``last``, shape ``(s,)``."""
    diagonal = torch.cat([jacobi.diagonal, last[:, None]], dim=1)
    off = torch.cat([jacobi.off, jacobi.next[:, None]], dim=1)
    values, vectors = torch.linalg.eigh(_tridiagonal(diagonal, off))
    return Rule(values, vectors[:, 0, :] ** 2, vectors[:, -1, :].abs())


def _tridiagonal(diagonal: torch.Tensor, off: torch.Tensor) -> torch.Tensor:
    matrix = torch.diag_embed(diagonal)
    return matrix + torch.diag_embed(off, 1) + torch.diag_embed(off, -1)


def _bidiagonal_rule(rho: torch.Tensor, psi: torch.Tensor) -> Rule:
    factor = torch.diag_embed(rho) + torch.diag_embed(psi, 1)
    _, sigma, right = torch.linalg.svd(factor)
    return Rule(sigma.flip(1) ** 2, right[:, :, 0].flip(1) ** 2, right[:, :, -1].flip(1).abs())


def _radau_below(jacobi: Jacobi, node: float) -> Rule | None:
    """Return the rule with a node below the spectrum as singular values, ``None`` where it is not below.

    The stationary quotient-difference transform (Parlett 1998) gives the pivots of ``T - a I`` without the
    cancellation of forming ``T``: D_i = q_i + s_i, s_1 = -a, s_(i+1) = e_i s_i/D_i - a. The new corner that
    makes ``a`` an eigenvalue is q = -s.
    """
    assert jacobi.factor is not None
    rho, psi = jacobi.factor
    q, inner = rho**2, torch.cat([psi**2, jacobi.next[:, None] * 0], dim=1)
    # next = rho psi, so the last e is (next/rho)^2
    live = rho[:, -1] > 0
    inner[:, -1] = torch.where(live, (jacobi.next / rho[:, -1].clamp(min=1e-300)) ** 2, 0.0)
    shift = torch.full_like(q[:, 0], -node)
    for k in range(q.shape[1]):
        pivot = q[:, k] + shift
        if not bool((pivot > 0).all()):
            return None
        shift = inner[:, k] * shift / pivot - node
    corner = (-shift).clamp(min=0.0).sqrt()
    rule = _bidiagonal_rule(
        torch.cat([rho, corner[:, None]], dim=1), torch.cat([psi, inner[:, -1:].sqrt()], dim=1)
    )
    rule.nodes[:, 0] = node
    return rule


def _check_side(pivot: torch.Tensor, side: torch.Tensor, node: float) -> None:
    if not bool((pivot * side > 0).all()):
        raise ArithmeticError(
            f"{node:.6g} is not a bound of the spectrum: the matrix has eigenvalues on both sides"
        )
