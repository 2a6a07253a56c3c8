"""Rank deficit: singular values missing below a gap."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmtaudit.kernels.scale import numerical_rank

if TYPE_CHECKING:
    from rmtaudit.kernels.spectrum import Spectrum

GAP = 3.0
"""Least ratio ``σ_r/σ_{r+1}`` of a truncation."""

_HARD_EDGE_GAP = 100.0
_HARD_EDGE = 4
_FINE, _COARSE = 2.0**-12, 2.0**-6


@dataclass(frozen=True, slots=True)
class RankDeficit:
    """A numerical rank below the greatest possible, and the gap that shows it.

    Attributes
    ----------
    rank, possible
        Numerical rank, and the smaller side less its dead or copied rows or columns.
    smallest_kept, largest_lost
        ``σ_r`` and ``σ_{r+1}``, in weight units; the second is 0 where it is unresolved.
    gap
        Their ratio; a lower bound where ``σ_{r+1}`` is unresolved.
    """

    rank: int
    possible: int
    smallest_kept: float
    largest_lost: float
    gap: float


def rank_deficit(
    spectrum: Spectrum, *, possible: int, epsilon: float, smallest_normal: float
) -> RankDeficit | None:
    """Return the rank deficit of one matrix that has a gap, or ``None``.

    The rank is that of :func:`rmtaudit.kernels.scale.numerical_rank`. The smallest singular values of a
    healthy matrix in a coarse format (bfloat16, fp8) also sink below its rounding noise, but without a gap:
    the ratio of neighbours must be at least 3. The last few singular values of a square random matrix lie far
    apart by themselves (hard edge), so fewer than 4 missing ones count only with a ratio of at least 100 in a
    format finer than float16. In fp8 even well separated small directions drown: half of the rank must be
    missing.

    Parameters
    ----------
    spectrum
        Of one matrix.
    possible
        Greatest rank that is expected: more than it is never missing.
    epsilon, smallest_normal
        Of the format that the entries were last rounded to.
    """
    rank = numerical_rank(spectrum, epsilon=epsilon, smallest_normal=smallest_normal)
    missing = possible - rank
    if rank == 0 or missing < 1:
        return None
    kept, lost = (math.sqrt(float(spectrum.eigenvalues[-index])) for index in (rank, rank + 1))
    gap = kept / (lost or math.sqrt(spectrum.floor)) if lost or spectrum.floor else math.inf
    few = missing < _HARD_EDGE
    if gap < (_HARD_EDGE_GAP if few else GAP) or (few and epsilon > _FINE):
        return None
    if epsilon > _COARSE and 2 * missing < possible:
        return None
    return RankDeficit(rank, possible, kept, lost, gap)
