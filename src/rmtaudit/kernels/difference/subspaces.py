"""The directions of a base that stand out of noise, and what of them is left in a candidate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from rmtaudit.kernels.difference.leading import (
    Leading,
    ScaledMatrix,
    leading,
    of_product,
    scaled,
)
from rmtaudit.kernels.difference.profiles import CONCENTRATED, even_profile
from rmtaudit.kernels.difference.samples import largest_entry
from rmtaudit.kernels.noise.sign_flip import flipped_gram, largest_eigenvalue
from rmtaudit.kernels.noise.tracy_widom import MEAN, soft_edge, upper_quantile
from rmtaudit.kernels.noise.variance_profile import Profile

Leaders = tuple[torch.Tensor, torch.Tensor]
"""Leading singular values and directions of the shorter side, as :func:`leaders_of` returns them."""

MOST = 32
"""Directions that are followed at most, the strongest ones."""

LEAST_SIDE = 16
_OVERSAMPLED = 16
_ANGLES = 8
"""Directions among which the widest gap is looked for, at most."""
_LEVEL = 1e-3
_VANISHING = 1e-36
"""Lines whose squares sum to less than this share of the largest one count as empty, as for Sinkhorn."""
_BLOCKS = 20
"""Blocks of rows, and of columns, that the jackknife leaves out in turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survival:
    """What is left of the resolvable directions of a base.

    Attributes
    ----------
    directions
        Number of directions of the base that were followed; ``more`` says whether there are others.
    survived
        Number of those that are still resolvable: more than half of their square lies within what stands out
        of the candidate's noise, on both sides.
    angles
        Principal angles in degrees, largest first, of the spaces of leading singular directions of the two
        matrices as they are, on the side where the largest angle is larger. They have as many directions as
        stand in front of the widest relative gap between the base's singular values, among those followed:
        others turn freely.
    share
        Share of the base's resolvable signal that survives, from 0 to 1.
    interval
        Its 95 % interval, by the jackknife over blocks of rows and of columns.
    """

    directions: int
    more: bool
    survived: int
    angles: tuple[float, ...]
    share: float
    interval: tuple[float, float]


def followed(
    base: torch.Tensor,
    candidate: torch.Tensor,
    generator: torch.Generator,
    leaders: tuple[Leaders, Leaders] | None = None,
) -> Survival | None:
    r"""Return what is left in a candidate of the directions of a base that stand out of noise.

    Rows and columns of both are scaled by the scales that make those of the base equal (Sinkhorn). With the
    leading singular directions ``U, V`` of the base that stand above the edge of noise, the share is the
    squared cosine of ``A V`` and ``B V`` as vectors, averaged with that of ``Aᵀ U`` and ``Bᵀ U``: a factor
    does not change it, a negative cosine counts as 0. ``None`` where no direction stands out, or the smaller
    side is below 16.

    Parameters
    ----------
    base, candidate
        Equal shapes, floating, finite.
    generator
        On the CPU.
    leaders
        Of base and candidate, from :func:`leaders_of`, where they are known.
    """
    if min(base.shape) < LEAST_SIDE:
        return None
    profile = even_profile(base)
    if min(profile.support) < LEAST_SIDE:
        return None
    pair = [scaled(each.float(), profile.rows.float(), profile.cols.float()) for each in (base, candidate)]
    A, B = (each.standing() for each in pair)
    ours = _resolvable(pair[0], generator)
    if not ours.count:
        return None
    theirs = _resolvable(pair[1], generator, least=ours.count)
    # What base and candidate make of the base's directions.
    images = ours.images, B.times(ours.short)
    backs = A.back(ours.long), B.back(ours.long)
    shares = _jackknifed_cosine(*images), _jackknifed_cosine(*backs)
    share = (shares[0][0] + shares[1][0]) / 2
    reach = 1.96 * math.hypot(shares[0][1], shares[1][1]) / 2
    return Survival(
        directions=ours.count,
        more=ours.resolved > ours.count,
        survived=_survivors(ours, theirs),
        angles=_top_angles(base, candidate, ours.count, leaders),
        share=share,
        interval=(max(0.0, share - reach), min(1.0, share + reach)),
    )


def leaders_of(product: torch.Tensor) -> Leaders:
    """Return what the angles between leading directions need of a matrix.

    Parameters
    ----------
    product
        Gram matrix of the smaller side, float64, up to a factor.
    """
    return of_product(product, _followed_by_angles(len(product)))


def _followed_by_angles(side: int) -> int:
    return min(2 * _ANGLES, side)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Resolvable:
    """The leading directions of a matrix with scaled rows and columns, longer side first; float32.

    ``short`` and ``long`` have the shapes ``(columns, k)`` and ``(rows, k)`` and orthonormal columns;
    ``images`` are the products of the matrix with ``short``. ``resolved`` is the number above the edge of
    noise, which may exceed ``k``.
    """

    short: torch.Tensor
    long: torch.Tensor
    images: torch.Tensor
    resolved: int

    @property
    def count(self) -> int:
        return self.short.shape[1]


def _resolvable(matrix: ScaledMatrix, generator: torch.Generator, least: int = 0) -> _Resolvable:
    """Return the leading directions above the edge of noise, ``least`` of them at least."""
    count = min(MOST + _OVERSAMPLED, min(matrix.matrix.shape))
    known = leading(matrix, count)
    matrix = matrix.standing()
    resolved = int((known.values.square() > _edge(matrix, known, generator)).sum())
    kept = max(min(resolved, MOST), least)
    short = known.short[:, :kept].float()
    images = matrix.times(short)
    long = _normalised(images) if known.long is None else known.long[:, :kept].float()
    return _Resolvable(short=short, long=long, images=images, resolved=resolved)


def _edge(matrix: ScaledMatrix, known: Leading, generator: torch.Generator) -> float:
    """Return the eigenvalue that the largest of noise with these sizes of entries exceeds once in 1000."""
    top, rows, columns = known.sizes.largest, known.sizes.rows, known.sizes.columns
    assert columns is not None
    alive = [int((each > _VANISHING * top).sum()) for each in (rows, columns)]
    n, p = max(1, *alive), max(1, min(alive))
    variance = float(rows.sum()) / (n * p)
    centre, width = soft_edge(n, p)
    if top / max(variance, 1e-300) > CONCENTRATED * centre:
        profile = Profile(matrix.rows.double(), matrix.columns.double())
        flipped = largest_eigenvalue(flipped_gram(matrix.matrix, profile, generator).double()) / variance
        centre = max(centre, flipped - MEAN * width)
    return variance * (centre + width * upper_quantile(_LEVEL))


def _top_angles(
    base: torch.Tensor, candidate: torch.Tensor, most: int, leaders: tuple[Leaders, Leaders] | None
) -> tuple[float, ...]:
    most = min(most, _ANGLES)
    count = _followed_by_angles(min(base.shape))
    largest = [largest_entry(each) for each in (base, candidate)]
    if not all(largest):
        return ()
    matrices = [scaled(each.float(), 1 / size) for each, size in zip((base, candidate), largest, strict=True)]
    if leaders is None:
        known = [(each.values, each.short) for each in (leading(matrix, count) for matrix in matrices)]
    else:
        known = list(leaders)
    values = known[0][0]
    size = int((values[:most] / values[1 : most + 1].clamp_min(1e-300)).argmax()) + 1
    short = [each[:, :size] for _, each in known]
    long = [
        _normalised(matrix.standing().times(each.float()).double())
        for matrix, each in zip(matrices, short, strict=True)
    ]
    return max(_angles(*short), _angles(*long), key=lambda each: each[0])


def _normalised(images: torch.Tensor) -> torch.Tensor:
    """Return columns of length 1, or 0."""
    images = _of_size_one(images)
    return images.div_(torch.linalg.vector_norm(images, dim=0).clamp_min(1e-30))


def _of_size_one(images: torch.Tensor) -> torch.Tensor:
    """Return a multiple whose squares and their sums are in the range of float32."""
    largest = largest_entry(images) if images.numel() else 0.0
    return images / largest if largest > 0 else images.clone()


def _angles(ours: torch.Tensor, theirs: torch.Tensor) -> tuple[float, ...]:
    """Return the principal angles in degrees, largest first; from the sines where they are small."""
    outside = theirs - ours @ (ours.T @ theirs)
    sines = torch.linalg.svdvals(outside).clamp(max=1.0)
    return tuple(float(angle) for angle in torch.rad2deg(torch.asin(sines)))


def _survivors(ours: _Resolvable, theirs: _Resolvable) -> int:
    resolved = min(theirs.resolved, theirs.count)
    kept = [
        (their[:, :resolved].T @ our).double().square().sum(dim=0)
        for our, their in ((ours.long, theirs.long), (ours.short, theirs.short))
    ]
    return int(((kept[0] > 0.5) & (kept[1] > 0.5)).sum())


def _jackknifed_cosine(X: torch.Tensor, Y: torch.Tensor) -> tuple[float, float]:
    """Return the squared cosine of two matrices, 0 for a negative one, and its standard error."""
    X, Y = _of_size_one(X).double(), _of_size_one(Y).double()
    blocks = torch.arange(len(X), device=X.device) * min(_BLOCKS, len(X)) // len(X)
    parts = torch.zeros(min(_BLOCKS, len(X)), 3, dtype=torch.float64, device=X.device)
    pairs = ((X, Y), (X, X), (Y, Y))
    sums = torch.stack([torch.linalg.vecdot(first, second) for first, second in pairs], dim=1)
    parts.index_add_(0, blocks, sums)
    total = parts.sum(dim=0)
    value = float(_squared_cosine(total[None]))
    without = _squared_cosine(total - parts)
    count = len(parts)
    error = math.sqrt((count - 1) * float((without - without.mean()).square().mean()))
    return value, error


def _squared_cosine(sums: torch.Tensor) -> torch.Tensor:
    return (sums[:, 0].clamp_min(0).square() / (sums[:, 1] * sums[:, 2]).clamp_min(1e-300)).clamp(max=1.0)
