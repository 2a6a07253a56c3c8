"""Levy measures of a few atoms, by nonlinear least squares on the transform itself.

One atom is a free Meixner law: semicircle, Marchenko-Pastur, Kesten-McKay, Wachter; several are a compound
free Poisson law. Where so few numbers explain a spectrum within its noise nothing has to be smoothed, and the
end of a law is a parameter with an error of its own. The residuals are those of ``F`` itself: ``z - κ₁ - F -
T(u)`` over its derivative with respect to ``F``, so that ``χ²`` compares measures of any kind.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize

from rmtaudit.kernels.free.fit import Transform
from rmtaudit.kernels.free.measure import LevyMeasure, complex_transform

_OWN_NOISE = 1.5
"""Either part of ``F`` has a standard deviation of ``0.5 |F|²/(nη)`` (real matrices, ``η`` far above the
spacing): the constant of the linear fit, 0.75, stands in for the derivative that it leaves out."""
_MOST_STEPS = 400
_LARGEST_LOG = 40.0

Complex = NDArray[np.complex128]


def chi_square(given: Transform, measure: LevyMeasure) -> float:
    """Return ``χ²`` of a measure: squared residuals of ``F`` in units of its noise, about ``n_data``.

    Points at neighbouring heights share eigenvalues, so its spread is many times that of independent data.
    """
    u = given.f + measure.index * given.y
    scale = given.scale
    value, slope = complex_transform(measure, u * scale)
    residual = (value / scale - given.y) / (1 + (1 - measure.index) * slope)
    return float((residual.abs() / given.noise).square().sum()) * _OWN_NOISE**2


def rise(given: Transform, measure: LevyMeasure, least: LevyMeasure) -> float:
    """Return by how much ``χ²`` is above that of the freest measure, in units of twice the mean per datum."""
    low = chi_square(given, least)
    return (chi_square(given, measure) - low) / (2 * low / given.n_data)


def fit_atoms(
    given: Transform,
    places: NDArray[np.float64],
    masses: NDArray[np.float64],
    *,
    from_zero: bool = False,
    ending: bool = False,
) -> LevyMeasure:
    """Return the measure of ``k`` atoms nearest to a transform; SciPy's ``least_squares``, on the CPU.

    Parameters
    ----------
    given
        The transform.
    places, masses
        Shape ``(k,)``: where to start, in units of its standard deviation.
    from_zero
        Whether ``∫G/x = κ₁``: the law of a sum of positive jumps, which begins at 0. The places must be
        positive.
    ending
        Whether the index is fitted too.

    Raises
    ------
    ArithmeticError
        If no step could be made from the start.
    """
    f, y = given.f.cpu().numpy(), given.y.cpu().numpy()
    noise = given.noise.cpu().numpy() / _OWN_NOISE
    count = len(places)

    def parts(p: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        if from_zero:
            x = np.exp(np.clip(p[:count], -_LARGEST_LOG, _LARGEST_LOG))
            share = np.exp(np.append(p[count : 2 * count - 1], 0.0).clip(-_LARGEST_LOG, _LARGEST_LOG))
            g = given.mean * share / share.sum() * x
        else:
            x = p[:count]
            g = np.exp(np.clip(p[count : 2 * count], -_LARGEST_LOG, _LARGEST_LOG))
        return x, g, float(p[-1]) if ending else 0.0

    def residuals(p: NDArray[np.float64]) -> NDArray[np.float64]:
        x, g, index = parts(p)
        inverse = 1 / ((f + index * y)[:, None] - x)
        value, slope = inverse @ g, -(inverse * inverse) @ g
        away: Complex = (value - y) / (1 + (1 - index) * slope) / noise
        rows = [away.real, away.imag, np.array([(g.sum() - 1) * given.size / 0.3])]
        if from_zero and given.at_zero > 0:
            rows.append(np.array([((g / x**2).sum() - (1 - given.at_zero)) * given.size]))
        return np.concatenate(rows)

    if from_zero:
        rates = masses / places
        start = np.concatenate([np.log(places), np.log(rates[:-1] / rates[-1])])
    else:
        start = np.concatenate([places, np.log(masses)])
    if ending:
        start = np.append(start, 0.0)
    with np.errstate(all="ignore"):
        if not np.isfinite(residuals(start)).all():
            raise ArithmeticError("the atoms to start from lie on the transform")
        found = optimize.least_squares(residuals, start, method="lm", max_nfev=_MOST_STEPS * len(start))
    x, g, index = parts(found.x)
    order = np.argsort(x)
    at = torch.from_numpy(x[order] * given.scale).to(given.values)
    held = torch.from_numpy(g[order] * given.scale**2).to(given.values)
    mean = float((held / at).sum()) if from_zero else given.mean * given.scale
    return LevyMeasure(at, at, held, mean, index)


def gathered(measure: LevyMeasure, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ``count`` atoms that stand for a histogram: places and masses by one-dimensional k-means.

    Fewer where the histogram has fewer cells with mass.
    """
    held = measure.mass > 1e-10 * measure.variance
    x = ((measure.left + measure.right) / 2)[held].cpu().numpy()
    g = measure.mass[held].cpu().numpy()
    middle = np.cumsum(g) - g / 2
    centres = np.interp((np.arange(count) + 0.5) / count * g.sum(), middle, x)
    for _ in range(len(x)):
        nearest = np.abs(x[:, None] - centres).argmin(1)
        kept = [nearest == place for place in range(len(centres)) if bool((nearest == place).any())]
        moved = np.array([float((x[own] * g[own]).sum() / g[own].sum()) for own in kept])
        if len(moved) == len(centres) and np.array_equal(moved, centres):
            break
        centres = moved
    return centres, np.array([math.fsum(g[own]) for own in kept])
