"""Laws of a few numbers, where the block speaks for one and against its rivals.

Noise of a matrix of rank ``d`` is a Marchenko-Pastur law: where neither ``χ²`` refutes that nor what a free
Meixner law explains beside it, nothing has to be smoothed. A free Meixner law, which may have an end, is
taken where it explains the block better than every smooth measure does for its numbers. Short of that it has
one rival, the laws of two atoms: one of the two is taken only where the other is refuted. Where both fit,
what fits says nothing about the large matrix.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import optimize, stats

from rmtaudit.kernels.free.atoms import AtomParameters, fit_atoms, gathered
from rmtaudit.kernels.free.empirical import Transform, empirical_transform
from rmtaudit.kernels.free.fit import LevyFit, least_smooth, levy_system, roughness
from rmtaudit.kernels.free.fluctuations import Complex, Real, Whitened, parameter, whiten
from rmtaudit.kernels.free.measure import LevyMeasure, cauchy_imaginary, cauchy_real
from rmtaudit.kernels.free.nonnegative import nonnegative_least_squares

_TAKEN, _REFUTED = 0.05, 1e-4
"""Probabilities of so large a ``χ²``, or so large a gain: above the first a form is not refuted, below the
second it is."""
_SUPPORTED = 6.0
"""A criterion so far above the least still has support (Burnham, Anderson 2002: 4 to 7)."""
MOST_POINTS = 1000
"""Of the transform: one spectrum of 1024 has some 300. A pool has more, and lower ones add least."""
_MOST_STEPS = 100
"""A convention: evaluations of the residuals, after which a fit ends as it is."""
_UNSOLVED = 1e6
"""A residual, in standard deviations, that no law has: it marks coordinates whose law could not be solved
for."""
_WEIGHTS = tuple(10.0**power for power in range(-2, 9))
"""A convention: powers of ten of the weight of roughness among which the criterion chooses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A law of a few numbers, fitted by generalised least squares.

    Attributes
    ----------
    name
        ``Marchenko-Pastur``, ``free Meixner`` or ``two-atom``.
    measure
        Its measure, in the units of the eigenvalues.
    chi_square, n_data
        ``χ²`` of independent residuals of variance 1, and their number.
    parameters
        What was fitted to them.
    alone
        Whether smooth measures without an end are ruled out too.
    """

    name: str
    measure: LevyMeasure
    chi_square: float
    n_data: int
    parameters: AtomParameters
    alone: bool = False

    @property
    def numbers(self) -> int:
        """How many numbers were fitted."""
        return 2 * self.parameters.count - int(self.parameters.from_zero) + int(self.parameters.ending)

    @property
    def p_value(self) -> float:
        """The probability of a larger ``χ²`` if the law has this form."""
        return float(stats.chi2.sf(self.chi_square, self.n_data - self.numbers))

    def fit(self, smooth: LevyFit) -> LevyFit:
        """Return it as a fit, with the class and slack of the smooth one that it stands in for."""
        return LevyFit(
            measure=self.measure,
            chi_square=self.chi_square / self.n_data,
            n_data=self.n_data,
            slack=smooth.slack,
            positive=self.parameters.from_zero,
            atoms=self.parameters.count,
        )

    @property
    def criterion(self) -> float:
        """Akaike's: ``χ²`` and twice the number of numbers."""
        return self.chi_square + 2 * self.numbers


def find_form(spectra: torch.Tensor, fit: LevyFit) -> Form | None:
    """Return the law of a few numbers that blocks speak for; ``None`` where none is or none fits.

    Parameters
    ----------
    spectra
        Shape ``(n,)`` or ``(R, n)``, float64.
    fit
        Their smooth fit, of index 0: it decides the class and gives the covariance.

    Returns
    -------
    Form or None
        A free Meixner law may have an end, its index above 0.
    """
    given = empirical_transform(spectra).highest(MOST_POINTS)
    try:
        white = whiten(given, fit.measure)
    except ArithmeticError:
        return None
    meixner = _attempt(_meixner, given, white)
    if fit.positive:
        poisson = _attempt(_marchenko_pastur, given, white)
        if poisson is not None and poisson.p_value >= _TAKEN and not _bettered(poisson, meixner):
            return poisson
    rival = None if fit.positive else _attempt(_two_atoms, given, white)
    fitting = [one for one in (meixner, rival) if one is not None and one.p_value >= _TAKEN]
    if not fitting:
        return None
    least = smooth_criterion(given, white)
    # a law without an end need not stay positive
    keeps_sign = meixner is not None and (meixner.measure.index > 0 or not fit.positive)
    if meixner in fitting and keeps_sign and meixner.criterion <= least - _SUPPORTED:
        return dataclasses.replace(meixner, alone=True)
    if meixner is None or rival is None:
        return None  # a rival that could not be fitted is not refuted
    form, other = sorted((meixner, rival), key=lambda one: one.chi_square)
    refuted = form.p_value >= _TAKEN and other.p_value <= _REFUTED
    return form if refuted and form.criterion <= least + _SUPPORTED else None


def _bettered(form: Form, wider: Form | None) -> bool:
    """Return whether a family that the form belongs to explains more than its further numbers do by chance.

    Without a fit of that family nobody knows.
    """
    if wider is None:
        return True
    gained = form.chi_square - wider.chi_square
    return bool(stats.chi2.sf(gained, wider.numbers - form.numbers) < _TAKEN)


def _attempt(fit: Callable[[Transform, Whitened], Form], given: Transform, white: Whitened) -> Form | None:
    try:
        return fit(given, white)
    except ArithmeticError:
        return None


def refit(given: Transform, form: Form, white: Whitened | None = None) -> Form:
    """Return the fit of the same form to another transform, of about the same law.

    Parameters
    ----------
    given
        The transform.
    form
        The fit whose form is kept, and the start.
    white
        Directions of the noise at the same points, where they are known.

    Raises
    ------
    ArithmeticError
        If it does not converge.
    """
    given = given.highest(MOST_POINTS)
    measure, kind = form.measure, form.parameters
    if white is None:
        white = whiten(given, measure)
    parameters = AtomParameters(kind.count, given.mean, kind.from_zero, kind.ending)
    start = parameters.pack(
        measure.left.cpu().numpy() / given.scale, measure.mass.cpu().numpy() / given.scale**2, measure.index
    )
    return fit_form(form.name, given, white, parameters, start)


def fit_form(name: str, given: Transform, white: Whitened, parameters: AtomParameters, start: Real) -> Form:
    """Fit a law of atoms by generalised least squares: Levenberg and Marquardt's method of SciPy.

    Parameters
    ----------
    name
        What to call it.
    given, white
        The transform, and the directions of its noise.
    parameters, start
        What is fitted, and from where.

    Raises
    ------
    ArithmeticError
        If it does not converge.
    """
    problem = _Problem(given, white, parameters)
    solution = optimize.least_squares(
        problem.residuals, start, jac=problem.jacobian, method="lm", max_nfev=_MOST_STEPS
    )
    if not solution.success or problem.unsolved(solution.fun):
        raise ArithmeticError(f"the fit of a {name} law did not converge")
    return Form(
        name=name,
        measure=parameters.measure(solution.x, given.scale).to(given.values.device),
        chi_square=2 * float(solution.cost),
        n_data=len(solution.fun),
        parameters=parameters,
    )


def smooth_criterion(given: Transform, white: Whitened) -> float:
    """Return the least of Akaike's criterion over smooth two-sided measures, from rough to straight.

    The numbers that a smooth measure takes are the trace of what maps data to fit, on its cells with mass.
    """
    system = levy_system(given, positive=False)
    f = torch.from_numpy(white.f)
    left, right = system.left.cpu(), system.right.cpu()
    cells = torch.complex(
        cauchy_real(left, right, f.real, f.imag), cauchy_imaginary(left, right, f.real, f.imag)
    )
    matrix = torch.from_numpy(white.apply(cells.numpy() * white.slope[:, None]))
    target = torch.from_numpy(white.apply((given.z.cpu().numpy() - given.mean - white.f) * white.slope))
    gram, right_side = matrix.T @ matrix, matrix.T @ target
    form = roughness(len(left), len(left), gram)
    weights = gram.new_tensor(_WEIGHTS)
    fitted = nonnegative_least_squares(
        gram + weights[:, None, None] * form, right_side.expand(len(weights), -1).contiguous()
    )
    chi = ((fitted @ matrix.T - target) ** 2).sum(1)
    criteria = []
    for weight, masses, own in zip(weights, fitted, chi, strict=True):
        held = masses > 0
        inner = gram[held][:, held]
        eigenvalues = torch.linalg.eigvalsh(inner)
        tiny = 1e-12 * eigenvalues[-1] * torch.eye(len(inner), dtype=inner.dtype)
        numbers = torch.linalg.solve(inner + weight * form[held][:, held] + tiny, inner).trace()
        criteria.append(float(own + 2 * numbers))
    return min(criteria)


class _Problem:
    """Residuals and their derivatives at coordinates of atoms, the last solution kept to start from."""

    def __init__(self, given: Transform, white: Whitened, parameters: AtomParameters) -> None:
        self.given, self.white, self.parameters = given, white, parameters
        self.z = given.z.cpu().numpy()
        self.u = white.u
        self.exact = parameters.from_zero and given.at_zero > 0  # a rank, which has no noise

    def residuals(self, p: Real) -> Real:
        x, g, index = self.parameters.unpack(p)

        def transform(u: Complex) -> tuple[Complex, Complex]:
            inverse = 1 / (u[:, None] - x)
            return inverse @ g, -(inverse * inverse) @ g

        try:
            self.u = parameter(transform, self.given.mean, index, self.z, self.u)
        except ArithmeticError:
            return np.full(self.white.n_data + int(self.exact), _UNSOLVED)
        residuals = self.white.apply(self.white.f - (self.u - index * transform(self.u)[0]))
        if self.exact:
            residuals = np.append(residuals, ((g / x**2).sum() - (1 - self.given.at_zero)) * self.given.size)
        return residuals

    def unsolved(self, residuals: Real) -> bool:
        return bool((residuals == _UNSOLVED).all())

    def jacobian(self, p: Real) -> Real:
        if self.unsolved(self.residuals(p)):
            return np.zeros((self.white.n_data + int(self.exact), len(p)))
        x, g, index = self.parameters.unpack(p)
        of_x, of_g = self.parameters.slopes(p)
        of_index = np.zeros(len(p))
        of_index[-1] = float(self.parameters.ending)
        inverse = 1 / (self.u[:, None] - x)
        value, slope = (inverse @ g)[:, None], -((inverse * inverse) @ g)[:, None]
        moved = inverse @ of_g + (inverse * inverse) @ (g[:, None] * of_x)
        # z = u + κ₁ + (1 - index)T(u) stays, and F = u - index·T(u)
        of_u = (value * of_index - (1 - index) * moved) / (1 + (1 - index) * slope)
        of_f = (1 - index * slope) * of_u - value * of_index - index * moved
        jacobian = -self.white.apply(of_f)
        if self.exact:
            row = (of_g / x[:, None] ** 2 - 2 * (g / x**3)[:, None] * of_x).sum(0) * self.given.size
            jacobian = np.vstack([jacobian, row])
        return jacobian


def _marchenko_pastur(given: Transform, white: Whitened) -> Form:
    parameters = AtomParameters(1, given.mean, from_zero=True)
    start = parameters.pack(np.array([1 / given.mean]), np.array([1.0]))
    return fit_form("Marchenko-Pastur", given, white, parameters, start)


def _meixner(given: Transform, white: Whitened) -> Form:
    third = float(((given.values - given.mean) ** 3).mean())
    near = fit_atoms(given, np.array([third]), np.array([1.0]), ending=True)
    return _fitted_from("free Meixner", given, white, near, ending=True)


def _two_atoms(given: Transform, white: Whitened) -> Form:
    places, masses = gathered(least_smooth(given, positive=False), 2)
    if len(places) < 2:
        raise ArithmeticError("the measure is a single atom, but two are needed")
    near = fit_atoms(given, places / given.scale, masses / given.scale**2)
    return _fitted_from("two-atom", given, white, near, ending=False)


def _fitted_from(name: str, given: Transform, white: Whitened, near: LevyMeasure, *, ending: bool) -> Form:
    parameters = AtomParameters(len(near.mass), given.mean, ending=ending)
    places, masses = near.left.cpu().numpy() / given.scale, near.mass.cpu().numpy() / given.scale**2
    return fit_form(name, given, white, parameters, parameters.pack(places, masses, near.index))
