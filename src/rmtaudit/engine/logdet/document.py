"""The answer as a document of strict JSON, with a published version."""

from __future__ import annotations

import math
from typing import Any

from rmtaudit.engine.logdet.answer import LogDeterminant, Margin
from rmtaudit.engine.logdet.plan import Candidate, Plan
from rmtaudit.engine.logdet.settings import LogdetSettings
from rmtaudit.version import installed_version

SCHEMA_NAME = "rmtaudit.logdet"
SCHEMA_VERSION = "1.0"


def document_of(answer: LogDeterminant) -> dict[str, Any]:
    """Return the document of an answer: plain values, finite numbers, keys in the published order."""
    return {
        **head(answer.settings),
        "subject": dict(answer.subject),
        "plan": plan_of(answer.plan),
        "result": {
            "status": answer.status,
            "reason": answer.reason,
            "advice": answer.advice,
            "quantity": answer.quantity,
            "logdet": answer.logdet,
            "sign": answer.sign,
            "dimension": answer.dimension,
            "per_dimension": answer.per_dimension,
            "margin": _margin(answer),
            "method": answer.method,
            "place": answer.place,
            "why": _why(answer),
            "tolerance_met": _tolerance_met(answer),
            "assumption": None if answer.assumption is None else str(answer.assumption),
            "granted": answer.complete,
        },
        "evidence": plain(answer.evidence),
        "warnings": [{"code": each.code, "message": each.message} for each in answer.cautions],
        "work": plain(answer.work),
        "run": plain(answer.run),
    }


def head(settings: LogdetSettings) -> dict[str, Any]:
    """Return what every document of this schema begins with."""
    options = {
        name: getattr(settings, name)
        for name in (
            "method", "pseudo", "size", "outputs", "up_to", "tolerance", "smallest", "probes", "steps",
            "confidence", "unshift", "minors", "assume_random_order",
        )
    }  # fmt: skip
    options["method"] = None if settings.method is None else str(settings.method)
    return {
        "schema": {"name": SCHEMA_NAME, "version": SCHEMA_VERSION},
        "tool": {"version": installed_version(), "options": options, "seed": settings.seed},
    }


def plan_of(plan: Plan) -> dict[str, Any]:
    """Return the plan; what depends on the state of the machine is left to ``run``."""
    taken = plan.taken
    return {
        "method": None if taken is None else str(taken.method),
        "place": None if taken is None else taken.place,
        "why": plan.why,
        "chosen_by": "user" if plan.forced else "planner",
        "candidates": [_candidate(each, taken) for each in plan.candidates],
    }


def plain(value: Any) -> Any:
    """Return ``value`` as JSON takes it; a number that is not finite becomes ``None``."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def _candidate(each: Candidate, taken: Candidate | None) -> dict[str, Any]:
    verdict = "taken" if each is taken else "possible" if each.possible else "not possible"
    return {
        "method": str(each.method),
        "place": each.place,
        "verdict": verdict,
        "reason": each.reason,
        "flops": each.flops,
        "memory_bytes": each.memory,
        "scratch_bytes": each.scratch,
        "moved_bytes": each.moved,
    }


def _why(answer: LogDeterminant) -> str:
    taken = answer.plan.taken
    if taken is None or not answer.method or answer.method == taken.method:
        return answer.plan.why
    return f"{taken.method} was planned, and failed: see the warning"


def _margin(answer: LogDeterminant) -> dict[str, Any] | None:
    margin = answer.margin
    if margin is None:
        return None
    value = answer.logdet
    return {
        "kind": margin.kind,
        "level": margin.level,
        "low": margin.low,
        "high": margin.high,
        "half_width": margin.half_width,
        "half_width_per_dimension": margin.half_width / answer.dimension,
        "half_width_percent": None if not value else 100 * margin.half_width / abs(value),
        "basis": margin.basis,
    }


def _tolerance_met(answer: LogDeterminant) -> bool | None:
    tolerance = answer.settings.tolerance
    if tolerance is None:
        return None
    return within(answer.margin, answer.dimension, tolerance)


def within(margin: Margin | None, dimension: int, tolerance: float) -> bool:
    """Say whether a margin is at most ``tolerance`` nats per dimension to either side."""
    return margin is not None and margin.half_width <= tolerance * dimension
