"""The unit in which the tails of a sample are fitted: the laws have no scale of their own, and floats do.

Whole numbers, and values on a coarser or finer grid, are counted in its steps. Other values are divided by a
power of two, which is exact, where they are so small or large that their reciprocals are no floats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from rmtaudit.kernels.tails.support import Support

_SAFE = 500  # powers of two: squares and reciprocals of such values are floats


@dataclass(frozen=True, slots=True)
class Unit:
    """``factor · 2^exponent`` of the file's unit."""

    factor: float = 1.0
    exponent: int = 0

    def to_file(self, value: float) -> float | None:
        """Return a value of this unit in that of the file; ``None`` where no float holds it."""
        return _ldexp(value * self.factor, self.exponent)

    def rate_to_file(self, rate: float) -> float | None:
        """Return a rate per unit as one per unit of the file."""
        return _ldexp(rate / self.factor, -self.exponent)

    @property
    def log(self) -> float:
        """Natural logarithm of the unit."""
        return math.log(self.factor) + self.exponent * math.log(2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """Values in a unit that suits them.

    Attributes
    ----------
    values
        Shape ``(n,)``, float64.
    unit
        Of ``values``.
    support
        Laws of the upper tail: those of whole numbers, counted from 0 in steps, or of continuous values.
    step
        Of the grid, in the unit of the file, where the values lie on one.
    lower
        Why there is no law of the lower tail; empty where there may be one.
    problem
        Why there is no law at all; empty where there may be one.
    """

    values: torch.Tensor
    unit: Unit
    support: Support
    step: float | None
    lower: str
    problem: str


def scaled(values: torch.Tensor) -> Scaled:
    """Return ``values``, shape ``(n,)``, finite, in a unit that suits them."""
    import numpy as np
    import torch

    from rmtaudit.kernels.tails.discrete import GREATEST
    from rmtaudit.kernels.tails.ties import grid_step, is_fine

    array = values.double().numpy()
    positive = array[array > 0]
    if not positive.size:
        return Scaled(values=values, unit=Unit(), support="continuous", step=None, lower="", problem="")
    least, greatest = float(positive.min()), float(positive.max())
    step = grid_step(positive)
    if step is not None and greatest / step <= GREATEST and not is_fine(step, least):
        lower = (
            f"the values lie on a grid of step {step:.6g} and begin {round(least / step)} steps "
            "from 0: the lower end is that of the grid"
        )
        units = torch.from_numpy(np.rint(array / step))
        return Scaled(values=units, unit=Unit(step), support="discrete", step=step, lower=lower, problem="")
    low, high = math.frexp(least)[1], math.frexp(greatest)[1]
    exponent = 0 if max(-low, high) <= _SAFE else (low + high) // 2
    with np.errstate(over="ignore", under="ignore"):
        # what is not positive is left out by every fit, and may leave the range of floats
        result = np.where(array > 0, np.ldexp(array, -exponent), np.minimum(array, 0.0))
    if high - low > 2 * _SAFE:
        problem = (
            f"the greatest value is 2^{high - low} times the least one, more than "
            "floating-point numbers can compare"
        )
        return Scaled(values=values, unit=Unit(), support="continuous", step=step, lower="", problem=problem)
    return Scaled(
        values=torch.from_numpy(result),
        unit=Unit(exponent=exponent),
        support="continuous",
        step=step,
        lower="",
        problem="",
    )


def _ldexp(value: float, exponent: int) -> float | None:
    try:
        result = math.ldexp(value, exponent)
    except OverflowError:
        return None
    return result if math.isfinite(result) else None
