"""What is known of a matrix before anything is computed: how it may be treated, and what bounds it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Literal

from rmtaudit.matrices.sources import Known, MatrixSource, Reach

if TYPE_CHECKING:
    from rmtaudit.kernels.slq import Gram as GramOperator
    from rmtaudit.kernels.slq import Symmetric


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts(Known):
    """A matrix, and what is known of it.

    Attributes
    ----------
    source
        The matrix.
    smallest
        As of :class:`~rmtaudit.matrices.sources.Known`, but ``None`` where the lower bound is not positive:
        it would tell nothing of the log-determinant.
    product_flops
        Of a product with one vector; never ``None``.
    """

    source: MatrixSource
    product_flops: float = 0.0

    @property
    def order(self) -> int:
        """Rows of the matrix."""
        return self.source.shape[0]

    @property
    def symmetric(self) -> bool:
        """Whether it is treated as symmetric."""
        return self.source.symmetric

    @property
    def semidefinite(self) -> bool:
        """Whether its construction makes it positive semidefinite."""
        return self.source.semidefinite

    @property
    def blocks(self) -> bool:
        """Whether entries can be had."""
        return Reach.BLOCK in self.source.reach

    @property
    def products(self) -> bool:
        """Whether products can be had."""
        return Reach.MATMUL in self.source.reach


def facts_of(source: MatrixSource, smallest: float | None = None) -> Facts:
    """Return what is known; ``smallest`` is a lower bound of the spectrum that the user knows."""
    known = source.known()
    given = {each.name: getattr(known, each.name) for each in fields(Known)}
    rows, cols = source.shape
    if known.smallest is not None and known.smallest <= 0:
        given |= {"smallest": None, "smallest_from": ""}
    if known.product_flops is None:
        given["product_flops"] = 2.0 * rows * cols
    if known.rank is not None and known.rank < min(rows, cols) and not known.singular:
        given["singular"] = (
            f"its construction gives the matrix of order {rows:,} a rank of at most {known.rank:,}"
        )
    found = Facts(source=source, **given)
    if smallest is not None and smallest > (found.smallest or 0.0):
        found = replace(found, smallest=smallest, smallest_from="given with --smallest")
    return found


def operator_of(facts: Facts) -> Symmetric | GramOperator:
    """Return the operator that Lanczos works on; a Gram matrix by its factor (Golub-Kahan)."""
    from rmtaudit.kernels import slq

    if facts.gram is not None:
        factor = facts.gram.factor
        side: Literal["cols", "rows"] = "cols" if facts.gram.of == "columns" else "rows"
        return slq.Gram(
            rows=factor.shape[0],
            cols=factor.shape[1],
            matmul=factor.matmul,
            transposed=factor.rmatmul,
            side=side,
            smallest=facts.smallest,
            largest=facts.largest,
        )
    return slq.Symmetric(
        size=facts.order, matmul=facts.source.matmul, smallest=facts.smallest, largest=facts.largest
    )
