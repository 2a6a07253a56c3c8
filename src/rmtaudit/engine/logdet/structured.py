"""Exact log-determinants from structure: sparse factors, and QR of the factor of a Gram matrix."""

from __future__ import annotations

import math

from rmtaudit.engine.logdet import reasons
from rmtaudit.engine.logdet.answer import Outcome, Refusal
from rmtaudit.engine.logdet.margins import Rounding, with_rounding
from rmtaudit.engine.logdet.settings import Method, Place
from rmtaudit.engine.logdet.target import Facts
from rmtaudit.kernels.determinants.sparse import sparse_log_determinant
from rmtaudit.kernels.determinants.sparse_fill import Elimination
from rmtaudit.kernels.determinants.sparse_general import general_sparse_determinant
from rmtaudit.kernels.determinants.triangular import gram_log_determinant

_SPARSE = Outcome(method=Method.SPARSE, place=Place.IN_MEMORY)
_FILLED_UP = _SPARSE.refused(Refusal.OUT_OF_MEMORY, reasons.FILLED_UP)


def by_general_sparse_factor(facts: Facts) -> Outcome:
    """Return the outcome of sparse LU, or of the structure of the matrix where that suffices."""
    try:
        factor = general_sparse_determinant(facts.sparse, facts.structure, entries=facts.rounding or 0.0)
    except MemoryError:
        return _FILLED_UP
    from_factors = factor.structure == "factors"
    singular = factor.logdet is None
    outcome = Outcome(
        method=Method.SPARSE,
        place=Place.IN_MEMORY,
        logdet=factor.logdet,
        sign=factor.sign,
        evidence={
            "smallest_pivot": factor.smallest,
            "largest_pivot": factor.largest,
            "pivots_of": "the matrix with rows and columns scaled to maxima near 1" if from_factors else None,
            "structure": factor.structure,
            "rounding": None if singular else {"bound": factor.bound, "likely": factor.likely},
        },
        work={"factor_entries": factor.stored, "matrix_entries": int(facts.sparse.nnz)},
    )
    if singular:
        return outcome.refused(Refusal.SINGULAR, reasons.ZERO_PIVOT, factor.sign)
    basis = (
        "backward error by |L||U| times an estimate of the condition number (Higham 2002, theorem 9.3)"
        if from_factors
        else "the product of its entries, exact except for the logarithms"
    )
    return with_rounding(outcome, Rounding(bound=factor.bound, likely=factor.likely, basis=basis))


def by_sparse_factor(facts: Facts, elimination: Elimination | None = None) -> Outcome:
    """Return the outcome of a sparse factorisation without exchanges: of a positive definite matrix only.

    ``elimination`` is the order that was analysed, where one was.
    """
    try:
        factor = sparse_log_determinant(facts.sparse, entries=facts.rounding or 0.0, elimination=elimination)
    except MemoryError:
        return _FILLED_UP
    outcome = Outcome(
        method=Method.SPARSE,
        place=Place.IN_MEMORY,
        logdet=factor.logdet,
        sign=1,
        carries_entries=True,
        evidence={
            "smallest_pivot": factor.smallest,
            "largest_pivot": factor.largest,
            "pivots_of": "the matrix scaled to a diagonal of ones",
            "not_positive": factor.negative,
            "rounding": {"bound": factor.bound, "likely": factor.likely},
        },
        work={"factor_entries": factor.stored, "matrix_entries": int(facts.sparse.nnz)},
    )
    if factor.logdet is None:
        reason = reasons.negative_pivots(factor.negative, factor.smallest)
        return outcome.refused(Refusal.NOT_DEFINITE, reason)
    return with_rounding(outcome, Rounding(bound=factor.bound, likely=factor.likely, basis=factor.basis))


def by_qr(facts: Facts) -> Outcome:
    """Return the outcome of a QR factorisation of the factor of a Gram matrix."""
    assert facts.gram is not None
    W = facts.gram.factor.dense()
    factor = gram_log_determinant(W if W.shape[0] >= W.shape[1] else W.T.contiguous())
    outcome = Outcome(
        method=Method.QR,
        place=Place.IN_MEMORY,
        logdet=factor.logdet,
        sign=1,
        carries_entries=True,
        evidence={
            "smallest_diagonal": factor.smallest,
            "largest_diagonal": factor.largest,
            "diagonal_of": "R, in units of the length of the column of W",
            "rounding": {"bound": factor.bound, "likely": factor.likely},
        },
        work={"matrix_entries": W.numel()},
    )
    if not math.isfinite(factor.logdet):
        zero = factor.zero_columns
        return outcome.refused(Refusal.SINGULAR, reasons.dependent_columns(zero), 0 if zero else None)
    basis = "columnwise backward error of QR (Higham 2002, theorem 19.4)"
    return with_rounding(outcome, Rounding(bound=factor.bound, likely=factor.likely, basis=basis))
