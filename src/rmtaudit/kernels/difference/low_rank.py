"""Updates of low rank, above the rounding of the stored entries."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from rmtaudit.kernels.difference.moments import Moments
from rmtaudit.kernels.difference.products import Products, start
from rmtaudit.kernels.difference.rounding import Rounding
from rmtaudit.kernels.spectra import openblas
from rmtaudit.kernels.spectra.gram import Transform, eigenvalues, gram, tall

MARGIN = 1.05
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
    first, second = (part_of(each, rank) for each in (base, candidate))
    return is_above(second.double() - first.double(), rank, MARGIN * edge)


def part_of(matrix: torch.Tensor, kept: int) -> torch.Tensor:
    """Return ``kept`` lines of the shorter side, and about twice as many of the longer one: a view."""
    standing = tall(matrix)
    rows, columns = standing.shape
    return standing[:: max(1, rows // (2 * kept)), :: max(1, columns // kept)][:, :kept]


def is_above(part: torch.Tensor, kept: int, threshold: float, scale: Transform | None = None) -> bool:
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
    edge = MARGIN * rounding.edge
    difference = Products.of_difference(base, candidate, rounding)
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


def _leading_values(
    difference: Products, edge: float, energy: float
) -> tuple[torch.Tensor, torch.Tensor | None] | None:
    """Return the singular values above the edge and the next one at least; ``None`` where they are many.

    With them a basis of the space in which they were found, on the shorter side; ``None`` for all of it.
    """
    short, long = sorted(difference.shape)
    if short <= _FULL:
        return torch.linalg.svdvals(difference.whole(scaled=True)), None
    for columns in _COLUMNS:
        if columns > max(_COLUMNS[0], _LARGEST_SHARE * short):
            return None
        basis: torch.Tensor = torch.linalg.qr(difference.to_short(start(long, columns, difference.device))).Q
        basis = torch.linalg.qr(difference.to_long_and_back(basis)).Q
        values = difference.long_values(basis)
        if float(values[-1]) <= edge:
            return values, basis
        left = energy - float(values.square().sum())
        if float(values[0]) < _SPREAD * float(values[-1]) and left > values[-1] ** 2 * columns:
            return None
    return None


def _values(matrix: torch.Tensor) -> torch.Tensor:
    return eigenvalues(gram(tall(matrix))).flip(0).sqrt()


def _update_values(difference: Products, basis: torch.Tensor | None) -> torch.Tensor:
    """Return the leading singular values: their directions lie in the space of the scaled ones, unscaled."""
    if basis is None:
        return _values(difference.whole(scaled=False))
    rounding = difference.rounding
    scales = rounding.columns if difference.is_tall else rounding.rows
    space: torch.Tensor = torch.linalg.qr(basis / scales[:, None]).Q
    return difference.long_values(space, scaled=False)
