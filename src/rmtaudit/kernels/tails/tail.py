"""One tail of a sample: where it starts, the five laws above that, and which of them are left.

The upper tail is that of ``x``, the lower tail that of ``1/x``: ``P(1/x > t) ~ t^-(alpha - 1)`` is
``P(x < y) ~ y^(alpha - 1)``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from rmtaudit.kernels.powerlaw.fit import STABILITY_MARGIN, NoFit, PowerLawFit
from rmtaudit.kernels.tails.compare import LEVEL, Comparison, Verdict, compare_laws, judge
from rmtaudit.kernels.tails.discrete import GREATEST
from rmtaudit.kernels.tails.laws import Law, LawFit
from rmtaudit.kernels.tails.support import Support, distances_of, fit_start, laws_of
from rmtaudit.kernels.tails.ties import Tied, tied, too_few_values

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

Side = Literal["upper", "lower"]

_IMPOSSIBLE = 0.001
"""Chance of a distance as large below which a law is called impossible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """A tail and what is known of it.

    Attributes
    ----------
    side
        Which end of the sample. For ``"lower"`` everything below is of the reciprocals ``1/x``.
    power_law
        The power law, ``xmin`` by least Kolmogorov-Smirnov distance.
    laws
        The five laws above the same ``xmin``.
    comparisons
        Every two of them.
    verdict
        What the comparisons support.
    distances
        Kolmogorov-Smirnov distance of each law.
    support
        Whether the laws are those of continuous values or of whole numbers.
    ties
        Why no law can be judged, where equal values are the reason; else ``None``.
    """

    side: Side
    power_law: PowerLawFit
    laws: tuple[LawFit, ...]
    comparisons: tuple[Comparison, ...]
    verdict: Verdict
    distances: Mapping[Law, float]
    support: Support
    ties: Tied | None

    @property
    def impossible(self) -> frozenset[Law]:
        """The laws that are farther from the values than a sample of theirs is in one of 1000 cases."""
        return impossible_laws(self.distances, self.power_law.tail_size)


def fit_tail(
    values: torch.Tensor,
    side: Side,
    *,
    min_tail: int = 8,
    level: float = LEVEL,
    stability: bool = True,
    support: Support = "continuous",
) -> Tail | NoFit:
    """Fit one tail of ``values``: the start by the power law, then the five laws above it.

    That ``xmin`` is chosen by the power law favours it: the other laws are held against it where it does
    best.

    Parameters
    ----------
    values
        Shape ``(n,)``, any real dtype, finite, in any order. Zeros and negative values are excluded and
        counted.
    side
        Which end.
    min_tail
        Least number of values in a tail, at least 2.
    level
        See :func:`~rmtaudit.kernels.tails.compare.judge`.
    stability
        Whether to find the range of ``alpha`` over the nearly best ``xmin``.
    support
        ``"discrete"``: laws of whole numbers, for the upper tail of values that are.

    Returns
    -------
    Tail or NoFit
        ``NoFit`` where no tail has ``min_tail`` values that are not all equal, where the largest is more than
        ``e^700`` times the smallest, or where the tail has too few different values.

    Raises
    ------
    ValueError
        For values that are not finite or not one-dimensional, ``min_tail < 2``, a level outside (0, 1), or a
        discrete law of values that are not whole numbers.
    """
    x, excluded = side_values(values, side)
    if support == "discrete" and (
        side == "lower" or not bool((x == np.floor(x)).all()) or (x.size and x[-1] > GREATEST)
    ):
        raise ValueError("discrete laws are for the upper tail of whole numbers")
    if min_tail < 2:
        raise ValueError(f"min_tail must be at least 2, not {min_tail}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
    start = fit_start(
        x, support, excluded=excluded, min_tail=min_tail, margin=STABILITY_MARGIN if stability else None
    )
    if isinstance(start, NoFit):
        return start
    above = x[x.size - start.tail_size :]
    problem = too_few_values(above)
    if problem:
        return NoFit(problem, start.size, excluded)
    try:
        laws = laws_of(above, start.xmin, support)
    except ArithmeticError as error:
        return NoFit(str(error), start.size, excluded)
    distances = distances_of(laws, above, start.xmin, support)
    comparisons = compare_laws(laws)
    out = impossible_laws(distances, above.size)
    return Tail(
        side=side,
        power_law=start,
        laws=laws,
        comparisons=comparisons,
        verdict=judge(laws, comparisons, level=level, impossible=out),
        distances=distances,
        support=support,
        ties=tied(above, support),
    )


def impossible_laws(distances: Mapping[Law, float], size: int) -> frozenset[Law]:
    """Return the laws whose distance a sample of ``size`` values has in less than one of 1000 cases.

    The bound ``2 e^(-2 n D²)`` holds for every sample size and every law, continuous or not; fitting a law
    makes distances smaller than it says.

    References
    ----------
    Massart, *The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality*, Annals of Probability 18
    (1990).
    """
    limit = math.sqrt(math.log(2 / _IMPOSSIBLE) / (2 * size))
    return frozenset(law for law, distance in distances.items() if distance > limit)


def side_values(values: torch.Tensor, side: Side) -> tuple[NDArray[np.float64], int]:
    """Return the positive values, or for the lower side their reciprocals, ascending, and how many are not.

    A value whose reciprocal no float holds counts as zero.
    """
    if values.ndim != 1:
        raise ValueError(f"values must be one-dimensional, not of shape {tuple(values.shape)}")
    array = values.detach().cpu().double().numpy()
    if not np.isfinite(array).all():
        raise ValueError("values must be finite")
    x = array[array > 0]
    if side == "lower":
        with np.errstate(over="ignore"):
            x = 1 / x
        x = x[np.isfinite(x)]
    return np.sort(x), array.size - x.size
