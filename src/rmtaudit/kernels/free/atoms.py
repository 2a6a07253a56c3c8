"""Levy measures of a few atoms, by nonlinear least squares on the transform itself.

One atom is a free Meixner law: semicircle, Marchenko-Pastur, Kesten-McKay, Wachter; several are a compound
free Poisson law. Where so few numbers explain a spectrum within its noise nothing has to be smoothed, and the
end of a law is a parameter with an error of its own. The residuals are those of ``F`` itself: ``z - κ₁ - F -
T(u)`` over its derivative with respect to ``F``, so that ``χ²`` compares measures of any kind.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import optimize

from rmtaudit.kernels.free.empirical import Transform
from rmtaudit.kernels.free.fluctuations import Complex, Real
from rmtaudit.kernels.free.measure import LevyMeasure, complex_transform

_OWN_NOISE = 1.5
"""Either part of ``F`` has a standard deviation of ``0.5 |F|²/(nη)`` (real matrices, ``η`` far above the
spacing): the constant of the linear fit, 0.75, stands in for the derivative that it leaves out."""
_MOST_STEPS = 400
"""A convention: evaluations of the residuals for each coordinate, after which a fit ends as it is."""
_LARGEST_LOG = 40.0
"""``e^±40`` spans 34 decades, twice the digits of float64: coordinates beyond change nothing."""


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


@dataclass(frozen=True, slots=True)
class AtomParameters:
    """Free coordinates of a measure of ``count`` atoms, in units of the standard deviation.

    Attributes
    ----------
    count
        Number of atoms.
    mean
        Mean of the law.
    from_zero
        Whether ``∫G/x = κ₁``: the law of a sum of positive jumps, which begins at 0. Coordinates are the
        logarithms of the places, and of the rates of jumps relative to the last. Otherwise they are the
        places, and the logarithms of the masses.
    ending
        Whether the index is a coordinate too, the last.
    """

    count: int
    mean: float
    from_zero: bool = False
    ending: bool = False

    def pack(self, places: Real, masses: Real, index: float = 0.0) -> Real:
        """Return the coordinates of places, masses and index."""
        if self.from_zero:
            rates = masses / places
            parts = [np.log(places), np.log(rates[:-1] / rates[-1])]
        else:
            parts = [places, np.log(masses)]
        return np.concatenate([*parts, [index] if self.ending else []])

    def unpack(self, p: Real) -> tuple[Real, Real, float]:
        """Return places, masses and index."""
        if self.from_zero:
            x, share = np.exp(np.clip(p[: self.count], -_LARGEST_LOG, _LARGEST_LOG)), self._shares(p)
            g = self.mean * share * x
        else:
            x = p[: self.count]
            g = np.exp(np.clip(p[self.count : 2 * self.count], -_LARGEST_LOG, _LARGEST_LOG))
        return x, g, float(p[-1]) if self.ending else 0.0

    def slopes(self, p: Real) -> tuple[Real, Real]:
        """Return the derivatives of places and of masses, shape ``(count, len(p))`` each."""
        x, g, _ = self.unpack(p)
        of_x, of_g = np.zeros((2, self.count, len(p)))
        each = np.arange(self.count)
        if self.from_zero:
            share = self._shares(p)
            of_x[each, each], of_g[each, each] = x, g
            turn = (np.diag(share) - np.outer(share, share))[:, :-1]
            of_g[:, self.count : 2 * self.count - 1] = self.mean * x[:, None] * turn
        else:
            of_x[each, each], of_g[each, self.count + each] = 1.0, g
        return of_x, of_g

    def measure(self, p: Real, scale: float) -> LevyMeasure:
        """Return the measure for eigenvalues ``scale`` times as large."""
        x, g, index = self.unpack(p)
        order = np.argsort(x)
        at, held = torch.from_numpy(x[order] * scale), torch.from_numpy(g[order] * scale**2)
        mean = float((held / at).sum()) if self.from_zero else self.mean * scale
        return LevyMeasure(left=at, right=at, mass=held, mean=mean, index=index)

    def _shares(self, p: Real) -> Real:
        rates: Real = np.exp(
            np.append(p[self.count : 2 * self.count - 1], 0.0).clip(-_LARGEST_LOG, _LARGEST_LOG)
        )
        shares: Real = rates / rates.sum()
        return shares


def fit_atoms(
    given: Transform,
    places: Real,
    masses: Real,
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
        Shape ``(k,)``: where to start, in units of its standard deviation. The places must be positive for a
        law from 0.
    from_zero, ending
        As of :class:`AtomParameters`.

    Raises
    ------
    ArithmeticError
        If no step could be made from the start.
    """
    f, y = given.f.cpu().numpy(), given.y.cpu().numpy()
    noise = given.noise.cpu().numpy() / _OWN_NOISE
    parameters = AtomParameters(len(places), given.mean, from_zero, ending)

    def residuals(p: Real) -> Real:
        x, g, index = parameters.unpack(p)
        inverse = 1 / ((f + index * y)[:, None] - x)
        value, slope = inverse @ g, -(inverse * inverse) @ g
        away: Complex = (value - y) / (1 + (1 - index) * slope) / noise
        rows = [away.real, away.imag, np.array([(g.sum() - 1) * given.size / 0.3])]
        if from_zero and given.at_zero > 0:
            rows.append(np.array([((g / x**2).sum() - (1 - given.at_zero)) * given.size]))
        return np.concatenate(rows)

    start = parameters.pack(places, masses)
    with np.errstate(all="ignore"):
        if not np.isfinite(residuals(start)).all():
            raise ArithmeticError("the atoms to start from lie on the transform")
        solution = optimize.least_squares(residuals, start, method="lm", max_nfev=_MOST_STEPS * len(start))
    return parameters.measure(solution.x, given.scale).to(given.values.device)


def gathered(measure: LevyMeasure, count: int) -> tuple[Real, Real]:
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
