"""How far sparse factors fill up: predicted from the pattern alone, before any memory is taken.

The order of elimination is that of SuperLU; the entries of the Cholesky factor in that order are counted
from the skeleton of the elimination tree (Gilbert, Ng and Peyton 1994), in nearly linear time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Order = Literal["MMD_AT_PLUS_A", "COLAMD", "NATURAL"]
_NARROW = 8
"""Times the entries of the matrix that the band may have to be narrow (a choice)."""
_MOST = 50_000_000
"""Entries of the pattern of ``AᵀA`` that are worth forming: 600 MB (a choice)."""


def narrow_band(matrix: Any) -> int | None:
    """Return the entries that ``L`` and ``U`` can have in the order of the rows, where the band is narrow.

    With ``p`` diagonals below the main one and ``q`` above, partial pivoting fills ``2 p + q + 1`` at most.
    ``None`` where that is more than eight times the entries of the matrix: another order does better.
    """
    import numpy as np
    import scipy.sparse

    rows = scipy.sparse.csr_array(matrix)
    n = int(rows.shape[0])
    offsets = rows.indices.astype(np.int64) - np.repeat(np.arange(n), np.diff(rows.indptr))
    if not len(offsets):
        return None
    below, above = max(0, -int(offsets.min())), max(0, int(offsets.max()))
    most = n * (2 * below + above + 1)
    return most if most <= _NARROW * rows.nnz else None


@dataclass(frozen=True, slots=True)
class Elimination:
    """An order of elimination and what it leads to.

    Attributes
    ----------
    order
        Rows in the order in which they are eliminated, shape ``(n,)``.
    entries
        Entries of the factor ``L``.
    """

    order: Any
    entries: int


def symmetric_elimination(matrix: Any) -> Elimination:
    """Return the order of minimum degree of a symmetric matrix, and the entries of its factor ``L``.

    Exact for factors without exchanges, but for entries that cancel.

    Parameters
    ----------
    matrix
        scipy's, square, float64; its pattern is taken as symmetric.
    """
    import numpy as np
    import scipy.sparse

    n = int(matrix.shape[0])
    if n == 1:
        return Elimination(np.zeros(1, dtype=np.int64), 1)
    pattern = scipy.sparse.csc_array(matrix + matrix.T)
    pattern.data[:] = 1e-3
    pattern.setdiag(1.0)
    order = np.argsort(_order(pattern, "MMD_AT_PLUS_A", symmetric=True))
    return Elimination(order, counted(scipy.sparse.csc_array(pattern[order][:, order])))


def general_fill(matrix: Any) -> int | None:
    """Return an upper bound of the entries of ``L`` and ``U`` together, whatever rows are exchanged.

    The pattern of the Cholesky factor of ``AᵀA`` holds those of both where the diagonal of ``A`` is not zero
    (George and Ng 1985); the order is COLAMD.

    Parameters
    ----------
    matrix
        scipy's, square, float64; its diagonal is taken as not zero, which can only add entries.

    Returns
    -------
    int or None
        ``None`` where ``AᵀA`` is too dense to be analysed.
    """
    import numpy as np
    import scipy.sparse

    n = int(matrix.shape[0])
    if n == 1:
        return 2
    rows = np.diff(scipy.sparse.csr_array(matrix).indptr).astype(np.float64)
    if float(rows @ rows) > _MOST:
        return None
    pattern = scipy.sparse.csr_array(matrix, copy=True)
    pattern.data[:] = 1e-3
    pattern = scipy.sparse.csr_array(pattern + scipy.sparse.eye_array(n))
    order = np.argsort(_order(scipy.sparse.csc_array(pattern), "COLAMD", symmetric=False))
    ordered = scipy.sparse.csc_array(pattern)[:, order]
    return 2 * counted(scipy.sparse.csc_array(ordered.T @ ordered))


def counted(pattern: Any) -> int:
    """Return the entries of the Cholesky factor of a symmetric pattern, eliminated in its own order."""
    import numpy as np
    import scipy.sparse

    n = int(pattern.shape[0])
    parent = _elimination_tree(pattern)
    level, first = _levels(parent)
    inner = parent >= 0
    if (first[inner] < first[parent[inner]]).any():  # no postorder: an equivalent order has as many entries
        order = _postorder(parent)
        place = np.empty(n, dtype=np.int64)
        place[order] = np.arange(n)
        parent = np.where(parent[order] < 0, -1, place[parent[order]])
        pattern = scipy.sparse.csc_array(pattern)[order][:, order]
        level, first = _levels(parent)
    lower = scipy.sparse.coo_array(scipy.sparse.tril(pattern, -1))
    rows, cols = lower.coords
    by_rows = np.lexsort((cols, rows))
    rows, cols = rows[by_rows].astype(np.int64), cols[by_rows].astype(np.int64)
    if not len(rows):
        return n
    begins = np.r_[True, rows[1:] != rows[:-1]]
    before = np.r_[-1, cols[:-1]]
    leaf = begins | (first[cols] > before)  # of the subtree of its row, whose size is the count of that row
    rows, cols = rows[leaf], cols[leaf]
    begins = np.r_[True, rows[1:] != rows[:-1]]
    total = n + int((level[cols[begins]] - level[rows[begins]]).sum())
    others = np.flatnonzero(~begins)
    if len(others):
        meeting = _range_minimum(level, cols[others - 1], cols[others]) - 1
        total += int((level[cols[others]] - meeting).sum())
    return total


def _order(pattern: Any, name: Order, *, symmetric: bool) -> Any:
    """Return the order of SuperLU. An incomplete factor that drops everything costs little more than that."""
    import scipy.sparse.linalg

    return scipy.sparse.linalg.spilu(
        pattern,
        drop_tol=1.0,
        fill_factor=1.0,
        permc_spec=name,
        diag_pivot_thresh=0.0 if symmetric else 1.0,
        options={"SymmetricMode": symmetric},
    ).perm_c


def _elimination_tree(pattern: Any) -> Any:
    """Return the parents, -1 for a root (Liu 1990); a minimum spanning forest determines the tree."""
    import numpy as np
    import scipy.sparse
    from scipy.sparse.csgraph import minimum_spanning_tree

    n = int(pattern.shape[0])
    lower = scipy.sparse.coo_array(scipy.sparse.tril(pattern, -1))
    weights: Any = (lower.coords[0].astype(np.float64) + 1, lower.coords)
    edges: Any = scipy.sparse.csr_array(weights, shape=(n, n))
    forest: Any = minimum_spanning_tree(edges).tocoo()
    late, early = np.maximum(forest.row, forest.col), np.minimum(forest.row, forest.col)
    order = np.argsort(late, kind="stable")
    parent, ancestor = [-1] * n, [-1] * n
    for k, start in zip(late[order].tolist(), early[order].tolist(), strict=True):
        i = start
        while i not in (-1, k):
            following, ancestor[i] = ancestor[i], k
            if following == -1:
                parent[i] = k
            i = following
    return np.array(parent, dtype=np.int64)


def _postorder(parent: Any) -> Any:
    import numpy as np

    n = len(parent)
    first_child, sibling = [-1] * n, [-1] * n
    parents = parent.tolist()
    for j in range(n - 1, -1, -1):
        if (above := parents[j]) >= 0:
            sibling[j], first_child[above] = first_child[above], j
    order: list[int] = []
    for root in (j for j in range(n) if parents[j] < 0):
        stack = [root]
        while stack:
            child = first_child[stack[-1]]
            if child < 0:
                order.append(stack.pop())
            else:
                first_child[stack[-1]] = sibling[child]
                stack.append(child)
    return np.array(order, dtype=np.int64)


def _levels(parent: Any) -> tuple[Any, Any]:
    """Return the distances from the roots, and the first descendants, of a tree in postorder."""
    import numpy as np

    n = len(parent)
    parents = parent.tolist()
    level, size = [0] * n, [1] * n
    for j in range(n):
        if parents[j] >= 0:
            size[parents[j]] += size[j]
    for j in range(n - 1, -1, -1):
        if parents[j] >= 0:
            level[j] = level[parents[j]] + 1
    return np.array(level, dtype=np.int64), np.arange(n) - np.array(size, dtype=np.int64) + 1


def _range_minimum(values: Any, low: Any, high: Any) -> Any:
    """Return the minima of ``values[low : high + 1]``: a table of runs, one power of two at a time."""
    import numpy as np

    lengths = high - low + 1
    power = np.floor(np.log2(lengths)).astype(np.int64)
    minima = np.empty(len(low), dtype=values.dtype)
    table = values.copy()
    for each in range(int(power.max()) + 1):
        here = power == each
        minima[here] = np.minimum(table[low[here]], table[high[here] + 1 - (1 << each)])
        run = 1 << each
        if len(table) <= run:
            break
        table = np.minimum(table[:-run], table[run:])
    return minima
