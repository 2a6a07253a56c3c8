"""Which laws fit a block equally well: the two that differ most at the lower end.

A jump of the Levy measure far smaller than the block's own lowest eigenvalues acts on the block as a constant
shift; on the large matrix it does not. Data cannot tell them apart, only smoothness does. The two extremes
are least-squares problems as the fit is: one with the largest shift ``b`` that ``χ²`` allows, and one
without a shift and with the fewest jumps ``∫G(dx)/x²``, which is the least rank.
"""

from __future__ import annotations

import torch

from rmtaudit.kernels.free.fit import levy_system, smoothness
from rmtaudit.kernels.free.measure import LevyMeasure
from rmtaudit.kernels.free.nonnegative import nonnegative_least_squares

_RISE = 4.0
_PULLS = tuple(10.0**power for power in range(-6, 9))


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


def _pulled(
    gram: torch.Tensor, right: torch.Tensor, towards: torch.Tensor, lowest: float | None = None
) -> tuple[torch.Tensor | None, torch.Tensor, float]:
    """Return the solution pulled in a direction as far as the rise over ``lowest`` allows, and the plain one.

    ``None`` where even the plain one rises further.
    """
    pulls = right.new_tensor((0.0, *_PULLS))
    found = nonnegative_least_squares(
        gram.expand(len(pulls), -1, -1).contiguous(), right + pulls[:, None] * towards
    )
    objective = ((found @ gram) * found).sum(-1) - 2 * (found @ right)
    start = float(objective[0])
    allowed = torch.nonzero(objective <= (start if lowest is None else lowest) + _RISE).flatten()
    return (found[allowed[-1]] if len(allowed) else None), found[0], start
