"""Leading singular directions and values of a matrix with scaled rows and columns, in float32."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from rmtaudit.kernels.difference.samples import largest_entry
from rmtaudit.kernels.spectra.gram import eigenvalues, gram, row_bands, row_blocks, tall

_ITERATIONS = 3
_OBLONG = 4
_SHORT = 768
"""Ratio of the sides from which, and shorter side up to which, iteration on the Gram matrix of the shorter
side is cheaper than on the matrix."""
_GRAM_ITERATIONS = 6
_FULL = 640
_KRYLOV_BLOCK, _KRYLOV_DEPTH = 12, 14
"""As in :mod:`rmtaudit.kernels.noise.sign_flip`."""
_FEW, _STEPS = 8, 6
"""Columns and steps of the subspace in which a spectral norm is sought."""


@dataclass(frozen=True, slots=True)
class ScaledMatrix:
    """A matrix, float32, with scaled rows and columns: large ones are not copied."""

    matrix: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor

    def times(self, X: torch.Tensor) -> torch.Tensor:
        """Return the product with ``X``, float32."""
        return (self.matrix @ (X * self.columns[:, None])).mul_(self.rows[:, None])

    def back(self, X: torch.Tensor) -> torch.Tensor:
        """Return the product of the transposed matrix with ``X``, float32."""
        return (self.matrix.T @ (X * self.rows[:, None])).mul_(self.columns[:, None])

    def standing(self) -> ScaledMatrix:
        """Return the matrix with the longer side first."""
        if self.matrix.shape[0] >= self.matrix.shape[1]:
            return self
        return ScaledMatrix(self.matrix.T, self.columns, self.rows)

    def scale(self, block: torch.Tensor, band: slice) -> torch.Tensor:
        """Scale a band of rows in place."""
        return block.mul_(self.rows[band, None]).mul_(self.columns)


def scaled(
    matrix: torch.Tensor, rows: torch.Tensor | float = 1.0, columns: torch.Tensor | float = 1.0
) -> ScaledMatrix:
    """Return a float32 matrix with its scales: a tensor, or one number, a side."""
    height, width = (torch.ones(size, dtype=torch.float32, device=matrix.device) for size in matrix.shape)
    return ScaledMatrix(matrix, height * rows, width * columns)


@dataclass(slots=True)
class Sizes:
    """The largest square of an entry, and the sums of squares of rows and of columns, longer side first."""

    largest: float = 0.0
    parts: list[torch.Tensor] = field(default_factory=list)
    columns: torch.Tensor | None = None

    @property
    def rows(self) -> torch.Tensor:
        """Sums of squares of the rows, float64."""
        return torch.cat(self.parts).double()

    def add(self, block: torch.Tensor) -> None:
        """Add a band of scaled rows."""
        low, high = torch.aminmax(block)
        self.largest = max(self.largest, float(low) ** 2, float(high) ** 2)
        self.parts.append(torch.linalg.vecdot(block, block))


@dataclass(frozen=True, slots=True, kw_only=True)
class Leading:
    """Leading singular values, and directions of the shorter side or of both.

    Attributes
    ----------
    values
        Shape ``(k,)``, float64, largest first.
    short
        Directions of the shorter side, shape ``(short, k)``, float64; of a square matrix those of columns.
    long
        Those of the longer side, where they were needed to find the others.
    sizes
        Of the scaled matrix with the longer side first.
    """

    values: torch.Tensor
    short: torch.Tensor
    long: torch.Tensor | None
    sizes: Sizes


def leading(matrix: ScaledMatrix, count: int) -> Leading:
    """Return the leading singular directions and values, by subspace iteration in float32.

    On the Gram matrix of the shorter side, where that is cheaper.

    References
    ----------
    Halko, Martinsson, Tropp, *Finding structure with randomness*, SIAM Review 53 (2011), algorithm 4.4.
    """
    standing = matrix.standing()
    sizes = Sizes()
    if is_oblong(matrix.matrix):

        def scale(block: torch.Tensor, band: slice) -> torch.Tensor:
            standing.scale(block, band)
            sizes.add(block)
            return block

        product = gram(standing.matrix, scale, dtype=torch.float32)
        sizes.columns = product.diagonal().double()
        values, short = of_product(product, count)
        return Leading(values=values, short=short, long=None, sizes=sizes)
    sizes.columns = torch.zeros(standing.matrix.shape[1], dtype=torch.float64, device=standing.matrix.device)
    for band, block in row_blocks(standing.matrix, torch.float32):
        standing.scale(block, band)
        sizes.add(block)
        sizes.columns += block.square_().sum(0)
    start = _start(matrix.matrix.shape[1], count).to(matrix.matrix.device)
    basis: torch.Tensor = torch.linalg.qr(matrix.times(start)).Q
    for _ in range(_ITERATIONS):
        basis = torch.linalg.qr(matrix.times(matrix.back(basis))).Q
    inner, values, Vh = torch.linalg.svd(matrix.back(basis).T, full_matrices=False)
    left, right = (basis @ inner).double(), Vh.T.double()
    is_tall = matrix.matrix.shape[0] >= matrix.matrix.shape[1]
    short, long = (right, left) if is_tall else (left, right)
    return Leading(values=values.double(), short=short, long=long, sizes=sizes)


def of_product(product: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the leading singular values and directions of a matrix by its Gram matrix, float64.

    Parameters
    ----------
    product
        Shape ``(p, p)``; float32, or float64 and up to a factor.
    count
        How many.
    """
    factor = 1.0
    if product.dtype == torch.float64:
        factor = float(product.diagonal().max().clamp_min(1e-300))
        narrow = torch.empty(product.shape, dtype=torch.float32, device=product.device)
        for band in row_bands(product.shape):
            narrow[band] = product[band] / factor
        product = narrow
    if len(product) > 2 * count:
        space = iterated(product, count, _GRAM_ITERATIONS)
        values, inner = torch.linalg.eigh(space.T @ (product @ space.to(product.dtype)).double())
        vectors = space @ inner
    else:
        values, vectors = torch.linalg.eigh(product.double())
    values = values.flip(0)[:count].clamp_min(0).sqrt()
    return values, vectors.flip(1)[:, :count]


def largest_eigenvalue(product: torch.Tensor) -> float:
    """Return the largest eigenvalue of a Gram matrix in float32, by block Krylov where that is cheaper.

    As :func:`rmtaudit.kernels.noise.sign_flip.largest_eigenvalue`, with products in float32: they are off by
    1e-6 of the eigenvalue, the fluctuation of an edge of 4096 noisy columns is 2e-3 of it.
    """
    size = len(product)
    if size <= _FULL:
        return float(eigenvalues(product.double())[-1])
    start = torch.randn(size, _KRYLOV_BLOCK, generator=torch.Generator().manual_seed(size))
    basis = [torch.linalg.qr(start.to(product.device).double()).Q]
    for _ in range(_KRYLOV_DEPTH - 1):
        block = (product @ basis[-1].float()).double()
        known = torch.cat(basis, 1)
        for _ in range(2):  # twice is enough: the second pass removes what rounding left
            block = block - known @ (known.T @ block)
        basis.append(torch.linalg.qr(block).Q)
    space = torch.cat(basis, 1)
    return float(torch.linalg.eigvalsh(space.T @ (product @ space.float()).double())[-1])


def iterated(product: torch.Tensor, count: int, iterations: int) -> torch.Tensor:
    """Return an orthonormal basis, float64, near the space of the leading eigenvectors of a Gram matrix."""
    basis = _start(len(product), count).to(product.device, product.dtype)
    for _ in range(iterations):
        basis = torch.linalg.qr(product @ basis).Q
    space: torch.Tensor = torch.linalg.qr(basis.double()).Q
    return space


def is_oblong(matrix: torch.Tensor) -> bool:
    """Whether iteration on the Gram matrix of the shorter side is cheaper than on the matrix."""
    return min(matrix.shape) <= _SHORT or max(matrix.shape) >= _OBLONG * min(matrix.shape)


def spectral_norm(matrix: torch.Tensor) -> float:
    """Return the largest singular value, by subspace iteration: within 1e-3 of it, and never above it."""
    count = min(_FEW, min(matrix.shape))
    largest = largest_entry(matrix)
    if largest == 0:
        return 0.0
    scale = largest if not 1e-12 < largest < 1e12 else 1.0
    narrow = tall((matrix if scale == 1 else matrix / scale).float())
    if is_oblong(narrow):
        space = iterated(gram(narrow, dtype=narrow.dtype), count, 2 * _STEPS)
        return scale * float(torch.linalg.svdvals((narrow @ space.float()).double())[0])
    basis = _start(narrow.shape[1], count).to(narrow.device)
    for _ in range(_STEPS):
        basis = torch.linalg.qr(narrow.T @ (narrow @ basis)).Q
    return scale * float(torch.linalg.svdvals((narrow @ basis).double())[0])


def _start(size: int, count: int) -> torch.Tensor:
    """Return random columns, float32: drawn on the CPU, so that they are the same on every device."""
    return torch.randn(size, count, generator=torch.Generator().manual_seed(count))
