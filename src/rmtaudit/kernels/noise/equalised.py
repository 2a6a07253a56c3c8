"""A matrix whose rows and columns were evened out, and what is computed of it: of a block first."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import torch

from rmtaudit.kernels.noise.inertia import eigenvalues_above
from rmtaudit.kernels.noise.krylov import largest_count
from rmtaudit.kernels.noise.sign_flip import RectangleTest, rectangle_test, working_dtype
from rmtaudit.kernels.noise.variance_profile import Profile, dyson, sinkhorn
from rmtaudit.kernels.spectra.gram import eigenvalues, gram

_LARGEST_BLOCK = 512
_SMALLEST_BLOCK = 96
"""Columns of a block, at most and at least. Less seldom decide, and save nothing."""
_INERTIA_FROM = 96
"""Size from which counting the eigenvalues above a number pays."""
_KRYLOV_FROM = 1536
"""Size from which products with a few vectors cost less than a Gram matrix and its inertia."""
_NEAR, _FEW_NEAR = 1.2, 12
"""Where more eigenvalues lie within this factor of the threshold, those products take longer to tell them
apart than the Gram matrix and its inertia."""
_BAND = 1024
"""Rows that are multiplied at once: 16 MB of float32 at a width of 4096."""
_SINGLE_FROM = _SMALLEST_BLOCK
"""Size from which the Gram matrix of a matrix that is not float64 is summed in float32. Over noise with and
without spikes, of shares of the energy up to a half and sizes from 768 on, N x KS moves by 0.003 at most; on
330 trained and 120 simulated layers of smaller sizes too no verdict and no count of spikes changed."""
_RESOLVED = 1e-4
"""Median eigenvalue over the largest from which the resolvent of a float32 product is good to three per cent:
the median is its scale, and :data:`_SINGLE_ERROR` bounds its error. Smaller ones belong to low rank."""
_SINGLE_ERROR = 3e-6
"""Error of an eigenvalue of float32, over the largest. It was at most 7e-7, up to a size of 3072."""


class EqualisedMatrix:
    """``Ŵ = diag(rows) W diag(cols)``, each of its Gram matrices and spectra computed once, when asked for.

    Parameters
    ----------
    matrix
        ``W``, shape ``(n, p)`` with ``n >= p``, floating, finite. Not changed.
    profile
        The scales: Sinkhorn's where ``None``.
    product
        ``ŴᵀŴ``, where it is known.
    """

    def __init__(
        self, matrix: torch.Tensor, profile: Profile | None = None, product: torch.Tensor | None = None
    ) -> None:
        self.matrix = matrix
        self.profile = sinkhorn(matrix) if profile is None else profile
        self._known = product

    @cached_property
    def support(self) -> tuple[int, int]:
        """Rows and columns that hold anything, longer side first."""
        support = self.profile.support
        return max(support), min(support)

    @cached_property
    def product(self) -> torch.Tensor:
        """``ŴᵀŴ``, shape ``(p, p)``: float64, or float32 for a large matrix that is not float64."""
        if self._known is not None:
            return self._known
        large = self.support[1] >= _SINGLE_FROM
        return self._gram(working_dtype(self.matrix) if large else torch.float64)

    @cached_property
    def eigenvalues(self) -> torch.Tensor:
        """The eigenvalues of ``ŴᵀŴ``, shape ``(p,)``, float64, ascending, as precise as :attr:`product`."""
        return eigenvalues(self.product)

    @cached_property
    def rectangle(self) -> RectangleTest:
        """The test of all minors for dependence between signs. Errors are those of ``rectangle_test``."""
        return rectangle_test(self.matrix, self.profile, self.product)

    def release(self) -> None:
        """Let the Gram matrices go, which are large, and keep what was made of them."""
        for name in ("product", "block"):
            self.__dict__.pop(name, None)

    @cached_property
    def block(self) -> EqualisedMatrix | None:
        """Some of the columns, always the same ones of a shape, or ``None`` if there are too few for that.

        Half of the columns that hold anything, 512 at most, in a pseudo-random order fixed by their number.
        Columns of a matrix of independent entries are one too, with the same scales.
        """
        count = min(_LARGEST_BLOCK, self.support[1] // 2)
        if count < _SMALLEST_BLOCK or self.support != self.profile.support:
            return None
        chosen = self._some_columns(count)
        profile = Profile(self.profile.rows, self.profile.cols[chosen])
        # below this size the product of all columns is needed later whatever the block says
        product = self._principal(chosen) if self.support[1] < _KRYLOV_FROM else None
        return EqualisedMatrix(self.matrix.index_select(1, chosen), profile, product)

    def larger_blocks(self) -> Iterator[torch.Tensor]:
        """Yield the spectra of twice, four times … as many columns as :attr:`block` has, up to half of all.

        They hold the columns of the block before. They are taken from :attr:`product`, unless that is large
        and not known yet: its blocks together cost a third of it, and may be all that is needed.
        """
        if self.block is None:
            return
        count = 2 * self.block.support[1]
        while count <= self.support[1] // 2:
            chosen = self._some_columns(count)
            if self.support[1] < _KRYLOV_FROM or "product" in self.__dict__:
                yield eigenvalues(self._principal(chosen))
            else:
                profile = Profile(self.profile.rows, self.profile.cols[chosen])
                yield EqualisedMatrix(self.matrix.index_select(1, chosen), profile).eigenvalues
            count *= 2

    def _some_columns(self, count: int) -> torch.Tensor:
        """Return which columns are the first ones in a random order fixed by their number, ascending."""
        alive = self.profile.cols.nonzero().flatten()
        order = torch.randperm(len(alive), generator=torch.Generator().manual_seed(len(alive)))
        return alive[order[:count].sort().values.to(alive.device)]

    def _principal(self, chosen: torch.Tensor) -> torch.Tensor:
        return self.product[chosen][:, chosen]

    def with_dyson(self) -> EqualisedMatrix:
        """Return the matrix with the scales that the Dyson equaliser finds from these.

        Raises
        ------
        ArithmeticError
            If half of the singular values are 0.
        """
        product: torch.Tensor | None = self.product
        spectrum: torch.Tensor | None = self.eigenvalues
        if (
            self.product.dtype != torch.float64
            and self.eigenvalues.median() < _RESOLVED * self.eigenvalues.max()
        ):
            product = spectrum = None  # computed anew in float64
        return EqualisedMatrix(
            self.matrix, dyson(self.matrix, self.profile, product=product, spectrum=spectrum)
        )

    def count_above(self, threshold: float, guess: torch.Tensor) -> int:
        """Return how many eigenvalues of ``ŴᵀŴ`` exceed a positive number, computing none if possible.

        ``guess`` holds numbers like the eigenvalues, by which the cheapest method is chosen.
        """
        if "eigenvalues" in self.__dict__:
            return self._count(self.eigenvalues, threshold)
        near = int(((guess > threshold / _NEAR) & (guess < threshold * _NEAR)).sum())
        if self.support[1] >= _KRYLOV_FROM and near <= _FEW_NEAR and "product" not in self.__dict__:
            dtype = working_dtype(self.matrix)
            like = torch.empty(0, self.matrix.shape[1], dtype=dtype, device=self.matrix.device)
            expected = int((guess > threshold).sum())
            count = largest_count(self._multiply, like, threshold, expected=expected)
            if count is not None:
                return count
        if self.support[1] >= _INERTIA_FROM:
            known = self.__dict__.get("product")
            product = self._gram(working_dtype(self.matrix)) if known is None else known
            count = eigenvalues_above(product, threshold, overwrite=known is None)
            if count is not None:
                return count
        return self._count(self.eigenvalues, threshold)

    def _count(self, values: torch.Tensor, threshold: float) -> int:
        """Return how many values exceed the threshold; those of float32 only where none is too near."""
        single = self.product.dtype == torch.float32
        if single and bool(((values - threshold).abs() < _SINGLE_ERROR * values[-1]).any()):
            values = eigenvalues(self._gram(torch.float64))
        return int((values > threshold).sum())

    def _multiply(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return ``ŴᵀŴ`` times vectors, shape ``(p, b)``, reading every row of ``W`` once."""
        rows, cols = (scales.to(vectors)[:, None] for scales in (self.profile.rows, self.profile.cols))
        inner = vectors * cols
        total = torch.zeros_like(vectors)
        for first in range(0, len(self.matrix), _BAND):
            band = self.matrix[first : first + _BAND].to(vectors.dtype)
            total.addmm_(band.T, (band @ inner).mul_(rows[first : first + _BAND].square()))
        return total.mul_(cols)

    def _gram(self, dtype: torch.dtype) -> torch.Tensor:
        rows, cols = self.profile.rows.to(dtype), self.profile.cols.to(dtype)
        return gram(self.matrix, lambda block, band: block.mul_(rows[band, None]).mul_(cols), dtype=dtype)
