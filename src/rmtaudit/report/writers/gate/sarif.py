"""SARIF 2.1.0, for code scanning: what the scans found about bytes and formats.

Judgements about learning are left to the other formats: code scanning is about files, and asks for a place in
one. What the file is called, the code and the layer make the fingerprint, so that a finding is the same one
in the next run.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from rmtaudit.finding_kind import SEVERITIES, Severity
from rmtaudit.report.catalogue import FINDINGS
from rmtaudit.report.document import dumps
from rmtaudit.report.error_codes import error_codes
from rmtaudit.report.gate import GateDocument, GateSubject
from rmtaudit.report.model import LayerFinding, Report
from rmtaudit.report.writers.gate import GateResult
from rmtaudit.report.writers.gate.words import one_line, suppression_line, whole_line
from rmtaudit.report.writers.markdown import escape_markdown

MOST_RESULTS = 25_000
"""Results of a run that GitHub takes; more make it refuse the file."""

BYTES_AND_FORMATS = frozenset(
    {
        "RA-SC-001",  # values that are not finite
        "RA-SC-002",  # zero matrix
        "RA-FO-002",  # quantisation grid
        "RA-FO-003",  # rounded to a narrower float
        "RA-FO-008",  # constant
        "RA-FO-009",  # beyond float16
        "RA-FO-010",  # denormals
        "RA-FO-021",  # code book
        "RA-FO-023",  # flipped exponent bits
        "RA-FO-030",  # overwritten pages
        "RA-MO-001",  # duplicated layer
    }
)
"""Findings about how the numbers are stored, and whether they arrived as they were sent."""

_CAN_RUN_CODE = frozenset({"RA-IN-016", "RA-IN-040", "RA-IN-190"})
_NOT_ABOUT_CONTENT = frozenset(
    f"RA-IN-{number:03}" for number in (*range(1, 5), 6, 7, 17, 19, *range(90, 95), 96, 99, 178, 194, 195)
)
"""Errors about the path, the call, or what is not read, which say nothing about the bytes of a file."""

_LEVELS: Mapping[Severity, str] = {"error": "error", "warning": "warning", "info": "note"}
_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LINK = re.compile(r"\[(?=[^\]]*\]\()")
_PLACEHOLDER = re.compile(r"\{(\d+)\}")
_URI = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def write(result: GateResult) -> str:
    """Return the log, with one run."""
    document = result.document
    results: list[dict[str, Any]] = []
    notifications: list[dict[str, Any]] = []
    for index, subject in enumerate(document.subjects):
        judged = result.results[index] if index < len(result.results) else None
        if subject.error is not None and not _about_content(subject.error.code):
            notifications.append(_unread(subject))
        elif subject.error is not None:
            results.append(_unreadable(subject))
        elif isinstance(judged, Report):
            results += _findings(subject, judged.findings)
    notifications += [
        _notification(f"Suppression: {suppression_line(each)}", "warning" if each.expired else "note")
        for each in document.suppressions
    ]
    results.sort(key=lambda each: ("error", "warning", "note").index(each["level"]))
    if len(results) > MOST_RESULTS:
        rest = len(results) - MOST_RESULTS
        notifications.append(_notification(f"{rest} of the least severe results are omitted.", "warning"))
        results = results[:MOST_RESULTS]
    log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [_run(document, results, notifications)]}
    return dumps(log)


def _run(
    document: GateDocument, results: Sequence[dict[str, Any]], notifications: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    rules = [_rule(code) for code in sorted({result["ruleId"] for result in results})]
    indices = {rule["id"]: index for index, rule in enumerate(rules)}
    for result in results:
        result["ruleIndex"] = indices[result["ruleId"]]
    unread = any(notification["level"] == "error" for notification in notifications)
    return {
        "tool": {
            "driver": {
                "name": "rmtaudit",
                "version": one_line(document.tool.version),
                "rules": rules,
            }
        },
        "invocations": [
            {
                "executionSuccessful": not unread,
                "exitCode": document.exit_code,
                "toolExecutionNotifications": notifications,
            }
        ],
        "columnKind": "unicodeCodePoints",
        "results": results,
    }


def _rule(code: str) -> dict[str, Any]:
    """Return what is known of a code: from the catalogue of findings, or from the list of errors."""
    properties: dict[str, Any] = {"tags": ["integrity"]}
    level: Severity = "error"
    kind = FINDINGS.get(code)
    if kind is not None:
        title, meaning = kind.title, kind.meaning
        sections = [(heading, text) for heading, text in kind.sections() if heading != "Severity"]
        levels = [*([kind.fact] if kind.fact else []), *(one for one, _ in kind.levels)]
        level = max(levels, key=SEVERITIES.index, default="warning")
    else:
        known = error_codes().get(code)
        title = meaning = known.meaning if known is not None else "The file cannot be read."
        sections = [("What to do", known.remedy)] if known is not None and known.remedy else []
        if code in _CAN_RUN_CODE:
            properties = {"tags": ["security"], "security-severity": "9.0"}
    texts = [meaning, *(f"{heading}: {text}" for heading, text in sections if text != meaning)]
    escape = escape_markdown if kind is not None else str  # the list of errors is Markdown
    marked = [escape(meaning)]
    marked += [f"**{heading}**: {escape(text)}" for heading, text in sections if text != meaning]
    return {
        "id": code,
        "name": code,
        "shortDescription": {"text": title},
        "fullDescription": {"text": meaning},
        "defaultConfiguration": {"level": _LEVELS[level]},
        "help": {"text": "\n\n".join(texts), "markdown": "\n\n".join(marked)},
        "properties": properties,
    }


def _findings(subject: GateSubject, findings: Sequence[LayerFinding]) -> Iterator[dict[str, Any]]:
    reasons = dict(_suppressed(subject))
    seen: Counter[tuple[str, str | None]] = Counter()
    for finding in findings:
        if finding.code not in BYTES_AND_FORMATS:
            continue
        key = (finding.code, finding.layer)
        seen[key] += 1
        where = f"{one_line(finding.layer)}: " if finding.layer is not None else ""
        result = _result(
            subject,
            code=finding.code,
            level=_LEVELS[finding.severity],
            message=f"{where}{one_line(finding.message)}",
            fingerprint=(finding.code, finding.layer or "", str(seen[key])),
        )
        if finding.layer is not None:
            name = whole_line(finding.layer)
            result["locations"][0]["logicalLocations"] = [
                {"name": name, "fullyQualifiedName": name, "kind": "resource"}
            ]
        reason = reasons.get(key, reasons.get((finding.code, None)))
        if reason is not None:
            result["suppressions"] = [
                {"kind": "external", "status": "accepted", "justification": one_line(reason)}
            ]
        yield result


def _suppressed(subject: GateSubject) -> Iterator[tuple[tuple[str, str | None], str]]:
    """Yield the findings that the policy suppresses, as code and layer, with the reason."""
    for check in subject.checks_of("suppressed"):
        for evidence in check.evidence:
            if evidence.finding is not None:
                yield (evidence.finding, evidence.layer), check.reason


def _unreadable(subject: GateSubject) -> dict[str, Any]:
    assert subject.error is not None
    error = subject.error
    return _result(
        subject,
        code=error.code,
        level="error",
        message=" ".join(one_line(text) for text in (error.message, error.hint) if text),
        fingerprint=(error.code,),
    )


def _result(
    subject: GateSubject, *, code: str, level: str, message: str, fingerprint: tuple[str, ...]
) -> dict[str, Any]:
    digest = hashlib.sha256("\0".join(fingerprint).encode("utf-8", "surrogatepass")).hexdigest()
    return {
        "ruleId": code,
        "level": level,
        "message": {"text": _message(message)},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _uri(subject.path)},
                    "region": {"startLine": 1},  # GitHub wants a line, also of what has none
                }
            }
        ],
        "partialFingerprints": {"primaryLocationLineHash": f"{digest[:16]}:1"},
    }


def _unread(subject: GateSubject) -> dict[str, Any]:
    assert subject.error is not None
    error = subject.error
    text = f"{one_line(subject.path)}: {one_line(error.message)} [{one_line(error.code)}]"
    return _notification(text, "error")


def _notification(text: str, level: str) -> dict[str, Any]:
    return {"level": level, "message": {"text": _message(text)}}


def _about_content(code: str) -> bool:
    return code.startswith("RA-IN-") and code not in _NOT_ABOUT_CONTENT


def _message(text: str) -> str:
    """Return text in which SARIF sees neither an embedded link nor a placeholder."""
    return _PLACEHOLDER.sub(r"{{\1}}", _LINK.sub(r"\\[", text))


def _uri(path: str) -> str:
    """Return a path as the URI that SARIF and GitHub expect: relative paths stay relative."""
    scheme, separator, rest = path.partition("://") if _URI.match(path) else ("", "", path)
    if not separator and PurePath(path).is_absolute():
        scheme, separator = "file", "://"
    quoted = quote(rest.removeprefix("./").encode("utf-8", "surrogatepass"), safe="/@:" if separator else "/")
    return f"{scheme}{separator}{quoted}"
