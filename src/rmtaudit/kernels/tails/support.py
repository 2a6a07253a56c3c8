"""Continuous values or whole numbers: the one place where a tail of either kind is fitted and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from rmtaudit.kernels.powerlaw.fit import NoFit, PowerLawFit, fit_sorted
from rmtaudit.kernels.tails.discrete import draw_discrete, fit_discrete
from rmtaudit.kernels.tails.discrete_laws import discrete_distances, fit_discrete_laws
from rmtaudit.kernels.tails.distance import ks_distances
from rmtaudit.kernels.tails.laws import Law, LawFit, fit_laws

if TYPE_CHECKING:
    from numpy.typing import NDArray

Support = Literal["continuous", "discrete"]


def fit_start(
    x: NDArray[np.float64], support: Support, *, excluded: int, min_tail: int, margin: float | None
) -> PowerLawFit | NoFit:
    """Fit the power law and where it starts; ``x`` ascending, positive, whole numbers if discrete."""
    if support == "discrete":
        return fit_discrete(x, excluded=excluded, min_tail=min_tail, margin=margin)
    return fit_sorted(x, excluded=excluded, min_tail=min_tail, ecdf="both", margin=margin)


def laws_of(tail: NDArray[np.float64], xmin: float, support: Support) -> tuple[LawFit, ...]:
    """Fit the five laws. Raises ArithmeticError as :func:`~rmtaudit.kernels.tails.laws.fit_laws`."""
    return fit_discrete_laws(tail, xmin) if support == "discrete" else fit_laws(tail, xmin)


def distances_of(
    laws: Sequence[LawFit], tail: NDArray[np.float64], xmin: float, support: Support
) -> dict[Law, float]:
    """Return the Kolmogorov-Smirnov distance of each law."""
    of = discrete_distances if support == "discrete" else ks_distances
    return of(laws, tail, xmin)


def draw_tail(
    alpha: float, xmin: float, uniform: NDArray[np.float64], support: Support
) -> NDArray[np.float64]:
    """Return values of the power law whose tails have the probabilities ``uniform``, in (0, 1]."""
    if support == "discrete":
        return draw_discrete(alpha, xmin, uniform)
    with np.errstate(over="ignore"):
        drawn = xmin * uniform ** (-1 / (alpha - 1))
    # an exponent next to 1 draws values that no float holds; the largest float stands for them
    result: NDArray[np.float64] = np.minimum(drawn, np.finfo(np.float64).max)
    return result
