"""Rules about numbers: thresholds and ranges, and changes against a baseline."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rmtaudit.engine.gate.estimates import Estimate, Limits, aggregated, change_of, estimate_of
from rmtaudit.engine.gate.judged import Judged, unseen
from rmtaudit.engine.gate.policy import DIRECTIONS, MODEL_FACTS, PAIR_METRICS, Rule
from rmtaudit.engine.gate.seen import share_seen, unseen_layers
from rmtaudit.engine.gate.subject import Candidate
from rmtaudit.names import display_name, suggestion
from rmtaudit.report.gate import CheckEvidence
from rmtaudit.report.layer import LayerResult, MetricResult
from rmtaudit.report.numbers import format_value, percent

if TYPE_CHECKING:
    from rmtaudit.report.comparison import LayerComparison

    Source = LayerResult | LayerComparison


@dataclass(frozen=True, slots=True)
class _Demand:
    """One limit of a rule: on the value itself, or on its change."""

    limits: Limits
    change: bool = False
    relative: bool = False


def judge_number(rule: Rule, candidate: Candidate, layer: Source, confidence: float) -> Judged:
    """Return what comes of one layer under a rule about a number."""
    value = _value(rule, candidate, layer)
    if isinstance(value, str):
        return unseen(_name(layer), value, rule.metric)
    name = _name(layer)
    estimate = estimate_of(value, confidence)
    if estimate is None:
        shown = display_name(str(value.value), longest=40)
        return unseen(name, f"has {rule.metric} '{shown}', which is not a number", rule.metric)
    baseline = _baseline(rule, candidate, layer, confidence)
    return _judged(rule, name, estimate, baseline)


def judge_aggregate(
    rule: Rule, candidate: Candidate, layers: Sequence[Source], confidence: float
) -> list[Judged]:
    """Return what comes of the mean, median, lowest or highest value of layers."""
    estimates, baselines, problems = [], [], []
    for layer in layers:
        value = _value(rule, candidate, layer)
        estimate = None if isinstance(value, str) else estimate_of(value, confidence)
        if estimate is None:
            text = value if isinstance(value, str) else f"has {rule.metric} that is not a number"
            problems.append(unseen(_name(layer), text, rule.metric))
            continue
        baseline = _baseline(rule, candidate, layer, confidence)
        if isinstance(baseline, str):
            problems.append(unseen(_name(layer), baseline, rule.metric))
            continue
        estimates.append(estimate)
        if baseline is not None:
            baselines.append(baseline)
    if not estimates or (problems and rule.missing == "inconclusive"):
        return problems
    how = rule.on.of
    base = aggregated(baselines, how) if baselines else None
    return [_judged(rule, None, aggregated(estimates, how), base, prefix=f"the {how} ")]


def judge_fact(rule: Rule, candidate: Candidate) -> Judged:
    """Return what comes of a number of the whole model under a rule."""
    value = _fact(rule.metric or "", candidate)
    if isinstance(value, str):
        return unseen(None, value, rule.metric)
    exact = Estimate(value, value, value)
    baseline: Estimate | str | None = None
    if any(demand.change for demand in _demands(rule)):
        baseline = f"has no {rule.metric} of a baseline to compare with"
        if candidate.baseline is not None:
            known = _fact(rule.metric or "", Candidate(report=candidate.baseline))
            baseline = known if isinstance(known, str) else Estimate(known, known, known)
    judged = _judged(rule, None, exact, baseline)
    if rule.metric == "coverage" and judged.outcome == "failed":
        # What was not analysed may be sound or not: that is no failure of the model.
        count = unseen_layers(candidate.report)
        what = f": {count} weight {'tensor was' if count == 1 else 'tensors were'} not analysed"
        text = f"{judged.text}{what if count else ''}"
        return replace(judged, outcome="inconclusive", text=text, excess=0.0)
    return judged


def metric_names(candidate: Candidate) -> list[str]:
    """Return the metrics that a rule may name for this model."""
    return [*candidate.report.metrics, *MODEL_FACTS, *PAIR_METRICS, "signal", "integrity", "dtype"]


def _name(layer: Source) -> str:
    return layer.name if isinstance(layer, LayerResult) else layer.candidate


def _value(rule: Rule, candidate: Candidate, layer: Source) -> MetricResult | str:
    """Return the result of the metric, or why there is none."""
    metric = rule.metric or ""
    if not isinstance(layer, LayerResult):
        return _pair_value(metric, layer)
    if layer.status != "ok":
        return f"was not analysed: {display_name(layer.reason, longest=200)}"
    result = layer.metrics.get(metric)
    if result is None:
        near = suggestion(metric, metric_names(candidate)) if metric not in candidate.report.metrics else ""
        return f"has no metric {display_name(metric)} in this report.{near}".rstrip(".")
    if result.status != "ok":
        return f"has no {metric}: {display_name(result.reason, longest=200)}"
    return result


def _pair_value(metric: str, row: LayerComparison) -> MetricResult | str:
    if row.status != "ok":
        return f"was not compared: {display_name(row.reason, longest=200)}"
    value: float | None = None
    ends: tuple[int | float, int | float] | None = None
    reason = "the size of its change is not defined"
    if metric == "signal_left":
        kept = row.distortion
        if kept is not None:
            value, ends, reason = kept.value, kept.ci, kept.reason
    elif row.change is not None:
        change = row.change
        value = change.relative_frobenius if metric == "relative_change" else change.relative_spectral
    if value is None:
        return f"has no {metric}: {reason}"
    return MetricResult(value=value, se=None, ci=ends, status="ok", reason="")


def _baseline(rule: Rule, candidate: Candidate, layer: Source, confidence: float) -> Estimate | str | None:
    """Return the baseline's value; ``None`` where the rule needs none, a text where it is missing."""
    if not any(demand.change for demand in _demands(rule)):
        return None
    if candidate.baseline is None:
        return f"has no {rule.metric} of a baseline to compare with"
    name = _name(layer)
    other = candidate.base_layer(name)
    result = None if other is None else other.metrics.get(rule.metric or "")
    if result is None or result.value is None:
        why = "has no such layer" if other is None else f"has no {rule.metric} of it"
        return f"cannot be compared: the baseline {why}"
    return estimate_of(result, confidence) or f"has a baseline whose {rule.metric} is not a number"


def _judged(
    rule: Rule, layer: str | None, estimate: Estimate, baseline: Estimate | str | None, prefix: str = ""
) -> Judged:
    if isinstance(baseline, str):
        return unseen(layer, baseline, rule.metric)
    results = [
        _by_demand(rule, demand, layer=layer, estimate=estimate, baseline=baseline, prefix=prefix)
        for demand in _demands(rule)
    ]
    order = ("failed", "inconclusive", "passed")
    return min(results, key=lambda each: (order.index(each.outcome), -each.excess))


def _by_demand(
    rule: Rule,
    demand: _Demand,
    *,
    layer: str | None,
    estimate: Estimate,
    baseline: Estimate | None,
    prefix: str,
) -> Judged:
    compared = estimate
    if demand.change:
        assert baseline is not None
        compared = change_of(estimate, baseline, relative=demand.relative)
    outcome = demand.limits.outcome(compared)
    limit = demand.limits.nearest(compared)
    shown = _shown(rule, demand, estimate=estimate, baseline=baseline, compared=compared, prefix=prefix)
    share = demand.relative or (rule.metric == "coverage" and not demand.change)
    return Judged(
        layer=layer,
        outcome=outcome,
        text=f"{shown}{_relation(compared, limit, outcome, relative=share)}",
        whole=_seen_share(estimate) if rule.metric == "coverage" else "The model",
        evidence=CheckEvidence(
            layer=layer,
            metric=f"{rule.metric}" + ("" if not prefix else f" ({rule.on.of})"),
            value=_finite(estimate.value),
            low=None if estimate.is_exact else _finite(estimate.low),
            high=None if estimate.is_exact else _finite(estimate.high),
            baseline=None if baseline is None else _finite(baseline.value),
            threshold=limit,
        ),
        excess=demand.limits.excess(compared),
    )


def _demands(rule: Rule) -> Iterator[_Demand]:
    better = rule.greater_is_better
    if better is None:
        better = DIRECTIONS.get(rule.metric or "", True)
    if rule.threshold is not None:
        yield _Demand(Limits(low=rule.threshold) if better else Limits(high=rule.threshold))
    if rule.range is not None:
        yield _Demand(Limits(*rule.range))
    for least, relative in ((rule.min_absolute_change, False), (rule.min_relative_change, True)):
        if least is not None:
            limits = Limits(low=least) if better else Limits(high=-least)
            yield _Demand(limits, change=True, relative=relative)
    for most, relative in ((rule.max_absolute_change, False), (rule.max_relative_change, True)):
        if most is not None:
            yield _Demand(Limits(-most, most), change=True, relative=relative)


def _shown(
    rule: Rule,
    demand: _Demand,
    *,
    estimate: Estimate,
    baseline: Estimate | None,
    compared: Estimate,
    prefix: str,
) -> str:
    fact = _FACTS.get(rule.metric or "")
    number = percent if rule.metric == "coverage" else format_value
    interval = (
        "" if estimate.is_exact else f" ({format_value(estimate.low)} to {format_value(estimate.high)})"
    )
    text = f"has {prefix}{rule.metric} {format_value(estimate.value)}{interval}"
    if fact is not None:
        text = fact.format(round(estimate.value))
    if not demand.change or baseline is None:
        return text
    change = _number(compared.value, relative=demand.relative)
    sign = "+" if compared.value > 0 else ""
    ends = ""
    if not compared.is_exact:
        low, high = (_number(end, relative=demand.relative) for end in (compared.low, compared.high))
        ends = f" ({low} to {high})"
    return f"{text}, the baseline {number(baseline.value)}: a change of {sign}{change}{ends}"


_FACTS = {
    "coverage": "were analysed",
    "parameters": "has {:,} parameters",
    "unmatched": "and the baseline have {:,} tensors without a counterpart",
}
"""What is said of a number of the whole model."""


def _seen_share(estimate: Estimate) -> str:
    return f"{percent(estimate.value)} of the parameters of weight matrices"


def _relation(estimate: Estimate, limit: float | None, outcome: str, *, relative: bool) -> str:
    if limit is None:
        return ""
    shown = _number(limit, relative=relative)
    if outcome == "inconclusive":
        return f", and the limit {shown} lies within the interval"
    if outcome == "failed":
        side = "above" if estimate.value > limit else "below"
        return f", {side} the limit {shown}"
    return ""


def _number(value: float, *, relative: bool) -> str:
    if not math.isfinite(value):
        return "more than any share"
    return f"{100 * value:.3g} %" if relative else format_value(value)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _fact(metric: str, candidate: Candidate) -> float | str:
    report = candidate.report
    if metric == "coverage":
        seen = share_seen(report)
        return "has no weight matrix" if seen is None else seen
    if metric == "parameters":
        return float(report.subject["parameters"])
    if candidate.comparison is None:
        return "was not compared with the weights of a baseline"
    coverage = candidate.comparison.coverage
    return float(len(coverage.only_base) + len(coverage.only_candidate))
