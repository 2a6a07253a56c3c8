"""Annotations of GitHub Actions: commands in the log that the runner turns into remarks on the run.

GitHub shows ten errors and ten warnings of a step. Where there are more, the tenth says how many are left
out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rmtaudit.report.gate import GateSubject
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

MOST_ANNOTATIONS = 10
"""Annotations of a level that GitHub shows of a step."""


class Annotation(NamedTuple):
    """A remark: the file that it is about, its heading and its lines."""

    file: str
    title: str
    lines: Sequence[str]


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
    commands = [*_commands("error", errors), *_commands("warning", warnings), *_commands("notice", notices)]
    return "".join(f"{command}\n" for command in commands)


def command(level: str, annotation: Annotation) -> str:
    """Return one command; hostile text in it stays text."""
    properties = {"file": annotation.file, "title": annotation.title}
    given = ",".join(f"{name}={_property(value)}" for name, value in properties.items() if value)
    return f"::{level} {given}::{_data(chr(10).join(map(one_line, annotation.lines)))}"


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


def _commands(level: str, annotations: Sequence[Annotation]) -> Iterator[str]:
    rest = len(annotations) - MOST_ANNOTATIONS
    shown = annotations if rest <= 0 else annotations[: MOST_ANNOTATIONS - 1]
    for annotation in shown:
        yield command(level, annotation)
    if rest > 0:
        line = f"{len(annotations) - len(shown)} more are not shown here: the summary of the run has all."
        yield command(level, Annotation("", f"More {level}s", [line]))


def _title(name: str) -> str:
    return one_line(name, 200)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
