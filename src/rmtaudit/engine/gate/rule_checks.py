"""What the types of a rule cannot say: which of its keys belong together, and which words exist."""

from __future__ import annotations

from collections.abc import Mapping

from rmtaudit.engine.gate.policy import (
    CHANGES,
    DIRECTIONS,
    LIMITS,
    MODEL_FACTS,
    RELATIONS,
    SUBJECTS,
    Rule,
    listed,
)
from rmtaudit.engine.gate.policy_errors import contradiction, unknown_word, wrong_value
from rmtaudit.errors import UsageError
from rmtaudit.report.failing import parse_fail_on

_ONE_NUMBER = ("mean", "median", "lowest", "highest")
_EXAMPLE = "metric: alpha, finding: error, diagnosis, relation or claim"


def check_rule(rule: Rule, places: Mapping[str, str], where: str) -> None:
    """Raise ``UsageError`` where the keys of a rule contradict each other, or a word does not exist.

    Parameters
    ----------
    rule
        The rule.
    places
        File and line of each of its keys.
    where
        Of the rule.

    Raises
    ------
    UsageError
        RA-PO-003, RA-PO-005 or RA-PO-006.
    """
    subjects = [name for name in SUBJECTS if getattr(rule, name) is not None]
    if len(subjects) != 1:
        what = f"judges {' and '.join(subjects)} at once" if subjects else "does not state what it judges"
        hint = "Write a separate rule for each." if subjects else f"Add one of {_EXAMPLE}."
        raise contradiction(f"The rule {rule.id!r} {what}.", hint, places[subjects[1]] if subjects else where)
    limits = [name for name in LIMITS if getattr(rule, name) is not None]
    subject = subjects[0]
    if subject != "metric" and limits:
        raise contradiction(
            f"{limits[0]} has no effect on a rule about {subject}.",
            _hint_for(subject),
            places[limits[0]],
        )
    if subject == "metric":
        _check_metric(rule, limits, places)
    _check_words(rule, places)
    _check_selector(rule, places)
    if rule.only_with == "baseline" and rule.needs == "weights":
        raise contradiction(
            f"The rule {rule.id!r} needs the weights of both models.",
            "Write only_with: weights.",
            places["only_with"],
        )
    if rule.new and subject == "claim":
        raise contradiction("new has no effect on a claim.", "Omit it.", places["new"])


def _hint_for(subject: str) -> str:
    return {
        "finding": "A finding may not occur at all; write the codes or the severity: finding: error",
        "claim": "A claim either holds or does not. Omit the key.",
    }.get(subject, f"Write {subject}: {{allowed: [identical]}}.")


def _check_metric(rule: Rule, limits: list[str], places: Mapping[str, str]) -> None:
    metric = rule.metric or ""
    if not limits:
        raise contradiction(
            f"The rule {rule.id!r} does not state what {metric} must satisfy.",
            "Add threshold: 8.0, or another of " + ", ".join(LIMITS) + ".",
            places["metric"],
        )
    if "allowed" in limits and "forbidden" in limits:
        raise contradiction("allowed and forbidden exclude each other.", "Keep one.", places["forbidden"])
    sided = [name for name in limits if name in ("threshold", "min_absolute_change", "min_relative_change")]
    if sided and rule.greater_is_better is None and metric not in DIRECTIONS:
        raise contradiction(
            f"{sided[0]} of {metric}: neither the rule nor the metric states which direction is better.",
            "Add greater_is_better: true or false, or use range or max_absolute_change.",
            places[sided[0]],
        )
    if rule.greater_is_better is not None and not sided:
        raise contradiction(
            "greater_is_better has no effect without a threshold or a least change.",
            "Omit it.",
            places["greater_is_better"],
        )
    if rule.range is not None and rule.range[0] > rule.range[1]:
        low, high = rule.range
        raise wrong_value(
            "range", f"{low} is above {high}.", places["range"], f"Write range: [{high}, {low}]."
        )
    if rule.new and any(name in CHANGES for name in limits):
        raise contradiction(
            "new has no effect on a change, which is always measured against the baseline.",
            "Omit it.",
            places["new"],
        )
    if metric == "digest" and limits != ["same_as_baseline"]:
        raise contradiction(
            "A digest can only be compared with that of the baseline.",
            "Write same_as_baseline: true.",
            places[limits[0]],
        )


def _check_words(rule: Rule, places: Mapping[str, str]) -> None:
    for key in ("diagnosis", "relation"):
        choice = getattr(rule, key)
        if choice is None:
            continue
        known = RELATIONS if key == "relation" else _diagnoses()
        if (choice.allowed is None) == (choice.forbidden is None):
            raise contradiction(
                f"{key} takes either allowed or forbidden.",
                f"Write {key}: {{allowed: [{known[0]}]}}.",
                places[key],
            )
        for word in choice.allowed or choice.forbidden or ():
            if word not in known:
                raise unknown_word(key, word, known, places[key])
    for code in listed(rule.finding):
        _check_finding(code, places["finding"])
    for kind in listed(rule.on.kind):
        kinds = _kinds()
        if kind not in kinds:
            raise unknown_word("kind of layer", kind, kinds, places["on"])


def _diagnoses() -> tuple[str, ...]:
    from rmtaudit.report.comparison_words import DIAGNOSES

    return DIAGNOSES


def _kinds() -> tuple[str, ...]:
    from rmtaudit.matrices.layers import LayerKind

    return tuple(map(str, LayerKind))


def _check_finding(code: str, where: str) -> None:
    """Raise ``UsageError`` for a code that nobody raises; those of plugins have a prefix of their own."""
    lowered = code.lower()
    if lowered not in ("error", "warning") and "-" in code and not lowered.startswith("ra-"):
        return
    try:
        condition = parse_fail_on(code)
    except UsageError as error:
        hint = error.hint or "Write a severity or a code: finding: RA-FO-001"
        raise UsageError("RA-PO-006", error.message, hint=hint, where=where) from None
    if not condition:
        raise wrong_value("finding", "`never` would forbid nothing.", where, "Omit the rule.")


def _check_selector(rule: Rule, places: Mapping[str, str]) -> None:
    whole = rule.metric in MODEL_FACTS or rule.subject in ("relation", "claim")
    if whole and "on" in places:
        what = rule.metric or rule.subject
        raise contradiction(
            f"on has no effect, because {what} concerns the whole model.", "Omit it.", places["on"]
        )
    if rule.on.of in _ONE_NUMBER and (rule.subject != "metric" or rule.choice is not None or rule.new):
        raise contradiction(
            f"on.of: {rule.on.of} combines many numbers into one, but this rule compares words or layers.",
            "Write of: every.",
            places["on"],
        )
    if rule.on.of in _ONE_NUMBER and rule.on.each == "layer":
        raise contradiction(
            f"on.of: {rule.on.of} has no effect on single layers.", "Write each: model.", places["on"]
        )
