"""``kappa`` and the scale from the eigenvalues one by one: composite likelihood, and minimum distance.

Both take the eigenvalues for independent draws of the limiting law, which costs little at small ``kappa`` and
much at large: :func:`~rmtaudit.kernels.htmp.estimate.fit_joint` knows their repulsion and is the better one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from rmtaudit.kernels.htmp.density import Array, Density, density_of
from rmtaudit.kernels.htmp.ensemble import Ensemble
from rmtaudit.kernels.htmp.estimate import KappaFit, fit_joint, fit_moment
from rmtaudit.kernels.htmp.goodness import distance
from rmtaudit.kernels.htmp.law import HTMP
from rmtaudit.kernels.nelder_mead import minimise

_RANGE = (1e-3, 4.0)
"""``kappa`` is sought between the first, and the second times ``N``: a convention."""
_BOUNDED = 0.99  # an estimate beyond this share of the upper end counts as unbounded
_UNBOUNDED = (
    "the individual eigenvalues give no upper bound for kappa, because they repel each other as noise does"
)
_FIRST, _GROWTH = 0.3, 2.0  # steps in log kappa that find a bracket
_FINE = 1e-4  # in log kappa: nothing that is known of kappa is finer
_CLOSE = (
    1e-8  # gain of likelihood by the last step in the log of the scale: the next one would gain its square
)
_MARGIN = 2.0  # of a law around the values, in their log: the scale may differ from its guess by half of it
_STEPS = 40  # most points of either search, a guard


@dataclass(frozen=True, slots=True)
class ScaleFit:
    """A law fitted by its scale alone.

    Attributes
    ----------
    mean
        The mean of the law at its best, in the unit of the eigenvalues.
    log_likelihood
        Sum of the logarithms of its density there.
    """

    mean: float
    log_likelihood: float


def fit_marginal(eigenvalues: torch.Tensor, rows: int, cols: int) -> KappaFit:
    """Estimate ``kappa`` and the mean by the likelihood of every eigenvalue by itself.

    Parameters and errors are those of :func:`~rmtaudit.kernels.htmp.estimate.fit_joint`, except that equal
    eigenvalues do no harm, and ``kappa`` must stay below ``4 N``. No standard error: the eigenvalues are not
    independent.
    """
    size, longer = sorted((rows, cols))
    logs, start = _prepared(eigenvalues, rows, cols)
    kappa, scale = best_kappa(logs, size, longer, start)
    if kappa >= _BOUNDED * _RANGE[1] * size:
        raise ArithmeticError(_UNBOUNDED)
    return KappaFit(kappa=kappa, se=None, size=size, longer=longer, mean=scale.mean, method="marginal")


def fit_ks(eigenvalues: torch.Tensor, rows: int, cols: int) -> KappaFit:
    """Estimate ``kappa`` and the mean by the least Kolmogorov-Smirnov distance; as :func:`fit_marginal`."""
    size, longer = sorted((rows, cols))
    _, start = _prepared(eigenvalues, rows, cols)
    values = eigenvalues.detach().cpu().double()
    mean = float(values.mean())

    def fit_at(point: tuple[float, ...]) -> KappaFit:
        # the search moves each coordinate by 5 % first: by 0.2 in log kappa, by 0.1 in the log of the mean
        log = math.log(start) + 4 * (point[0] - 1)
        kappa = min(max(math.exp(log), _RANGE[0]), _RANGE[1] * size)
        return KappaFit(
            kappa=kappa,
            se=None,
            size=size,
            longer=longer,
            mean=mean * math.exp(2 * (point[1] - 1)),
            method="ks",
        )

    best = minimise(lambda point: distance(values, fit_at(point)), (1.0, 1.0), tolerance=2e-4)
    fit = fit_at(best)
    if fit.kappa >= _BOUNDED * _RANGE[1] * size:
        raise ArithmeticError(_UNBOUNDED)
    return fit


def best_kappa(
    logs: Array, size: int, longer: int, start: float, *, gain: float = 1e-6
) -> tuple[float, ScaleFit]:
    """Return the ``kappa`` of greatest composite likelihood, and the scale there.

    Parameters
    ----------
    logs
        Logarithms of the values, ascending, any number of them.
    size, longer
        ``N`` and ``M`` of the ensemble.
    start
        Where the search begins.
    gain
        Accuracy of the log-likelihood at which it ends.
    """
    fits: dict[float, ScaleFit] = {}

    ends = float(logs.min()), float(logs.max())

    def likelihood(log_kappa: float) -> float:
        # the scale hardly depends on kappa, so that of the last law is a good start
        start = math.log(next(reversed(fits.values())).mean) if fits else _log_mean(logs)
        ensemble = Ensemble(math.exp(log_kappa), size, longer)
        law = HTMP.of(ensemble)
        c = law.kappa / 2
        unit = math.log(c + law.delta) - start
        density = density_of(c, law.delta, (ends[0] + unit - _MARGIN, ends[1] + unit + _MARGIN))
        fit = fit_scale(logs, density, start)
        if abs(math.log(fit.mean) - start) > _MARGIN / 2:
            fit = fit_scale(logs, density_for(ensemble))
        fits[log_kappa] = fit
        return fit.log_likelihood

    low, high = math.log(_RANGE[0]), math.log(_RANGE[1] * size)
    best = _maximise(likelihood, min(max(math.log(start), low), high), low, high, gain)
    return math.exp(best), fits[best]


def density_for(ensemble: Ensemble) -> Density:
    """Return the density of an ensemble's law alone: two thirds of the time of a whole table."""
    law = HTMP.of(ensemble)
    return density_of(law.kappa / 2, law.delta)


def fit_scale(logs: Array, density: Density, start: float | None = None) -> ScaleFit:
    """Return the scale at which the law fits best: Newton's method in its logarithm.

    Parameters
    ----------
    logs
        Logarithms of the values, any order.
    density
        The law, at its own scale.
    start
        A guess of the logarithm of the mean.
    """
    unit = math.log(density.c + density.delta)
    low, high = -math.inf, math.inf
    shift = _log_mean(logs) if start is None else start
    for _ in range(_STEPS):
        slope, curvature = (float(each.sum()) for each in density.slopes(logs - shift + unit))
        low, high = (shift, high) if slope < 0 else (low, shift)
        step = slope / curvature if curvature < 0 else -math.copysign(1.0, slope)
        moved = shift + min(max(step, -1.0), 1.0)
        # a step too short to leave its own end of the bracket is the last one
        shift = moved if low <= moved <= high else (low + high) / 2
        if step * step * abs(curvature) < _CLOSE:
            break
    # of the values themselves: the density in y is that in log y over y
    value = float(density.at(logs - shift + unit).sum()) - float(logs.sum())
    return ScaleFit(math.exp(shift), value)


def _log_mean(logs: Array) -> float:
    top = float(logs.max())
    return math.log(float(np.exp(logs - top).mean())) + top


def _prepared(eigenvalues: torch.Tensor, rows: int, cols: int) -> tuple[Array, float]:
    """Return the logarithms and a start for ``kappa``, which also checks the eigenvalues."""
    try:
        start = fit_joint(eigenvalues, rows, cols).kappa
    except ArithmeticError:
        try:
            start = fit_moment(eigenvalues, rows, cols).kappa
        except ArithmeticError:
            start = 1.0
    logs: Array = np.log(eigenvalues.detach().cpu().double().numpy())
    return logs, start


def _maximise(
    function: Callable[[float], float], start: float, low: float, high: float, gain: float
) -> float:
    """Return where a function with one maximum is greatest: a bracket, then parabolas through three points.

    The search ends where the parabola promises less than ``gain`` above the best value.
    """
    step = _FIRST if start + _FIRST < high else -_FIRST
    points = sorted([(start, function(start)), (start + step, function(start + step))])
    while len(points) < _STEPS:
        top = max(range(len(points)), key=lambda i: points[i][1])
        at = points[top][0]
        if top in (0, len(points) - 1):
            bound = low if top == 0 else high
            if at == bound:
                return at
            inner = points[1][0] if top == 0 else points[-2][0]
            further = at + _GROWTH * (at - inner)
            new = max(further, low) if top == 0 else min(further, high)
        else:
            left, right = points[top - 1][0], points[top + 1][0]
            new, promised = _vertex(points[top - 1 : top + 2])
            if promised < gain or right - left < _FINE:
                return at
            # a parabola that does not narrow the bracket is replaced by halving its longer side
            if not left + _FINE / 4 < new < right - _FINE / 4 or abs(new - at) < _FINE / 4:
                new = (at + right) / 2 if right - at > at - left else (left + at) / 2
        points = sorted([*points, (new, function(new))])
    return max(points, key=lambda point: point[1])[0]


def _vertex(points: list[tuple[float, float]]) -> tuple[float, float]:
    """Return where the parabola through three points is greatest, and by how much above the middle one."""
    (x0, y0), (x1, y1), (x2, y2) = points
    left, right = (y1 - y0) / (x1 - x0), (y2 - y1) / (x2 - x1)
    bend = (right - left) / (x2 - x0)  # half the second derivative
    if not bend < 0:
        return math.nan, 0.0  # three equal values
    slope = left + bend * (x1 - x0)
    return x1 - slope / (2 * bend), -(slope**2) / (4 * bend)
