"""One tail of a sample: where it starts, the five laws above that, and which of them are left.

The upper tail is that of ``x``, the lower tail that of ``1/x``: ``P(1/x > t) ~ t^-(alpha - 1)`` is
``P(x < y) ~ y^(alpha - 1)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from rmtaudit.kernels.powerlaw import STABILITY_MARGIN, NoFit, PowerLawFit, fit_sorted
from rmtaudit.kernels.tails.compare import LEVEL, Comparison, Verdict, compare_laws, judge
from rmtaudit.kernels.tails.laws import LawFit, fit_laws

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

Side = Literal["upper", "lower"]


@dataclass(frozen=True, slots=True)
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
    """

    side: Side
    power_law: PowerLawFit
    laws: tuple[LawFit, ...]
    comparisons: tuple[Comparison, ...]
    verdict: Verdict


def fit_tail(
    values: torch.Tensor, side: Side, *, min_tail: int = 8, level: float = LEVEL, stability: bool = True
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

    Returns
    -------
    Tail or NoFit
        ``NoFit`` where no tail has ``min_tail`` values that are not all equal, or where the largest is more
        than ``e^700`` times the smallest.

    Raises
    ------
    ValueError
        For values that are not finite or not one-dimensional, ``min_tail < 2``, or a level outside (0, 1).
    """
    x, excluded = side_values(values, side)
    if min_tail < 2:
        raise ValueError(f"min_tail must be at least 2, not {min_tail}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
    found = fit_sorted(
        x,
        excluded=excluded,
        min_tail=min_tail,
        ecdf="both",
        margin=STABILITY_MARGIN if stability else None,
    )
    if isinstance(found, NoFit):
        return found
    try:
        laws = fit_laws(x[x.size - found.tail_size :], found.xmin)
    except ArithmeticError as error:
        return NoFit(str(error), found.size, excluded)
    comparisons = compare_laws(laws)
    return Tail(side, found, laws, comparisons, judge(laws, comparisons, level=level))


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
