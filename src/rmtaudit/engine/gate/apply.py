"""A policy applied to one model: a check for every rule and target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rmtaudit.engine.gate.checks import Exceptions, check_of, inconclusive_check
from rmtaudit.engine.gate.claims import judge_claim
from rmtaudit.engine.gate.findings import judge_findings, missing_analyzer
from rmtaudit.engine.gate.judged import Judged, unseen
from rmtaudit.engine.gate.load import Policy
from rmtaudit.engine.gate.numbers import judge_aggregate, judge_fact, judge_number
from rmtaudit.engine.gate.policy import MODEL_FACTS, PAIR_METRICS, Rule
from rmtaudit.engine.gate.subject import Candidate
from rmtaudit.engine.gate.targets import HARMLESS, Target, is_harmless, takes, targets
from rmtaudit.engine.gate.texts import is_word, judge_diagnosis, judge_digest, judge_relation, judge_word
from rmtaudit.names import display_name
from rmtaudit.report.gate import Check
from rmtaudit.report.layer import LayerResult

if TYPE_CHECKING:
    from rmtaudit.report.comparison import LayerComparison

_WHOLE = Target("model", "")
_NO_WEIGHTS = (
    "The weights of the candidate and of a baseline are needed; give both as checkpoints, not as reports."
)


def apply_policy(policy: Policy, candidate: Candidate, exceptions: Exceptions) -> tuple[Check, ...]:
    """Return the checks of a policy on one model, in the order of its rules."""
    checks: list[Check] = []
    for rule in policy.rules:
        if not left_out(rule, candidate):
            confidence = policy.confidence if rule.confidence is None else float(rule.confidence)
            checks.extend(_checks(rule, candidate, exceptions, confidence))
    return tuple(checks)


def left_out(rule: Rule, candidate: Candidate) -> bool:
    """Whether a rule is for cases with a baseline, or with the weights of both, and this is none."""
    if rule.only_with == "baseline":
        return not candidate.has_baseline
    return rule.only_with == "weights" and not candidate.has_weights


def _checks(rule: Rule, candidate: Candidate, exceptions: Exceptions, confidence: float) -> list[Check]:
    if rule.subject == "relation":
        return [check_of(rule, _WHOLE, judge_relation(rule, candidate), exceptions)]
    if rule.subject == "claim":
        return [check_of(rule, _WHOLE, judge_claim(rule, candidate), exceptions)]
    if rule.metric == "digest":
        return [check_of(rule, _WHOLE, [judge_digest(candidate)], exceptions)]
    if rule.metric in MODEL_FACTS:
        return [check_of(rule, _WHOLE, [judge_fact(rule, candidate)], exceptions)]
    if rule.subject == "diagnosis" or rule.metric in PAIR_METRICS:
        return _of_pairs(rule, candidate, exceptions, confidence)
    return _of_layers(rule, candidate, exceptions, confidence)


def _of_pairs(rule: Rule, candidate: Candidate, exceptions: Exceptions, confidence: float) -> list[Check]:
    if candidate.comparison is None:
        return [inconclusive_check(rule, next(iter(targets((), rule.on))), _NO_WEIGHTS)]
    rows = [_Pair(row) for row in candidate.comparison.layers]
    if rule.metric in PAIR_METRICS:
        rows = [row for row in rows if row.kind is not None]
    checks = []
    for target, group in targets(rows, rule.on).items():
        if not group:
            checks.append(inconclusive_check(rule, target, _nothing(rule)))
            continue
        pairs = [pair.row for pair in group]
        if rule.subject == "diagnosis":
            results = [judge_diagnosis(rule, row) for row in pairs]
        elif rule.on.of == "every":
            results = [judge_number(rule, candidate, row, confidence) for row in pairs]
        else:
            results = judge_aggregate(rule, candidate, pairs, confidence)
        checks.append(check_of(rule, target, results, exceptions))
    return checks


class _Pair:
    """A pair of tensors by the name in the candidate."""

    def __init__(self, row: LayerComparison) -> None:
        self.row = row
        self.name = row.candidate
        self.kind = row.kind


def _of_layers(rule: Rule, candidate: Candidate, exceptions: Exceptions, confidence: float) -> list[Check]:
    layers = candidate.report.layers
    if rule.subject == "finding":
        analyzer = missing_analyzer(rule, candidate.report)
        if analyzer:
            reason = f"The report was made without the analyzer {display_name(analyzer)}."
            return [inconclusive_check(rule, next(iter(targets((), rule.on))), reason)]
    elif rule.metric != "integrity":
        layers = tuple(layer for layer in layers if not is_harmless(layer))
    checks = []
    for target, group in targets(layers, rule.on).items():
        results = _of_group(rule, candidate, group, confidence) if group else _unseen_rows(rule, candidate)
        if results:
            checks.append(check_of(rule, target, results, exceptions))
        else:
            checks.append(
                inconclusive_check(rule, target, _held_otherwise(rule, candidate) or _nothing(rule))
            )
    return checks


def _of_group(
    rule: Rule, candidate: Candidate, group: Sequence[LayerResult], confidence: float
) -> list[Judged]:
    if rule.subject == "finding":
        judged = [each for layer in group for each in judge_findings(rule, candidate, layer)]
        # A vector, a copy or a constant that was not examined hides nothing.
        harmless = {layer.name for layer in group if layer.skip in HARMLESS}
        seen = [each for each in judged if each.outcome != "inconclusive" or each.layer not in harmless]
        return seen or judged
    if is_word(rule):
        return [judge_word(rule, candidate, layer) for layer in group]
    if rule.on.of == "every":
        return [judge_number(rule, candidate, layer, confidence) for layer in group]
    return judge_aggregate(rule, candidate, group, confidence)


def _unseen_rows(rule: Rule, candidate: Candidate) -> list[Judged]:
    """Return the rows that a selector takes and that no metric can be had of."""
    return [
        unseen(layer.name, f"was not analysed: {display_name(layer.reason, longest=200)}", rule.metric)
        for layer in candidate.report.layers
        if takes(rule.on, layer.name, layer.kind)
    ]


def _held_otherwise(rule: Rule, candidate: Candidate) -> str:
    """Return why a selector takes layers of the baseline and none here: the file divides a tensor otherwise.

    A Keras file says that an array holds the gates of a recurrent layer; other containers have the array
    alone. Empty where that is not the reason.
    """
    if candidate.baseline is None:
        return ""
    held = {layer.tensor: layer for layer in candidate.report.layers}
    for layer in candidate.baseline.layers:
        if takes(rule.on, layer.name, layer.kind) and layer.tensor in held:
            other = held[layer.tensor]
            name, tensor = (display_name(text, longest=120) for text in (layer.name, layer.tensor))
            here = (
                f"one matrix of kind {other.kind}"
                if other.name == other.tensor
                else f"'{display_name(other.name)}' ({other.kind})"
            )
            return (
                f"No layer matches the rule's `on`: the baseline has '{name}' ({layer.kind}), and "
                f"this file holds the tensor '{tensor}' as {here}. Gate the container that the "
                "policy was made from, or make a policy from this one."
            )
    return ""


def _nothing(rule: Rule) -> str:
    if rule.on.everywhere:
        return "The model has no layer that the rule applies to."
    return "No layer matches the rule's `on`."
