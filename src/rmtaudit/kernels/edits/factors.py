"""The factors of a low-rank update, with the rank that stands out of the rounding of its storage."""

from __future__ import annotations

from dataclasses import dataclass

import torch

_MARGIN = 1.1
"""Over the largest singular value of one draw of the rounding noise, which varies by a few per cent, and for
the arithmetic of the update itself, whose rounding is smaller but not drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors:
    """A low-rank update ``up @ down``.

    Attributes
    ----------
    down, up
        Shapes ``(rank, cols)`` and ``(rows, rank)``, float32: the singular values are shared evenly.
    rank
        The rank kept; 0 for an update that does not stand out of the rounding.
    resolved
        Number of singular values above the edge of the rounding.
    edge
        The largest singular value that rounding alone makes.
    relative_error
        Frobenius norm of what is left over that of the update.
    """

    down: torch.Tensor
    up: torch.Tensor
    rank: int
    resolved: int
    edge: float
    relative_error: float


def update_factors(
    update: torch.Tensor, rounding: torch.Tensor, *, rank: int | None, generator: torch.Generator
) -> Factors:
    """Factor an update by its singular value decomposition.

    Storage rounds each entry by a uniform error whose bound is known. One matrix of such errors is drawn, and
    singular values above its largest one are the update's.

    Parameters
    ----------
    update
        Shape ``(rows, cols)``, real floating dtype, finite.
    rounding
        Largest rounding error of each entry, of the same shape.
    rank
        The rank to keep; ``None`` for the number of singular values above the edge.
    generator
        For the draw.
    """
    D = update.double()
    room = rounding.double()
    draw = torch.rand(D.shape, generator=generator, dtype=torch.float64).to(D.device)
    edge = _MARGIN * float(torch.linalg.matrix_norm((2 * draw - 1) * room, 2)) if float(room.max()) else 0.0
    U, S, Vh = torch.linalg.svd(D, full_matrices=False)
    # The rounding of the decomposition itself: LAPACK's backward error.
    least = max(D.shape) * torch.finfo(torch.float64).eps * float(S[0]) if len(S) else 0.0
    resolved = int((max(edge, least) < S).sum())
    kept = min(resolved if rank is None else rank, len(S))
    total = float(S.square().sum())
    left = float(S[kept:].square().sum())
    root = S[:kept].sqrt()
    return Factors(
        down=(root[:, None] * Vh[:kept]).float(),
        up=(U[:, :kept] * root).float(),
        rank=kept,
        resolved=resolved,
        edge=edge,
        relative_error=(left / total) ** 0.5 if total else 0.0,
    )
