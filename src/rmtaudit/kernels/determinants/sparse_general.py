"""Exact determinant of any sparse square matrix: from its structure alone, or from SuperLU's factors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from rmtaudit.kernels.determinants.sparse_fill import Order, narrow_band

UNIT = 2.0**-53
"""Unit round-off of float64."""
_ITERATIONS = 5
"""Of the estimate of a norm: Higham 1988 needs two in almost all cases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralDeterminant:
    """A determinant from a sparse matrix; by default, that of factors with a pivot of 0.

    Attributes
    ----------
    sign
        1 or -1; 0 where the structure makes the determinant 0; ``None`` where a pivot came out as 0.
    logdet
        Of its absolute value, in nats; ``None`` without a sign.
    bound, likely
        How far rounding can have moved it, and the size to expect; infinite where a singular matrix is in
        reach.
    smallest, largest
        Extremes of the absolute pivots, of the matrix with rows and columns scaled to maxima near 1.
    stored
        Entries of both factors.
    structure
        What settled it: ``"triangular"`` (in some order of rows and columns), ``"empty"`` (a column without
        an entry is left, see :class:`Structure`), ``"factors"``.
    """

    sign: int | None = None
    logdet: float | None = None
    bound: float = math.inf
    likely: float = math.inf
    smallest: float = 0.0
    largest: float = 1.0
    stored: int = 0
    structure: Literal["triangular", "empty", "factors"] = "factors"


@dataclass(frozen=True, slots=True)
class Structure:
    """What the pattern alone tells of a square matrix.

    Attributes
    ----------
    term
        A column for each row, where rows and columns can be ordered so that the matrix is triangular: the
        determinant is the one product of these entries, with the sign of the permutation. Else ``None``.
    empty
        Columns that are left without an entry when the columns with a single entry are taken out with its
        row, again and again: where there is one, the determinant is 0.
    """

    term: Any
    empty: int

    @property
    def triangular(self) -> bool:
        """Whether the matrix is triangular in some order of rows and columns."""
        return self.term is not None


def structure_of(matrix: Any) -> Structure:
    """Return what the pattern of a square sparse matrix tells, in time linear in its entries.

    Parameters
    ----------
    matrix
        scipy's, in compressed rows, float64; stored zeros count as zeros.
    """
    import numpy as np
    import scipy.sparse

    n = int(matrix.shape[0])
    pattern = scipy.sparse.csr_array(matrix, copy=True)
    pattern.eliminate_zeros()
    rows = np.repeat(np.arange(n), np.diff(pattern.indptr))
    cols = pattern.indices.astype(np.int64)
    if (pattern.diagonal() != 0).all() and ((cols <= rows).all() or (cols >= rows).all()):
        return Structure(np.arange(n), 0)
    counts = np.bincount(cols, minlength=n)
    if not (counts == 1).any():
        return Structure(None, int((counts == 0).sum()))
    last = np.zeros(n, dtype=np.int64)  # the exclusive or of the rows of a column: of a single row, the row
    np.bitwise_xor.at(last, cols, rows)
    return _peeled(pattern, counts.tolist(), last.tolist())


def _peeled(pattern: Any, counts: list[int], last: list[int]) -> Structure:
    import numpy as np

    n = len(counts)
    starts, columns = pattern.indptr.tolist(), pattern.indices.tolist()
    term = [-1] * n
    waiting = [column for column in range(n) if counts[column] == 1]
    while waiting:
        column = waiting.pop()
        if counts[column] != 1:  # its row has gone with another column meanwhile
            continue
        row = last[column]
        term[row] = column
        for other in columns[starts[row] : starts[row + 1]]:
            counts[other] -= 1
            last[other] ^= row
            if counts[other] == 1:
                waiting.append(other)
    chosen = np.array(term, dtype=np.int64)
    if (chosen >= 0).all():
        return Structure(chosen, 0)
    taken = np.zeros(n, dtype=bool)
    taken[chosen[chosen >= 0]] = True
    return Structure(None, int(((np.array(counts) == 0) & ~taken).sum()))


def general_sparse_determinant(
    matrix: Any, structure: Structure | None = None, *, entries: float = 0.0
) -> GeneralDeterminant:
    r"""Return ``det A`` of a sparse square matrix, with its sign.

    Equivalent to ``numpy.linalg.slogdet(A.toarray())``.

    Parameters
    ----------
    matrix
        scipy's, in compressed rows, float64, finite.
    structure
        Of :func:`structure_of`, where it is known.
    entries
        How far entries may be off, each in units of ``u |a_ij|``.

    Raises
    ------
    MemoryError
        If the factors do not fit.

    Notes
    -----
    A matrix that can be ordered to a triangle has the product of one term, exactly. Else SuperLU factors
    ``D₁ A D₂``, scaled by powers of two, in the order COLAMD with partial pivoting: the factors are those
    of ``A + E`` with ``|E| <= γ_k |L||U|``, ``k`` the most entries in a row of ``L`` (Higham 2002, theorem
    9.3). With ``d = ‖E‖₁ ‖A⁻¹‖₁ < 1`` the sign is certain and the logarithm moves by at most ``-n log (1 -
    d)``. ``‖A⁻¹‖₁`` is estimated (Higham 1988), seldom too small by more than 3.
    """
    import numpy as np
    import scipy.sparse
    import scipy.sparse.linalg

    n = int(matrix.shape[0])
    known = structure_of(matrix) if structure is None else structure
    if known.empty:
        return GeneralDeterminant(
            sign=0, bound=0.0, likely=0.0, smallest=0.0, largest=0.0, stored=0, structure="empty"
        )
    if known.triangular:
        values = np.asarray(matrix[np.arange(n), known.term]).ravel()
        logs = np.log(np.abs(values))
        sign = parity(known.term) * (-1 if int((values < 0).sum()) % 2 else 1)
        slack = _of_logarithms(logs) + n * entries * UNIT
        low, high = float(np.abs(values).min()), float(np.abs(values).max())
        return GeneralDeterminant(
            sign=sign,
            logdet=math.fsum(logs.tolist()),
            bound=slack,
            likely=slack,
            smallest=low,
            largest=high,
            stored=n,
            structure="triangular",
        )
    scaled, exponents = _scaled(matrix)
    try:
        order: Order = "COLAMD" if narrow_band(matrix) is None else "NATURAL"
        factors = scipy.sparse.linalg.splu(scaled, permc_spec=order)
    except RuntimeError:
        return GeneralDeterminant()  # "Factor is exactly singular"
    pivots = factors.U.diagonal()
    stored = int(factors.L.nnz + factors.U.nnz)
    if not pivots.all():
        return GeneralDeterminant(stored=stored)
    sizes = np.abs(pivots)
    sign = parity(factors.perm_r) * parity(factors.perm_c) * (-1 if int((pivots < 0).sum()) % 2 else 1)
    logs = np.log(sizes)
    terms = [*logs.tolist(), exponents * math.log(2)]
    L, U = abs(factors.L), abs(factors.U)
    longest = 2 + math.ceil(entries) + int(np.diff(scipy.sparse.csr_array(factors.L).indptr).max())
    product = float((np.asarray(L.sum(axis=0)).ravel() @ U).max())
    inverse = _inverse_norm(factors, n)
    gamma = longest * UNIT / (1 - longest * UNIT)
    distance = gamma * product * inverse
    slack = _of_logarithms(logs) + UNIT * abs(exponents)
    bound = -n * math.log1p(-distance) + slack if distance < 1 else math.inf
    return GeneralDeterminant(
        sign=sign,
        logdet=math.fsum(terms),
        bound=bound,
        likely=math.sqrt(longest) * UNIT * product * inverse + slack,
        smallest=float(sizes.min()),
        largest=float(sizes.max()),
        stored=stored,
    )


def parity(permutation: Any) -> int:
    """Return the sign of a permutation of ``0 … n - 1``: that of ``n`` minus its cycles."""
    import numpy as np
    import scipy.sparse
    from scipy.sparse.csgraph import connected_components

    n = len(permutation)
    graph = scipy.sparse.csr_array((np.ones(n), (np.arange(n), permutation)), shape=(n, n))
    cycles, _ = connected_components(graph, directed=False)
    return -1 if (n - cycles) % 2 else 1


def _scaled(matrix: Any) -> tuple[Any, int]:
    """Return the matrix scaled to maxima near 1 by powers of two, rows first, and the sum of these.

    Both are applied at once: rows alone could make entries subnormal that columns then enlarge again.
    """
    import numpy as np
    import scipy.sparse

    entries: Any = scipy.sparse.csr_array(matrix, copy=True)
    entries.eliminate_zeros()
    entries = entries.tocoo()
    exponents, total = np.frexp(entries.data)[1].astype(np.int64), 0
    lowest = np.iinfo(np.int64).min
    moved = np.zeros(len(exponents), dtype=np.int64)
    for axis in (0, 1):
        places = entries.coords[axis]
        powers = np.full(matrix.shape[axis], lowest)
        np.maximum.at(powers, places, exponents - moved)
        powers[powers == lowest] = 0
        moved += powers[places]
        total += int(powers.sum())
    return scipy.sparse.csc_array((np.ldexp(entries.data, -moved), entries.coords), shape=matrix.shape), total


def _inverse_norm(factors: Any, n: int) -> float:
    """Return an estimate of ``‖A⁻¹‖₁`` from below (Higham 1988, algorithm 4.1)."""
    import numpy as np

    x = np.full(n, 1.0 / n)
    best = 0.0
    for _ in range(_ITERATIONS):
        y = factors.solve(x)
        best = max(best, float(np.abs(y).sum()))
        z = factors.solve(np.where(y < 0, -1.0, 1.0), trans="T")
        place = int(np.abs(z).argmax())
        if not math.isfinite(best) or abs(float(z[place])) <= float(z @ x):
            break
        x = np.zeros(n)
        x[place] = 1.0
    signs = np.where(np.arange(n) % 2, -1.0, 1.0) * (1 + np.arange(n) / max(1, n - 1))
    other = 2 * float(np.abs(factors.solve(signs)).sum()) / (3 * n)
    best = max(best, other)
    return best if math.isfinite(best) else math.inf


def _of_logarithms(logs: Any) -> float:
    import numpy as np

    return 2 * UNIT * float(np.abs(logs).sum())
