"""Methods with probes, as outcomes: Lanczos quadrature, and a float32 factor that probes correct."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rmtaudit.engine.logdet.answer import Caution, Margin, Outcome, Refusal
from rmtaudit.engine.logdet.facts import Facts, operator_of
from rmtaudit.engine.logdet.settings import LogdetSettings, Method

if TYPE_CHECKING:
    from rmtaudit.engine.logdet.plan import Candidate, Plan
    from rmtaudit.kernels.slq import TraceEstimate

BY_PRODUCTS = "by products"
_EDGES = {"converged": "the smallest Ritz values of all probes, converged", "none": ""}
_MOST_PROBES = 512
_MONTE_CARLO = 0.9
"""Share of a tolerance that the probes may take; the brackets of the quadrature have the rest."""
_COVERS = "Student's interval over the probes, around brackets of each probe by Gauss and Gauss-Radau rules"


def by_quadrature(facts: Facts, settings: LogdetSettings, plan: Plan, taken: Candidate) -> Outcome:
    """Return the outcome of stochastic Lanczos quadrature.

    It is refused where a side of the interval is missing: without a lower bound of the spectrum, and with the
    smallest Ritz values not converged, nothing bounds the log-determinant from below.
    """
    from rmtaudit.kernels.slq import Effort, Sampler, log_determinant

    most = settings.probes
    if settings.tolerance is not None and taken.memory:
        most = max(most, min(_MOST_PROBES, plan.budget * settings.probes // taken.memory))
    effort = Effort(
        probes=settings.probes,
        steps=max(1, taken.steps),
        level=settings.confidence,
        tolerance=None if settings.tolerance is None else _MONTE_CARLO * settings.tolerance * facts.order,
        most=most,
    )
    try:
        found = log_determinant(operator_of(facts), Sampler(settings.seed), effort)
    except ArithmeticError as error:
        return Outcome(str(Method.SLQ), BY_PRODUCTS, reason=str(error), refusal=Refusal.NOT_DEFINITE)
    evidence = {
        "bracket": list(found.bracket),
        "standard_error": found.standard_error,
        "probes": found.probes,
        "steps": found.steps,
        "lower_bound": found.edge,
        "lower_bound_from": facts.smallest_from
        if found.edge_source == "given"
        else _EDGES[found.edge_source],
        "rounding": found.rounding,
    }
    work = {"products": found.products}
    low, high = found.interval
    if not (math.isfinite(low) and math.isfinite(high)):
        return Outcome(
            str(Method.SLQ),
            BY_PRODUCTS,
            reason=f"{found.reason}: the log-determinant is bounded on one side only, by {_side(found)} nats",
            evidence=evidence,
            work=work,
            refusal=Refusal.ONE_SIDED,
        )
    return Outcome(
        str(Method.SLQ),
        BY_PRODUCTS,
        found.value,
        1,
        Margin("confidence interval", low, high, found.level, _COVERS),
        evidence=evidence,
        cautions=tuple(_doubts(facts, found)),
        work=work,
    )


def by_mixed(facts: Facts, settings: LogdetSettings, plan: Plan) -> Outcome:
    """Return the outcome of a Cholesky factor in float32 with a correction by probes."""
    from rmtaudit.engine.logdet.exact import mixed_logdet

    try:
        found = mixed_logdet(
            facts.source,
            memory=plan.budget,
            threads=plan.threads,
            probes=settings.probes,
            steps=settings.steps,
            level=settings.confidence,
            seed=settings.seed,
        )
    except ArithmeticError as error:
        return Outcome(str(Method.MIXED), "in memory", reason=str(error), refusal=Refusal.NOT_DEFINITE)
    low, high = found.interval
    evidence = {
        "factor_logdet": found.factor_logdet,
        "correction": found.logdet - found.factor_logdet,
        "standard_error": found.standard_error,
        "shift_of_the_factor": found.shift,
        "probes": found.probes,
        "steps": found.steps,
    }
    work = {"planned_memory_bytes": found.planned_bytes}
    if not (math.isfinite(low) and math.isfinite(high)):
        reason = f"{found.reason}: the log-determinant is bounded on one side only"
        return Outcome(
            str(Method.MIXED), "in memory", reason=reason, evidence=evidence, work=work,
            refusal=Refusal.ONE_SIDED,
        )  # fmt: skip
    basis = f"{_COVERS}, whose lower end rests on Ritz values that have converged"
    return Outcome(
        str(Method.MIXED),
        "in memory",
        found.logdet,
        1,
        Margin("confidence interval", low, high, found.level, basis),
        evidence=evidence,
        cautions=tuple(_unproven(facts, found.probes)),
        work=work,
    )


def _side(found: TraceEstimate) -> str:
    low, high = found.interval
    return f"at most {high:.6g}" if math.isfinite(high) else f"at least {low:.6g}"


def _doubts(facts: Facts, found: TraceEstimate) -> list[Caution]:
    doubts = _unproven(facts, found.probes)
    if found.edge_source == "converged":
        doubts.append(
            Caution(
                "RA-LD-106",
                f"The lower bound of the spectrum, {found.edge:.3g}, is where the smallest Ritz values of "
                "all probes have converged, not proven: --smallest gives one that you know.",
            )
        )
    return doubts


def _unproven(facts: Facts, probes: int) -> list[Caution]:
    if facts.semidefinite or facts.smallest is not None:
        return []
    return [
        Caution(
            "RA-LD-105",
            f"That the matrix is positive definite was not proven: none of {probes} probes met an eigenvalue "
            "that is not positive.",
        )
    ]
