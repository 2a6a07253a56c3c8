"""What is known of a matrix before anything is computed: how it may be treated, and what bounds it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from rmtaudit.matrices.sources import (
    CompletedLaplacian,
    FileMatrix,
    Gram,
    KernelMatrix,
    Laplacian,
    Leading,
    MaternMatrix,
    MatrixSource,
    Product,
    Reach,
    Shifted,
    SparseMatrix,
    TensorSource,
    Updated,
    ZarrMatrix,
)

if TYPE_CHECKING:
    from rmtaudit.kernels.determinants.sparse_general import Structure
    from rmtaudit.kernels.slq import Gram as GramOperator
    from rmtaudit.kernels.slq import Symmetric


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a matrix.

    Attributes
    ----------
    source
        The matrix.
    smallest, largest
        Bounds of the spectrum of a symmetric matrix, that hold without looking at it.
    smallest_from
        Where the lower one is from, in words.
    singular
        Why the determinant is 0, with certainty; or empty.
    sparse, structure
        scipy's matrix in compressed rows, where the source is one; and what its pattern tells, unless the
        construction tells more.
    gram
        The Gram source, where the source is one and nothing was added.
    laplacian
        The Laplacian, likewise.
    product_flops
        Operations of a product with one vector.
    rounding
        How far entries that are computed may be off, in units of ``u √(a_ii a_jj)``; 0 for entries that are
        stored, ``None`` where it is not known.
    """

    source: MatrixSource
    smallest: float | None = None
    largest: float | None = None
    smallest_from: str = ""
    singular: str = ""
    sparse: Any = None
    structure: Structure | None = None
    gram: Gram | None = None
    laplacian: Laplacian | None = None
    product_flops: float = 0.0
    rounding: float | None = 0.0

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
    found = _facts(source)
    if smallest is not None and smallest > (found.smallest or 0.0):
        found = replace(found, smallest=smallest, smallest_from="given with --smallest")
    return found


def stored_bytes(source: MatrixSource) -> int | None:
    """Return the bytes of a file that holds the entries; ``None`` for what is in memory or computed."""
    from rmtaudit.matrices.tensors import ITEMSIZE

    if isinstance(source, FileMatrix | ZarrMatrix):
        return source.shape[0] * source.shape[1] * ITEMSIZE[source.dtype]
    if isinstance(source, Shifted | Updated | Leading):
        return stored_bytes(source.base)
    if isinstance(source, Gram):
        return stored_bytes(source.factor)
    if isinstance(source, Product):
        left, right = stored_bytes(source.left), stored_bytes(source.right)
        return None if left is None and right is None else (left or 0) + (right or 0)
    return None


def kind_of(source: MatrixSource) -> str:
    """Return what the source is, in a word."""
    names = {
        TensorSource: "array",
        FileMatrix: "file",
        ZarrMatrix: "zarr",
        SparseMatrix: "sparse",
        Laplacian: "laplacian",
        CompletedLaplacian: "laplacian",
        KernelMatrix: "kernel",
        Gram: "gram",
        Product: "product",
    }
    while isinstance(source, Shifted | Updated | Leading):
        source = source.base
    return next((names[each] for each in type(source).__mro__ if each in names), "source")


def operator_of(facts: Facts) -> Symmetric | GramOperator:
    """Return the operator that Lanczos works on; a Gram matrix by its factor (Golub-Kahan)."""
    from rmtaudit.kernels import slq

    if facts.gram is not None:
        factor = facts.gram.factor
        side: Literal["cols", "rows"] = "cols" if facts.gram.of == "columns" else "rows"
        return slq.Gram(*factor.shape, factor.matmul, factor.rmatmul, side, facts.smallest, facts.largest)
    return slq.Symmetric(facts.order, facts.source.matmul, facts.smallest, facts.largest)


def _facts(source: MatrixSource) -> Facts:
    rows, cols = source.shape
    plain = Facts(source, product_flops=2.0 * rows * cols)
    match source:
        case Shifted():
            return _shifted(source)
        case Laplacian():
            highest = 2.0 if source.kind == "normalised" else 2.0 * float(source.degrees.max())
            return replace(
                plain,
                largest=highest,
                singular="the Laplacian of a graph has as many eigenvalues 0 as the graph has connected "
                f"components: {source.components:,}",
                sparse=source.matrix,
                laplacian=source,
                product_flops=2.0 * source.stored,
                rounding=4.0,  # a root, a quotient, two products
            )
        case SparseMatrix():
            sparse = replace(plain, sparse=source.matrix, product_flops=2.0 * source.stored)
            return _with_structure(sparse) if source.square else sparse
        case Gram():
            short = source.rank_bound
            singular = ""
            if short < rows:
                of = " x ".join(map(str, source.factor.shape))
                singular = (
                    f"the Gram matrix of order {rows:,} of a {of} matrix has a rank of at most {short:,}"
                )
            flops = 4.0 * math.prod(source.factor.shape)
            inner = source.factor.shape[0 if source.of == "columns" else 1]
            return replace(plain, singular=singular, gram=source, product_flops=flops, rounding=inner + 1.0)
        case KernelMatrix():
            flops = rows * cols * (2.0 * source.points.shape[1] + 20)
            return replace(plain, product_flops=flops, rounding=_of_kernel(source))
        case Product():
            return replace(plain, rounding=None)
        case Leading() | Updated():
            return replace(plain, rounding=_facts(source.base).rounding)
        case _:
            return plain


def _shifted(source: Shifted) -> Facts:
    base = _facts(source.base)
    shift = source.shift

    def moved(bound: float | None) -> float | None:
        return None if bound is None else bound + shift

    floor = 0.0 if base.semidefinite else None
    smallest = moved(base.smallest if base.smallest is not None else floor)
    sparse = None
    if base.sparse is not None:
        import scipy.sparse

        sparse = scipy.sparse.csr_array(base.sparse + shift * scipy.sparse.eye_array(base.order))
    moved_facts = Facts(
        source,
        smallest=smallest if smallest is not None and smallest > 0 else None,
        largest=moved(base.largest),
        smallest_from="the shift of a positive semidefinite matrix"
        if base.semidefinite
        else base.smallest_from,
        sparse=sparse,
        product_flops=base.product_flops + 2 * base.order,
        rounding=None if base.rounding is None else base.rounding + 1,
    )
    return moved_facts if sparse is None else _with_structure(moved_facts)


def _with_structure(facts: Facts) -> Facts:
    """Add what the pattern of a sparse matrix tells, and what is certain from it."""
    from rmtaudit.kernels.determinants.sparse_general import structure_of

    found = structure_of(facts.sparse)
    singular = facts.singular
    if found.empty:
        singular = (
            "the places of its entries make it singular, whatever their values: columns have no entry, or "
            "their only one in the row of another such column"
        )
    return replace(facts, structure=found, singular=singular)


def _of_kernel(source: KernelMatrix) -> float | None:
    """Return how far the entries of a Matérn kernel may be off: a few roundings, and those of the points.

    Scaled points are off by ``u |x|``, their distances, in length scales, by a few times that, and no kernel
    is steeper than 1 in those units.
    """
    if not isinstance(source, MaternMatrix):
        return None
    dimensions = source.points.shape[1]
    scale = 1.0 if source.nu == math.inf else math.sqrt(2 * source.nu)
    reach = scale * float(source.points.abs().max()) / source.length
    return 8.0 + dimensions + 4 * math.sqrt(dimensions) * reach
