"""The pseudo-determinant of any symmetric matrix, as an outcome: a gap judges which eigenvalues are 0."""

from __future__ import annotations

import math

from rmtaudit.engine.logdet.answer import Outcome, Refusal
from rmtaudit.engine.logdet.factored import IN_MEMORY, with_rounding
from rmtaudit.engine.logdet.facts import Facts
from rmtaudit.engine.logdet.plan import Plan
from rmtaudit.engine.logdet.settings import Method


def by_eigenvalues(facts: Facts, plan: Plan) -> Outcome:
    """Return the outcome of all eigenvalues; refused where it is not clear which of them are 0."""
    from rmtaudit.engine.logdet.exact import pseudo_logdet
    from rmtaudit.engine.logdet.spectral import gram_pseudo_logdet

    of_gram = facts.gram is not None
    if facts.gram is not None:  # its eigenvalues are squares: of W itself, smaller ones can be told from 0
        found = gram_pseudo_logdet(facts.gram.factor, threads=plan.threads)
    else:
        found = pseudo_logdet(facts.source, memory=plan.budget, threads=plan.threads)
    evidence = {
        "rank": found.rank,
        "floor": found.floor,
        "smallest_kept": found.kept,
        "largest_dropped": found.dropped,
        "gap": found.gap if math.isfinite(found.gap) else None,
        "other_cuts": [
            {"cut": cut, "rank": rank, "logdet": value} for cut, rank, value in found.alternatives
        ],
    }
    work = {"planned_memory_bytes": found.planned_bytes}
    if not found.rank:
        reason = "no eigenvalue is above what rounding makes of 0"
        return Outcome(
            str(Method.EIGENVALUES), IN_MEMORY, reason=reason, evidence=evidence, work=work,
            refusal=Refusal.UNCLEAR_RANK,
        )  # fmt: skip
    if not found.clear:
        kept = "none" if found.kept is None else f"{found.kept:.3g}"
        reason = (
            f"which eigenvalues are 0 is not clear: the smallest that is kept ({kept}) is only "
            f"{found.gap:.2g} times what lies below or what rounding makes of 0 ({found.floor:.3g})"
        )
        return Outcome(
            str(Method.EIGENVALUES), IN_MEMORY, reason=reason, evidence=evidence, work=work,
            refusal=Refusal.UNCLEAR_RANK,
        )  # fmt: skip
    values = "singular value of W" if of_gram else "eigenvalue"
    basis = f"every {values} off by at most the floor of the solver (Weyl)"
    done = Outcome(str(Method.EIGENVALUES), IN_MEMORY, found.logdet, found.sign, evidence=evidence, work=work)
    return with_rounding(done, found.error, math.inf, basis)
