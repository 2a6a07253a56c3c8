"""The companion Stieltjes transform of a sample covariance: Silverstein's equation, solved.

``S = Σ^(1/2) Z Zᵀ Σ^(1/2) / n`` with ``Z`` of shape ``p x n`` and independent entries of mean 0 and variance
1, ``c = p/n``, ``H`` the spectrum of ``Σ``. The transform ``v(z) = ∫ dF(x)/(x - z)`` of the companion
``ZᵀΣZ/n`` is the only solution above the real line of

    z = -1/v + c ∫ t dH(t) / (1 + t v).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rmtaudit.kernels.equivalents.population import Population

_FALL = 10.0
"""A convention: ``Im z`` falls by this factor from one step of the continuation to the next."""
_NEWTON, _TOLERANCE, _ON_THE_WAY = 20, 1e-12, 1e-3
"""A convention: most Newton steps at one ``z``; the relative step at which the iteration ends, and the one at
which it ends on the way to that ``z``."""
_ROUNDING = 1e-15
"""A residual of some roundings, in units of the terms of the equation."""
_FIXED = 20_000
"""Most steps of the fixed point, which always converges, but slowly near the real line."""
_CHUNK = 1 << 15
"""Products ``t v`` that are held at once: 512 KiB, which stay in a cache."""


@dataclass(frozen=True, slots=True)
class CompanionSolution:
    """The companion transform at several points.

    Attributes
    ----------
    values
        ``v(z)``, complex128, in the shape of ``z``; the imaginary part is positive.
    steps
        Newton steps for each point, in all, int64.
    """

    values: torch.Tensor
    steps: torch.Tensor


def companion_transform(law: Population, ratio: float, z: torch.Tensor) -> CompanionSolution:
    """Solve Silverstein's equation by Newton's method, continued from large to small ``Im z``.

    The solution above the real line is unique, so every result is checked by its sign. Points
    at which Newton's method fails are solved by the fixed point ``v -> 1/(c ∫ t dH/(1 + t v) - z)``.

    Parameters
    ----------
    law
        ``H``.
    ratio
        ``c = p/n``, positive.
    z
        Any shape, complex, above the real line.

    Raises
    ------
    ValueError
        For a ratio that is not positive, or a point on or below the real line.
    ArithmeticError
        Where a point is so close to the real line that neither method converges.

    References
    ----------
    Silverstein, Choi, *Analysis of the limiting spectral distribution of large dimensional random matrices*,
    J. Multivariate Anal. 54 (1995), eq. 1.4.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import equivalents
    >>> noise = equivalents.population(torch.tensor([1.0]))
    >>> solution = equivalents.companion_transform(noise, 0.5, torch.tensor([1.0 + 1.0j]))
    >>> v = complex(solution.values[0])
    >>> abs(-1 / v + 0.5 / (1 + v) - (1 + 1j)) < 1e-6
    True
    """
    points = z.to(torch.complex128).reshape(-1)
    if not 0 < ratio < torch.inf:
        raise ValueError(f"the ratio must be positive and finite, not {ratio}")
    if not bool((points.imag > 0).all()):
        raise ValueError("the transform is computed above the real line only")
    width = max(1, _CHUNK // len(law.values))
    parts = [_solve(law, ratio, part) for part in torch.split(points, width)]
    values = torch.cat([part.values for part in parts]) if parts else points
    steps = torch.cat([part.steps for part in parts]) if parts else points.real.long()
    return CompanionSolution(values.reshape(z.shape), steps.reshape(z.shape))


def _solve(law: Population, ratio: float, z: torch.Tensor) -> CompanionSolution:
    scale = float(law.values[-1]) * (1 + ratio**0.5) ** 2
    height = z.imag.clamp(min=scale)
    value = -1 / torch.complex(z.real, height)
    steps = torch.zeros(z.shape, dtype=torch.int64, device=z.device)
    at = z
    while True:
        last, at = at, torch.complex(z.real, height)
        if len(steps) and bool((steps > 0).any()):
            # dv/dz = 1/F'(v): a step along the tangent before Newton's method corrects it
            ahead = value + (at - last) / _map(law, ratio, value)[1]
            value = torch.where(ahead.imag > 0, ahead, value)
        last_step = bool((height <= z.imag).all())
        value, taken, settled = _newton(law, ratio, at, value, _TOLERANCE if last_step else _ON_THE_WAY)
        steps += taken
        if last_step:
            break
        height = torch.maximum(height / _FALL, z.imag)
    bad = ~(settled & (value.imag > 0))
    if bool(bad.any()):
        value[bad] = _fixed_point(law, ratio, z[bad])
    return CompanionSolution(value, steps)


def _newton(
    law: Population, ratio: float, z: torch.Tensor, value: torch.Tensor, tolerance: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the solution, the steps of each point, and where the iteration converged."""
    steps = torch.zeros(z.shape, dtype=torch.int64, device=z.device)
    active = torch.ones(z.shape, dtype=torch.bool, device=z.device)
    value = value.clone()
    for _ in range(_NEWTON):
        image, slope = _map(law, ratio, value[active])
        excess = image - z[active]
        # at an edge two roots meet, and steps stay large when the residual is rounding
        rounding = excess.abs() <= _ROUNDING * (1 / value[active].abs() + z[active].abs())
        step = excess / slope
        moved = value[active] - step
        # a step out of the upper half-plane is halved until it stays inside
        for _ in range(40):
            outside = ~(moved.imag > 0)
            if not bool(outside.any()):
                break
            step = torch.where(outside, step / 2, step)
            moved = value[active] - step
        steps[active] += 1
        value[active] = moved
        again = active.clone()
        again[active] = ~(rounding | (step.abs() <= tolerance * moved.abs()))
        active = again
        if not bool(active.any()):
            break
    return value, steps, ~active


def _map(law: Population, ratio: float, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``F(v) = -1/v + c ∫ t dH/(1 + t v)`` and its derivative."""
    kept = law.values / (1 + law.values * value[:, None])
    image = -1 / value + ratio * (kept @ law.weights.to(kept.dtype))
    slope = 1 / value.square() - ratio * (kept.square() @ law.weights.to(kept.dtype))
    return image, slope


def _fixed_point(law: Population, ratio: float, z: torch.Tensor) -> torch.Tensor:
    value = -1 / z
    for _ in range(_FIXED):
        kept = law.values / (1 + law.values * value[:, None])
        moved = 1 / (ratio * (kept @ law.weights.to(kept.dtype)) - z)
        settled = bool(((moved - value).abs() <= _TOLERANCE * moved.abs()).all())
        value = moved
        if settled:
            return value
    raise ArithmeticError("Silverstein's equation is not solved: a point is too close to the real line")
