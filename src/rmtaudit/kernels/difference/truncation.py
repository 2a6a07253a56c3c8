"""Truncation of a matrix to a low rank."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from rmtaudit.kernels.difference.low_rank import MARGIN, is_above, part_of
from rmtaudit.kernels.difference.products import Products, start
from rmtaudit.kernels.difference.rounding import Rounding
from rmtaudit.kernels.spectra.gram import eigenvalues, gram, tall

_MOST_KEPT = 320
"""Columns in which a truncation is looked for where the smaller side is above 1536: larger ranks than this
are not found there."""

_WHOLE = 1536
"""Smaller side up to which a truncation is looked for among all singular values."""


@dataclass(frozen=True, slots=True)
class Truncated:
    """The candidate is the base, projected to its leading singular directions.

    Attributes
    ----------
    rank
        Number of directions kept.
    energy
        Share of the base's squared norm that the candidate has.
    shrunk
        Whether the kept singular values were changed too.
    largest_angle
        Sine of the largest angle by which the base moves a kept direction out of the kept space.
    """

    rank: int
    energy: float
    shrunk: bool
    largest_angle: float


def has_full_rank(candidate: torch.Tensor, edge: float) -> bool:
    """Whether so many singular values are seen above rounding that nothing was truncated."""
    kept = _kept(candidate)
    return is_above(part_of(candidate, kept), kept, 4 * MARGIN * edge)


def _kept(candidate: torch.Tensor) -> int:
    size = min(candidate.shape)
    return size if size <= _WHOLE else 2 * _MOST_KEPT


def find_truncated(base: torch.Tensor, candidate: torch.Tensor, rounding: Rounding) -> Truncated | None:
    """Return the rank to which the base was truncated to make the candidate; ``None`` where it was not.

    The candidate must lack singular values beyond a gap, and the directions that it keeps must be singular
    directions of the base: the base maps the kept space into the kept space, to rounding, and nothing that
    is left of the base is larger than the least singular value that it has there.

    Parameters
    ----------
    base, candidate
        Equal shapes, real floating, finite.
    rounding
        Of the two matrices, from :func:`~rmtaudit.kernels.difference.rounding.rounding_of`.
    """
    smaller = min(candidate.shape)
    edge = MARGIN * rounding.edge
    if _has_full_rank(candidate, rounding, 4 * edge):
        return None
    ours, theirs = Products.of(base, rounding), Products.of(candidate, rounding)
    values = (
        _all_values(candidate, rounding) if smaller <= _WHOLE else theirs.long_values(_short_range(theirs))
    )
    rank = int((values > 4 * edge).sum())
    resolved = 4e-8 * float(values[0])  # of a Gram matrix in float64
    if not 0 < rank < smaller - 3 or rank >= len(values):
        return None
    if float(values[rank - 1]) < 2 * max(float(values[rank]), resolved):
        return None
    basis = _row_range(theirs, min(rank + 8, smaller))
    inner, S, Vh = torch.linalg.svd(theirs.back(basis, scaled=False).T, full_matrices=False)
    U, V = (basis @ inner)[:, :rank], Vh[:rank].T
    image, back = ours.times(V, scaled=False), ours.back(U, scaled=False)
    core = U.T @ image
    outside = max(
        float(torch.linalg.matrix_norm(image - U @ core, 2)),
        float(torch.linalg.matrix_norm(back - V @ core.T, 2)),
    )
    noise = rounding.edge / max(float(rounding.rows.median() * rounding.columns.median()), 1e-300)
    norm = float(torch.linalg.matrix_norm(core, 2))
    least = float(torch.linalg.svdvals(core)[-1])
    angle = outside / least if least else math.inf
    # The kept directions of a rounded matrix turn by the rounding errors over the least kept value, and the
    # base's part outside is moved in by as much.
    allowed = 8 * noise * (1 + norm / max(float(S[rank - 1]), 1e-300)) + 1e-6 * norm
    if outside > allowed:
        return None
    energy = theirs.energy(scaled=False) / ours.energy(scaled=False)
    shrunk = float(torch.linalg.matrix_norm(core - torch.diag(S[:rank]))) > 8 * noise + 1e-5 * norm
    return Truncated(rank=rank, energy=energy, shrunk=shrunk, largest_angle=angle)


def _all_values(candidate: torch.Tensor, rounding: Rounding) -> torch.Tensor:
    """Return all singular values of the scaled candidate, largest first."""
    rows, columns = rounding.rows, rounding.columns
    if candidate.shape[0] < candidate.shape[1]:
        rows, columns = columns, rows
    product = gram(tall(candidate), lambda block, band: block.mul_(rows[band, None]).mul_(columns))
    return eigenvalues(product).flip(0).sqrt()


def _short_range(candidate: Products) -> torch.Tensor:
    """Return a basis of the leading range of the scaled candidate, on its shorter side."""
    basis = torch.linalg.qr(candidate.to_short(start(max(candidate.shape), _MOST_KEPT, candidate.device))).Q
    result: torch.Tensor = torch.linalg.qr(candidate.to_long_and_back(basis)).Q
    return result


def _row_range(candidate: Products, columns: int) -> torch.Tensor:
    """Return a basis of the leading range of the candidate as it is, on the side of its rows."""
    basis = torch.linalg.qr(
        candidate.times(start(candidate.shape[1], columns, candidate.device), scaled=False)
    ).Q
    images = candidate.times(candidate.back(basis, scaled=False), scaled=False)
    result: torch.Tensor = torch.linalg.qr(images).Q
    return result


def _has_full_rank(candidate: torch.Tensor, rounding: Rounding, threshold: float) -> bool:
    """Whether so many scaled singular values are seen above a threshold that nothing was truncated.

    A part of the rows, and for a large matrix of the columns, has no larger singular values than the whole
    one.
    """
    long, short = (0, 1) if candidate.shape[0] >= candidate.shape[1] else (1, 0)
    kept = _kept(candidate)
    chosen = [slice(None), slice(None)]
    chosen[short] = slice(0, kept)
    chosen[long] = slice(None, None, max(1, candidate.shape[long] // (2 * kept)))
    part = candidate[chosen[0], chosen[1]]
    rows, columns = rounding.rows[chosen[0]], rounding.columns[chosen[1]]
    if part.shape[0] < part.shape[1]:
        rows, columns = columns, rows
    return is_above(part, kept, threshold, lambda block, band: block.mul_(rows[band, None]).mul_(columns))
