"""Exact methods, as outcomes: Cholesky in memory and on disk, LDLᵀ, LU, sparse factors, QR, eigenvalues."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmtaudit.engine.logdet.answer import Caution, Margin, Outcome, Refusal
from rmtaudit.engine.logdet.facts import Facts
from rmtaudit.engine.logdet.settings import Method
from rmtaudit.errors import StoppedWorkError
from rmtaudit.matrices.sources import MatrixSource, Shifted

if TYPE_CHECKING:
    from rmtaudit.engine.logdet.plan import Candidate, Plan
    from rmtaudit.engine.logdet.result import ExactLogdet, ShiftCorrection
    from rmtaudit.kernels.determinants.sparse_fill import Elimination

IN_MEMORY, ON_DISK = "in memory", "on disk"
_NAMES = {"cholesky": Method.CHOLESKY, "ldl": Method.LDLT, "lu": Method.LU}
NOT_DEFINITE = "not positive definite"
_SAFETY, _MOST_NATS = 10, 1.0
_ADDITIONS = 128
"""No tile is smaller, and no bound of Cholesky counts fewer roundings in an entry."""
AS_COMPUTED = "The margin is about the entries as they were computed; how far those are off is not in it."
NO_BOUND = "no bound of the rounding holds: a singular matrix is within reach of it"


@dataclass(frozen=True, slots=True)
class Means:
    """What a computation may use, and how it is watched.

    Attributes
    ----------
    scratch
        Folder for a factor on disk.
    resume
        Whether to go on with what lies there.
    stop
        Asked now and then; ``True`` ends the work.
    progress
        Told finished tiles and all tiles.
    asymmetry
        What may stand of a presumed symmetry, in units of ``√(a_ii a_jj)``; it widens the margin.
    """

    scratch: Path
    resume: bool = False
    stop: Callable[[], bool] = lambda: False
    progress: Callable[[int, int], None] = lambda _done, _total: None
    asymmetry: float = 0.0


def by_factor(facts: Facts, plan: Plan, taken: Candidate, means: Means, *, unshift: bool = False) -> Outcome:
    """Return the outcome of Cholesky, LDLᵀ or LU; of an unforced Cholesky that fails, of LDLᵀ where it fits.

    With ``unshift``, Cholesky of ``A + t I`` also says what that tells about ``A``.
    """
    from rmtaudit.engine.logdet import result

    inner = {Method.CHOLESKY: "cholesky", Method.LDLT: "ldl", Method.LU: "lu"}[taken.method]
    automatic = taken.method is Method.CHOLESKY and not plan.forced
    source: MatrixSource = facts.source
    shift = 0.0
    if unshift and isinstance(facts.source, Shifted) and taken.method is Method.CHOLESKY:
        source, shift, automatic = facts.source.base, facts.source.shift, False
    found = exact(source, plan, means, method=result.Method("auto" if automatic else inner), shift=shift)
    outcome = outcome_of(found, facts.rounding)
    if facts.semidefinite and outcome.refusal is Refusal.NOT_DEFINITE:
        reason = (
            f"{outcome.reason}; positive semidefinite by construction, it is singular to working precision"
        )
        return replace(outcome, reason=reason, refusal=Refusal.SINGULAR)
    return outcome


def exact(source: MatrixSource, plan: Plan, means: Means, **given: Any) -> ExactLogdet:
    """Call the exact methods with what the plan allows. Raises ``StoppedWorkError`` if it was stopped."""
    from rmtaudit.engine.logdet.exact import exact_logdet
    from rmtaudit.engine.logdet.result import Status

    found = exact_logdet(
        source,
        memory=given.pop("memory", plan.budget),
        scratch=means.scratch,
        resume=means.resume,
        threads=plan.threads,
        stop=means.stop,
        progress=means.progress,
        asymmetry=means.asymmetry,
        **given,
    )
    if found.status is Status.STOPPED:
        raise StoppedWorkError(found.reason, kept=not found.in_core)
    return found


def outcome_of(found: ExactLogdet, entries: float | None = 0.0) -> Outcome:
    """Return the outcome of an exact method.

    Parameters
    ----------
    found
        What it found.
    entries
        Rounding of the entries, as of :class:`~rmtaudit.engine.logdet.facts.Facts`. That of Cholesky has the
        same form (Demmel 1989), so that the bound grows by a factor; with other methods it is only said.
    """
    from rmtaudit.engine.logdet.result import Status
    from rmtaudit.engine.logdet.rounding import widened

    logdet, sign = found.logdet, found.sign
    if found.shift is not None:
        logdet, sign = found.shift.shifted, 1
    rounding = found.rounding
    evidence: dict[str, Any] = {
        "smallest_pivot": found.smallest_pivot,
        "largest_pivot": found.largest_pivot,
        "negative_eigenvalues": found.negative if found.shift is None else 0,
        "failed_minor": found.failed_minor,
        "failed_pivot": found.failed_pivot,
        "asymmetry": found.asymmetry,
        "rounding": None
        if rounding is None
        else {"bound": rounding.bound, "likely": rounding.likely, "pivots_at_floor": rounding.at_floor},
        "without_shift": None if found.shift is None else _without(found.shift),
    }
    work = {
        "tiles": found.tiles,
        "scratch_bytes_read": found.bytes_read,
        "scratch_bytes_written": found.bytes_written,
        "planned_memory_bytes": found.planned_bytes,
        "tiles_resumed": found.resumed,
        "tiles_damaged": found.damaged,
    }
    method, place = str(_NAMES[str(found.method)]), IN_MEMORY if found.in_core else ON_DISK
    if found.status is Status.SINGULAR or logdet is None or sign is None:
        singular = found.status is Status.SINGULAR
        reason = "a pivot came out as 0: singular to working precision" if singular else found.reason
        return Outcome(
            method, place, reason=reason, evidence={**evidence, "rounding": None},
            work=work, minors=found.minors, refusal=Refusal.SINGULAR if singular else Refusal.NOT_DEFINITE,
        )  # fmt: skip
    cautions = []
    if rounding is not None and rounding.warning:
        cautions.append(Caution("RA-LD-101", rounding.warning))
    if found.failed_minor is not None:
        cautions.append(Caution("RA-LD-103", f"{found.reason}."))
    bound, likely, basis = math.inf, math.inf, ""
    if rounding is not None:
        bound, likely, basis = rounding.bound, rounding.likely, rounding.basis
    if method == Method.CHOLESKY and entries and rounding is not None:
        wider = widened(rounding, 1 + entries / min(found.n + 1, _ADDITIONS))
        bound, likely = wider.bound, wider.likely
    elif entries is None or entries > _ADDITIONS:
        cautions.append(Caution("RA-LD-102", AS_COMPUTED))
    done = Outcome(
        method,
        place,
        logdet,
        sign,
        evidence=evidence,
        cautions=tuple(cautions),
        work=work,
        minors=found.minors,
    )
    return with_rounding(done, bound, likely, basis)


def by_general_sparse_factor(facts: Facts) -> Outcome:
    """Return the outcome of sparse LU, or of the structure of the matrix where that suffices."""
    from rmtaudit.kernels.determinants.sparse_general import general_sparse_determinant

    try:
        found = general_sparse_determinant(facts.sparse, facts.structure, entries=facts.rounding or 0.0)
    except MemoryError:
        return Outcome(str(Method.SPARSE), IN_MEMORY, reason="the factors fill up beyond the memory there is")
    evidence = {
        "smallest_pivot": found.smallest,
        "largest_pivot": found.largest,
        "pivots_of": "the matrix with rows and columns scaled to maxima near 1"
        if found.structure == "factors"
        else None,
        "structure": found.structure,
        "rounding": {"bound": found.bound, "likely": found.likely},
    }
    work = {"factor_entries": found.stored, "matrix_entries": int(facts.sparse.nnz)}
    if found.logdet is None or found.sign is None:
        return Outcome(
            str(Method.SPARSE), IN_MEMORY, sign=found.sign, work=work,
            evidence={**evidence, "rounding": None},
            reason="a pivot came out as 0: singular to working precision", refusal=Refusal.SINGULAR,
        )  # fmt: skip
    done = Outcome(str(Method.SPARSE), IN_MEMORY, found.logdet, found.sign, evidence=evidence, work=work)
    if facts.rounding is None or facts.rounding > _ADDITIONS:
        done = replace(done, cautions=(Caution("RA-LD-102", AS_COMPUTED),))
    basis = (
        "the product of its entries, exact but for the logarithms"
        if found.structure == "triangular"
        else "backward error by |L||U| times an estimate of the condition number (Higham 2002, theorem 9.3)"
    )
    return with_rounding(done, found.bound, found.likely, basis)


def by_sparse_factor(facts: Facts, elimination: Elimination | None = None) -> Outcome:
    """Return the outcome of a sparse factorisation without exchanges: of a positive definite matrix only.

    ``elimination`` is the order that was analysed, where one was.
    """
    from rmtaudit.kernels.determinants.sparse import sparse_log_determinant

    try:
        rounding = facts.rounding or 0.0
        found = sparse_log_determinant(facts.sparse, entries=rounding, elimination=elimination)
    except MemoryError:
        return Outcome(str(Method.SPARSE), IN_MEMORY, reason="the factors fill up beyond the memory there is")
    evidence = {
        "smallest_pivot": found.smallest,
        "largest_pivot": found.largest,
        "pivots_of": "the matrix scaled to a diagonal of ones",
        "not_positive": found.negative,
        "rounding": {"bound": found.bound, "likely": found.likely},
    }
    work = {"factor_entries": found.stored, "matrix_entries": int(facts.sparse.nnz)}
    if found.logdet is None:
        what = f"{found.negative:,} of its pivots are not positive, the least is {found.smallest:.3g}"
        reason = f"{NOT_DEFINITE}: {what}"
        return Outcome(
            str(Method.SPARSE), IN_MEMORY, reason=reason, evidence=evidence, work=work,
            refusal=Refusal.NOT_DEFINITE,
        )  # fmt: skip
    done = Outcome(str(Method.SPARSE), IN_MEMORY, found.logdet, 1, evidence=evidence, work=work)
    return with_rounding(done, found.bound, found.likely, found.basis)


def by_qr(facts: Facts) -> Outcome:
    """Return the outcome of a QR factorisation of the factor of a Gram matrix."""
    from rmtaudit.kernels.determinants.triangular import gram_log_determinant

    assert facts.gram is not None
    W = facts.gram.factor.dense()
    found = gram_log_determinant(W if W.shape[0] >= W.shape[1] else W.T.contiguous())
    evidence = {
        "smallest_diagonal": found.smallest,
        "largest_diagonal": found.largest,
        "diagonal_of": "R, in units of the length of the column of W",
        "rounding": {"bound": found.bound, "likely": found.likely},
    }
    work = {"matrix_entries": W.numel()}
    if not math.isfinite(found.logdet):
        zero = found.zero_columns
        what = "column or row of W is" if zero == 1 else "columns or rows of W are"
        reason = f"{zero:,} {what} zero" if zero else "singular to working precision"
        return Outcome(
            str(Method.QR), IN_MEMORY, sign=0 if zero else None, reason=reason, evidence=evidence, work=work,
            refusal=Refusal.SINGULAR,
        )  # fmt: skip
    basis = "columnwise backward error of QR (Higham 2002, theorem 19.4)"
    done = Outcome(str(Method.QR), IN_MEMORY, found.logdet, 1, evidence=evidence, work=work)
    return with_rounding(done, found.bound, found.likely, basis)


def with_rounding(done: Outcome, bound: float, likely: float, basis: str) -> Outcome:
    """Return an outcome with the margin of rounding, or refused where rounding leaves nothing of it.

    The margin is the bound where one holds; else ten times the size that is to be expected, if that is below
    a nat. Beyond it the analysis of the first order is void, and the value one of many that the stored matrix
    may have.
    """
    logdet = done.logdet
    assert logdet is not None
    if math.isfinite(bound):
        return replace(done, margin=Margin("rounding bound", logdet - bound, logdet + bound, None, basis))
    half = _SAFETY * likely
    cautions = done.cautions
    if not any(each.code == "RA-LD-101" for each in cautions):
        cautions += (Caution("RA-LD-101", f"{NO_BOUND[0].upper()}{NO_BOUND[1:]}."),)
    if half < _MOST_NATS:
        words = f"{_SAFETY} times the size to expect of independent errors; {NO_BOUND}"
        margin = Margin("rounding estimate", logdet - half, logdet + half, None, words)
        return replace(done, margin=margin, cautions=cautions)
    reason = "singular to working precision: rounding alone can have made the smallest pivots"
    # the signs of pivots at the level of rounding count nothing
    evidence = {**done.evidence, "negative_eigenvalues": None}
    return replace(
        done, logdet=None, sign=None, reason=reason, cautions=cautions, evidence=evidence,
        refusal=Refusal.SINGULAR,
    )  # fmt: skip


def _without(shift: ShiftCorrection) -> dict[str, Any]:
    """Return what the shifted matrix tells about the one without the shift."""
    known = math.isfinite(shift.remainder)
    return {
        "shift": shift.shift,
        "logdet": shift.shifted + shift.correction if known else None,
        "correction": shift.correction,
        "standard_error": shift.standard_error,
        "at_most_lower_by": shift.remainder if known else None,
        "reason": "" if known else "the shift is not small beside the smallest eigenvalue of the matrix",
    }
