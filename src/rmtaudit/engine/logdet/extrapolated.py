"""FLODANCE: a minor that is too large to factor, from those that are not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from rmtaudit.engine.logdet.answer import Assumption, Margin, MarginKind, Outcome, Refusal
from rmtaudit.engine.logdet.exact import Resources, exact_logdet
from rmtaudit.engine.logdet.series import SizeTable
from rmtaudit.engine.logdet.settings import LogdetSettings, Method, Place
from rmtaudit.engine.logdet.target import Facts
from rmtaudit.engine.logdet.tiling import grown_memory
from rmtaudit.errors import UsageError
from rmtaudit.kernels.flodance import (
    Anytime,
    BackTest,
    Extrapolation,
    Flag,
    OrderTest,
    Status,
    Watch,
    extrapolate,
    order_test,
)
from rmtaudit.matrices.sources import Reach

_BASIS = (
    "future noise, coefficients and disagreement of the candidates, widened where the back-test "
    "requires it; valid if the points come in random order and the increments keep following the "
    "same law"
)


def by_extrapolation(
    facts: Facts,
    settings: LogdetSettings,
    resources: Resources,
    *,
    place: Place = Place.IN_MEMORY,
    asymmetry: float = 0.0,
) -> Outcome:
    """Factor leading minors, as many as may be looked at or as the tolerance needs, and extrapolate.

    Points that do not come in random order are refused before anything is factored.

    Parameters
    ----------
    facts
        Of the matrix, which is symmetric and offers blocks.
    settings
        Size, outputs, tolerance, coverage and seed.
    resources
        What may be used.
    place
        Where the factorisation is planned.
    asymmetry
        As of :func:`~rmtaudit.engine.logdet.exact.exact_logdet`.
    """
    outputs = settings.outputs
    size = settings.size if settings.size is not None else facts.order // outputs
    points = min(facts.order // outputs, size, settings.up_to or size)
    if not points:
        raise UsageError(
            "RA-LD-030", f"The matrix has {facts.order:,} rows, fewer than one point of {outputs:,} outputs."
        )
    rows = points * outputs
    grown = settings.tolerance is not None
    order = _order(facts, settings, points) if size > points or grown else None
    if order is not None and order.rejected:
        outcome = Outcome(
            method=Method.FLODANCE,
            place=place,
            evidence={"extrapolation": Status.ORDER.name, "flags": [], "order": _order_evidence(order)},
        )
        return outcome.refused(Refusal.ORDERED_POINTS, Status.ORDER.value)
    watch = Watch(size, settings.tolerance, outputs=outputs, confidence=settings.confidence, order=order)
    ends: list[Anytime] = []

    def enough(minors: torch.Tensor) -> bool:
        end = watch.look(minors)
        ends.extend([] if end is None else [end])
        return end is not None

    memory = grown_memory(rows, resources.memory, resources.threads) if grown else resources.memory
    factor = exact_logdet(
        facts.leading(rows).source,
        replace(resources, memory=memory),
        enough=enough if grown else None,
        asymmetry=asymmetry,
        entries=facts.rounding or 0.0,
    )
    factor = replace(factor, method=Method.FLODANCE)
    if factor.minors is None or factor.refusal is Refusal.NOT_DEFINITE:
        return replace(factor, minors=None, cautions=())
    end = ends[0] if ends else watch.end(factor.minors)
    evidence: dict[str, Any] = {
        "factor": factor.evidence,
        **_evidence(end.extrapolation),
        "stop": end.stop.value,
        "looks": [
            {
                "points": each.last_size,
                "extrapolation": each.status.name,
                "logdet": each.logdet,
                "low": each.low,
                "high": each.high,
            }
            for each in end.looks
        ],
    }
    outcome = replace(
        factor,
        evidence=evidence,
        work={**factor.work, "rows_factored": len(factor.minors), "rows_allowed": rows},
    )
    return _with_extrapolation(outcome, end.extrapolation)


def by_series(table: SizeTable, settings: LogdetSettings) -> Outcome:
    """Extrapolate the log-determinants of a table."""
    assert settings.size is not None
    series = table.known(settings)
    extrapolation = extrapolate(series, settings.size, confidence=settings.confidence)
    evidence = _evidence(extrapolation)
    truth, value = table.held_out(settings), extrapolation.logdet
    low, high = extrapolation.low, extrapolation.high
    predicted = extrapolation.status is not Status.KNOWN
    if predicted and truth is not None and low is not None and high is not None and value is not None:
        evidence["held_out"] = {
            "logdet": truth,
            "error": value - truth,
            "error_per_dimension": (value - truth) / extrapolation.dimension,
            "inside": low <= truth <= high,
        }
    outcome = Outcome(
        method=Method.FLODANCE,
        place=Place.IN_MEMORY,
        evidence=evidence,
        work={"sizes_used": len(series.sizes)},
    )
    return _with_extrapolation(outcome, extrapolation)


def _with_extrapolation(factor: Outcome, extrapolation: Extrapolation) -> Outcome:
    """Return the outcome of an extrapolation; of a size that is known, with the margin of its factor."""
    known = extrapolation.status is Status.KNOWN
    low, high = extrapolation.low, extrapolation.high
    outcome = replace(
        factor,
        logdet=extrapolation.logdet,
        sign=1,
        refusal=None,
        reason="",
        carries_entries=True,
    )
    for flag in extrapolation.flags:
        outcome = outcome.cautioned("RA-LD-108", f"{flag.value}.")
    if extrapolation.logdet is None or low is None or high is None:
        return outcome.refused(Refusal.NOT_EXTRAPOLATED, extrapolation.status.value)
    if known:
        return outcome
    margin = Margin(
        kind=MarginKind.PREDICTION, low=low, high=high, level=extrapolation.confidence, basis=_BASIS
    )
    untested = Flag.ORDER_UNCHECKED in extrapolation.flags
    return replace(outcome, margin=margin, assumption=Assumption.RANDOM_ORDER if untested else None)


def _order(facts: Facts, settings: LogdetSettings, points: int) -> OrderTest | None:
    """Test the order of the points; ``None`` where that needs submatrices that the source does not offer."""
    if Reach.PRINCIPAL not in facts.source.reach:
        return None
    generator = torch.Generator().manual_seed(settings.seed)
    total = facts.order // settings.outputs
    return order_test(facts.source.principal, points, total, generator=generator, outputs=settings.outputs)


def _evidence(extrapolation: Extrapolation) -> dict[str, Any]:
    """Return what an extrapolation rests on."""
    tests, chosen, floor = extrapolation.back_test, extrapolation.chosen, extrapolation.floor
    return {
        "extrapolation": extrapolation.status.name,
        "flags": [flag.name for flag in extrapolation.flags],
        "from_points": extrapolation.last_size,
        "to_points": extrapolation.size,
        "outputs": extrapolation.outputs,
        "from_logdet": extrapolation.last_logdet,
        "exponent": None if chosen is None else chosen.exponent,
        "noise_half_width": extrapolation.noise,
        "floor": None if floor is None else _fields(floor, ("smallest", "floor", "reached")),
        "order": _order_evidence(extrapolation.order),
        "back_test": None if tests is None else _back_test_evidence(tests),
        "candidates": []
        if tests is None
        else [
            _fields(each, ("first_size", "order", "exponent", "weight", "changed"))
            for each in sorted(tests.candidates, key=lambda each: -each.weight)
        ],
    }


def _back_test_evidence(tests: BackTest) -> dict[str, Any]:
    return {"intervals": len(tests.judged), **_fields(tests, ("missed", "inflation", "factor", "changed"))}


def _order_evidence(order: OrderTest | None) -> dict[str, Any] | None:
    return None if order is None else _fields(order, ("p_value", "start", "spread", "rest", "points"))


def _fields(record: object, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(record, name) for name in names}
