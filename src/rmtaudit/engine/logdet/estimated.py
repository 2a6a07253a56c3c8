"""Methods with probes: Lanczos quadrature, and a float32 Cholesky factor that probes correct.

The second computes ``log det A = log det L Lᵀ + tr log L⁻¹ A L⁻ᵀ``: the eigenvalues of ``L⁻¹ A L⁻ᵀ`` are near
1 but for those of ``A`` that float32 cannot tell from zero, and a few Lanczos steps and 16 probes give the
trace, with its error.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import torch

from rmtaudit.engine.logdet import reasons
from rmtaudit.engine.logdet.answer import Margin, MarginKind, Outcome, Refusal
from rmtaudit.engine.logdet.pivoted import finite_dense
from rmtaudit.engine.logdet.settings import LogdetSettings, Method, Place
from rmtaudit.engine.logdet.target import Facts
from rmtaudit.engine.logdet.tiling import mixed_bytes
from rmtaudit.engine.resources.devices import CPU
from rmtaudit.engine.sources.products import products_on
from rmtaudit.errors import UsageError
from rmtaudit.kernels import slq
from rmtaudit.kernels.slq.precondition import low_precision_cholesky, preconditioned_log_determinant

_EDGES = {"converged": "the smallest Ritz values of all probes, converged", "none": ""}
_MOST_PROBES = 512
"""Probes to which a tolerance may raise them: 1/√512 is 4 % of the spread of one probe (a choice)."""
_MONTE_CARLO = 0.9
"""Share of a tolerance that the probes may take; the brackets of the quadrature have the rest (a choice)."""
_COVERS = "Student's interval over the probes, around brackets of each probe by Gauss and Gauss-Radau rules"


def by_quadrature(
    facts: Facts,
    settings: LogdetSettings,
    *,
    steps: int,
    most: int,
    memory: int,
    device: torch.device,
) -> Outcome:
    """Return the outcome of stochastic Lanczos quadrature.

    It is refused where a side of the interval is missing: without a lower bound of the spectrum, and with the
    smallest Ritz values not converged, nothing bounds the log-determinant from below.

    Parameters
    ----------
    facts
        Of the matrix, which offers products.
    settings
        Probes, tolerance, coverage and seed.
    steps
        Lanczos steps of a probe that the memory allows.
    most
        Probes that the memory allows, for a tolerance.
    memory, device
        As of :func:`~rmtaudit.engine.sources.products.products_on`.
    """
    tolerance = settings.tolerance
    effort = slq.Effort(
        probes=settings.probes,
        steps=max(1, steps),
        level=settings.confidence,
        tolerance=None if tolerance is None else _MONTE_CARLO * tolerance * facts.order,
        most=settings.probes if tolerance is None else max(settings.probes, min(_MOST_PROBES, most)),
    )
    outcome = Outcome(method=Method.SLQ, place=Place.BY_PRODUCTS, carries_entries=facts.gram is not None)
    try:
        estimate = slq.log_determinant(_operator(facts, memory, device), slq.Sampler(settings.seed), effort)
    except ArithmeticError as error:
        return outcome.refused(Refusal.NOT_DEFINITE, str(error))
    given = estimate.edge_source == "given"
    evidence = {
        "bracket": list(estimate.bracket),
        "standard_error": estimate.standard_error,
        "probes": estimate.probes,
        "steps": estimate.steps,
        "lower_bound": estimate.edge,
        "lower_bound_from": facts.smallest_from if given else _EDGES[estimate.edge_source],
        "rounding": estimate.rounding,
    }
    outcome = replace(outcome, evidence=evidence, work={"products": estimate.products})
    low, high = estimate.interval
    if not (math.isfinite(low) and math.isfinite(high)):
        return outcome.refused(Refusal.ONE_SIDED, reasons.one_sided(estimate.reason, low, high))
    margin = Margin(kind=MarginKind.CONFIDENCE, low=low, high=high, level=estimate.level, basis=_COVERS)
    outcome = _warn_unproven(
        replace(outcome, logdet=estimate.value, sign=1, margin=margin), facts, estimate.probes
    )
    if estimate.edge_source != "converged":
        return outcome
    return outcome.cautioned(
        "RA-LD-106",
        f"The lower bound of the spectrum, {estimate.edge:.3g}, is where the smallest Ritz values "
        "of all probes have converged, which is not a proof; use --smallest to give a known "
        "bound.",
    )


def by_mixed(facts: Facts, settings: LogdetSettings, *, memory: int, device: torch.device = CPU) -> Outcome:
    """Return the outcome of a Cholesky factor in float32 with a correction by probes, in core.

    Parameters
    ----------
    facts
        Of the matrix, which is symmetric and offers blocks.
    settings
        Probes, steps, coverage and seed of the correction.
    memory, device
        Bytes that may be allocated, and where the matrix is factored.

    Raises
    ------
    UsageError
        RA-MS-004: not symmetric. RA-LD-005: it does not fit the memory.
    InputError
        RA-MS-005: an entry is not finite.
    """
    source, n = facts.source, facts.order
    if not source.symmetric:
        raise UsageError("RA-MS-004", f"{source.name} is not symmetric: {source.symmetry}.")
    needed = mixed_bytes(n, settings.probes, settings.steps)
    if needed > memory:
        raise UsageError(
            "RA-LD-005",
            f"A float32 factor of {source.name} with its correction takes {needed:,} bytes, and "
            f"the memory is {memory:,}.",
            hint="Give more --memory, or factor it exactly by tiles.",
        )
    effort = slq.Effort(probes=settings.probes, steps=settings.steps, level=settings.confidence)
    outcome = Outcome(method=Method.MIXED, place=Place.IN_MEMORY)
    try:
        matrix = finite_dense(source).to(device)
        factor = low_precision_cholesky(matrix)
        sampler = slq.Sampler(settings.seed)
        estimate = preconditioned_log_determinant(slq.dense(matrix), factor, sampler, effort)
    except ArithmeticError as error:
        return outcome.refused(Refusal.NOT_DEFINITE, str(error))
    outcome = replace(
        outcome,
        evidence={
            "factor_logdet": factor.log_determinant,
            "correction": estimate.value - factor.log_determinant,
            "standard_error": estimate.standard_error,
            "shift_of_the_factor": factor.raised,
            "probes": estimate.probes,
            "steps": estimate.steps,
        },
        work={"planned_memory_bytes": needed},
    )
    low, high = estimate.interval
    if not (math.isfinite(low) and math.isfinite(high)):
        return outcome.refused(Refusal.ONE_SIDED, reasons.one_sided(estimate.reason, low, high))
    margin = Margin(
        kind=MarginKind.CONFIDENCE,
        low=low,
        high=high,
        level=estimate.level,
        basis=f"{_COVERS}, whose lower end rests on Ritz values that have converged",
    )
    return _warn_unproven(
        replace(outcome, logdet=estimate.value, sign=1, margin=margin), facts, estimate.probes
    )


def _operator(facts: Facts, memory: int, device: torch.device) -> slq.Symmetric | slq.Gram:
    """Return the operator that Lanczos works on; a Gram matrix by its factor (Golub-Kahan)."""
    if facts.gram is None:
        products = products_on(facts.source, device, memory)
        return slq.Symmetric(
            size=facts.order,
            matmul=products.matmul,
            smallest=facts.smallest,
            largest=facts.largest,
            device=products.device,
        )
    factor = facts.gram.factor
    products = products_on(factor, device, memory)
    side: Literal["cols", "rows"] = "cols" if facts.gram.of == "columns" else "rows"
    return slq.Gram(
        rows=factor.shape[0],
        cols=factor.shape[1],
        matmul=products.matmul,
        transposed=products.transposed,
        side=side,
        smallest=facts.smallest,
        largest=facts.largest,
        device=products.device,
    )


def _warn_unproven(outcome: Outcome, facts: Facts, probes: int) -> Outcome:
    """Add that a matrix was not proven to be positive definite, where nothing else proves it."""
    if facts.semidefinite or facts.smallest is not None:
        return outcome
    return outcome.cautioned(
        "RA-LD-105",
        f"Whether the matrix is positive definite was not proven: none of {probes} probes "
        "encountered an eigenvalue that is not positive.",
    )
