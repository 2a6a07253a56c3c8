"""What the formats of a gate's result have in common: names made printable, and checks in words."""

from __future__ import annotations

from collections.abc import Iterator

from rmtaudit.names import display_name
from rmtaudit.report.gate import Check, CheckEvidence, CheckOutcome, GateDocument, GateSubject, Suppression
from rmtaudit.report.numbers import format_value

SHOWN_EVIDENCE = 20
"""Pieces of evidence of a check that a format for people shows."""

_LONGEST = 2000

_WORDS: dict[CheckOutcome, str] = {
    "passed": "passed",
    "failed": "failed",
    "inconclusive": "could not be judged",
    "suppressed": "suppressed",
}


def one_line(text: str, longest: int = _LONGEST) -> str:
    """Return hostile text as one printable line, with its two ends where it is longer than ``longest``."""
    return display_name(text, longest=longest)


def whole_line(text: str) -> str:
    """Return hostile text as one printable line, whatever its length: for what must stay distinct."""
    return display_name(text, longest=max(len(text), 1))


def counts(subject: GateSubject) -> str:
    """Return how many checks came to what: ``3 failed, 1 could not be judged, 40 passed``."""
    order: tuple[CheckOutcome, ...] = ("failed", "inconclusive", "suppressed", "passed")
    numbers = [(len(subject.checks_of(outcome)), _WORDS[outcome]) for outcome in order]
    return ", ".join(f"{number} {word}" for number, word in numbers if number) or "no checks"


def check_name(check: Check) -> str:
    """Return the name of a check: its rule, and its target in brackets unless that is the model."""
    target = f" [{whole_line(check.target)}]" if check.target else ""
    return f"{whole_line(check.rule)}{target}"


def warns(check: Check) -> bool:
    """Whether a check of severity ``warning`` did not pass, which informs and never counts."""
    return check.severity == "warning" and check.outcome in ("failed", "inconclusive")


def counts_against(check: Check) -> bool:
    """Whether a check keeps the gate from passing."""
    return check.severity == "error" and check.outcome in ("failed", "inconclusive")


def verdict_line(check: Check) -> str:
    """Return what came of a check, as a sentence, with the reason of a suppression.

    The message of a check that could not be judged has its reason.
    """
    reason = check.reason if check.outcome == "suppressed" else ""
    return " ".join(one_line(text) for text in (check.message, reason) if text)


def evidence_lines(check: Check) -> Iterator[str]:
    """Yield the evidence of a check, a line each, and a last line that counts what is left out."""
    for evidence in check.evidence[:SHOWN_EVIDENCE]:
        yield _evidence_line(evidence)
    rest = max(len(check.evidence) - SHOWN_EVIDENCE, 0) + check.evidence_left_out
    if rest:
        yield f"… and {rest} more"


def suppression_line(suppression: Suppression) -> str:
    """Return a suppression as a sentence."""
    parts = [whole_line(suppression.rule)]
    parts += [f"layers {one_line(suppression.layer)}"] if suppression.layer else []
    parts += [one_line(suppression.finding)] if suppression.finding else []
    state = "expired on" if suppression.expired else "expires on"
    effect = (
        "" if suppression.expired else f", changed {suppression.used} check{'s' * (suppression.used != 1)}"
    )
    return f"{', '.join(parts)}: {one_line(suppression.reason)} ({state} {suppression.expires}{effect})"


def left_out_line(subject: GateSubject) -> str:
    """Return the rules that did not apply to a subject, as a sentence; empty if all did."""
    if not subject.left_out:
        return ""
    rules = ", ".join(whole_line(each.rule) for each in subject.left_out)
    reasons = " ".join(dict.fromkeys(one_line(each.reason) for each in subject.left_out))
    return f"Skipped: {rules}. {reasons}"


def policy_line(document: GateDocument) -> str:
    """Return the name, the version and the digest of the policy."""
    policy = document.policy
    version = f" {one_line(policy.version)}" if policy.version else ""
    return f"{one_line(policy.name)}{version} (sha256 {one_line(policy.sha256)[:12]})"


def _evidence_line(evidence: CheckEvidence) -> str:
    where = one_line(evidence.layer) if evidence.layer is not None else "the model"
    facts = [one_line(evidence.finding)] if evidence.finding else []
    metric = one_line(evidence.metric) if evidence.metric else ""
    if metric or evidence.value is not None:
        value = format_value(evidence.value)
        if evidence.low is not None and evidence.high is not None:
            value += f" [{format_value(evidence.low)}–{format_value(evidence.high)}]"
        facts.append(f"{metric} {value}".strip())
    for label, number in (("baseline", evidence.baseline), ("threshold", evidence.threshold)):
        if number is not None:
            facts.append(f"{label} {format_value(number)}")
    return f"{where}: {', '.join(facts)}" if facts else where
