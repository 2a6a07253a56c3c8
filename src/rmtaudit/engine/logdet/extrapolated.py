"""FLODANCE as an outcome: a minor that is too large to factor, from those that are not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rmtaudit.engine.logdet.answer import Assumption, Caution, Margin, Outcome, Refusal
from rmtaudit.engine.logdet.factored import IN_MEMORY, Means, exact, outcome_of
from rmtaudit.engine.logdet.facts import Facts
from rmtaudit.engine.logdet.plan import Plan, grown_memory
from rmtaudit.engine.logdet.settings import LogdetSettings, Method
from rmtaudit.errors import UsageError
from rmtaudit.matrices.sources import Leading, Reach

if TYPE_CHECKING:
    from rmtaudit.engine.logdet.series import SizeTable
    from rmtaudit.kernels.flodance import Anytime, Extrapolation, OrderTest

ASSUMPTION = (
    "noise to come, coefficients and disagreement of the candidates, widened where the back-test asks for "
    "it; if the points come in random order and the law of the increments goes on"
)


def by_extrapolation(facts: Facts, settings: LogdetSettings, plan: Plan, means: Means) -> Outcome:
    """Factor leading minors, as many as may be looked at or as the tolerance needs, and extrapolate."""
    from rmtaudit.engine.logdet import result
    from rmtaudit.kernels.flodance import Watch

    outputs = settings.outputs
    size = settings.size if settings.size is not None else facts.order // outputs
    points = min(facts.order // outputs, size, settings.up_to or size)
    if not points:
        raise UsageError("RA-LD-030", f"{facts.order:,} rows hold no point of {outputs:,} outputs.")
    rows = points * outputs
    source = facts.source if rows == facts.order else Leading(facts.source, rows)
    order = _order(facts, settings, points) if size > points or settings.tolerance is not None else None
    if order is not None and order.rejected:
        return _out_of_order(order, plan)
    watch = Watch(size, settings.tolerance, outputs=outputs, confidence=settings.confidence, order=order)
    ended: list[Anytime] = []

    def enough(minors: Any) -> bool:
        found = watch.look(minors)
        ended.extend([] if found is None else [found])
        return found is not None

    found = exact(
        source,
        plan,
        means,
        method=result.Method.CHOLESKY,
        memory=plan.budget if settings.tolerance is None else grown_memory(rows, plan.budget, plan.threads),
        enough=enough if settings.tolerance is not None else None,
    )
    factor = outcome_of(found, facts.rounding)
    if found.minors is None or found.status is result.Status.NOT_DEFINITE:
        return Outcome(
            str(Method.FLODANCE),
            factor.place,
            reason=factor.reason,
            evidence=factor.evidence,
            work=factor.work,
            refusal=factor.refusal,
        )
    said = ended[0] if ended else watch.end(found.minors)
    work = {**factor.work, "rows_factored": found.order, "rows_allowed": rows}
    cautions = tuple(each for each in factor.cautions if each.code == "RA-LD-101")
    evidence = {"factor": factor.evidence, **evidence_of(said.extrapolation), "stop": said.stop.value}
    evidence["looks"] = [_look(each) for each in said.looks]
    outcome = outcome_of_extrapolation(said.extrapolation, factor.place, evidence, work, cautions)
    exact_value = said.extrapolation.status.name == "KNOWN"
    margin = factor.margin if exact_value else outcome.margin
    return Outcome(
        outcome.method, outcome.place, outcome.logdet, outcome.sign, margin, outcome.reason,
        outcome.evidence, outcome.cautions, outcome.work, found.minors, outcome.refusal, outcome.assumption,
    )  # fmt: skip


def _order(facts: Facts, settings: LogdetSettings, points: int) -> OrderTest | None:
    """Test the order of the points; ``None`` where that needs submatrices that the source does not offer."""
    import torch

    from rmtaudit.kernels.flodance import order_test

    if Reach.PRINCIPAL not in facts.source.reach:
        return None
    generator = torch.Generator().manual_seed(settings.seed)
    return order_test(
        facts.source.principal,
        points,
        facts.order // settings.outputs,
        generator=generator,
        outputs=settings.outputs,
    )


def _out_of_order(order: OrderTest, plan: Plan) -> Outcome:
    """Return the refusal, before anything is factored, of points that do not come in random order."""
    from rmtaudit.kernels.flodance import Status

    return Outcome(
        str(Method.FLODANCE),
        plan.taken.place if plan.taken is not None else IN_MEMORY,
        reason=Status.ORDER.value.removeprefix("refused: "),
        evidence={"extrapolation": Status.ORDER.name, "flags": [], "order": _order_evidence(order)},
    )


def _order_evidence(order: OrderTest | None) -> dict[str, Any] | None:
    if order is None:
        return None
    return {
        "p_value": order.p_value,
        "start": order.start,
        "spread": order.spread,
        "rest": order.rest,
        "points": order.points,
    }


def by_series(table: SizeTable, settings: LogdetSettings) -> Outcome:
    """Extrapolate the log-determinants of a table."""
    from rmtaudit.kernels.flodance import extrapolate

    assert settings.size is not None
    found = extrapolate(table.known(settings), settings.size, confidence=settings.confidence)
    evidence = evidence_of(found)
    held = None if found.status.name == "KNOWN" else table.held_out(settings)
    if held is not None and found.low is not None and found.high is not None and found.logdet is not None:
        evidence["held_out"] = {
            "logdet": held,
            "error": found.logdet - held,
            "error_per_dimension": (found.logdet - held) / found.dimension,
            "inside": found.low <= held <= found.high,
        }
    work = {"sizes_used": len(table.known(settings).sizes)}
    return outcome_of_extrapolation(found, IN_MEMORY, evidence, work, ())


def outcome_of_extrapolation(
    found: Extrapolation,
    place: str,
    evidence: dict[str, Any],
    work: dict[str, Any],
    cautions: tuple[Caution, ...],
) -> Outcome:
    """Return the outcome of an extrapolation."""
    from rmtaudit.kernels.flodance import Flag

    flags = tuple(Caution("RA-LD-108", f"{flag.value[0].upper()}{flag.value[1:]}.") for flag in found.flags)
    if found.logdet is None or found.low is None or found.high is None:
        return Outcome(
            str(Method.FLODANCE),
            place,
            reason=found.status.value.removeprefix("refused: "),
            evidence=evidence,
            cautions=cautions + flags,
            work=work,
            refusal=Refusal.EXTRAPOLATION,
        )
    known = found.status.name == "KNOWN"
    margin = None
    if not known:
        margin = Margin("prediction interval", found.low, found.high, found.confidence, ASSUMPTION)
    untested = any(flag is Flag.ORDER_UNCHECKED for flag in found.flags) and not known
    return Outcome(
        str(Method.FLODANCE),
        place,
        found.logdet,
        1,
        margin,
        evidence=evidence,
        cautions=cautions + flags,
        work=work,
        assumption=Assumption.RANDOM_ORDER if untested else None,
    )


def evidence_of(found: Extrapolation) -> dict[str, Any]:
    """Return what an extrapolation rests on."""
    tests, chosen = found.back_test, found.chosen
    return {
        "extrapolation": found.status.name,
        "flags": [flag.name for flag in found.flags],
        "from_points": found.last_size,
        "to_points": found.size,
        "outputs": found.outputs,
        "from_logdet": found.last_logdet,
        "exponent": None if chosen is None else chosen.exponent,
        "noise_half_width": found.noise,
        "floor": None
        if found.floor is None
        else {"smallest": found.floor.smallest, "floor": found.floor.floor, "reached": found.floor.reached},
        "order": _order_evidence(found.order),
        "back_test": None
        if tests is None
        else {
            "intervals": len(tests.judged),
            "missed": tests.missed,
            "inflation": tests.inflation,
            "factor": tests.factor,
            "changed": tests.changed,
        },
        "candidates": []
        if tests is None
        else [
            {
                "first_size": each.first_size,
                "order": each.order,
                "exponent": each.exponent,
                "weight": each.weight,
                "changed": each.changed,
            }
            for each in sorted(tests.candidates, key=lambda each: -each.weight)
        ],
    }


def _look(each: Extrapolation) -> dict[str, Any]:
    return {
        "points": each.last_size,
        "extrapolation": each.status.name,
        "logdet": each.logdet,
        "low": each.low,
        "high": each.high,
    }
