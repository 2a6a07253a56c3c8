"""A policy in words, before it is applied to anything."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rmtaudit.engine.gate.load import Policy
from rmtaudit.engine.gate.policy import FalseAlarms, Rule
from rmtaudit.engine.gate.words import title_of
from rmtaudit.names import display_name
from rmtaudit.report.numbers import percent

_CHECKS = {
    "model": "",
    "layer": "One check for every layer.",
    "role": "One check for every role of layers.",
    "kind": "One check for every kind of layer.",
}
_ONLY = {"baseline": "Only with a baseline.", "weights": "Only with the weights of the model and a baseline."}
_NEEDS = {
    "baseline": "Inconclusive without a baseline.",
    "weights": "Inconclusive without the weights of the model and a baseline.",
}


def explained_policy(policy: Policy) -> Iterator[str]:
    """Yield the lines that say what a policy checks, and why."""
    yield f"{display_name(policy.name)} {display_name(policy.version)} ({', '.join(policy.sources)})"
    shown = percent(policy.confidence)
    yield (
        "A number passes or fails only if its whole interval does; the confidence of the "
        f"interval is {shown}."
    )
    for rule in policy.rules:
        yield ""
        yield f"{rule.id}: {display_name(title_of(rule), longest=1000)}"
        for line in _remarks(rule, policy.confidence):
            yield f"  {line}"
    if policy.suppress:
        yield ""
        yield "Exceptions, each until the end of its day:"
    for entry in policy.suppress:
        what = " ".join(filter(None, (entry.finding, entry.layer and f"in {entry.layer}")))
        shown = display_name(f"{entry.rule} {what}".strip(), longest=400)
        yield f"  {shown} until {entry.expires}: {display_name(entry.reason, longest=1000)}"


def _remarks(rule: Rule, confidence: float) -> Iterator[str]:
    yield f"Why: {display_name(rule.why, longest=1000)}"
    if rule.severity == "warning":
        yield "It is for information and never fails the gate."
    if rule.only_with is not None:
        yield _ONLY[rule.only_with]
    elif rule.needs is not None:
        yield _NEEDS[rule.needs]
    if _CHECKS[rule.on.each]:
        yield _CHECKS[rule.on.each]
    if rule.confidence is not None and rule.confidence != confidence:
        yield f"Its intervals have a confidence of {percent(float(rule.confidence))}."
    if rule.missing == "ignore":
        yield "Layers without the metric are ignored, unless none has it."
    if rule.false_alarms is not None:
        what = "models" if rule.needs is None else "pairs of models"
        yield alarms_in_words(rule.false_alarms, what)


def alarms_in_words(counts: FalseAlarms, what: str = "models") -> str:
    """Return how often a rule failed on healthy models, with the rate that this cannot exclude."""
    upper = upper_rate(counts)
    return f"It failed on {counts.alarms} of {counts.models} healthy {what} (95 %: at most {percent(upper)})."


def upper_rate(counts: FalseAlarms, level: float = 0.05) -> float:
    """Return the rate above which so few alarms have a probability below a level (Clopper, Pearson 1934)."""
    alarms, models = counts.alarms, counts.models
    if alarms >= models:
        return 1.0
    low, high = alarms / models, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        below = sum(
            math.comb(models, k) * middle**k * (1 - middle) ** (models - k) for k in range(alarms + 1)
        )
        low, high = (middle, high) if below > level else (low, middle)
    return high
