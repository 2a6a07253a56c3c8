"""A matrix whose rows and columns were evened out, and what is computed of it: of a block first."""

from __future__ import annotations

from functools import cached_property

import torch

from rmtaudit.kernels.noise.inertia import eigenvalues_above
from rmtaudit.kernels.noise.sign_flip import working_dtype
from rmtaudit.kernels.noise.variance_profile import Profile, dyson, equalised_gram, sinkhorn
from rmtaudit.kernels.spectra.gram import eigenvalues, gram

_LARGEST_BLOCK = 512
_SMALLEST_BLOCK = 96
"""Columns of a block, at most and at least. Less seldom decide, and save nothing."""
_INERTIA_FROM = 96
"""Size from which counting the eigenvalues above a number pays."""


class EqualisedMatrix:
    """``Ŵ = diag(rows) W diag(cols)``, each of its Gram matrices and spectra computed once, when asked for.

    Parameters
    ----------
    matrix
        ``W``, shape ``(n, p)`` with ``n >= p``, floating, finite. Not changed.
    profile
        The scales: Sinkhorn's where ``None``.
    """

    def __init__(self, matrix: torch.Tensor, profile: Profile | None = None) -> None:
        self.matrix = matrix
        self.profile = sinkhorn(matrix) if profile is None else profile

    @cached_property
    def support(self) -> tuple[int, int]:
        """Rows and columns that hold anything, longer side first."""
        support = self.profile.support
        return max(support), min(support)

    @cached_property
    def product(self) -> torch.Tensor:
        """``ŴᵀŴ``, shape ``(p, p)``, float64."""
        return equalised_gram(self.matrix, self.profile)

    @cached_property
    def eigenvalues(self) -> torch.Tensor:
        """The eigenvalues of ``ŴᵀŴ``, shape ``(p,)``, float64, ascending."""
        return eigenvalues(self.product)

    @cached_property
    def block(self) -> EqualisedMatrix | None:
        """Some of the columns, always the same ones of a shape, or ``None`` if there are too few for that.

        Half of the columns that hold anything, 512 at most, in a pseudo-random order fixed by their number.
        Columns of a matrix of independent entries are one too, with the same scales.
        """
        count = min(_LARGEST_BLOCK, self.support[1] // 2)
        alive = self.profile.cols.nonzero().flatten()
        if count < _SMALLEST_BLOCK or self.support != self.profile.support:
            return None
        order = torch.randperm(len(alive), generator=torch.Generator().manual_seed(len(alive)))
        chosen = alive[order[:count].sort().values.to(alive.device)]
        profile = Profile(self.profile.rows, self.profile.cols[chosen])
        return EqualisedMatrix(self.matrix.index_select(1, chosen), profile)

    def with_dyson(self) -> EqualisedMatrix:
        """Return the matrix with the scales that the Dyson equaliser finds from these.

        Raises
        ------
        ArithmeticError
            If half of the singular values are 0.
        """
        profile = dyson(self.matrix, self.profile, product=self.product, spectrum=self.eigenvalues)
        return EqualisedMatrix(self.matrix, profile)

    def count_above(self, threshold: float) -> int:
        """Return how many eigenvalues of ``ŴᵀŴ`` exceed a positive number, computing none if possible."""
        known = "eigenvalues" in self.__dict__
        if not known and self.support[1] >= _INERTIA_FROM:
            count = eigenvalues_above(self._rough_product(), threshold)
            if count is not None:
                return count
        return int((self.eigenvalues > threshold).sum())

    def _rough_product(self) -> torch.Tensor:
        """Return ``ŴᵀŴ`` in the precision of sums over random signs, unless it is known in a better one."""
        if "product" in self.__dict__:
            return self.product
        dtype = working_dtype(self.matrix)
        rows, cols = self.profile.rows.to(dtype), self.profile.cols.to(dtype)
        return gram(self.matrix, lambda block, band: block.mul_(rows[band, None]).mul_(cols), dtype=dtype)
