"""R- and Stieltjes transforms of the evolved law, anywhere off the real line.

``m(z) = ∫ρ(dx)/(x - z)`` at factor ``α`` follows from the one ``u`` of the upper half-plane with
``z = αu + κ₁ + (1-β)T(u)``, ``T(u) = ∫G(dx)/(u - x)``, ``β = α·index``: ``m = -1/F``, ``F = αu - βT(u)``.
"""

from __future__ import annotations

import torch

from rmtaudit.kernels.free.measure import LevyMeasure, cauchy_imaginary, cauchy_real, complex_transform

_STEPS, _BISECTIONS = 40, 100
"""A convention: steps of Newton or of the map, after which nested halvings take over; and these, more than
the bits of float64."""
_SHORT, _ROUNDING = 1e-9, 1e-15
"""Steps after which Newton, which converges quadratically, is at the limit of float64; and residuals of some
roundings."""
_HALVINGS = 80
"""Halvings of an interval: more than the 53 bits of float64."""
_GROWTH, _FIRST = 1.2, 0.05
"""A convention: the path to ``w`` starts at a twentieth of the inverse scale of the measure and grows by a
fifth."""


def stieltjes(measure: LevyMeasure, z: torch.Tensor, factor: float = 1.0) -> torch.Tensor:
    """Return ``m(z) = ∫ρ(dx)/(x - z)`` of the law ``factor`` times as large.

    ``u ↦ (z' - T(u))/α'``, ``z' = (z - κ₁)/(1-β)``, ``α' = α/(1-β)``, maps the upper half-plane into the part
    above ``Im z'/α'`` and has exactly one fixed point there. The search takes Newton's step where that
    shortens the hyperbolic length of the map's own step, else the mean of ``u`` and its image, which is a
    contraction. In theory that settles everywhere, but slowly when ``Im z`` is small; so what has not
    after 40 steps is found by nested bisection along the level line of ``Im z``, which cannot fail. The
    error is that of rounding ``z - κ₁``: large beside an atom or an edge at tiny ``Im z``.

    Parameters
    ----------
    measure
        The Levy measure.
    z
        Any shape, complex128, above the real line; on the device of the measure.
    factor
        ``α``, positive, and below ``1/index``.

    Raises
    ------
    ValueError
        If a point does not lie above the real line, or no law of this factor exists.

    References
    ----------
    Belinschi, Bercovici, *A new approach to subordination results in free probability*, J. Anal. Math. 2007.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import free
    >>> z = torch.tensor([2j], dtype=torch.complex128)
    >>> m = free.stieltjes(free.semicircle(mean=0.0, radius=2.0).levy(), z)
    >>> round(float(m.imag), 6)  # √2 - 1
    0.414214
    """
    share = factor * measure.index
    if not (factor > 0 and share < 1):
        raise ValueError(f"no law of factor {factor:g} exists")
    if not bool((z.imag > 0).all()):
        raise ValueError("the transform is computed above the real line only")
    flat = z.to(torch.complex128).reshape(-1)
    u = _upper_root(measure, (flat - measure.mean) / (1 - share), factor / (1 - share))
    transform = complex_transform(measure, u)[0]
    return (-1 / (factor * u - share * transform)).reshape(z.shape)


def r_transform(measure: LevyMeasure, w: torch.Tensor, factor: float = 1.0) -> torch.Tensor:
    """Return ``R(w) = G⁻¹(w) - 1/w`` of the law ``factor`` times as large, which is ``R₀(factor w)``.

    For index 0 ``R₀(w) = κ₁ + ∫wG(dx)/(1 - wx)`` in closed form, with no search. Otherwise ``R₀ = κ₁ + T(u)``
    at ``u - index·T(u) = 1/w``, followed from ``w = 0`` along the ray by Newton's method. ``R(w) + 1/w =
    z`` at ``w = G(z)`` holds above the real line for every ``z`` if the index is not positive. Of a law
    that ends at a factor ``G`` need not be one to one: there it holds for ``|z|`` above 4 times the
    largest ``|λ|``.

    Parameters
    ----------
    measure
        The Levy measure.
    w
        Any shape, complex128. For real ``w``, ``1/(factor w)`` must lie outside the cells.
    factor
        ``α``, positive, and below ``1/index``.

    Raises
    ------
    ValueError
        If no law of this factor exists.
    ArithmeticError
        If it could not be followed to ``w``, as where the ray meets a branch point.

    References
    ----------
    Voiculescu, *Addition of certain non-commuting random variables*, J. Funct. Anal. 1986; Nica, Speicher
    2006, lectures 12 and 14. Bercovici, Voiculescu 1993 for where ``G`` is one to one.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import free
    >>> measure = free.free_levy(mean=1.0, variance=2.0, rate=0.0, jump=1.0)
    >>> w = torch.tensor([0.1], dtype=torch.complex128)
    >>> free.r_transform(measure, w).real  # mean + variance w
    tensor([1.2000], dtype=torch.float64)
    """
    if not (factor > 0 and factor * measure.index < 1):
        raise ValueError(f"no law of factor {factor:g} exists")
    flat = factor * w.to(torch.complex128).reshape(-1)
    if measure.index == 0:
        return (measure.mean + _at_inverse(measure, flat)[0]).reshape(w.shape)
    return (measure.mean + _continued(measure, flat)).reshape(w.shape)


def _at_inverse(measure: LevyMeasure, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``T(1/w)``, analytic also at ``w = 0``, and its derivative by ``w``."""
    left, right, mass = measure.left, measure.right, measure.mass.to(w.dtype)
    value, slope = [], []
    for part in torch.split(w[:, None], 4096):
        middle, width = (left + right) / 2, right - left
        y = part * (width / 2) / (1 - part * middle)
        square = y * y
        series = part / (1 - part * middle) * (1 + square * (1 / 3 + square * (1 / 5 + square / 7)))
        ends = 1 - part * left, 1 - part * right
        logs = (ends[0].log() - ends[1].log()) / torch.where(width > 0, width, 1.0)
        value.append(torch.where(y.abs() < 1e-2, series, logs) @ mass)
        slope.append((1 / (ends[0] * ends[1])) @ mass)
    return torch.cat(value), torch.cat(slope)


def _continued(measure: LevyMeasure, w: torch.Tensor) -> torch.Tensor:
    """Return ``T(u)`` at ``u - index·T(u) = 1/w``, by ``y = 1/u``: ``y = w(1 - index·y·T(1/y))``."""
    index = measure.index
    size = float(torch.maximum(measure.left.abs(), measure.right.abs()).max())
    scale = size + (abs(index) * measure.variance) ** 0.5
    share = (_FIRST / (w.abs() * scale).clamp(min=1e-300)).clamp(max=1)
    y = w * share
    while True:
        at = w * share
        for _ in range(_STEPS):
            transform, slope = _at_inverse(measure, y)
            wrong = y - at * (1 - index * y * transform)
            step = wrong / (1 + at * index * (transform + y * slope))
            y = y - step
            if bool((step.abs() <= 1e-13 * y.abs()).all()):
                break
        else:
            raise ArithmeticError(
                "the R-transform could not be followed to here: a branch point may lie before it"
            )
        if bool((share == 1).all()):
            return _at_inverse(measure, y)[0]
        share = (share * _GROWTH).clamp(max=1)


def _upper_root(measure: LevyMeasure, z: torch.Tensor, effective: float) -> torch.Tensor:
    """Return the ``u`` with ``effective·u + T(u) = z`` above the real line, shape ``(M,)``."""
    variance = max(measure.variance, 1e-300)
    centre = float(((measure.left + measure.right) / 2 * measure.mass).sum()) / variance
    half = (z / effective - centre) / 2
    root = (half * half - variance / effective).sqrt()
    # exact for one atom: the root that is above the real line
    root = torch.where((half + root).imag >= (half - root).imag, root, -root)
    u = torch.complex((centre + half + root).real, (half + root).imag.maximum(z.imag / effective))
    result = u.clone()
    left = torch.arange(len(z), device=z.device)
    now = _steps(measure, u, z, effective)
    for _ in range(_STEPS):
        image, newton, settled = now
        small = ((newton - u).real.abs() <= _SHORT * u.abs()) & ((newton - u).imag.abs() <= _SHORT * u.imag)
        going = ~(settled | small)
        result[left] = torch.where(going, u, torch.where(newton.imag > 0, newton, u))
        if not bool(going.any()):
            return result
        left, u, image, newton = left[going], u[going], image[going], newton[going]
        newton = torch.complex(newton.real, newton.imag.maximum(u.imag / 8))
        tried = _steps(measure, newton, z[left], effective)
        better = _length(newton, tried[0]) <= 0.9 * _length(u, image)
        if not bool(better.all()):
            own = _steps(measure, image, z[left], effective)
            tried = tuple(torch.where(better, a, b) for a, b in zip(tried, own, strict=True))
        u, now = torch.where(better, newton, image), tried
    result[left] = _nested(measure, z[left], effective)
    return result


def _steps(
    measure: LevyMeasure, u: torch.Tensor, z: torch.Tensor, effective: float
) -> tuple[torch.Tensor, ...]:
    """Return the map's own image of ``u``, Newton's, and whether the equation holds to rounding."""
    transform, slope = complex_transform(measure, u)
    error = effective * u + transform - z
    real = error.real.abs() <= _ROUNDING * (effective * u.real.abs() + transform.real.abs() + z.real.abs())
    imaginary = error.imag.abs() <= _ROUNDING * (effective * u.imag + transform.imag.abs() + z.imag)
    return (u + (z - transform) / effective) / 2, u - error / (effective + slope), real & imaginary


def _length(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return a rising function of the hyperbolic distance; infinite where a point is not above the line."""
    above = (one.imag > 0) & (other.imag > 0)
    away = (one - other).abs() / (one.imag * other.imag).abs().clamp(min=1e-300).sqrt()
    return torch.where(above, away, torch.inf)


def _nested(measure: LevyMeasure, z: torch.Tensor, effective: float) -> torch.Tensor:
    """Return the same by bisection: on every line ``Re u = s`` one ``v`` has the height of ``z``.

    Along that curve the real part rises. ``|u - z/α| <= (∫G(dx)/α)^½``, as ``|T|² <= ∫G(dx) · α``.
    """
    reach = (measure.variance / effective) ** 0.5
    low, high = z.real / effective - reach, z.real / effective + reach
    f_low, f_high = torch.full_like(low, -1.0), torch.full_like(low, 1.0)
    side = torch.zeros_like(low)
    for step in range(_BISECTIONS):
        guess = low - f_low * (high - low) / (f_high - f_low)
        # every third step halves the bracket, the others are of the Illinois kind
        inner = (guess > low) & (guess < high) & (step % 3 > 0)
        s = torch.where(inner, guess, (low + high) / 2)
        v = _level(measure, s, z.imag, effective, reach)
        error = effective * s + cauchy_real(measure.left, measure.right, s, v) @ measure.mass - z.real
        below = error < 0
        f_high = torch.where(below, torch.where(side < 0, f_high / 2, f_high), error)
        f_low = torch.where(below, error, torch.where(side > 0, f_low / 2, f_low))
        low, high = torch.where(below, s, low), torch.where(below, high, s)
        side = torch.where(below, -1.0, 1.0)
        if bool(((high - low <= 4e-16 * s.abs()) | (error.abs() <= 2e-16 * z.real.abs())).all()):
            break
    return torch.complex(s, v)


def _level(
    measure: LevyMeasure, s: torch.Tensor, height: torch.Tensor, effective: float, reach: float
) -> torch.Tensor:
    low = height / effective
    high = low + reach
    for _ in range(_HALVINGS):
        v = torch.where(high > 4 * low, (low * high).sqrt(), (low + high) / 2)
        level = effective * v + cauchy_imaginary(measure.left, measure.right, s, v) @ measure.mass
        low, high = torch.where(level < height, v, low), torch.where(level < height, high, v)
    return v
