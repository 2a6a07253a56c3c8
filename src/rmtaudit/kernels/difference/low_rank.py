"""Updates of low rank, above the rounding of the stored entries; and truncation to a low rank."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from rmtaudit.kernels.difference.moments import Moments, differences
from rmtaudit.kernels.difference.rounding import Rounding
from rmtaudit.kernels.spectra import openblas
from rmtaudit.kernels.spectra.gram import Transform, eigenvalues, gram, tall

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


def has_high_rank(base: torch.Tensor, candidate: torch.Tensor, edge: float) -> bool:
    """Whether the difference is seen to have more singular values above an edge than an update of low rank.

    An even part of its rows and columns has no larger ones than the whole: one small block settles most dense
    changes before anything else is computed.

    Parameters
    ----------
    base, candidate
        Equal shapes, real floating, finite.
    edge
        Bound on the singular values of the rounding errors, in weight units.
    """
    smaller = min(base.shape)
    rank = max(1, int(_LARGEST_SHARE * smaller)) + 1 if smaller <= _FULL else 0
    if smaller > _FULL:
        tried = (columns for columns in _COLUMNS if columns <= max(_COLUMNS[0], _LARGEST_SHARE * smaller))
        rank = min(int(_LARGEST_SHARE * smaller), max(tried)) + 1
    first, second = (_part(each, rank) for each in (base, candidate))
    return _is_above(second.double() - first.double(), rank, _MARGIN * edge)


def has_full_rank(candidate: torch.Tensor, edge: float) -> bool:
    """Whether so many singular values are seen above rounding that nothing was truncated."""
    kept = _kept(candidate)
    return _is_above(_part(candidate, kept), kept, 4 * _MARGIN * edge)


def _part(matrix: torch.Tensor, kept: int) -> torch.Tensor:
    """Return ``kept`` lines of the shorter side, and about twice as many of the longer one: a view."""
    standing = tall(matrix)
    rows, columns = standing.shape
    return standing[:: max(1, rows // (2 * kept)), :: max(1, columns // kept)][:, :kept]


def _is_above(part: torch.Tensor, kept: int, threshold: float, scale: Transform | None = None) -> bool:
    """Whether a matrix, each band of rows scaled, has ``kept`` singular values above a threshold.

    Shown by a Cholesky factor of its Gram matrix less the squared threshold, and less what rounding may add
    to an eigenvalue.
    """
    product = gram(tall(part), scale)
    if len(product) != kept:
        return False
    shift = threshold**2 + 64 * torch.finfo(torch.float64).eps * float(product.trace())
    product.diagonal().sub_(shift)
    library = openblas.load() if not product.is_cuda else None
    if library is None:
        return int(torch.linalg.cholesky_ex(product).info) == 0
    return library.cholesky(product.numpy()) == 0


def _kept(candidate: torch.Tensor) -> int:
    size = min(candidate.shape)
    return size if size <= _WHOLE else 2 * _MOST_KEPT


def find_low_rank(
    base: torch.Tensor, candidate: torch.Tensor, moments: Moments, rounding: Rounding
) -> LowRankUpdate | None:
    """Return the update of low rank that explains a difference but for rounding; ``None`` for none.

    Rows and columns are scaled so that rounding errors have one size, which keeps every rank; singular
    values above their edge are counted.

    Parameters
    ----------
    base, candidate
        Equal shapes, real floating, finite; not equal.
    moments, rounding
        Of the two.
    """
    smaller = min(base.shape)
    edge = _MARGIN * rounding.edge
    difference = _Difference(base, candidate, rounding)
    energy = difference.energy()
    leading = _leading_values(difference, edge, energy)
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
    left = energy - float(values[:rank].square().sum())
    if left > 2 * rounding.energy:
        return None
    own = _update_values(difference, basis)[:rank]
    explained = float(own.square().sum())
    return LowRankUpdate(
        rank=rank,
        least_rank=least,
        singular_values=tuple(float(value) for value in own),
        relative_norm=math.sqrt(explained / moments.base_square) if moments.base_square else math.inf,
        share=min(1.0, explained / moments.difference_square),
        above=above,
    )


@dataclass(frozen=True, slots=True)
class _Difference:
    """The difference of a pair, formed band by band in float64, as it is or with scaled rows and columns."""

    base: torch.Tensor
    candidate: torch.Tensor
    rounding: Rounding

    def bands(self, *, scaled: bool) -> Iterator[tuple[slice, torch.Tensor]]:
        for band, block in differences(self.base, self.candidate):
            if scaled:
                block.mul_(self.rounding.rows[band, None]).mul_(self.rounding.columns)
            yield band, block

    def energy(self) -> float:
        """Return the squared norm of the scaled difference."""
        return sum(float(torch.linalg.vector_norm(block)) ** 2 for _, block in self.bands(scaled=True))

    def whole(self, *, scaled: bool) -> torch.Tensor:
        return torch.cat([block.clone() for _, block in self.bands(scaled=scaled)])

    @property
    def is_tall(self) -> bool:
        return self.base.shape[0] >= self.base.shape[1]

    def times(self, X: torch.Tensor, *, scaled: bool = True) -> torch.Tensor:
        return torch.cat([block @ X for _, block in self.bands(scaled=scaled)])

    def back(self, X: torch.Tensor, *, scaled: bool = True) -> torch.Tensor:
        total = torch.zeros(self.base.shape[1], X.shape[1], dtype=torch.float64, device=X.device)
        for band, block in self.bands(scaled=scaled):
            total.addmm_(block.T, X[band])
        return total

    def to_long(self, X: torch.Tensor, *, scaled: bool = True) -> torch.Tensor:
        """Return the product with vectors of the shorter side."""
        return self.times(X, scaled=scaled) if self.is_tall else self.back(X, scaled=scaled)

    def to_short(self, X: torch.Tensor) -> torch.Tensor:
        """Return the product of the scaled difference with vectors of the longer side."""
        return self.back(X) if self.is_tall else self.times(X)

    def to_long_and_back(self, X: torch.Tensor) -> torch.Tensor:
        if not self.is_tall:
            return self.times(self.back(X))
        total = torch.zeros(self.base.shape[1], X.shape[1], dtype=torch.float64, device=X.device)
        for _, block in self.bands(scaled=True):
            total.addmm_(block.T, block @ X)
        return total


def _leading_values(
    difference: _Difference, edge: float, energy: float
) -> tuple[torch.Tensor, torch.Tensor | None] | None:
    """Return the singular values above the edge and the next one at least; ``None`` where they are many.

    With them a basis of the space in which they were found, on the shorter side; ``None`` for all of it.
    """
    short, long = sorted(difference.base.shape)
    if short <= _FULL:
        return torch.linalg.svdvals(difference.whole(scaled=True)), None
    for columns in _COLUMNS:
        if columns > max(_COLUMNS[0], _LARGEST_SHARE * short):
            return None
        basis: torch.Tensor = torch.linalg.qr(difference.to_short(_start(long, columns, difference.base))).Q
        basis = torch.linalg.qr(difference.to_long_and_back(basis)).Q
        values = _singular_values(difference.to_long(basis))
        if float(values[-1]) <= edge:
            return values, basis
        left = energy - float(values.square().sum())
        if float(values[0]) < _SPREAD * float(values[-1]) and left > values[-1] ** 2 * columns:
            return None
    return None


def _values(matrix: torch.Tensor) -> torch.Tensor:
    return eigenvalues(gram(tall(matrix))).flip(0).sqrt()


def _singular_values(images: torch.Tensor) -> torch.Tensor:
    values: torch.Tensor = torch.linalg.svdvals(torch.linalg.qr(images, mode="r").R)
    return values


def _start(rows: int, columns: int, like: torch.Tensor) -> torch.Tensor:
    generator = torch.Generator().manual_seed(columns)  # of the CPU: the same on every device
    return torch.randn(rows, columns, dtype=torch.float64, generator=generator).to(like.device)


def _range(matrix: torch.Tensor, columns: int) -> torch.Tensor:
    """Return a basis of the leading range of a matrix, so many columns (Halko et al. 2011, 4.4)."""
    basis: torch.Tensor = torch.linalg.qr(matrix @ _start(matrix.shape[1], columns, matrix)).Q
    found: torch.Tensor = torch.linalg.qr(matrix @ (matrix.T @ basis)).Q
    return found


def _update_values(difference: _Difference, basis: torch.Tensor | None) -> torch.Tensor:
    """Return the leading singular values: their directions lie in the space of the scaled ones, unscaled."""
    if basis is None:
        return _values(difference.whole(scaled=False))
    rounding = difference.rounding
    scales = rounding.columns if difference.is_tall else rounding.rows
    space: torch.Tensor = torch.linalg.qr(basis / scales[:, None]).Q
    return _singular_values(difference.to_long(space, scaled=False))


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
    edge = _MARGIN * rounding.edge
    if _has_full_rank(candidate, rounding, 4 * edge):
        return None
    base, candidate = base.double(), candidate.double()
    scaled = candidate * rounding.rows[:, None] * rounding.columns
    standing = tall(scaled)
    values = (
        _values(scaled) if smaller <= _WHOLE else _singular_values(standing @ _range(standing.T, _MOST_KEPT))
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
    return _is_above(part, kept, threshold, lambda block, band: block.mul_(rows[band, None]).mul_(columns))
