"""Rank deficit: singular values missing below a gap."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmtaudit.kernels.forensics.truncation import LostDirections
from rmtaudit.kernels.spectra.scale import frobenius_norm, numerical_rank

if TYPE_CHECKING:
    from rmtaudit.kernels.spectra.spectrum import Spectrum

GAP = 3.0
"""Least ratio ``σ_r/σ_{r+1}`` of a truncation."""

_HARD_EDGE_GAP = 100.0
_HARD_EDGE = 4
_FINE, _COARSE = 2.0**-12, 2.0**-6
_HEIGHT = 64.0
"""How many times the norm of the rounding errors what lies below a gap of 100 may reach: a truncation that
was computed in the stored precision leaves more than the rounding of the entries."""


@dataclass(frozen=True, slots=True, kw_only=True)
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
    rho
        What the lost directions hold, over what rounding explains (see
        :mod:`rmtaudit.kernels.forensics.truncation`); ``None`` if the entries were not stored as such.
    truncated
        Whether only a truncation explains it. Otherwise training may have collapsed the layer.
    """

    rank: int
    possible: int
    smallest_kept: float
    largest_lost: float
    gap: float
    rho: float | None = None
    truncated: bool = False


def rank_deficit(
    spectrum: Spectrum, *, possible: int, epsilon: float, smallest_normal: float
) -> RankDeficit | None:
    """Return the rank deficit of one matrix that has a gap, or ``None``.

    The rank is that of :func:`rmtaudit.kernels.spectra.scale.numerical_rank`. The smallest singular values of
    a healthy matrix in a coarse format (bfloat16, fp8) also sink below its rounding noise, but without a gap:
    the ratio of neighbours must be at least 3. The last few singular values of a square random matrix lie far
    apart by themselves (hard edge), so fewer than 4 missing ones count only with a ratio of at least 100 in a
    format finer than float16. Singular values that fall by a factor of 100 at once count as missing up to 64
    times the rounding noise, for a truncation that was computed in the stored precision. In fp8 even well
    separated small directions drown: half of the rank must be missing.

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
    rank = min(rank, _rank_at_cliff(spectrum, epsilon, smallest_normal) or rank)
    if rank == 0 or rank >= possible:
        return None
    deficit = _described(spectrum, rank, possible)
    return deficit if _has_gap(deficit.gap, possible - rank, possible, epsilon) else None


def explained_deficit(spectrum: Spectrum, found: LostDirections) -> RankDeficit | None:
    """Return the rank deficit that the entries themselves show, with its cause; ``None`` without a gap.

    Parameters
    ----------
    spectrum
        Of the matrix, for singular values in its own units.
    found
        Of the matrix without its copied rows and columns.
    """
    possible = found.rank + found.lost
    gap = found.smallest_kept / found.largest_lost if found.largest_lost else math.inf
    if found.rank == 0 or found.lost == 0 or not _has_gap(gap, found.lost, possible, found.epsilon):
        return None
    described = _described(spectrum, found.rank, possible)
    return RankDeficit(
        rank=found.rank,
        possible=possible,
        smallest_kept=described.smallest_kept,
        largest_lost=described.largest_lost,
        gap=gap,
        rho=found.rho,
        truncated=found.truncated,
    )


def _described(spectrum: Spectrum, rank: int, possible: int) -> RankDeficit:
    kept, lost = (math.sqrt(float(spectrum.eigenvalues[-index])) for index in (rank, rank + 1))
    gap = kept / (lost or math.sqrt(spectrum.floor)) if lost or spectrum.floor else math.inf
    return RankDeficit(rank=rank, possible=possible, smallest_kept=kept, largest_lost=lost, gap=gap)


def _has_gap(gap: float, missing: int, possible: int, epsilon: float) -> bool:
    few = missing < _HARD_EDGE
    if gap < (_HARD_EDGE_GAP if few else GAP) or (few and epsilon > _FINE):
        return False
    return not (epsilon > _COARSE and 2 * missing < possible)


def _rank_at_cliff(spectrum: Spectrum, epsilon: float, smallest_normal: float) -> int | None:
    """Return where the singular values fall by a factor of 100 at once to near the rounding errors.

    At least 4 must lie below: the last few of a square matrix fall as far by chance.
    """
    rms = frobenius_norm(spectrum.eigenvalues) / math.sqrt(spectrum.rows * spectrum.cols)
    noise = epsilon / math.sqrt(3) * math.hypot(rms, smallest_normal)
    bound = _HEIGHT * noise * (math.sqrt(spectrum.rows) + math.sqrt(spectrum.cols))
    if math.sqrt(float(spectrum.eigenvalues[0])) > bound:
        return None
    sigma = spectrum.eigenvalues.flip(0).sqrt()
    resolved = math.sqrt(spectrum.floor)
    falls = (sigma[1:] <= bound) & (sigma[:-1] >= _HARD_EDGE_GAP * sigma[1:].clamp_min(resolved))
    falls[max(0, len(falls) - _HARD_EDGE + 1) :] = False
    return int(falls.to(sigma.dtype).argmax()) + 1 if bool(falls.any()) else None
