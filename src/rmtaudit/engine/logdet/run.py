"""From a matrix and what is asked for to an answer: plan, carry out, and say what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmtaudit.engine.logdet.advice import advice_for
from rmtaudit.engine.logdet.answer import Caution, LogDeterminant, Margin, Outcome, Refusal
from rmtaudit.engine.logdet.estimated import by_mixed, by_quadrature
from rmtaudit.engine.logdet.exact import dense_bytes
from rmtaudit.engine.logdet.extrapolated import by_extrapolation, by_series
from rmtaudit.engine.logdet.factored import (
    Means,
    by_factor,
    by_general_sparse_factor,
    by_qr,
    by_sparse_factor,
)
from rmtaudit.engine.logdet.facts import Facts, kind_of, stored_bytes
from rmtaudit.engine.logdet.plan import Candidate, Plan, kept_bytes, make_plan
from rmtaudit.engine.logdet.settings import LogdetSettings, Method
from rmtaudit.engine.logdet.target import LOG_DETERMINANT, Target, target_of
from rmtaudit.engine.resources.memory import free_memory
from rmtaudit.errors import UsageError
from rmtaudit.matrices.sources import (
    AsymmetricError,
    Ground,
    Laplacian,
    Leading,
    MatrixSource,
    Shifted,
    Updated,
    settle_symmetry,
)
from rmtaudit.matrices.sources.symmetry import Symmetry

if TYPE_CHECKING:
    from rmtaudit.engine.logdet.series import SizeTable

_SHARE = 2
"""The default budget is this part of the free memory."""
_ROUNDING = 1e-15
"""Of what is added to a log-determinant."""
_DENSE = 1e9
"""Operations up to which dense LDLᵀ, which counts negative eigenvalues, is taken for a sparse matrix."""
_ASYMMETRY = 2.0**-20
"""Sixteen roundings of float32: an asymmetry above it is no matter of rounding."""


def log_determinant(
    source: MatrixSource,
    settings: LogdetSettings,
    *,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    announce: Callable[[Plan, Path], None] = lambda _plan, _scratch: None,
) -> LogDeterminant:
    """Return the log-determinant of a source, or why there is none.

    Parameters
    ----------
    source
        A square matrix; it stays open.
    settings
        What is asked for.
    stop, progress
        As of :class:`~rmtaudit.engine.logdet.factored.Means`.
    announce
        Told the plan and the scratch folder before the work begins.

    Raises
    ------
    UsageError
        RA-MS-004: not square. RA-LD-…: settings that make no sense for this matrix.
    InputError, OutputError
        As the source and the scratch folder raise them.
    StoppedWorkError
        If ``stop`` said so.
    """
    started, cpu = time.perf_counter(), time.process_time()
    target, plan, scratch = prepare(source, settings)
    try:
        outcome = _attempt(target, settings, plan, Means(scratch, settings.resume, stop, progress), announce)
    except AsymmetricError as error:  # what the plan presumed is not so: another plan
        _tell(source, Symmetry(False, Ground.COMPARED, error.words))
        target, plan, scratch = prepare(source, settings)
        outcome = _attempt(target, settings, plan, Means(scratch, settings.resume, stop, progress), announce)
    seconds = {
        "wall_seconds": round(time.perf_counter() - started, 3),
        "cpu_seconds": round(time.process_time() - cpu, 3),
    }
    return _answer(target, settings, plan, outcome, seconds)


def _attempt(
    target: Target,
    settings: LogdetSettings,
    plan: Plan,
    means: Means,
    announce: Callable[[Plan, Path], None],
) -> Outcome:
    """Carry a plan out. Raises ``AsymmetricError`` where a presumed symmetry turns out to be none."""
    if target.facts.singular and not settings.pseudo:
        return Outcome("", "", sign=0, reason=target.facts.singular, refusal=Refusal.SINGULAR)
    if plan.taken is None:
        return Outcome("", "", reason=plan.why, refusal=Refusal.NO_METHOD)
    announce(plan, means.scratch)
    tolerated = _tolerated_asymmetry(target.facts, settings, plan)
    return _carried_out(target, settings, plan, plan.taken, replace(means, asymmetry=tolerated))


def _tolerated_asymmetry(facts: Facts, settings: LogdetSettings, plan: Plan) -> float:
    """Return what may stand of a presumed symmetry: nothing where LU of the matrix as it is can be had.

    The entries of a function differ from their mirror images by rounding, if it sums in another order.
    """
    without_minors = settings.size is None and not settings.minors and settings.method is None
    if without_minors and facts.source.ground is Ground.SAMPLED and dense_bytes(facts.order) <= plan.budget:
        return 0.0
    return _ASYMMETRY


def _tell(source: MatrixSource, judgement: Symmetry) -> None:
    """Tell a source, and what it is made of, about its symmetry."""
    source.take_symmetry(judgement)
    while isinstance(source, Shifted | Updated | Leading):
        source = source.base
        source.take_symmetry(judgement)


def of_series(table: SizeTable, settings: LogdetSettings) -> LogDeterminant:
    """Return the extrapolation of a table of log-determinants."""
    if settings.size is None:
        raise UsageError("RA-LD-031", "a series is extrapolated to a size.", hint="Add --size N, in points.")
    taken = Candidate(
        Method.FLODANCE, "in memory", True, "the sizes and log-determinants of a table are given"
    )
    plan = Plan(taken, taken.reason, False, (taken,), 0, 1)
    outcome = by_series(table, settings)
    subject = {
        "kind": "series",
        "name": table.where,
        "sizes": [each.points for each in table.entries],
        "outputs": settings.outputs,
    }
    return _with(outcome, LOG_DETERMINANT, settings.size * settings.outputs, plan, settings, subject, {})


def prepare(source: MatrixSource, settings: LogdetSettings) -> tuple[Target, Plan, Path]:
    """Return what would be factored, the plan, and the scratch folder; nothing is computed."""
    if not source.square:
        rows, cols = source.shape
        raise UsageError(
            "RA-MS-004",
            f"{source.name} is {rows:,} x {cols:,}: only a square matrix has a determinant.",
            hint=f"--as {'wtw' if rows >= cols else 'wwt'} takes the Gram matrix of its smaller side.",
        )
    budget = settings.memory if settings.memory is not None else max(1, free_memory() // _SHARE)
    threads = settings.threads or _cpus()
    if settings.unshift and not (isinstance(source, Shifted) and source.shift > 0):
        raise UsageError("RA-LD-031", "--unshift goes with --shift T, T positive.")
    target = target_of(source, settings)
    scratch = settings.scratch or _cache()
    plan = make_plan(
        target,
        settings,
        budget=budget,
        threads=threads,
        scratch=scratch,
        kept=_kept(target.facts, settings, budget),
    )
    if settings.scratch is None and plan.taken is not None and plan.taken.scratch:
        scratch = default_scratch(target.facts.source)
    return target, plan, scratch


def _kept(facts: Facts, settings: LogdetSettings, budget: int) -> int:
    """Return the bytes of an earlier factor in the folder that would be used, where one may be needed."""
    if not (facts.blocks and facts.symmetric) or facts.source.entries_bytes <= budget:
        return 0
    return kept_bytes(settings.scratch or default_scratch(facts.source))


def default_scratch(source: MatrixSource) -> Path:
    """Return the folder of the user's cache for the factor of this matrix: the same for the same matrix."""
    import hashlib

    return _cache() / hashlib.sha256(source.fingerprint().encode()).hexdigest()[:16]


def _cache() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("rmtaudit") / "logdet"


def subject_of(source: MatrixSource) -> dict[str, Any]:
    """Return what a matrix is, as JSON values."""
    found: dict[str, Any] = {
        "kind": kind_of(source),
        "name": source.name,
        "shape": list(source.shape),
        "dtype": source.dtype,
        "symmetric": source.symmetric,
        "symmetry": source.symmetry,
        "semidefinite": source.semidefinite,
        "reach": sorted(str(each) for each in source.reach),
        "stored_bytes": stored_bytes(source),
    }
    graph = source.base if isinstance(source, Shifted) else source
    if isinstance(graph, Laplacian):
        found["graph"] = {"edges": graph.edges, "loops": graph.loops, "components": int(graph.components)}
    return found


def run_of(plan: Plan, settings: LogdetSettings) -> dict[str, Any]:
    """Return what depends on the machine, as JSON values."""
    return {
        "memory_budget_bytes": plan.budget,
        "memory_from": "given" if settings.memory is not None else f"1/{_SHARE} of what was free",
        "threads": plan.threads,
    }


def _carried_out(
    target: Target, settings: LogdetSettings, plan: Plan, taken: Candidate, means: Means
) -> Outcome:
    from rmtaudit.engine.resources.threads import threads

    facts = target.facts
    match taken.method:
        case Method.CHOLESKY | Method.LDLT | Method.LU:
            sized = _sized(facts, settings)
            return by_factor(sized, plan, taken, _made(means, taken), unshift=settings.unshift)
        case Method.FLODANCE:
            return by_extrapolation(facts, settings, plan, _made(means, taken))
    with threads(plan.threads):
        match taken.method:
            case Method.SPARSE:
                if not facts.symmetric or (facts.structure is not None and facts.structure.triangular):
                    return by_general_sparse_factor(facts)
                found = by_sparse_factor(facts, taken.elimination)
                return found if found.logdet is not None else _next_rung(found, facts, plan)
            case Method.QR:
                return by_qr(facts)
            case Method.MIXED:
                return by_mixed(facts, settings, plan)
            case Method.EIGENVALUES:
                from rmtaudit.engine.logdet.eigenvalues import by_eigenvalues

                return by_eigenvalues(facts, plan)
    with threads(plan.threads):
        source = target.by_products.source
        judged = settle_symmetry(source)
        if not judged.symmetric:
            raise AsymmetricError(source.name, judged.words)
        return by_quadrature(target.by_products, settings, plan, taken)


def _next_rung(found: Outcome, facts: Facts, plan: Plan) -> Outcome:
    """Go on where sparse factors show an indefinite matrix: with LDLᵀ where it fits, else with sparse LU."""
    dense = next((each for each in plan.candidates if each.method is Method.LDLT and each.possible), None)
    if facts.semidefinite or found.refusal is not Refusal.NOT_DEFINITE:
        return found
    if dense is None or plan.forced or (dense.flops or 0) > _DENSE:
        other, name = by_general_sparse_factor(facts), "sparse LU"
    else:
        other, name = by_factor(facts, replace(plan, forced=True), dense, Means(Path())), "LDLᵀ"
    caution = Caution("RA-LD-103", f"{found.reason[0].upper()}{found.reason[1:]}: {name} went on.")
    return replace(other, cautions=(*other.cautions, caution))


def _sized(facts: Facts, settings: LogdetSettings) -> Facts:
    """Return the facts of the leading minor that is asked for, where it lies within the matrix."""
    from rmtaudit.matrices.sources import Leading

    if settings.size is None or settings.size * settings.outputs == facts.order:
        return facts
    return replace(facts, source=Leading(facts.source, settings.size * settings.outputs))


def _made(means: Means, taken: Candidate) -> Means:
    """Make the folders above the scratch folder, if it will be used."""
    if taken.scratch:
        means.scratch.parent.mkdir(parents=True, exist_ok=True)
    return means


def _answer(
    target: Target, settings: LogdetSettings, plan: Plan, outcome: Outcome, seconds: dict[str, float]
) -> LogDeterminant:
    dimension = target.dimension if settings.size is None else settings.size * settings.outputs
    if outcome.method == Method.FLODANCE:
        dimension -= dimension % settings.outputs  # whole points
    rank = outcome.evidence.get("rank")
    if isinstance(rank, int) and rank:
        dimension = rank
    run = {**run_of(plan, settings), **seconds}
    if target.offset and outcome.logdet is not None:
        moves = (
            outcome.method != Method.SLQ
        )  # Lanczos sees the matrix with VVᵀ, whose determinant is the answer
        offset = target.offset if moves else 0.0
        margin = outcome.margin
        if margin is not None:
            slack = _ROUNDING * abs(offset)
            low, high = margin.low + offset - slack, margin.high + offset + slack
            margin = Margin(margin.kind, low, high, margin.level, margin.basis)
        outcome = replace(outcome, logdet=outcome.logdet + offset, margin=margin)
    words = target.words_by_products if outcome.method == Method.SLQ else target.words
    if words:
        outcome = replace(outcome, evidence={**outcome.evidence, "factored": words})
    subject = {**subject_of(target.subject), "symmetry": _symmetry_words(target.subject, outcome)}
    return _with(outcome, target.quantity, dimension, plan, settings, subject, run, target.subject)


def _symmetry_words(source: MatrixSource, outcome: Outcome) -> str:
    """Return on what ground the matrix is symmetric; of one that was presumed so, what its use has shown."""
    if not source.presumed:
        return source.symmetry
    if outcome.logdet is None:
        return f"{source.symmetry}; compared as far as it was read"
    asymmetry = outcome.evidence.get("asymmetry") or outcome.evidence.get("factor", {}).get("asymmetry")
    if asymmetry:
        return (
            f"but for {asymmetry:.1e} √(a_ii a_jj), which the margin holds: every pair that was read compared"
        )
    return "every pair that was read compared"


def _with(
    outcome: Outcome,
    quantity: str,
    dimension: int,
    plan: Plan,
    settings: LogdetSettings,
    subject: dict[str, Any],
    run: dict[str, Any],
    source: MatrixSource | None = None,
) -> LogDeterminant:
    refused = outcome.logdet is None
    return LogDeterminant(
        status="refused" if refused else "ok",
        reason=outcome.reason,
        advice=advice_for(outcome, plan, settings, source) if refused else "",
        quantity=quantity,
        logdet=outcome.logdet,
        sign=outcome.sign,
        dimension=dimension,
        margin=outcome.margin,
        method=outcome.method,
        place=outcome.place,
        plan=plan,
        evidence=outcome.evidence,
        cautions=outcome.cautions,
        work=outcome.work,
        subject=subject,
        settings=settings,
        run=run,
        minors=outcome.minors,
        assumption=outcome.assumption,
    )


def _cpus() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
