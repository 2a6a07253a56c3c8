"""Updates of low rank, above the rounding of the stored entries; and truncation to a low rank."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from rmtaudit.kernels.difference.formats import rounding_variance
from rmtaudit.kernels.spectra.gram import eigenvalues, gram, row_bands, tall

_SWEEPS = 6
_EVEN = 1e-3
"""Rounding errors of the rows are even enough to within this share; the edge holds for any scales."""
_MARGIN = 1.05
"""Singular values count above the edge of the rounding errors times this: its fluctuation, and what a
finite matrix adds to the asymptotic edge."""

_CLEAR = 1.5
"""A rank is exact where the last singular value counted exceeds the next one by this factor."""

_LARGEST_SHARE = 0.5
"""Largest rank, over the smaller side, that is called low."""

_FULL = 96
"""Smaller side up to which all singular values are computed at once."""

_COLUMNS = (48, 160, 512)
"""Columns of the random range finder for larger matrices, in turn, while they are less than half of it."""

_MOST_KEPT = 320
"""Columns in which a truncation is looked for where the smaller side is above 1536: larger ranks than this
are not found there."""

_WHOLE = 1536
"""Smaller side up to which a truncation is looked for among all singular values."""

_SPREAD = 8.0
"""Where the singular values in so small a range fall by less than this factor, more columns are not tried:
the difference is no low rank above a floor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LowRankUpdate:
    """The candidate is the base and an update of low rank, rounded.

    Attributes
    ----------
    rank
        Singular values above the edge of the rounding errors.
    least_rank
        Of those, the ones that stand clear of the edge; below ``rank`` where the last ones do not.
    singular_values
        Of the update, largest first, in weight units.
    relative_norm
        Frobenius norm of the update over that of the base.
    share
        Share of the squared norm of the difference that the update explains; the rest is rounding.
    above
        The last singular value counted over the next one, both with rows and columns scaled to equal
        rounding errors.
    """

    rank: int
    least_rank: int
    singular_values: tuple[float, ...]
    relative_norm: float
    share: float
    above: float


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


@dataclass(frozen=True, slots=True)
class Rounding:
    """The variance that rounding gives each entry of a difference, and the edge of its singular values.

    ``rows`` and ``columns`` are scales after which it is about 1 in every row and column; ``edge`` is the
    bound ``max_i (Σ_j v_ij)^½ + max_j (Σ_i v_ij)^½`` on the largest singular value after them.
    """

    rows: torch.Tensor
    columns: torch.Tensor
    edge: float
    energy: float


def rounding_of(base: torch.Tensor, candidate: torch.Tensor, dtypes: tuple[str, str]) -> Rounding:
    """Return what rounding alone does to the difference of two matrices.

    The base's own rounding counts where its format is coarser than the candidate's. An update is computed
    in the candidate's format before it is added: its roundings count fourfold, one a factor and a product.

    Parameters
    ----------
    base, candidate
        Equal shapes, float64.
    dtypes
        The formats that each was last rounded to.

    References
    ----------
    Bandeira, van Handel, *Sharp nonasymptotic bounds on the norm of random matrices with independent
    entries*, Ann. Probab. 44 (2016), for the edge.
    """
    coarser = torch.finfo(getattr(torch, dtypes[0])).eps > torch.finfo(getattr(torch, dtypes[1])).eps
    variance = torch.empty(base.shape, dtype=torch.float64)
    for band in row_bands(base.shape):
        ours, theirs = base[band], candidate[band]
        torch.add(
            rounding_variance(theirs, dtypes[1]),
            rounding_variance(theirs - ours, dtypes[1]),
            alpha=4,
            out=variance[band],
        )
        if coarser:
            variance[band] += rounding_variance(ours, dtypes[0])
    rows = torch.ones(variance.shape[0], dtype=torch.float64)
    columns = torch.ones(variance.shape[1], dtype=torch.float64)
    for _ in range(_SWEEPS):
        mean = (variance @ columns / len(columns)).clamp_min(1e-300)
        uneven = float((mean * rows - 1).abs().max())
        if uneven < _EVEN:
            break
        rows = 1 / mean
        columns = 1 / (variance.T @ rows / len(rows)).clamp_min(1e-300)
    by_row, by_column = rows * (variance @ columns), columns * (variance.T @ rows)
    return Rounding(
        rows=rows.sqrt(),
        columns=columns.sqrt(),
        edge=math.sqrt(float(by_row.max())) + math.sqrt(float(by_column.max())),
        energy=float(by_row.sum()),
    )


def find_low_rank(base: torch.Tensor, difference: torch.Tensor, rounding: Rounding) -> LowRankUpdate | None:
    """Return the update of low rank that explains a difference but for rounding; ``None`` for none.

    Rows and columns are scaled so that rounding errors have one size, which keeps every rank; singular
    values above their edge are counted.

    Parameters
    ----------
    base, difference
        Equal shapes, float64, finite; the difference is not zero.
    rounding
        Of the two matrices, from :func:`rounding_of`.
    """
    scaled = difference * rounding.rows[:, None] * rounding.columns
    smaller = min(scaled.shape)
    edge = _MARGIN * rounding.edge
    leading = _leading_values(scaled, edge)
    if leading is None:
        return None
    values, basis = leading
    rank = int((values > edge).sum())
    if not 0 < rank <= max(1, _LARGEST_SHARE * smaller) or rank == smaller:
        return None
    following = float(values[rank]) if len(values) > rank else edge
    above = float(values[rank - 1]) / max(following, 1e-300)
    least = rank if above >= _CLEAR else int((values > _CLEAR * edge).sum())
    if not least:
        return None
    left = float(torch.linalg.vector_norm(scaled)) ** 2 - float(values[:rank].square().sum())
    if left > 2 * rounding.energy:
        return None
    own = _update_values(difference, basis, rounding)[:rank]
    total = float(torch.linalg.vector_norm(difference)) ** 2
    energy = float(own.square().sum())
    norm = float(torch.linalg.vector_norm(base))
    return LowRankUpdate(
        rank=rank,
        least_rank=least,
        singular_values=tuple(float(value) for value in own),
        relative_norm=math.sqrt(energy) / norm if norm else math.inf,
        share=min(1.0, energy / total),
        above=above,
    )


def _leading_values(scaled: torch.Tensor, edge: float) -> tuple[torch.Tensor, torch.Tensor | None] | None:
    """Return the singular values above the edge and the next one at least; ``None`` where they are many.

    With them a basis of the space in which they were found, on the shorter side; ``None`` for all of it.
    """
    if min(scaled.shape) <= _FULL:
        return torch.linalg.svdvals(scaled), None
    standing = tall(scaled)
    energy = float(torch.linalg.vector_norm(scaled)) ** 2
    for columns in _COLUMNS:
        if columns > max(_COLUMNS[0], _LARGEST_SHARE * min(scaled.shape)):
            return None
        basis = _range(standing.T, columns)
        values = _values_within(standing, basis)
        if float(values[-1]) <= edge:
            return values, basis
        left = energy - float(values.square().sum())
        if float(values[0]) < _SPREAD * float(values[-1]) and left > values[-1] ** 2 * columns:
            return None
    return None


def _values(matrix: torch.Tensor) -> torch.Tensor:
    return eigenvalues(gram(tall(matrix))).flip(0).sqrt()


def _values_within(matrix: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """Return the singular values of a tall matrix on the space of a basis of its columns' side."""
    values: torch.Tensor = torch.linalg.svdvals(torch.linalg.qr(matrix @ basis, mode="r").R)
    return values


def _range(matrix: torch.Tensor, columns: int) -> torch.Tensor:
    """Return a basis of the leading range of a matrix, so many columns (Halko et al. 2011, 4.4)."""
    start = torch.randn(
        matrix.shape[1], columns, dtype=matrix.dtype, generator=torch.Generator().manual_seed(columns)
    )
    basis: torch.Tensor = torch.linalg.qr(matrix @ start).Q
    found: torch.Tensor = torch.linalg.qr(matrix @ (matrix.T @ basis)).Q
    return found


def _update_values(difference: torch.Tensor, basis: torch.Tensor | None, rounding: Rounding) -> torch.Tensor:
    """Return the leading singular values: their directions lie in the space of the scaled ones, unscaled."""
    if basis is None:
        return _values(difference)
    is_tall = difference.shape[0] >= difference.shape[1]
    scales = rounding.columns if is_tall else rounding.rows
    space: torch.Tensor = torch.linalg.qr(basis / scales[:, None]).Q
    return _values_within(tall(difference), space)


def find_truncated(base: torch.Tensor, candidate: torch.Tensor, rounding: Rounding) -> Truncated | None:
    """Return the rank to which the base was truncated to make the candidate; ``None`` where it was not.

    The candidate must lack singular values beyond a gap, and the directions that it keeps must be singular
    directions of the base: the base maps the kept space into the kept space, to rounding, and nothing that
    is left of the base is larger than the least singular value that it has there.

    Parameters
    ----------
    base, candidate
        Equal shapes, float64, finite.
    rounding
        Of the two matrices, from :func:`rounding_of`.
    """
    smaller = min(candidate.shape)
    edge = _MARGIN * rounding.edge
    if _has_full_rank(candidate, rounding, 4 * edge):
        return None
    scaled = candidate * rounding.rows[:, None] * rounding.columns
    standing = tall(scaled)
    values = (
        _values(scaled) if smaller <= _WHOLE else _values_within(standing, _range(standing.T, _MOST_KEPT))
    )
    rank = int((values > 4 * edge).sum())
    resolved = 4e-8 * float(values[0])  # of a Gram matrix in float64
    if not 0 < rank < smaller - 3 or rank >= len(values):
        return None
    if float(values[rank - 1]) < 2 * max(float(values[rank]), resolved):
        return None
    basis = _range(candidate, min(rank + 8, smaller))
    inner, S, Vh = torch.linalg.svd(basis.T @ candidate, full_matrices=False)
    U, V = (basis @ inner)[:, :rank], Vh[:rank].T
    image, back = base @ V, base.T @ U
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
    energy = float(candidate.square().sum() / base.square().sum())
    shrunk = float(torch.linalg.matrix_norm(core - torch.diag(S[:rank]))) > 8 * noise + 1e-5 * norm
    return Truncated(rank=rank, energy=energy, shrunk=shrunk, largest_angle=angle)


def _has_full_rank(candidate: torch.Tensor, rounding: Rounding, threshold: float) -> bool:
    """Whether so many scaled singular values are seen above a threshold that nothing was truncated.

    A part of the rows, and for a large matrix of the columns, has no larger singular values than the whole
    one. That all of the part's are above the threshold is shown by a Cholesky factor of its Gram matrix less
    the squared threshold, and less what rounding may add to an eigenvalue.
    """
    long, short = (0, 1) if candidate.shape[0] >= candidate.shape[1] else (1, 0)
    size = candidate.shape[short]
    kept = size if size <= _WHOLE else 2 * _MOST_KEPT
    chosen = [slice(None), slice(None)]
    chosen[short] = slice(0, kept)
    chosen[long] = slice(None, None, max(1, candidate.shape[long] // (2 * kept)))
    part = candidate[chosen[0], chosen[1]] * rounding.rows[chosen[0], None] * rounding.columns[chosen[1]]
    product = gram(tall(part))
    if len(product) != kept:
        return False
    shift = threshold**2 + 64 * torch.finfo(torch.float64).eps * float(product.trace())
    product.diagonal().sub_(shift)
    return int(torch.linalg.cholesky_ex(product).info) == 0
