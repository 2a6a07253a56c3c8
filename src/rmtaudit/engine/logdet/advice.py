"""What can be done about a refusal: only what would not be refused in turn."""

from __future__ import annotations

from rmtaudit.engine.logdet.answer import Refusal
from rmtaudit.engine.logdet.candidates import Lack
from rmtaudit.engine.logdet.plan import Plan
from rmtaudit.engine.logdet.settings import LogdetSettings, Method
from rmtaudit.engine.logdet.target import facts_of
from rmtaudit.engine.logdet.tiling import spectral_bytes
from rmtaudit.engine.resources.memory_size import format_memory
from rmtaudit.matrices.sources import MatrixSource

_SHIFT = "--shift T gives the log-determinant of A + T I"
_EXPLAIN = "Use --explain to list every method with its requirements."


def advice_for(refusal: Refusal, plan: Plan, settings: LogdetSettings, source: MatrixSource | None) -> str:
    """Return what can be done about a refusal.

    Parameters
    ----------
    refusal
        Why there is no number.
    plan, settings
        What was planned and asked for.
    source
        The matrix; ``None`` for a table of log-determinants.
    """
    match refusal:
        case Refusal.SINGULAR:
            return _of_singular(plan, settings, source)
        case Refusal.NO_METHOD:
            return _of_resources(plan)
        case Refusal.NOT_DEFINITE:
            return _of_indefinite(plan)
        case Refusal.ONE_SIDED:
            return (
                "Use --steps N for more Lanczos steps, --smallest A for a lower bound of the "
                "spectrum that you know, or --shift T to create one."
            )
        case Refusal.UNCLEAR_RANK:
            return f"{_SHIFT}, which needs no decision."
        case Refusal.NOT_EXTRAPOLATED:
            return "The JSON output holds the candidates, the back-test and the rounding floor."
        case _:
            return _EXPLAIN


def _of_singular(plan: Plan, settings: LogdetSettings, source: MatrixSource | None) -> str:
    leading = settings.size is not None or settings.minors
    if source is None or settings.pseudo or leading or settings.method not in (None, Method.EIGENVALUES):
        return f"{_SHIFT}."
    facts = facts_of(source)
    known = facts.laplacian is not None or (facts.gram is not None and bool(facts.singular))
    fits = facts.blocks and spectral_bytes(facts.order) <= plan.budget
    if source.symmetric:
        if not (known or fits):
            return f"{_SHIFT}."
        return f"--pseudo gives the log-pseudo-determinant, over the eigenvalues that are not 0; {_SHIFT}."
    if fits and facts.rounding == 0:
        return (
            "--as wtw --pseudo gives the log-pseudo-determinant of AᵀA, over the squares of the singular "
            f"values that are not 0; {_SHIFT}."
        )
    return f"{_SHIFT}."


def _of_resources(plan: Plan) -> str:
    cheapest = plan.cheapest
    if cheapest is None:
        return _EXPLAIN
    if cheapest.lacks is Lack.DISK:
        return f"--scratch on a disk with {format_memory(cheapest.scratch)} free would suffice."
    return f"--memory {format_memory(cheapest.memory or 0)} would suffice for {cheapest.name}."


def _of_indefinite(plan: Plan) -> str:
    dense = next((each for each in plan.candidates if each.method is Method.LDLT), None)
    if dense is not None and dense.possible:
        return f"--method ldlt takes indefinite matrices; {_SHIFT}."
    if dense is not None and dense.lacks is Lack.MEMORY:
        needed = format_memory(dense.memory or 0)
        return f"--method ldlt --memory {needed} takes indefinite matrices; {_SHIFT}."
    return f"{_SHIFT}."
