"""From a matrix and a question to an answer: plan, carry out, and assemble what is written."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rmtaudit.engine.logdet import reasons
from rmtaudit.engine.logdet.advice import advice_for
from rmtaudit.engine.logdet.answer import LogDeterminant, MarginKind, Outcome, Refusal, document_head, plain
from rmtaudit.engine.logdet.candidates import Candidate
from rmtaudit.engine.logdet.exact import Resources, exact_logdet
from rmtaudit.engine.logdet.margins import with_entries
from rmtaudit.engine.logdet.plan import Plan, cache_folder, default_scratch, kept_factor, make_plan
from rmtaudit.engine.logdet.settings import LogdetSettings, Method
from rmtaudit.engine.logdet.target import Facts, Quantity, Target, subject_of, target_of
from rmtaudit.engine.logdet.tiling import dense_bytes
from rmtaudit.engine.resources.devices import chosen_device
from rmtaudit.engine.resources.memory import free_memory
from rmtaudit.engine.resources.threads import cpus, threads
from rmtaudit.errors import UsageError
from rmtaudit.matrices.sources import AsymmetricError, Ground, MatrixSource, settle_symmetry
from rmtaudit.matrices.sources.symmetry import Symmetry

if TYPE_CHECKING:
    from rmtaudit.engine.logdet.series import SizeTable

_SHARE = 2
"""The default budget is this part of the free memory: a choice that leaves room for other programs."""
_ROUNDING = 1e-15
"""Of an offset that is added to a log-determinant, relative: four and a half units of round-off."""
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
        The question, and how it is to be answered.
    stop, progress
        As of :class:`~rmtaudit.engine.logdet.exact.Resources`.
    announce
        Called with the plan and the scratch folder before the work begins.

    Raises
    ------
    UsageError
        RA-US-201: there is no CUDA device. RA-MS-004: not square. RA-LD-…: settings that make no sense for
        this matrix.
    InputError, OutputError
        As the source and the scratch folder raise them.
    StoppedWorkError
        If ``stop`` ended the work.
    """
    started, cpu = time.perf_counter(), time.process_time()
    device = chosen_device(settings.device)

    def attempt() -> tuple[Target, Plan, Outcome]:
        target, plan, scratch = prepare(source, settings)
        resources = Resources(
            memory=plan.budget,
            scratch=scratch,
            resume=settings.resume,
            threads=plan.threads,
            device=device.type,
            stop=stop,
            progress=progress,
        )
        if plan.taken is not None and not _singular(target, settings):
            announce(plan, scratch)
        return target, plan, _attempt(target, settings, plan, resources)

    try:
        target, plan, outcome = attempt()
    except AsymmetricError as error:  # what the plan presumed is not so: another plan
        source.take_symmetry(Symmetry(False, Ground.COMPARED, error.words))
        target, plan, outcome = attempt()
    run = {
        **run_of(plan, settings),
        "device": device.type,
        "wall_seconds": round(time.perf_counter() - started, 3),
        "cpu_seconds": round(time.process_time() - cpu, 3),
    }
    return _answer(target, settings, plan, outcome, run)


def explain(source: MatrixSource, settings: LogdetSettings) -> dict[str, Any]:
    """Return the document of the plan alone; nothing is computed."""
    target, plan, scratch = prepare(source, settings)
    return {
        **document_head(settings),
        "subject": subject_of(source),
        "plan": plain(plan.to_dict()),
        "singular": target.facts.singular if not settings.pseudo else "",
        "run": {**run_of(plan, settings), "scratch": str(scratch)},
    }


def extrapolate_series(table: SizeTable, settings: LogdetSettings) -> LogDeterminant:
    """Return the extrapolation of a table of log-determinants."""
    from rmtaudit.engine.logdet.extrapolated import by_series

    if settings.size is None:
        raise UsageError(
            "RA-LD-031",
            "A series can only be extrapolated, which needs a size.",
            hint="Add --size N, in points.",
        )
    taken = Candidate(method=Method.FLODANCE, reason="the table gives sizes and log-determinants")
    plan = Plan(taken=taken, why=taken.reason, forced=False, candidates=(taken,), budget=0, threads=1)
    outcome = by_series(table, settings)
    subject = {
        "kind": "series",
        "name": table.where,
        "sizes": [each.points for each in table.entries],
        "outputs": settings.outputs,
    }
    return LogDeterminant.of(
        outcome,
        advice=advice_for(outcome.refusal, plan, settings, None) if outcome.refusal is not None else "",
        quantity=Quantity.LOG_DETERMINANT,
        dimension=settings.size * settings.outputs,
        plan=plan,
        settings=settings,
        subject=subject,
        run={},
    )


def prepare(source: MatrixSource, settings: LogdetSettings) -> tuple[Target, Plan, Path]:
    """Return what would be factored, the plan, and the scratch folder; nothing is computed."""
    if not source.square:
        rows, cols = source.shape
        raise UsageError(
            "RA-MS-004",
            f"{source.name} is {rows:,} x {cols:,}: only a square matrix has a determinant.",
            hint=(f"--as {'wtw' if rows >= cols else 'wwt'} gives the Gram matrix of its smaller side."),
        )
    target = target_of(source, settings)
    if settings.unshift:
        shifted = source.known().shifted
        if shifted is None or not shifted.shift > 0:
            raise UsageError("RA-LD-031", "--unshift requires --shift T with a positive T.")
    budget = settings.memory if settings.memory is not None else max(1, free_memory() // _SHARE)
    scratch = settings.scratch or cache_folder()
    plan = make_plan(
        target,
        settings,
        budget=budget,
        threads=settings.threads or cpus(),
        scratch=scratch,
        kept=kept_factor(target.facts, settings, budget),
    )
    if settings.scratch is None and plan.taken is not None and plan.taken.scratch:
        scratch = default_scratch(target.facts.source)
    return target, plan, scratch


def run_of(plan: Plan, settings: LogdetSettings) -> dict[str, Any]:
    """Return what depends on the machine, as JSON values."""
    return {
        "memory_budget_bytes": plan.budget,
        "memory_from": "given" if settings.memory is not None else f"1/{_SHARE} of the free memory",
        "threads": plan.threads,
    }


def _singular(target: Target, settings: LogdetSettings) -> bool:
    """Whether the answer is that the determinant is 0, as its construction shows."""
    return bool(target.facts.singular) and not settings.pseudo


def _attempt(target: Target, settings: LogdetSettings, plan: Plan, resources: Resources) -> Outcome:
    """Carry a plan out. Raises ``AsymmetricError`` where a presumed symmetry turns out to be none."""
    facts = target.facts
    if _singular(target, settings):
        return Outcome().refused(Refusal.SINGULAR, facts.singular, sign=0)
    if plan.taken is None:
        return Outcome().refused(Refusal.NO_METHOD, plan.why)
    if plan.taken.scratch and resources.scratch is not None:
        resources.scratch.parent.mkdir(parents=True, exist_ok=True)
    if plan.taken.method is Method.CHOLESKY and settings.size is not None:
        facts = facts.leading(settings.size * settings.outputs)
    outcome = _compute(replace(target, facts=facts), settings, plan, plan.taken, resources)
    if outcome.refusal is Refusal.NOT_DEFINITE:
        outcome = _continue(outcome, facts, plan, settings, resources)
    return with_entries(outcome, target.by_products if outcome.method is Method.SLQ else target.facts)


def _compute(
    target: Target, settings: LogdetSettings, plan: Plan, taken: Candidate, resources: Resources
) -> Outcome:
    facts, asymmetry = target.facts, _asymmetry_limit(target.facts, settings, plan)
    match taken.method:
        case Method.CHOLESKY | Method.LDLT | Method.LU as method:
            source, shift = facts.source, 0.0
            if settings.unshift and facts.shifted is not None and method is Method.CHOLESKY:
                source, shift = facts.shifted.base, facts.shifted.shift
            entries = facts.rounding or 0.0
            return exact_logdet(
                source, resources, method=method, shift=shift, asymmetry=asymmetry, entries=entries
            )
        case Method.FLODANCE:
            from rmtaudit.engine.logdet.extrapolated import by_extrapolation

            return by_extrapolation(facts, settings, resources, place=taken.place, asymmetry=asymmetry)
    with threads(plan.threads):
        match taken.method:
            case Method.SPARSE | Method.QR:
                from rmtaudit.engine.logdet import structured

                if taken.method is Method.QR:
                    return structured.by_qr(facts)
                if facts.symmetric and not facts.triangular:
                    return structured.by_sparse_factor(facts, taken.elimination)
                return structured.by_general_sparse_factor(facts)
            case Method.EIGENVALUES:
                from rmtaudit.engine.logdet.spectral import by_eigenvalues

                return by_eigenvalues(facts, memory=plan.budget, device=torch.device(resources.device))
            case Method.MIXED:
                from rmtaudit.engine.logdet.estimated import by_mixed

                return by_mixed(facts, settings, memory=plan.budget, device=torch.device(resources.device))
        from rmtaudit.engine.logdet.estimated import by_quadrature

        source = target.by_products.source
        judgement = settle_symmetry(source)
        if not judgement.symmetric:
            raise AsymmetricError(source.name, judgement.words)
        working = (taken.memory or 0) - taken.copied
        most = (plan.budget - taken.copied) * settings.probes // working if working else settings.probes
        return by_quadrature(
            target.by_products,
            settings,
            steps=taken.steps,
            most=most,
            memory=taken.copied if resources.device == "cpu" else plan.budget,
            device=torch.device(resources.device),
        )


def _continue(
    failed: Outcome, facts: Facts, plan: Plan, settings: LogdetSettings, resources: Resources
) -> Outcome:
    """Take the next rung of the ladder after a method that has met an indefinite matrix, if there is one."""
    if failed.method is Method.CHOLESKY and facts.semidefinite:
        return failed.refused(Refusal.SINGULAR, reasons.semidefinite(failed.reason))
    if failed.method not in (Method.CHOLESKY, Method.SPARSE) or facts.semidefinite or settings.unshift:
        return failed
    match plan.next_rung(facts):
        case Method.LDLT:
            name, outcome = "LDLᵀ", exact_logdet(facts.source, resources, method=Method.LDLT)
        case Method.SPARSE:
            from rmtaudit.engine.logdet.structured import by_general_sparse_factor

            with threads(plan.threads):
                name, outcome = "sparse LU", by_general_sparse_factor(facts)
        case _ if plan.forced:
            return failed
        case _:
            reason = reasons.beyond_memory(failed.reason, dense_bytes(facts.order))
            return failed.refused(Refusal.NOT_DEFINITE, reason)
    failure = ("failed_minor", "failed_pivot")
    failure_evidence = {name: failed.evidence[name] for name in failure if name in failed.evidence}
    outcome = replace(outcome, evidence={**outcome.evidence, **failure_evidence})
    return outcome.cautioned("RA-LD-103", f"{failed.reason}: {name} was used instead.")


def _asymmetry_limit(facts: Facts, settings: LogdetSettings, plan: Plan) -> float:
    """Return what is accepted of a presumed symmetry: nothing where LU of the matrix as it is can be had.

    The entries of a function differ from their mirror images by rounding, if it sums in another order.
    """
    without_minors = settings.size is None and not settings.minors and settings.method is None
    if without_minors and facts.source.ground is Ground.SAMPLED and dense_bytes(facts.order) <= plan.budget:
        return 0.0
    return _ASYMMETRY


def _answer(
    target: Target, settings: LogdetSettings, plan: Plan, outcome: Outcome, run: dict[str, Any]
) -> LogDeterminant:
    dimension = target.dimension if settings.size is None else settings.size * settings.outputs
    if outcome.method is Method.FLODANCE:
        dimension -= dimension % settings.outputs  # whole points
    by_products = outcome.method is Method.SLQ
    if target.offset and not by_products and outcome.logdet is not None:
        outcome = _add_offset(outcome, outcome.logdet, target.offset)
    description = target.description_by_products if by_products else target.description
    if description:
        outcome = replace(outcome, evidence={**outcome.evidence, "factored": description})
    source = target.subject
    return LogDeterminant.of(
        outcome,
        advice=advice_for(outcome.refusal, plan, settings, source) if outcome.refusal is not None else "",
        quantity=target.quantity,
        dimension=outcome.rank or dimension,
        plan=plan,
        settings=settings,
        subject={**subject_of(source), "symmetry": _symmetry_words(source, outcome)},
        run=run,
    )


def _add_offset(outcome: Outcome, logdet: float, offset: float) -> Outcome:
    """Add an offset, which is rounded as well, to a log-determinant."""
    slack, margin = _ROUNDING * abs(offset), outcome.margin
    if margin is not None:
        margin = replace(margin, low=margin.low + offset - slack, high=margin.high + offset + slack)
    return replace(outcome, logdet=logdet + offset, margin=margin)


def _symmetry_words(source: MatrixSource, outcome: Outcome) -> str:
    """Return on what ground the matrix is symmetric; of one that was presumed so, what its use has shown."""
    if not source.presumed:
        return source.symmetry
    if outcome.logdet is None:
        return f"{source.symmetry}; compared as far as the matrix was read"
    asymmetry = outcome.evidence.get("asymmetry") or outcome.evidence.get("factor", {}).get("asymmetry")
    if asymmetry:
        unknown = outcome.margin is not None and outcome.margin.kind is MarginKind.UNKNOWN
        computed = "as computed " if unknown else ""
        return (
            f"except for {asymmetry:.1e} √(a_ii a_jj), which the margin {computed}covers: every "
            "pair that was read compared"
        )
    return "every pair that was read compared"
