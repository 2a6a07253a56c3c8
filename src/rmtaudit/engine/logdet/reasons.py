"""Why there is no number, in words: the sentences of refusals, made of the numbers that they rest on.

Nothing branches on them: the value is :class:`~rmtaudit.engine.logdet.answer.Refusal`.
"""

from __future__ import annotations

import math

ZERO_PIVOT = "a pivot came out as 0: singular to working precision"
WITHIN_ROUNDING = "singular to working precision: rounding alone can have made the smallest pivots"
FILLED_UP = "the fill-in of the factors exceeds the available memory"
NO_EIGENVALUE = "no eigenvalue exceeds the rounding error of 0"


def negative_minor(order: int, pivot: float) -> str:
    """Return why Cholesky failed."""
    return f"not positive definite: the pivot of leading minor {order:,} is {pivot:.6g}"


def negative_pivots(count: int, smallest: float) -> str:
    """Return why sparse factors without exchanges failed."""
    return f"not positive definite: {count:,} of its pivots are not positive, the smallest is {smallest:.3g}"


def semidefinite(failure: str) -> str:
    """Return why a semidefinite matrix that is not definite is not given a sign."""
    return (
        f"{failure}, and the matrix is positive semidefinite by construction: it is singular to "
        "working precision; its pseudo-determinant, or a shift, is meaningful"
    )


def beyond_memory(failure: str, needed: int) -> str:
    """Return why nothing follows Cholesky."""
    return (
        f"{failure}; LDLᵀ of an indefinite matrix is computed in memory, which takes {needed:,} "
        "bytes; by tiles, the row to exchange with a pivot may lie outside the tile"
    )


def dependent_columns(zero: int) -> str:
    """Return why a Gram matrix is singular, ``zero`` columns (rows) of its factor being zero."""
    columns = "column or row of W is" if zero == 1 else "columns or rows of W are"
    return f"{zero:,} {columns} zero" if zero else "singular to working precision"


def unclear_rank(kept: float | None, gap: float, floor: float) -> str:
    """Return why it is not clear which eigenvalues are 0."""
    smallest = "none" if kept is None else f"{kept:.3g}"
    return (
        f"which eigenvalues are 0 is not clear: the smallest that is kept ({smallest}) is only "
        f"{gap:.2g} times the next smaller one, or the rounding error of 0 ({floor:.3g})"
    )


def one_sided(cause: str, low: float, high: float) -> str:
    """Return why an interval with one end is not an answer."""
    side = f", by at most {high:.6g} nats" if math.isfinite(high) else ""
    side = side or (f", by at least {low:.6g} nats" if math.isfinite(low) else "")
    return f"{cause}: the log-determinant is bounded on one side only{side}"
