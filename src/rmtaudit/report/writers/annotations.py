"""Annotations of GitHub Actions: commands in the log that the runner turns into remarks on the run.

GitHub shows ten errors and ten warnings of a step. Where there are more, the tenth says how many are left
out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rmtaudit.names import display_name
from rmtaudit.report.failing import FailOn, failing_findings, not_judged
from rmtaudit.report.model import FailedSubject, Report

MOST_ANNOTATIONS = 10
"""Annotations of a level that GitHub shows of a step."""

_LONGEST, _LONGEST_TITLE = 2000, 200
_SHOWN_LAYERS = 20


class Annotation(NamedTuple):
    """A remark: the file that it is about, its heading and its lines."""

    file: str
    title: str
    lines: Sequence[str]


def written_annotations(
    *,
    errors: Sequence[Annotation] = (),
    warnings: Sequence[Annotation] = (),
    notices: Sequence[Annotation] = (),
    rest: str = "the summary of the run has all",
) -> str:
    """Return the commands, a line each: errors, warnings, notices; empty where there are none.

    ``rest`` says where those are that are left out.
    """
    commands = [
        *_commands("error", errors, rest),
        *_commands("warning", warnings, rest),
        *_commands("notice", notices, rest),
    ]
    return "".join(f"{command}\n" for command in commands)


def command(level: str, annotation: Annotation) -> str:
    """Return one command; hostile text in it stays text."""
    properties = {"file": annotation.file, "title": annotation.title}
    given = ",".join(f"{name}={_property(value)}" for name, value in properties.items() if value)
    lines = (display_name(line, longest=_LONGEST) for line in annotation.lines)
    return f"::{level} {given}::{_data(chr(10).join(lines))}"


def annotations_of_findings(results: Sequence[Report | FailedSubject], condition: FailOn) -> str:
    """Return an ``::error`` for everything that keeps scans from passing ``--fail-on``.

    That is one for each model and code of a finding, one for a model that could not be read or of which no
    layer could be analysed, and one for layers that were not judged in a model without such findings.
    """
    errors = [each for result in results for each in _errors(result, condition)]
    return written_annotations(errors=errors, rest="the report has all")


def _errors(result: Report | FailedSubject, condition: FailOn) -> Iterator[Annotation]:
    if isinstance(result, FailedSubject):
        file = _whole(result.subject.path)
        yield _unread(file, result.error.code, result.error.message, result.error.hint)
        return
    file = _whole(result.subject["path"])
    if result.error is not None:
        yield _unread(file, result.error.code, result.error.message, result.error.hint)
    elif not any(layer.status == "ok" for layer in result.layers):
        reason = "The report lists every tensor with the reason."
        yield Annotation(file, "No weight matrix could be analysed (RA-NA-001)", [reason])
    lines: dict[str, list[str]] = {}
    for layer, finding in failing_findings(result, condition):
        where = display_name(layer.name, longest=_LONGEST_TITLE)
        message = display_name(finding.message, longest=_LONGEST)
        lines.setdefault(finding.code, []).append(f"{where}: {message}")
    for code, found in lines.items():
        title = f"{code} in {len(found)} layer{'s' * (len(found) != 1)}"
        yield Annotation(file, display_name(title, longest=_LONGEST_TITLE), _limited(found))
    silent = () if lines else not_judged(result)
    if silent:
        title = f"{len(silent)} layer{'s' * (len(silent) != 1)} not judged"
        named = [f"{_whole(layer.name)}: {display_name(layer.reason, longest=_LONGEST)}" for layer in silent]
        yield Annotation(file, title, _limited(named))


def _unread(file: str, code: str, message: str, hint: str) -> Annotation:
    return Annotation(file, f"Cannot be read ({display_name(code)})", [message, *([hint] if hint else [])])


def _limited(lines: Sequence[str]) -> list[str]:
    more = len(lines) - _SHOWN_LAYERS
    return [*lines[:_SHOWN_LAYERS], *([f"… and {more} more"] if more > 0 else [])]


def _commands(level: str, annotations: Sequence[Annotation], rest: str) -> Iterator[str]:
    beyond = len(annotations) > MOST_ANNOTATIONS
    shown = annotations[: MOST_ANNOTATIONS - 1] if beyond else annotations
    for annotation in shown:
        yield command(level, annotation)
    if beyond:
        line = f"{len(annotations) - len(shown)} more are not shown here: {rest}."
        yield command(level, Annotation("", f"More {level}s", [line]))


def _whole(text: str) -> str:
    return display_name(text, longest=max(len(text), 1))


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
