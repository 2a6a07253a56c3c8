"""What a gate tells GitHub Actions: an annotation for each check that failed or could not be judged."""

from __future__ import annotations

from collections.abc import Iterator

from rmtaudit.report.gate import GateSubject
from rmtaudit.report.writers.annotations import Annotation, written_annotations
from rmtaudit.report.writers.gate import GateResult
from rmtaudit.report.writers.gate.words import (
    check_name,
    counts_against,
    evidence_lines,
    one_line,
    suppression_line,
    verdict_line,
    warns,
    whole_line,
)


def write(result: GateResult) -> str:
    """Return the commands, a line each: errors, warnings, notices; empty where there are none."""
    document = result.document
    errors = [each for subject in document.subjects for each in _errors(subject)]
    warnings = [each for subject in document.subjects for each in _warnings(subject)]
    warnings += [
        Annotation("", "Expired suppression", [suppression_line(suppression)])
        for suppression in document.suppressions
        if suppression.expired
    ]
    granted = [suppression_line(each) for each in document.suppressions if not each.expired]
    notices = [Annotation("", "Suppressions", granted)] if granted else []
    return written_annotations(errors=errors, warnings=warnings, notices=notices)


def _errors(subject: GateSubject) -> Iterator[Annotation]:
    file = whole_line(subject.path)
    if subject.error is not None:
        lines = [subject.error.message, *([subject.error.hint] if subject.error.hint else [])]
        yield Annotation(file, f"Cannot be read ({one_line(subject.error.code)})", lines)
    for outcome in ("failed", "inconclusive"):
        for check in subject.checks:
            if counts_against(check) and check.outcome == outcome:
                yield Annotation(
                    file, _title(check_name(check)), [verdict_line(check), *evidence_lines(check)]
                )


def _warnings(subject: GateSubject) -> Iterator[Annotation]:
    for check in subject.checks:
        if warns(check):
            yield Annotation(
                whole_line(subject.path),
                _title(check_name(check)),
                [verdict_line(check), *evidence_lines(check)],
            )


def _title(name: str) -> str:
    return one_line(name, 200)
