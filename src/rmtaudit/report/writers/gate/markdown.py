"""Markdown, for the summary of a step of GitHub Actions, a comment on a merge request or a mail.

GitHub refuses a summary above 1 MiB, so that the text stays below it. Where not all checks fit, those that
passed are left out first, and the rest is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rmtaudit.report.gate import Check, GateDocument, GateSubject
from rmtaudit.report.numbers import format_value, human_count, percent
from rmtaudit.report.writers.gate import GateResult
from rmtaudit.report.writers.gate.words import (
    counts,
    evidence_lines,
    left_out_line,
    one_line,
    policy_line,
    suppression_line,
    verdict_line,
    warns,
)
from rmtaudit.report.writers.markdown import escape_markdown

MOST_BYTES = 2**20
"""What GitHub takes as the summary of one step."""

_RESERVE = 4096
"""Bytes kept for the sentences that count what is left out."""

_OUTCOMES = {
    "passed": "✅ passed",
    "failed": "❌ failed",
    "inconclusive": "❓ inconclusive",
    "unreadable": "⛔ unreadable",
    "suppressed": "🔕 suppressed",
}
_ORDER = ("failed", "inconclusive", "suppressed", "passed")


def write(result: GateResult) -> str:
    """Return the summary, below :data:`MOST_BYTES`."""
    return summary(result.document)


def summary(document: GateDocument, most_bytes: int = MOST_BYTES) -> str:
    """Return the summary in at most so many bytes of UTF-8, with a count of the checks that do not fit.

    Empty where there is hardly any room.
    """
    room = most_bytes - _RESERVE
    if room <= 0:
        return ""
    blocks = list(_blocks(document, lambda _: True))
    left_out = 0
    if sum(_size(block) for block, _ in blocks) > room:
        blocks = list(_blocks(document, lambda check: check.outcome != "passed"))
        left_out = sum(len(subject.checks_of("passed")) for subject in document.subjects)
    lines: list[str] = []
    for block, checks in blocks:
        if _size(block) > room:
            left_out += checks
            room = 0
            continue
        room -= _size(block)
        lines += block
    if left_out:
        noun = "check is" if left_out == 1 else "checks are"
        lines += ["", f"… {left_out} more {noun} not shown. The JSON of the gate has all of them."]
    return "\n".join(lines) + "\n"


def _size(block: list[str]) -> int:
    return len("\n".join(block).encode()) + 1


def _blocks(document: GateDocument, wanted: Callable[[Check], bool]) -> Iterator[tuple[list[str], int]]:
    """Yield lines that stay together, and the number of checks that they show; of checks, those wanted."""
    yield (
        [
            f"## rmtaudit gate: {_OUTCOMES[document.outcome]}",
            "",
            f"- Policy: {escape_markdown(policy_line(document))}",
            *_baseline(document),
            "",
        ],
        0,
    )
    for subject in document.subjects:
        yield _heading(subject), 0
        chosen = filter(wanted, subject.checks)
        ordered = sorted(chosen, key=lambda check: (_rank(check), check.severity != "error"))
        if ordered:
            head = ["| outcome | rule | target | result |", "|---|---|---|---|"]
            yield [*head, _row(ordered[0])], 1
            for check in ordered[1:]:
                yield [_row(check)], 1
            yield [""], 0
        yield from _metrics(subject)
    if document.suppressions:
        yield ["### Suppressions", ""], 0
        for suppression in document.suppressions:
            yield [f"- {escape_markdown(suppression_line(suppression))}"], 0


def _rank(check: Check) -> int:
    return _ORDER.index(check.outcome)


def _baseline(document: GateDocument) -> list[str]:
    baseline = document.baseline
    return [f"- Baseline: {escape_markdown(one_line(baseline.path))}"] if baseline is not None else []


def _heading(subject: GateSubject) -> list[str]:
    lines = [f"### {escape_markdown(one_line(subject.path))}: {_OUTCOMES[subject.outcome]}", ""]
    if subject.error is not None:
        error = subject.error
        code = escape_markdown(one_line(error.code))
        lines.append(f"{escape_markdown(one_line(error.message))} ({code})")
        if error.hint:
            lines += ["", escape_markdown(one_line(error.hint))]
        return [*lines, ""]
    facts = [counts(subject), one_line(subject.format), f"{human_count(subject.parameters)} parameters"]
    if subject.coverage is not None:
        facts.append(f"{percent(subject.coverage.fraction)} of them analysed")
        if subject.coverage.skipped:
            number = subject.coverage.skipped
            facts.append(f"{number} weight tensor{'s' * (number != 1)} not analysed")
    lines += [escape_markdown("; ".join(fact for fact in facts if fact)), ""]
    left_out = left_out_line(subject)
    return [*lines, escape_markdown(left_out), ""] if left_out else lines


def _row(check: Check) -> str:
    outcome = "⚠️ warning" if warns(check) else _OUTCOMES[check.outcome]
    what = escape_markdown(verdict_line(check))
    if check.outcome in ("failed", "inconclusive"):
        what = "<br>".join([what, *map(escape_markdown, evidence_lines(check))])
    elif check.outcome == "passed":
        what = escape_markdown(one_line(check.title))
    target = escape_markdown(one_line(check.target, 300)) if check.target else "the model"
    return f"| {outcome} | {escape_markdown(one_line(check.rule, 300))} | {target} | {what} |"


def _metrics(subject: GateSubject) -> Iterator[tuple[list[str], int]]:
    if not subject.metrics:
        return
    yield ["| metric | value | low | high |", "|---|---:|---:|---:|"], 0
    for name, metric in subject.metrics.items():
        unit = f" ({escape_markdown(one_line(metric.unit))})" if metric.unit else ""
        numbers = " | ".join(format_value(number) for number in (metric.value, metric.low, metric.high))
        yield [f"| {escape_markdown(one_line(name, 200))}{unit} | {numbers} |"], 0
    yield [""], 0
