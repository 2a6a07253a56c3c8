"""What a source knows about its matrix before a single entry is computed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rmtaudit.kernels.determinants.sparse_general import Structure
    from rmtaudit.matrices.sources.algebra import Gram, Shifted
    from rmtaudit.matrices.sources.sparse import Laplacian

FLOAT32_ROUNDING = 2.0**29
"""Units of ``u = 2⁻⁵³`` in one rounding of float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is certain about a matrix without looking at it. Every default means that nothing is known.

    Attributes
    ----------
    smallest, largest
        Bounds of the spectrum of a symmetric matrix.
    smallest_from
        Where the lower bound comes from, in words.
    rank
        An upper bound of the rank.
    singular
        Why the determinant is 0, with certainty, as a clause; or empty.
    rounding
        How far an entry, as it is computed, may be from the entry of the matrix that is meant, in units of
        ``u √(a_ii a_jj)`` with ``u = 2⁻⁵³``. ``0.0``: entries are exact. ``None``: not known, and then no
        error of a result is claimed. An entry computed in float32 is off by at least
        :data:`FLOAT32_ROUNDING` units.
    product_flops
        Operations of a product with one vector; ``None``: two for each entry of the shape.
    entry_flops
        What obtaining one entry costs, in operations: 0 for entries in memory; ``None``: not known.
    nonzeros
        Number of entries that may differ from zero; ``None``: all of them.
    sparse, structure
        The matrix as scipy's compressed rows, where it is held so, and what its pattern tells.
    gram
        The source itself, where it is the Gram matrix of a factor.
    laplacian
        The source itself, where it is the Laplacian of a graph.
    shifted
        The source itself, where it is ``A + t I`` of another source.

    Raises
    ------
    ValueError
        A number is NaN, negative where that makes no sense, or the lower bound exceeds the upper one.
    """

    smallest: float | None = None
    largest: float | None = None
    smallest_from: str = ""
    rank: int | None = None
    singular: str = ""
    rounding: float | None = None
    product_flops: float | None = None
    entry_flops: float | None = None
    nonzeros: int | None = None
    sparse: Any = None
    structure: Structure | None = None
    gram: Gram | None = None
    laplacian: Laplacian | None = None
    shifted: Shifted | None = None

    def __post_init__(self) -> None:
        for name in ("smallest", "largest"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number or None, not {value}")
        for name in ("rank", "rounding", "product_flops", "entry_flops", "nonzeros"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name} must be at least 0 or None, not {value}")
        if self.smallest is not None and self.largest is not None and self.smallest > self.largest:
            raise ValueError(f"the spectrum is bounded by {self.smallest} from below, {self.largest} above")
