"""Products with a matrix, or with the difference of two, that is read in bands and never copied."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch

from rmtaudit.kernels.difference.moments import differences
from rmtaudit.kernels.difference.rounding import Rounding
from rmtaudit.kernels.spectra.gram import row_blocks


@dataclass(frozen=True, slots=True)
class Products:
    """Products with a matrix in float64, as it is or with the scales that make rounding errors equal.

    Attributes
    ----------
    blocks
        Returns the bands of rows of the matrix, which may be overwritten.
    shape
        Of the matrix.
    rounding
        The scales of its rows and columns.
    """

    blocks: Callable[[], Iterator[tuple[slice, torch.Tensor]]]
    shape: tuple[int, int]
    rounding: Rounding

    @property
    def device(self) -> torch.device:
        """Where the matrix is."""
        return self.rounding.rows.device

    @classmethod
    def of(cls, matrix: torch.Tensor, rounding: Rounding) -> Products:
        """Return the products with a matrix."""
        return cls(partial(row_blocks, matrix), (matrix.shape[0], matrix.shape[1]), rounding)

    @classmethod
    def of_difference(cls, base: torch.Tensor, candidate: torch.Tensor, rounding: Rounding) -> Products:
        """Return the products with the candidate less the base, which is never held as a whole."""
        return cls(partial(differences, base, candidate), (base.shape[0], base.shape[1]), rounding)

    def bands(self, *, scaled: bool) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yield the bands of rows."""
        for band, block in self.blocks():
            if scaled:
                block.mul_(self.rounding.rows[band, None]).mul_(self.rounding.columns)
            yield band, block

    def energy(self, *, scaled: bool = True) -> float:
        """Return the squared norm."""
        return sum(float(torch.linalg.vector_norm(block)) ** 2 for _, block in self.bands(scaled=scaled))

    def whole(self, *, scaled: bool) -> torch.Tensor:
        """Return the matrix."""
        return torch.cat([block.clone() for _, block in self.bands(scaled=scaled)])

    @property
    def is_tall(self) -> bool:
        """Whether the rows are the longer side."""
        return self.shape[0] >= self.shape[1]

    def times(self, X: torch.Tensor, *, scaled: bool = True) -> torch.Tensor:
        """Return the product with ``X``."""
        return torch.cat([block @ X for _, block in self.bands(scaled=scaled)])

    def back(self, X: torch.Tensor, *, scaled: bool = True) -> torch.Tensor:
        """Return the product of the transposed matrix with ``X``."""
        total = torch.zeros(self.shape[1], X.shape[1], dtype=torch.float64, device=X.device)
        for band, block in self.bands(scaled=scaled):
            total.addmm_(block.T, X[band])
        return total

    def to_long(self, X: torch.Tensor, *, scaled: bool = True) -> torch.Tensor:
        """Return the product with vectors of the shorter side."""
        return self.times(X, scaled=scaled) if self.is_tall else self.back(X, scaled=scaled)

    def to_short(self, X: torch.Tensor, *, scaled: bool = True) -> torch.Tensor:
        """Return the product with vectors of the longer side."""
        return self.back(X, scaled=scaled) if self.is_tall else self.times(X, scaled=scaled)

    def to_long_and_back(self, X: torch.Tensor) -> torch.Tensor:
        """Return the product with vectors of the shorter side, brought back to it."""
        if not self.is_tall:
            return self.times(self.back(X))
        total = torch.zeros(self.shape[1], X.shape[1], dtype=torch.float64, device=X.device)
        for _, block in self.bands(scaled=True):
            total.addmm_(block.T, block @ X)
        return total

    def long_values(self, X: torch.Tensor, *, scaled: bool = True) -> torch.Tensor:
        """Return the singular values of the product with vectors of the shorter side, largest first.

        Of a tall matrix band by band, so that the product is not held as a whole.
        """
        if self.is_tall:
            factors = [torch.linalg.qr(block @ X, mode="r").R for _, block in self.bands(scaled=scaled)]
            return singular_values(torch.cat(factors))
        return singular_values(self.back(X, scaled=scaled))


def singular_values(images: torch.Tensor) -> torch.Tensor:
    """Return the singular values of a matrix with few columns, largest first."""
    values: torch.Tensor = torch.linalg.svdvals(torch.linalg.qr(images, mode="r").R)
    return values


def start(rows: int, columns: int, device: torch.device) -> torch.Tensor:
    """Return the fixed random start of a range finder, drawn on the CPU: the same on every device."""
    generator = torch.Generator().manual_seed(columns)
    return torch.randn(rows, columns, dtype=torch.float64, generator=generator).to(device)
