"""JUnit XML, for GitLab, Jenkins, Azure DevOps and Buildkite.

A suite for each checkpoint and a case for each rule and target, under names that stay the same from run to
run: GitLab tells new failures from old ones by them. What fails is a ``failure``. What could not be judged is
an ``error``, which both GitLab and Jenkins count as failed, so that it never looks passed. What is suppressed
is ``skipped`` with its reason, and so is a rule of severity ``warning`` that does not hold: the format has no
warnings, and a failure would contradict the exit code.
"""

from __future__ import annotations

from collections import Counter
from xml.etree import ElementTree

from rmtaudit.report.gate import Check, GateSubject
from rmtaudit.report.writers.gate import GateResult
from rmtaudit.report.writers.gate.words import (
    check_name,
    evidence_lines,
    left_out_line,
    one_line,
    policy_line,
    suppression_line,
    verdict_line,
    warns,
    whole_line,
)

_READABLE = "readable"
"""The case of a checkpoint that could not be read."""

_TAGS = {"failed": "failure", "inconclusive": "error", "suppressed": "skipped"}


def write(result: GateResult) -> str:
    """Return the document."""
    document = result.document
    root = ElementTree.Element("testsuites", name=f"rmtaudit gate {one_line(document.policy.name)}")
    suites: Counter[str] = Counter()
    for subject in document.subjects:
        suite = _suite(subject, _distinct(whole_line(subject.path), suites))
        suite.insert(0, _properties(policy_line(document), subject))
        remarks = [*map(suppression_line, document.suppressions), left_out_line(subject)]
        remarks = [remark for remark in remarks if remark]
        if remarks:
            ElementTree.SubElement(suite, "system-out").text = "\n".join(remarks)
        root.append(suite)
    for key in ("tests", "failures", "errors"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in root)))
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _suite(subject: GateSubject, name: str) -> ElementTree.Element:
    suite = ElementTree.Element("testsuite", name=name)
    if subject.error is not None:
        case = ElementTree.SubElement(suite, "testcase", name=_READABLE, classname=name)
        error = subject.error
        lines = [one_line(error.message), *([one_line(error.hint)] if error.hint else [])]
        _outcome(case, "error", kind=one_line(error.code), lines=lines)
    names: Counter[str] = Counter()
    for check in subject.checks:
        case = ElementTree.SubElement(
            suite, "testcase", name=_distinct(check_name(check), names), classname=name
        )
        _add_outcome(case, check)
    tags = Counter(child.tag for case in suite for child in case)
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(tags["failure"]))
    suite.set("errors", str(tags["error"]))
    suite.set("skipped", str(tags["skipped"]))
    return suite


def _add_outcome(case: ElementTree.Element, check: Check) -> None:
    lines = [verdict_line(check), *evidence_lines(check)]
    if check.why:
        lines.append(f"Why this is checked: {one_line(check.why)}")
    if warns(check):
        lines[0] = f"Warning only: {lines[0]}"
        _outcome(case, "skipped", kind="warning", lines=lines)
    elif check.outcome != "passed":
        _outcome(case, _TAGS[check.outcome], kind=check.outcome, lines=lines)


def _outcome(case: ElementTree.Element, tag: str, *, kind: str, lines: list[str]) -> None:
    element = ElementTree.SubElement(case, tag, type=kind, message=lines[0])
    element.text = "\n".join(lines)


def _properties(policy: str, subject: GateSubject) -> ElementTree.Element:
    properties = ElementTree.Element("properties")
    facts = {
        "policy": policy,
        "format": one_line(subject.format),
        "digest": one_line(subject.digest or ""),
        "outcome": subject.outcome,
    }
    for name, value in facts.items():
        if value:
            ElementTree.SubElement(properties, "property", name=name, value=value)
    return properties


def _distinct(name: str, seen: Counter[str]) -> str:
    """Return a name that no earlier one equals: GitLab ignores all but the first of a name."""
    seen[name] += 1
    return name if seen[name] == 1 else _distinct(f"{name} ({seen[name]})", seen)
