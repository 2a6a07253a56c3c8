"""What is factored for an answer: the matrix itself, or a nonsingular one that has its pseudo-determinant.

A symmetric positive semidefinite ``A`` whose null vectors ``v_c`` have disjoint supports has
``det A₋ = pdet A · Π v_c,i(c)²``, where ``A₋`` lacks the rows and columns ``i(c)``, one of each support: for
the combinatorial Laplacian this is Kirchhoff's matrix-tree theorem. And ``pdet A = det (A + V Vᵀ)`` for an
orthonormal basis ``V`` of the null space.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rmtaudit.engine.logdet.facts import Facts, facts_of
from rmtaudit.engine.logdet.settings import LogdetSettings, Method
from rmtaudit.matrices.sources import CompletedLaplacian, Gram, Laplacian, MatrixSource, SparseMatrix
from rmtaudit.matrices.sources.symmetry import BY_CONSTRUCTION

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LOG_DETERMINANT, LOG_PSEUDO_DETERMINANT = "log-determinant", "log-pseudo-determinant"


@dataclass(frozen=True, slots=True)
class Target:
    """What is factored, and how the answer follows.

    Attributes
    ----------
    subject
        The matrix that the answer is about.
    facts
        Of the matrix that is factored.
    by_products
        Of the matrix that Lanczos sees.
    quantity
        What the answer is.
    dimension
        Rows of the matrix, or its rank: what nats are divided by.
    offset
        Added to the log-determinant of the matrix that is factored.
    words, words_by_products
        What is factored, and what Lanczos sees, where it is not the matrix itself.
    """

    subject: MatrixSource
    facts: Facts
    by_products: Facts
    quantity: str
    dimension: int
    offset: float = 0.0
    words: str = ""
    words_by_products: str = ""


def target_of(source: MatrixSource, settings: LogdetSettings) -> Target:
    """Return what is to be factored for an answer about ``source``."""
    facts = facts_of(source, settings.smallest)
    if settings.size is not None and settings.size * settings.outputs < facts.order:
        facts = replace(facts, singular="")  # a leading minor of a singular matrix need not be
    if not settings.pseudo:
        return Target(source, facts, facts, LOG_DETERMINANT, facts.order)
    if facts.laplacian is not None and settings.method is not Method.EIGENVALUES:
        return _of_laplacian(facts, facts.laplacian)
    if facts.gram is not None and facts.singular and settings.method is not Method.EIGENVALUES:
        other = Gram(facts.gram.factor, "rows" if facts.gram.of == "columns" else "columns")
        swapped = facts_of(other, settings.smallest)
        words = "W Wᵀ and WᵀW have the same eigenvalues but for zeros: the smaller one is factored"
        return Target(source, swapped, swapped, LOG_PSEUDO_DETERMINANT, swapped.order, 0.0, words, words)
    return Target(source, facts, facts, LOG_PSEUDO_DETERMINANT, facts.order)


def _of_laplacian(facts: Facts, graph: Laplacian) -> Target:
    import numpy as np

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
        graph,
        replace(facts_of(grounded), rounding=facts.rounding),
        completed,
        LOG_PSEUDO_DETERMINANT,
        facts.order - count,
        -2 * math.fsum(np.log(graph.null_weights()[removed]).tolist()),
        "the matrix without one vertex of each connected component (the matrix-tree theorem)",
        "the matrix plus VVᵀ, V its null space: one vector for each connected component",
    )


def _heaviest(graph: Laplacian) -> NDArray[np.int64]:
    """Return the vertex of the highest degree of each component, in the order of the components."""
    import numpy as np

    order = np.lexsort((-graph.degrees, graph.component))
    first = np.flatnonzero(np.diff(graph.component[order], prepend=-1))
    found: NDArray[np.int64] = order[first]
    return found


def spectral_gap_bound(graph: Laplacian) -> float:
    r"""Return a lower bound of the least eigenvalue that is not 0, from distances alone.

    Of a component with ``n`` vertices, volume ``vol`` (sum of degrees) and diameter ``d``, at most twice the
    distance from any vertex to the farthest: ``1/(d vol)`` for the normalised Laplacian (Chung 1997, lemma
    1.9), ``4/(n d)`` for the combinatorial one (Mohar 1991).
    """
    import numpy as np
    from scipy.sparse.csgraph import breadth_first_order

    sizes = np.bincount(graph.component)
    volumes = np.bincount(graph.component, weights=graph.degrees)
    bounds = [math.inf]
    for component, start in enumerate(_heaviest(graph)):
        if sizes[component] < 2:
            continue
        order, before = breadth_first_order(graph.matrix, int(start), directed=False)
        depth = np.zeros(graph.shape[0], dtype=np.int64)
        for vertex in order[1:]:
            depth[vertex] = depth[before[vertex]] + 1
        diameter = 2 * int(depth.max())
        normalised = graph.normalisation == "normalised"
        bounds.append(
            1 / (diameter * volumes[component]) if normalised else 4 / (diameter * sizes[component])
        )
    return float(min(bounds))
