"""What is known of a matrix, and what is factored: itself, or another one that has its pseudo-determinant.

A symmetric positive semidefinite ``A`` whose null vectors ``v_c`` have disjoint supports has
``det A₋ = pdet A · Π v_c,i(c)²``, where ``A₋`` lacks the rows and columns ``i(c)``, one of each support: for
the combinatorial Laplacian this is Kirchhoff's matrix-tree theorem. And ``pdet A = det (A + V Vᵀ)`` for an
orthonormal basis ``V`` of the null space.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmtaudit.engine.logdet.settings import LogdetSettings, Method
from rmtaudit.matrices.sources import (
    CompletedLaplacian,
    Gram,
    Known,
    Laplacian,
    Leading,
    MatrixSource,
    Reach,
    SparseMatrix,
)
from rmtaudit.matrices.sources.symmetry import BY_CONSTRUCTION


class Quantity(StrEnum):
    """What is computed."""

    LOG_DETERMINANT = "log-determinant"
    LOG_PSEUDO_DETERMINANT = "log-pseudo-determinant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts(Known):
    """A matrix, and what is known of it before anything is computed.

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

    @property
    def triangular(self) -> bool:
        """Whether it is sparse, and triangular in some order of rows and columns."""
        return self.structure is not None and self.structure.triangular

    def leading(self, rows: int) -> Facts:
        """Return the facts of a leading principal submatrix; of the matrix itself, these."""
        if rows == self.order:
            return self
        return replace(self, source=Leading(self.source, rows), shifted=None)


def facts_of(source: MatrixSource, smallest: float | None = None) -> Facts:
    """Return what is known; ``smallest`` is a lower bound of the spectrum that the user knows."""
    known = source.known()
    values = {each.name: getattr(known, each.name) for each in fields(Known)}
    rows, cols = source.shape
    if known.smallest is not None and known.smallest <= 0:
        values |= {"smallest": None, "smallest_from": ""}
    if smallest is not None and smallest > (values["smallest"] or 0.0):
        values |= {"smallest": smallest, "smallest_from": "given with --smallest"}
    if known.product_flops is None:
        values["product_flops"] = 2.0 * rows * cols
    if known.rank is not None and known.rank < min(rows, cols) and not known.singular:
        values["singular"] = (
            f"its construction gives the matrix of order {rows:,} a rank of at most {known.rank:,}"
        )
    return Facts(source=source, **values)


def subject_of(source: MatrixSource) -> dict[str, Any]:
    """Return what a matrix is, as JSON values."""
    subject = {
        "kind": source.kind,
        "name": source.name,
        "shape": list(source.shape),
        "dtype": source.dtype,
        "symmetric": source.symmetric,
        "symmetry": source.symmetry,
        "semidefinite": source.semidefinite,
        "reach": sorted(str(each) for each in source.reach),
        "stored_bytes": source.stored_bytes,
    }
    return {**subject, **source.details(), **subject}  # details add names, and replace none


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is factored, and how the answer follows.

    Attributes
    ----------
    subject
        The matrix that the answer is about.
    facts
        Of the matrix that is factored.
    by_products
        Of the matrix that Lanczos works on.
    quantity
        What the answer is.
    dimension
        Rows of the matrix, or its rank: what nats are divided by.
    offset
        Added to the log-determinant of the matrix that is factored. Lanczos needs no offset: the matrix that
        it works on has the answer as its log-determinant.
    description, description_by_products
        What is factored, and what Lanczos works on, where it is not the matrix itself.
    """

    subject: MatrixSource
    facts: Facts
    by_products: Facts
    quantity: Quantity = Quantity.LOG_PSEUDO_DETERMINANT
    dimension: int
    offset: float = 0.0
    description: str = ""
    description_by_products: str = ""


def target_of(source: MatrixSource, settings: LogdetSettings) -> Target:
    """Return what is to be factored for an answer about ``source``."""
    facts = facts_of(source, settings.smallest)
    if settings.size is not None and settings.size * settings.outputs < facts.order:
        facts = replace(facts, singular="")  # a leading minor of a singular matrix need not be
    whole = Target(subject=source, facts=facts, by_products=facts, dimension=facts.order)
    if not settings.pseudo:
        return replace(whole, quantity=Quantity.LOG_DETERMINANT)
    if settings.method is Method.EIGENVALUES:
        return whole
    if facts.laplacian is not None:
        return _laplacian_target(facts, facts.laplacian)
    if facts.gram is not None and facts.singular:
        other = Gram(facts.gram.factor, "rows" if facts.gram.of == "columns" else "columns")
        swapped = facts_of(other, settings.smallest)
        description = (
            "W Wᵀ and WᵀW have the same eigenvalues except for zeros, so the smaller one is factored"
        )
        return Target(
            subject=source,
            facts=swapped,
            by_products=swapped,
            dimension=swapped.order,
            description=description,
            description_by_products=description,
        )
    return whole


def _laplacian_target(facts: Facts, graph: Laplacian) -> Target:
    removed = _heaviest(graph)
    keep = np.ones(facts.order, dtype=bool)
    keep[removed] = False
    count = len(removed)
    name = f"{graph.name} without {count:,} {'vertex' if count == 1 else 'vertices'}"
    grounded = SparseMatrix(graph.matrix[keep][:, keep], name, symmetric=True)
    grounded.take_symmetry(BY_CONSTRUCTION)
    grounded.semidefinite = True
    known = facts.smallest or 0.0
    gap = max(spectral_gap_bound(graph), known)
    completed = replace(
        facts_of(CompletedLaplacian(graph)),
        smallest=min(1.0, gap),
        smallest_from="distances in the graph (Chung 1997, Mohar 1991)"
        if gap > known
        else facts.smallest_from,
        largest=facts.largest,
    )
    return Target(
        subject=graph,
        facts=replace(facts_of(grounded), rounding=facts.rounding),
        by_products=completed,
        dimension=facts.order - count,
        offset=-2 * math.fsum(np.log(graph.null_weights()[removed]).tolist()),
        description="the matrix without one vertex of each connected component (the matrix-tree theorem)",
        description_by_products="the matrix plus VVᵀ, V its null space: one vector for each connected "
        "component",
    )


def _heaviest(graph: Laplacian) -> NDArray[np.int64]:
    """Return the vertex of the highest degree of each component, in the order of the components."""
    order: NDArray[np.int64] = np.lexsort((-graph.degrees, graph.component))
    return order[np.flatnonzero(np.diff(graph.component[order], prepend=-1))]


def spectral_gap_bound(graph: Laplacian) -> float:
    r"""Return a lower bound of the least eigenvalue that is not 0, from distances alone.

    Of a component with ``n`` vertices, volume ``vol`` (sum of degrees) and diameter ``d``, at most twice the
    distance from any vertex to the farthest: ``1/(d vol)`` for the normalised Laplacian (Chung 1997, lemma
    1.9), ``4/(n d)`` for the combinatorial one (Mohar 1991).
    """
    from scipy.sparse.csgraph import breadth_first_order

    sizes = np.bincount(graph.component)
    volumes = np.bincount(graph.component, weights=graph.degrees)
    bounds = [math.inf]
    for component, start in enumerate(_heaviest(graph)):
        if sizes[component] < 2:
            continue
        order, predecessors = breadth_first_order(graph.matrix, int(start), directed=False)
        depth = np.zeros(graph.shape[0], dtype=np.int64)
        for vertex in order[1:]:
            depth[vertex] = depth[predecessors[vertex]] + 1
        diameter = 2 * int(depth.max())
        normalised = graph.normalisation == "normalised"
        bounds.append(
            1 / (diameter * volumes[component]) if normalised else 4 / (diameter * sizes[component])
        )
    return float(min(bounds))
