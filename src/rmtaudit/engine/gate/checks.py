"""From the layers of a target to one check: its outcome, its sentence and its evidence."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field

from rmtaudit.engine.gate.judged import Judged
from rmtaudit.engine.gate.policy import Rule, SuppressionEntry
from rmtaudit.engine.gate.targets import Target, matches
from rmtaudit.engine.gate.words import title_of
from rmtaudit.report.gate import Check, CheckEvidence, CheckOutcome, Suppression

MOST_EVIDENCE = 20
"""Pieces of evidence that a check lists."""


@dataclass(slots=True)
class Exceptions:
    """The suppressions of a policy on a day, and how often each was used."""

    entries: Sequence[SuppressionEntry]
    day: datetime.date
    used: dict[int, int] = field(default_factory=dict)

    def applied(self, rule: Rule, judged: Judged) -> int | None:
        """Return the place of the suppression that covers what failed or was not seen."""
        for place, entry in enumerate(self.entries):
            if entry.rule == rule.id and not self.expired(entry) and _covers(entry, judged):
                return place
        return None

    def expired(self, entry: SuppressionEntry) -> bool:
        """Whether the last day of a suppression is past."""
        return self.day > datetime.date.fromisoformat(entry.expires)

    def listed(self) -> tuple[Suppression, ...]:
        """Return all of them, as the document has them."""
        return tuple(
            Suppression(
                rule=entry.rule,
                layer=entry.layer,
                finding=entry.finding,
                reason=entry.reason,
                expires=entry.expires,
                expired=self.expired(entry),
                used=self.used.get(place, 0),
            )
            for place, entry in enumerate(self.entries)
        )


def check_of(rule: Rule, target: Target, results: Sequence[Judged], exceptions: Exceptions) -> Check:
    """Return the check of a target, given what came of each of its layers."""
    remaining: list[Judged] = []
    accepted: list[Judged] = []
    places: dict[int, None] = {}
    for each in results:
        place = exceptions.applied(rule, each) if each.outcome != "passed" else None
        if place is None:
            remaining.append(each)
        else:
            accepted.append(each)
            places[place] = None
    for place in places:
        exceptions.used[place] = exceptions.used.get(place, 0) + 1
    failed = sorted((each for each in remaining if each.outcome == "failed"), key=lambda each: -each.excess)
    unseen = [each for each in remaining if each.outcome == "inconclusive"]
    passed = [each for each in remaining if each.outcome == "passed"]
    if rule.missing == "ignore" and passed and not failed:
        unseen = [each for each in unseen if each.evidence.value is not None]
    outcome: CheckOutcome = "passed"
    reason, evidence, message = "", passed, _passed(passed)
    if failed:
        outcome, evidence, message = "failed", failed, _listed(failed)
    elif unseen:
        outcome, evidence, message = "inconclusive", unseen, f"Inconclusive: {_listed(unseen, start=False)}"
        reason = _sentence(unseen[0].sentence)
    elif accepted:
        first = exceptions.entries[next(iter(places))]
        outcome, evidence, reason = "suppressed", accepted, first.reason
        message = f"{_listed(accepted)} Accepted until {first.expires}."
    elif not passed:
        outcome, message = "inconclusive", "Inconclusive: there is nothing that the rule applies to."
        reason = "There is nothing that the rule applies to."
    pieces = [each.evidence for each in evidence] if outcome != "passed" else _with_numbers(passed)
    return Check(
        rule=rule.id,
        title=title_of(rule),
        why=rule.why,
        level=target.level,
        target=target.name,
        severity=rule.severity,
        outcome=outcome,
        message=message,
        reason=reason,
        evidence=tuple(pieces[:MOST_EVIDENCE]),
        evidence_left_out=max(0, len(pieces) - MOST_EVIDENCE),
        false_alarm_rate=None if rule.false_alarms is None else _rate(rule),
    )


def inconclusive_check(rule: Rule, target: Target, reason: str) -> Check:
    """Return the check of a rule that cannot be evaluated at all."""
    return Check(
        rule=rule.id,
        title=title_of(rule),
        why=rule.why,
        level=target.level,
        target=target.name,
        severity=rule.severity,
        outcome="inconclusive",
        message=f"Inconclusive: {reason[:1].lower()}{reason[1:]}",
        reason=reason,
        false_alarm_rate=None if rule.false_alarms is None else _rate(rule),
    )


def _rate(rule: Rule) -> float:
    counts = rule.false_alarms
    assert counts is not None
    return min(1.0, counts.alarms / counts.models)


def _covers(entry: SuppressionEntry, judged: Judged) -> bool:
    if entry.finding is not None and (judged.finding or "").lower() != entry.finding.lower():
        return False
    if entry.layer is None:
        return True
    return judged.layer is not None and matches((entry.layer,), judged.layer)


def _listed(results: Sequence[Judged], *, start: bool = True) -> str:
    """Return the first result as a sentence, and how many layers are like it."""
    first = results[0].sentence
    if not start and first.startswith("The model"):
        first = f"the{first.removeprefix('The')}"
    layers = {each.layer for each in results} - {None, results[0].layer}
    if results[0].layer is None and len(results) > 1:
        own = next(each for each in results if each.layer is not None)
        more = f", and {len(layers) - 1} more" if len(layers) > 1 else ""
        return f"{first}; {own.sentence}{more}."
    if not layers:
        return _sentence(first)
    plural = "layer" if len(layers) == 1 else "layers"
    return f"{first}; the same holds for {len(layers)} other {plural}."


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?")) else f"{text}."


def _passed(passed: Sequence[Judged]) -> str:
    if not passed:
        return ""
    if len(passed) == 1:
        return _sentence(passed[0].sentence)
    return f"All {len(passed)} layers comply."


def _with_numbers(passed: Sequence[Judged]) -> list[CheckEvidence]:
    """Return the evidence of what passed: the numbers nearest to their limit."""
    numbers = [each for each in passed if each.evidence.value is not None]
    return [each.evidence for each in sorted(numbers, key=lambda each: -each.excess)]
