"""The boundary of an evolved law: one root for every real point, by Newton's method where it cannot fail.

``f(w) = ∫G(dx)/((s - x)² + w)`` is a Stieltjes function of ``w = v²``, so that ``1/f`` is increasing and
concave, and ``w |(1/f)''| <= 2 (1/f)'``. Newton's steps on ``1/f`` from the left of the root never pass it,
one from the right lands on the left, and after a step of relative length ``e`` the relative error is at most
about ``e²``.
"""

from __future__ import annotations

import math

import torch

from rmtaudit.kernels.free.measure import LevyMeasure, inverse_square

# a step of this relative length leaves an error of its square
_SHORT, _ROUNDING = 3e-8, 1e-14
_NEWTON, _STEPS = 60, 200
"""A convention: Newton steps before the interval is halved in the logarithm, and steps in all."""
_NARROW, _NARROW_SLOPE = 1e-6, 1e-4
"""Cells so much narrower than their distance are points: the next term is their square. A slope is a
difference, and cancels from further away."""


def heights(
    measure: LevyMeasure, s: torch.Tensor, factor: float, start: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the imaginary parts ``v(s)`` of the boundary: ``∫G(dx)/((s-x)² + v²) = factor``, or 0.

    The bracket of every root is kept, and halved in logarithms where 60 steps were not enough.

    Parameters
    ----------
    measure
        The measure; ``K`` cells.
    s
        Shape ``(M,)``, float64: real parts.
    factor
        Positive.
    start
        Shape ``(M,)``: guesses of ``v``; any.
    """
    out = torch.zeros_like(s)
    at_zero = inverse_square(measure, s)
    inside = at_zero > factor
    if not bool(inside.any()):
        return out
    s = s[inside]
    low = _lower_bound(measure, s, factor)
    high = torch.full_like(s, measure.variance / factor * (1 + 1e-12)).maximum(low)
    square = (
        low if start is None else torch.where(start[inside] > 0, start[inside] ** 2, low).clamp(low, high)
    )
    thin = bool((measure.left == measure.right).all())
    left = torch.arange(len(s), device=s.device)
    result = square.clone()
    for step in range(_STEPS):
        total, slope = _inverse_square_above(measure, s[left], square, thin)
        below = total > factor
        low, high = torch.where(below, square, low), torch.where(below, high, square)
        # Newton on 1/total - 1/factor
        moved = square + (total - total * total / factor) / slope
        moved = moved.clamp(low, high) if step < _NEWTON else (low.clamp(min=1e-300) * high).sqrt()
        result[left] = moved
        going = (moved - square).abs() > _SHORT * moved
        going &= ((total - factor).abs() > _ROUNDING * factor) & (high - low > _ROUNDING * high)
        count = int(going.sum())
        if not count:
            break
        if count < len(left):
            left, square, low, high = left[going], moved[going], low[going], high[going]
        else:
            square = moved
    out[inside] = result.sqrt()
    return out


def _lower_bound(measure: LevyMeasure, s: torch.Tensor, factor: float) -> torch.Tensor:
    """Return a number not above the root ``v²``, positive wherever the integral at 0 is infinite.

    The best of: all mass at its mean square distance (Jensen); the mass of one cell at its far edge; and of
    the cell that holds ``s``, seen from height ``v`` at an angle of at least a half or a quarter of π.
    """
    left, right, mass = measure.left, measure.right, measure.mass
    centre = float(((left + right) / 2 * mass).sum()) / measure.variance
    spread = float(
        (((left - centre) ** 2 + (left - centre) * (right - centre) + (right - centre) ** 2) * mass).sum()
    )
    best = measure.variance / factor - (s - centre) ** 2 - spread / (3 * measure.variance)
    a, b = left - s[:, None], right - s[:, None]
    far = torch.maximum(-a, b)
    best = best.maximum((mass / factor - far * far).amax(1))
    product = a * b
    width = right - left
    angle = math.pi * mass / (2 * factor * torch.where(width > 0, width, torch.inf))
    own = torch.maximum(torch.minimum(angle, (-product).clamp(min=0).sqrt()), torch.minimum(angle / 2, width))
    own = torch.where(product <= 0, own, 0.0).amax(1)
    return best.maximum(own * own).clamp(min=0) * (1 - 1e-12)


def _inverse_square_above(
    measure: LevyMeasure, s: torch.Tensor, square: torch.Tensor, thin: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``∫G(dx)/((s-x)² + v²)`` and its derivative in ``v²``; at ``v = 0`` only outside the cells."""
    a, b = measure.left - s[:, None], measure.right - s[:, None]
    square = square[:, None]
    product = torch.addcmul(square, a, b)
    inverse = product.reciprocal()
    if thin:
        return inverse @ measure.mass, -(inverse * inverse) @ measure.mass
    v = square.sqrt()
    width = measure.right - measure.left
    across = width * v
    safe = torch.where(width > 0, width, 1.0) * v
    # never inside a cell, where the product is negative
    value = torch.where(across < _NARROW * product, inverse, torch.atan2(across, product) / safe)
    edges = (a / (a * a + square) - b / (b * b + square)) * (v / safe)
    flat = -((width * width / 3 + a * b) + square) * inverse**3
    slope = torch.where(across < _NARROW_SLOPE * product, flat, (edges - value) / (2 * square))
    return value @ measure.mass, slope @ measure.mass
