"""The directions of a base that stand out of noise, and what of them is left in a candidate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from rmtaudit.kernels.noise.sign_flip import flipped_gram, largest_eigenvalue
from rmtaudit.kernels.noise.tracy_widom import MEAN, soft_edge, upper_quantile
from rmtaudit.kernels.noise.variance_profile import Profile, sinkhorn
from rmtaudit.kernels.spectra.gram import gram, row_blocks, tall

Products = tuple[torch.Tensor, torch.Tensor] | None
"""Gram matrices of the smaller sides of a base and a candidate, float64."""

MOST = 32
"""Directions that are followed at most, the strongest ones."""

LEAST_SIDE = 16
_OVERSAMPLED = 16
_ITERATIONS = 3
_OBLONG = 4
_SHORT = 768
"""Ratio of the sides from which, and shorter side up to which, iteration on the Gram matrix of the shorter
side is cheaper than on the matrix."""
_GRAM_ITERATIONS = 6
_FEW, _STEPS = 8, 6
"""Columns and steps of the subspace in which a spectral norm is sought."""
_ANGLES = 8
"""Directions among which the widest gap is looked for, at most."""
_LEVEL = 1e-3
_VANISHING = 1e-36
"""Lines whose squares sum to less than this share of the largest one count as empty, as for Sinkhorn."""
_CONCENTRATED = 0.1
"""As in :mod:`rmtaudit.kernels.noise.spike_bound`: single entries may outweigh the edge."""
_BLOCKS = 20
"""Blocks of rows, and of columns, that the jackknife leaves out in turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolvable:
    """The directions of a matrix that stand out of noise, rows and columns scaled to equal size.

    Attributes
    ----------
    left, right
        Shapes ``(rows, k)`` and ``(columns, k)``, orthonormal, float64.
    count
        ``k``: at most :data:`MOST`.
    capped
        Whether there are more.
    """

    left: torch.Tensor
    right: torch.Tensor
    count: int
    capped: bool


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
    base: torch.Tensor, candidate: torch.Tensor, generator: torch.Generator, products: Products = None
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
    products
        Gram matrices of the smaller side of both, up to a factor each, where they are known.
    """
    if min(base.shape) < LEAST_SIDE:
        return None
    profile = sinkhorn(base)
    if min(profile.support) < LEAST_SIDE:
        return None
    A, B = (_scaled(each.float(), profile.rows.float(), profile.cols.float()) for each in (base, candidate))
    ours = _resolvable(A, generator)
    if not ours.count:
        return None
    theirs = _resolvable(B, generator, least=ours.count)
    V, U = ours.right.float(), ours.left.float()
    left = _jackknifed_cosine(A.times(V).double(), B.times(V).double())
    right = _jackknifed_cosine(A.back(U).double(), B.back(U).double())
    share = (left[0] + right[0]) / 2
    reach = 1.96 * math.hypot(left[1], right[1]) / 2
    angles = _top_angles(base, candidate, ours.count, products)
    return Survival(
        directions=ours.count,
        more=ours.capped,
        survived=_survivors(ours, theirs),
        angles=angles,
        share=share,
        interval=(max(0.0, share - reach), min(1.0, share + reach)),
    )


@dataclass(frozen=True, slots=True)
class _Scaled:
    """A matrix, float32, with scaled rows and columns: large ones are not copied."""

    matrix: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor

    def times(self, X: torch.Tensor) -> torch.Tensor:
        return (self.matrix @ (X * self.columns[:, None])).mul_(self.rows[:, None])

    def back(self, X: torch.Tensor) -> torch.Tensor:
        return (self.matrix.T @ (X * self.rows[:, None])).mul_(self.columns[:, None])

    def standing(self) -> _Scaled:
        """Return the matrix with the longer side first."""
        if self.matrix.shape[0] >= self.matrix.shape[1]:
            return self
        return _Scaled(self.matrix.T, self.columns, self.rows)

    def scale(self, block: torch.Tensor, band: slice) -> torch.Tensor:
        return block.mul_(self.rows[band, None]).mul_(self.columns)


def _scaled(matrix: torch.Tensor, rows: torch.Tensor | float, columns: torch.Tensor | float = 1.0) -> _Scaled:
    height, width = (torch.ones(size, dtype=torch.float32) for size in matrix.shape)
    return _Scaled(matrix, height * rows, width * columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leading(Resolvable):
    """Also the number above this matrix's own edge."""

    resolved: int


def _resolvable(matrix: _Scaled, generator: torch.Generator, least: int = 0) -> _Leading:
    """Return the leading directions above the edge of noise, ``least`` of them at least."""
    count = min(MOST + _OVERSAMPLED, min(matrix.matrix.shape))
    U, values, V = _leading(matrix, count)
    resolved = int((values.square() > _edge(matrix, generator)).sum())
    kept = max(min(resolved, MOST), least)
    return _Leading(
        left=U[:, :kept],
        right=V[:, :kept],
        count=kept,
        capped=resolved > MOST,
        resolved=min(resolved, kept),
    )


def _edge(matrix: _Scaled, generator: torch.Generator) -> float:
    """Return the eigenvalue that the largest of noise with these sizes of entries exceeds once in 1000."""
    standing = matrix.standing()
    top, power = 0.0, []
    columns = torch.zeros(standing.matrix.shape[1], dtype=torch.float64)
    for band, block in row_blocks(standing.matrix, torch.float32):
        square = standing.scale(block, band).square_()
        top = max(top, float(square.max()))
        power.append(square.sum(1))
        columns += square.sum(0)
    rows = torch.cat(power).double()
    alive = [int((each > _VANISHING * top).sum()) for each in (rows, columns)]
    n, p = max(1, *alive), max(1, min(alive))
    variance = float(rows.sum()) / (n * p)
    centre, width = soft_edge(n, p)
    if top / max(variance, 1e-300) > _CONCENTRATED * centre:
        profile = Profile(standing.rows.double(), standing.columns.double())
        flipped = largest_eigenvalue(flipped_gram(standing.matrix, profile, generator)) / variance
        centre = max(centre, flipped - MEAN * width)
    return variance * (centre + width * upper_quantile(_LEVEL))


def _leading(
    matrix: _Scaled, count: int, product: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the leading singular directions and values, by subspace iteration in float32.

    On the Gram matrix of the shorter side, where it is known or that is cheaper.

    References
    ----------
    Halko, Martinsson, Tropp, *Finding structure with randomness*, SIAM Review 53 (2011), algorithm 4.4.
    """
    rows, columns = matrix.matrix.shape
    if product is not None or _is_oblong(matrix.matrix):
        short, values, long = _of_oblong(matrix.standing(), count, product)
        return (long, values, short) if rows >= columns else (short, values, long)
    start = torch.randn(columns, count, generator=torch.Generator().manual_seed(count))
    basis: torch.Tensor = torch.linalg.qr(matrix.times(start)).Q
    for _ in range(_ITERATIONS):
        basis = torch.linalg.qr(matrix.times(matrix.back(basis))).Q
    inner, values, Vh = torch.linalg.svd(matrix.back(basis).T, full_matrices=False)
    return (basis @ inner).double(), values.double(), Vh.T.double()


def _of_oblong(
    matrix: _Scaled, count: int, product: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the directions of the columns, the values and the directions of the rows of a tall matrix."""
    if product is None:
        product = gram(matrix.matrix, matrix.scale, dtype=torch.float32)
    elif product.dtype == torch.float64:
        product = (product / product.diagonal().max().clamp_min(1e-300)).float()
    if len(product) > 2 * count:
        space = _iterated(product, count, _GRAM_ITERATIONS)
        values, inner = torch.linalg.eigh(space.T @ (product @ space.to(product.dtype)).double())
        vectors = space @ inner
    else:
        values, vectors = torch.linalg.eigh(product.double())
    values = values.flip(0)[:count].clamp_min(0).sqrt()
    short = vectors.flip(1)[:, :count]
    long = matrix.times(short.float()).double()
    return short, values, long.div_(torch.linalg.vector_norm(long, dim=0).clamp_min(1e-300))


def _iterated(product: torch.Tensor, count: int, iterations: int) -> torch.Tensor:
    """Return an orthonormal basis, float64, near the space of the leading eigenvectors of a Gram matrix."""
    start = torch.randn(len(product), count, generator=torch.Generator().manual_seed(count))
    basis = start.to(product.dtype)
    for _ in range(iterations):
        basis = torch.linalg.qr(product @ basis).Q
    space: torch.Tensor = torch.linalg.qr(basis.double()).Q
    return space


def _is_oblong(matrix: torch.Tensor) -> bool:
    return min(matrix.shape) <= _SHORT or max(matrix.shape) >= _OBLONG * min(matrix.shape)


def _top_angles(
    base: torch.Tensor, candidate: torch.Tensor, most: int, products: Products
) -> tuple[float, ...]:
    most = min(most, _ANGLES)
    count = min(2 * _ANGLES, min(base.shape))
    ours, theirs = (
        _leading(_scaled(each.float(), 1 / largest_entry(each)), count, product)
        for each, product in zip((base, candidate), products or (None, None), strict=True)
    )
    ratios = ours[1][:most] / ours[1][1 : most + 1].clamp_min(1e-300)
    size = int(ratios.argmax()) + 1
    sides = [_angles(ours[side][:, :size], theirs[side][:, :size]) for side in (0, 2)]
    return max(sides, key=lambda each: each[0])


def largest_entry(matrix: torch.Tensor) -> float:
    """Return the largest absolute entry."""
    return max(map(abs, map(float, torch.aminmax(matrix))))


def spectral_norm(matrix: torch.Tensor) -> float:
    """Return the largest singular value, by subspace iteration: within 1e-3 of it, and never above it."""
    count = min(_FEW, min(matrix.shape))
    largest = largest_entry(matrix)
    if largest == 0:
        return 0.0
    scale = largest if not 1e-12 < largest < 1e12 else 1.0
    narrow = tall((matrix if scale == 1 else matrix / scale).float())
    if _is_oblong(narrow):
        space = _iterated(gram(narrow, dtype=narrow.dtype), count, 2 * _STEPS)
        return scale * float(torch.linalg.svdvals((narrow @ space.float()).double())[0])
    basis = torch.randn(narrow.shape[1], count, generator=torch.Generator().manual_seed(count))
    for _ in range(_STEPS):
        basis = torch.linalg.qr(narrow.T @ (narrow @ basis)).Q
    return scale * float(torch.linalg.svdvals((narrow @ basis).double())[0])


def _angles(ours: torch.Tensor, theirs: torch.Tensor) -> tuple[float, ...]:
    """Return the principal angles in degrees, largest first; from the sines where they are small."""
    outside = theirs - ours @ (ours.T @ theirs)
    sines = torch.linalg.svdvals(outside).clamp(max=1.0)
    return tuple(float(angle) for angle in torch.rad2deg(torch.asin(sines)))


def _survivors(ours: Resolvable, theirs: _Leading) -> int:
    kept = [
        (their[:, : theirs.resolved].T @ our).square().sum(dim=0)
        for our, their in ((ours.left, theirs.left), (ours.right, theirs.right))
    ]
    return int(((kept[0] > 0.5) & (kept[1] > 0.5)).sum())


def _jackknifed_cosine(X: torch.Tensor, Y: torch.Tensor) -> tuple[float, float]:
    """Return the squared cosine of two matrices, 0 for a negative one, and its standard error."""
    blocks = torch.arange(len(X)) * min(_BLOCKS, len(X)) // len(X)
    parts = torch.zeros(int(blocks[-1]) + 1, 3, dtype=torch.float64)
    sums = torch.stack([(X * Y).sum(1), X.square().sum(1), Y.square().sum(1)], dim=1)
    parts.index_add_(0, blocks, sums)
    total = parts.sum(dim=0)
    value = float(_squared_cosine(total[None]))
    without = _squared_cosine(total - parts)
    count = len(parts)
    error = math.sqrt((count - 1) * float((without - without.mean()).square().mean()))
    return value, error


def _squared_cosine(sums: torch.Tensor) -> torch.Tensor:
    return (sums[:, 0].clamp_min(0).square() / (sums[:, 1] * sums[:, 2]).clamp_min(1e-300)).clamp(max=1.0)
