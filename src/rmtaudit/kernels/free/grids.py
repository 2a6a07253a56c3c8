"""Where to look at the boundary of an evolved law: grids that miss nothing and waste little."""

from __future__ import annotations

import math

import torch

from rmtaudit.kernels.free.measure import LevyMeasure, inverse_square

_COARSE, _BISECTIONS = 1000, 60
"""A convention: points of the first grid; and halvings of an interval, more than the 53 bits of float64."""


def first_grid(measure: LevyMeasure, factor: float) -> torch.Tensor:
    """Return points of the real line that see every cell, every gap, every atom and every edge."""
    left, right, mass = measure.left, measure.right, measure.mass
    effective = factor / (1 - factor * measure.index)
    # beyond the last cell the curve is flat after the first length, and F has no zero after the second
    reach = 1.0001 * math.sqrt(measure.variance * max(1 / effective, measure.index))
    steps = max(4, _COARSE // len(mass))
    inner = left[:, None] + (right - left)[:, None] * _unit(steps + 1, left)
    spread = torch.sinh(6 * (2 * _unit(2 * steps + 1, left) - 1)) / math.sinh(6)
    own = 2 * (mass / effective).sqrt()
    parts = [inner.reshape(-1)]
    separated = left[1:] - right[:-1] > 1e-9 * (right[-1] - left[0])
    for edge, alone in (
        (left, torch.nn.functional.pad(separated, (1, 0), value=True)),
        (right, torch.nn.functional.pad(separated, (0, 1), value=True)),
    ):
        parts.append((edge[alone, None] + own[alone, None] * spread).reshape(-1))
    gap = (left[1:] - right[:-1])[separated, None]
    parts.append((right[:-1][separated, None] + gap * _unit(steps + 1, left)).reshape(-1))
    low, high = left.min() - reach, right.max() + reach
    if measure.index:
        # F has its zeros no further from 0 than this
        bound = max(reach, abs(measure.index) * measure.variance / reach)
        low, high = low.clamp(max=-bound), high.clamp(min=bound)
    squares = _unit(101, left) ** 2
    grid = torch.cat([*parts, low + (left.min() - low) * squares, high - (high - right.max()) * squares])
    return _distinct(grid[(grid >= low) & (grid <= high)])


def second_grid(
    measure: LevyMeasure,
    s: torch.Tensor,
    v: torch.Tensor,
    x: torch.Tensor,
    density: torch.Tensor,
    factor: float,
    points: int,
    zeros: tuple[float, ...],
) -> torch.Tensor:
    """Return points that spread mass, angle and length of the curve evenly; edges are kept."""
    mass = torch.cumulative_trapezoid(density, x)
    step = torch.diff(s)
    length = (step**2 + torch.diff(v) ** 2).sqrt() / (s.abs() + v)[1:].clamp(min=1e-300)
    parts = [
        mass.diff(prepend=torch.zeros_like(mass[:1])),
        step,
        length,
        torch.diff(x),
        (torch.diff(v).abs() + step).sqrt(),
    ]
    weight = sum(part / part.sum().clamp(min=1e-300) for part in parts)
    assert isinstance(weight, torch.Tensor)
    total = torch.cat([torch.zeros_like(weight[:1]), torch.cumsum(weight, 0)])
    grid = interpolate(float(total[-1]) * _unit(points, s), total, s)
    edges = _edge_points(measure, s, v, factor / (1 - factor * measure.index))
    # an atom is a jump between two points that lie close on its two sides
    sides = grid.new_tensor([zero + side * 1e-12 * float(s[-1] - s[0]) for zero in zeros for side in (-1, 1)])
    return _distinct(torch.cat([grid, edges, sides]))


def _edge_points(measure: LevyMeasure, s: torch.Tensor, v: torch.Tensor, effective: float) -> torch.Tensor:
    """Return the edges ``∫G(dx)/(s-x)² = factor``, and points crowding towards them."""
    inside = v > 0
    at = torch.nonzero(inside[1:] != inside[:-1]).flatten()
    low, high = s[at].clone(), s[at + 1].clone()
    rising = inside[at + 1]
    # of 1 - factor/∫G(dx)/(s-x)², which is 1 within cells: false position, with halving where that is slow
    at_low, at_high = (1 - effective / inverse_square(measure, end) for end in (low, high))
    for step in range(_BISECTIONS):
        width = high - low
        middle = (low + high) / 2
        guess = low - at_low * width / (at_high - at_low)
        if step % 3 < 2:
            middle = torch.where((guess > low) & (guess < high), guess, middle)
        value = 1 - effective / inverse_square(measure, middle)
        up = (value > 0) != rising
        # Illinois: an end that stays counts half
        at_low, at_high = torch.where(up, value, at_low / 2), torch.where(up, at_high / 2, value)
        low, high = torch.where(up, middle, low), torch.where(up, high, middle)
        if bool((high - low <= 4e-16 * (low.abs() + high.abs())).all()):
            break
    edge = torch.where(rising, low, high)
    scale = torch.where(rising, 1.0, -1.0) * torch.maximum(s[at + 1] - s[at], edge.abs() * 1e-6)
    crowd = torch.logspace(-7, 0, 15, dtype=s.dtype, device=s.device)
    return torch.cat([edge, (edge[:, None] + scale[:, None] * crowd).reshape(-1)])


def _unit(points: int, like: torch.Tensor) -> torch.Tensor:
    return torch.linspace(0, 1, points, dtype=like.dtype, device=like.device)


def _distinct(grid: torch.Tensor) -> torch.Tensor:
    """Return the points ascending, without repeats and without 0, where ``F`` may vanish."""
    grid = torch.unique(grid)
    tiny = 1e-13 * (grid[-1] - grid[0])
    grid = torch.where(grid.abs() < tiny, tiny, grid)
    return grid[torch.cat([torch.ones_like(grid[:1], dtype=torch.bool), torch.diff(grid) > 0])]


def interpolate(at: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return ``y`` at the points ``at``, linear between ascending ``x``, constant outside."""
    right = torch.searchsorted(x, at.contiguous()).clamp(1, len(x) - 1)
    x0, x1 = x[right - 1], x[right]
    share = ((at - x0) / (x1 - x0).clamp(min=1e-300)).clamp(0, 1)
    return y[right - 1] + share * (y[right] - y[right - 1])
