"""Tell a matrix that was truncated to a low rank from one whose smallest directions decayed in training.

Both leave singular values that vanish beside the others. A truncation that was computed in more digits than
were stored leaves nothing in the lost directions but the rounding of the stored entries, whose size is known.
A decayed direction, or a truncation computed in the stored precision, leaves more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

_DEAD = 1e-5
"""Rows and columns below this share of the median root mean square are left out."""

_ABOVE_ROUNDING = 8.0
"""A singular value counts if it exceeds this many times the norm of the expected rounding errors."""

_CLIFF, _CLIFF_HEIGHT = 100.0, 64.0
"""A gap of this size marks the rank instead, if what lies below it is within so many times that bound: the
errors of a truncation computed in the stored precision are up to 20 times those of storing it."""

_HARD_EDGE = 4
"""Singular values that must lie below such a gap: the last few of a square matrix fall as far by chance."""

_SWEEPS = 3
_RHO = (0.3, 3.0)
_FEW, _SHARE = 3, 0.1
_HALF = 2.0**-12
_HALF_RANK = 16
"""In half precision a matrix that training collapsed to a few directions looks exactly as a truncated one
does, for its decayed directions drown in the rounding. Fewer kept directions are called collapsed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LostDirections:
    """The singular values that a matrix lost, against the rounding errors of its stored entries.

    Attributes
    ----------
    rank, lost
        Singular values above the rounding errors, and below; their sum is the smaller side without dead rows
        and columns.
    smallest_kept, largest_lost
        ``σ_r`` and ``σ_{r+1}`` after scaling rows and columns to equal size by powers of 2: only their ratio
        means something. The second is 0 if nothing was lost.
    rho
        Sum of the squares of the lost singular values, over its expectation if the lost directions held
        nothing but rounding errors; infinite if none are expected.
    epsilon
        Unit roundoff of the entries.
    """

    rank: int
    lost: int
    smallest_kept: float
    largest_lost: float
    rho: float
    epsilon: float

    @property
    def truncated(self) -> bool:
        """Whether only a truncation explains it: many directions hold rounding errors and no more."""
        many = self.lost > max(_FEW, _SHARE * (self.rank + self.lost))
        telling = self.epsilon < _HALF or self.rank >= _HALF_RANK
        return many and telling and _RHO[0] <= self.rho <= _RHO[1]


def lost_directions(matrix: torch.Tensor, *, epsilon: float, smallest_normal: float) -> LostDirections | None:
    """Compare the smallest singular values with what rounding the entries explains.

    Rounding an entry ``w`` to a format changes it by an error of variance ``v = ulp(w)²/12``. Let ``P`` and
    ``Q`` project on the null spaces of a matrix of rank ``r`` that was rounded. The singular values after
    the ``r``-th are those of ``P E Q`` to first order, so the sum of their squares is near
    ``Σ P_ii v_ij Q_jj``; ``rho`` is the ratio. Before that, dead rows and columns are left out, and the
    others are scaled to equal size by powers of 2, which changes no rounding error relative to its entry.

    Parameters
    ----------
    matrix
        Shape ``(rows, cols)``, float32 or float64, without copied rows and columns.
    epsilon, smallest_normal
        Unit roundoff and smallest normal number of the format that the entries were last rounded to.

    Returns
    -------
    LostDirections or None
        ``None`` if nothing is left without the dead rows and columns.

    References
    ----------
    Stewart, *Perturbation theory for the singular value decomposition* (1990), for the first order.
    """
    W = _alive(matrix.double())
    if min(W.shape) < 2:
        return None
    exponent = torch.frexp(W)[1].double() - 1
    ulp = 2 * epsilon * torch.exp2(exponent).clamp_min(smallest_normal)
    W, ulp = _equilibrated(W, torch.where(W == 0, 2 * epsilon * smallest_normal, ulp))
    variance = ulp.square() / 12
    rows, cols = W.shape
    U, S, Vh = torch.linalg.svd(W, full_matrices=False)
    bound = math.sqrt(float(variance.mean())) * (math.sqrt(rows) + math.sqrt(cols))
    rank = _rank(S, _ABOVE_ROUNDING * bound)
    lost = len(S) - rank
    if rank == 0 or lost == 0:
        kept = float(S[rank - 1]) if rank else 0.0
        return LostDirections(
            rank=rank,
            lost=lost,
            smallest_kept=kept,
            largest_lost=float(S[0]) if rank == 0 else 0.0,
            rho=math.inf,
            epsilon=epsilon,
        )
    left = (1 - U[:, :rank].square().sum(1)).clamp_min(0)
    right = (1 - Vh[:rank].square().sum(0)).clamp_min(0)
    expected = float(left @ variance @ right)
    found = float(S[rank:].square().sum())
    return LostDirections(
        rank=rank,
        lost=lost,
        smallest_kept=float(S[rank - 1]),
        largest_lost=float(S[rank]),
        rho=found / expected if expected > 0 else math.inf,
        epsilon=epsilon,
    )


def _rank(values: torch.Tensor, bound: float) -> int:
    """Return how many singular values stand above rounding, or above the greatest cliff a little higher."""
    rank = int((values > bound).sum())
    low = (values[1:] <= _CLIFF_HEIGHT * bound).nonzero().reshape(-1)
    if not rank or not len(low):
        return rank
    first, last = int(low[0]), min(rank - 1, len(values) - _HARD_EDGE)
    ratios = values[first:last] / values[first + 1 : last + 1]
    if len(ratios) and float(ratios.max()) >= _CLIFF:
        return first + 1 + int(ratios.argmax())
    return rank


def _alive(W: torch.Tensor) -> torch.Tensor:
    """Return the matrix without the rows and columns that vanish beside the median one."""
    rows, cols = (torch.linalg.vector_norm(W, dim=along) / math.sqrt(W.shape[along]) for along in (1, 0))
    return W[_lives(rows)][:, _lives(cols)]


def _lives(sizes: torch.Tensor) -> torch.Tensor:
    positive = sizes[sizes > 0]
    return sizes > (_DEAD * positive.median() if len(positive) else 0)


def _equilibrated(W: torch.Tensor, ulp: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale rows and columns to a root mean square near 1 by powers of 2, and the rounding units too."""
    for _ in range(_SWEEPS):
        for along in (1, 0):
            size = torch.linalg.vector_norm(W, dim=along, keepdim=True) / math.sqrt(W.shape[along])
            scale = torch.exp2(-torch.round(torch.log2(size.clamp_min(torch.finfo(torch.float64).tiny))))
            W, ulp = W * scale, ulp * scale
    return W, ulp
