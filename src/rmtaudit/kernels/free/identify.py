"""Which laws fit a block equally well: the two that differ most at the lower end.

A jump of the Levy measure far smaller than the block's own lowest eigenvalues acts on the block as a constant
shift; on the large matrix it does not. Data cannot tell them apart, only smoothness does. The two extremes
are least-squares problems as the fit is: one with the largest shift ``b`` that ``χ²`` allows, and one
without a shift and with the fewest jumps ``∫G(dx)/x²``, which is the least rank. Nor can data tell a few
atoms from what smoothing makes of them: the measure of the fewest that fits is beside them.
"""

from __future__ import annotations

import torch

from rmtaudit.kernels.free.atoms import fit_atoms, gathered, rise
from rmtaudit.kernels.free.empirical import empirical_transform
from rmtaudit.kernels.free.fit import LevyFit, least_smooth, levy_system, smoothness
from rmtaudit.kernels.free.measure import LevyMeasure
from rmtaudit.kernels.free.nonnegative import nonnegative_least_squares

_RISE = 4.0
"""A convention: two standard deviations of one number, in units of ``χ²``."""
_ATOMS, _AS_WELL = (2, 3), 32.0
"""Numbers of atoms that are tried, and the rise of ``χ²``, in the units of slack, up to which they fit."""
_PULLS = tuple(10.0**power for power in range(-6, 9))
"""A convention: powers of ten of the pull; the largest whose rise is allowed is taken."""


def extreme_measures(spectra: torch.Tensor, slack: float) -> tuple[LevyMeasure, LevyMeasure]:
    """Return the Levy measures with the largest shift and with the fewest jumps that a block allows.

    Both raise ``χ²`` of the smooth fit by at most 4, two standard deviations of one parameter.

    Parameters
    ----------
    spectra
        Shape ``(n,)`` or ``(R, n)``, float64: eigenvalues, all above 0.
    slack
        Smoothness, as of :func:`rmtaudit.kernels.free.fit.fit_levy`.
    """
    system = levy_system(spectra, positive=True)
    gram, right = system.normal()
    gram = gram + smoothness(system, slack)
    shift = torch.zeros_like(right)
    shift[-1] = 1
    most, plain, lowest = _pulled(gram, right, shift)
    assert most is not None
    cells = len(system.left)
    jumps = -1 / (system.left * system.right)
    fewest, _, _ = _pulled(gram[:cells, :cells], right[:cells], jumps, lowest)
    return system.measure(most), system.measure(plain if fewest is None else fewest)


def fewest_atoms(spectra: torch.Tensor, fit: LevyFit) -> LevyMeasure | None:
    """Return the measure of two or three atoms that fits blocks about as well as any; ``None`` if none does.

    Parameters
    ----------
    spectra
        Shape ``(n,)`` or ``(R, n)``, float64.
    fit
        Their fit, of index 0: its class is kept.
    """
    given = empirical_transform(spectra)
    least = least_smooth(given, positive=fit.positive)
    first = fit.measure.inverse_moments()[0]
    from_zero = fit.positive and abs(fit.measure.mean - first) <= 1e-9 * fit.measure.mean
    for count in _ATOMS:
        places, masses = gathered(least, count)
        try:
            measure = fit_atoms(given, places / given.scale, masses / given.scale**2, from_zero=from_zero)
        except ArithmeticError:
            continue  # no atoms of this number to start from: more may do
        shift = measure.mean - measure.inverse_moments()[0]
        if fit.positive and (float(measure.left[0]) <= 0 or shift < -1e-9 * measure.mean):
            continue
        if rise(given, measure, least) <= _AS_WELL:
            return measure
    return None


def _pulled(
    gram: torch.Tensor, right: torch.Tensor, towards: torch.Tensor, lowest: float | None = None
) -> tuple[torch.Tensor | None, torch.Tensor, float]:
    """Return the solution pulled in a direction as far as the rise over ``lowest`` allows, and the plain one.

    ``None`` where even the plain one rises further.
    """
    pulls = right.new_tensor((0.0, *_PULLS))
    pulled = nonnegative_least_squares(
        gram.expand(len(pulls), -1, -1).contiguous(), right + pulls[:, None] * towards
    )
    objective = ((pulled @ gram) * pulled).sum(-1) - 2 * (pulled @ right)
    start = float(objective[0])
    allowed = torch.nonzero(objective <= (start if lowest is None else lowest) + _RISE).flatten()
    return (pulled[allowed[-1]] if len(allowed) else None), pulled[0], start
