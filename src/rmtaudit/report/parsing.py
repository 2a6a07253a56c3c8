"""From the text of a document to a report, checking every field on the way."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from rmtaudit.errors import CorruptError
from rmtaudit.names import display_name
from rmtaudit.report.model import (
    SCHEMA_NAME,
    SCHEMA_VERSION,
    Coverage,
    FailedSubject,
    Finding,
    LayerResult,
    MetricResult,
    Report,
    SkippedTensor,
    SummaryValue,
)
from rmtaudit.report.strict_json import parse_json

T = TypeVar("T")
_SEVERITIES = ("info", "warning", "error")
_STATUSES = ("ok", "skipped", "failed")


def parse_text(text: str | bytes) -> tuple[Report | FailedSubject, ...]:
    """Return the subjects of a document's text; see :func:`rmtaudit.report.document.loads`."""
    document = parse_json(text)
    _check_schema(document)
    if "reports" in document:
        entries = _list(document, "reports", "")
        return tuple(_subject(entry) for entry in entries)
    return (_subject(document),)


def parse_report(document: object) -> Report:
    """Return the report of a document; see :func:`rmtaudit.report.document.report_from_dict`."""
    _check_schema(document)
    top = _object(document, "")
    return Report(
        tool=_tool(_object(_get(top, "tool", ""), "tool")),
        subject=_subject_facts(_object(_get(top, "subject", ""), "subject")),
        metrics=_map(top, "metrics", "", _catalogue_entry),
        coverage=_coverage(_object(_get(top, "coverage", ""), "coverage")),
        layers=tuple(_layer(item, f"layers[{i}]") for i, item in enumerate(_list(top, "layers", ""))),
        summary=_map(top, "summary", "", _summary),
        verdict=_text(top, "verdict", ""),
        findings=_findings(top, ""),
        complete=_typed(top, "complete", "", bool),
        error=None if _get(top, "error", "") is None else _error(_object(top["error"], "error")),
        timings=_map(top, "timings", "", _plain_number),
        verification=_verification(_object(top["verification"], "verification"))
        if "verification" in top
        else None,
    )


def _subject(document: object) -> Report | FailedSubject:
    _check_schema(document)
    entry = _object(document, "")
    if "layers" in entry or "error" not in entry:
        return parse_report(entry)
    error = _object(entry["error"], "error")
    return FailedSubject(
        path=_text(_object(_get(entry, "subject", ""), "subject"), "path", "subject"),
        code=_text(error, "code", "error"),
        message=_text(error, "message", "error"),
        hint=_text(error, "hint", "error"),
    )


def _verification(found: dict[str, Any]) -> dict[str, Any]:
    _text(found, "outcome", "verification")
    for key in ("largest", "checks"):
        for index, item in enumerate(_list(found, key, "verification")):
            where = f"verification.{key}[{index}]"
            entry = _object(item, where)
            for name in ("owner", "quantity", "library", "scale"):
                _text(entry, name, where)
            _typed(entry, "agrees", where, bool)
    for index, item in enumerate(_list(found, "not_compared", "verification")):
        where = f"verification.not_compared[{index}]"
        for name in ("owner", "reason"):
            _text(_object(item, where), name, where)
    return found


def _error(error: dict[str, Any]) -> dict[str, str]:
    return {key: _text(error, key, "error") for key in ("code", "message", "hint", "where")}


def _check_schema(document: object) -> None:
    schema = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(schema, dict) or schema.get("name") != SCHEMA_NAME:
        raise CorruptError("RA-RP-002", f"Not a report of rmtaudit: its schema is not {SCHEMA_NAME!r}.")
    if schema.get("version") != SCHEMA_VERSION:
        found = display_name(repr(schema.get("version")), longest=40)
        raise CorruptError(
            "RA-RP-003",
            f"The report has version {found} of its schema; this rmtaudit reads {SCHEMA_VERSION!r}.",
            hint="Render it with the rmtaudit that wrote it, or scan again.",
        )


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    for key in ("version", "preset", "device", "sort"):
        _text(tool, key, "tool")
    for key in ("analyzers", "columns"):
        if not all(isinstance(item, str) for item in _list(tool, key, "tool")):
            _wrong(f"tool.{key}", "a list of texts")
    _count(tool, "seed", "tool")
    return tool


def _subject_facts(subject: dict[str, Any]) -> dict[str, Any]:
    for key in ("path", "format"):
        _text(subject, key, "subject")
    _count(subject, "parameters", "subject")
    _map(subject, "dtypes", "subject", _plain_number)
    if not all(isinstance(item, str) for item in _list(subject, "warnings", "subject")):
        _wrong("subject.warnings", "a list of texts")
    return subject


def _coverage(coverage: dict[str, Any]) -> Coverage:
    at = "coverage"
    return Coverage(
        tensors=_count(coverage, "tensors", at),
        parameters=_count(coverage, "parameters", at),
        weight_parameters=_count(coverage, "weight_parameters", at),
        parameters_analyzed=_count(coverage, "parameters_analyzed", at),
        skipped=tuple(
            _skipped(_object(item, f"{at}.skipped[{i}]"), f"{at}.skipped[{i}]")
            for i, item in enumerate(_list(coverage, "skipped", at))
        ),
    )


def _skipped(item: dict[str, Any], at: str) -> SkippedTensor:
    return SkippedTensor(
        _text(item, "name", at), _shape(item, at), _text(item, "dtype", at), _text(item, "reason", at)
    )


def _layer(item: object, at: str) -> LayerResult:
    layer = _object(item, at)
    return LayerResult(
        name=_text(layer, "name", at),
        tensor=_text(layer, "tensor", at),
        kind=_text(layer, "kind", at),
        view=_text(layer, "view", at),
        shape=_shape(layer, at),
        dtype=_text(layer, "dtype", at),
        matrices=_count(layer, "matrices", at),
        parameters=_count(layer, "parameters", at),
        status=_status(layer, at),
        reason=_text(layer, "reason", at),
        verdict=_text(layer, "verdict", at),
        spectrum=_object(_get(layer, "spectrum", at), f"{at}.spectrum"),
        metrics=_map(layer, "metrics", at, _metric),
        findings=_findings(layer, at),
    )


def _metric(item: object, at: str) -> MetricResult:
    metric = _object(item, at)
    value, status = _get(metric, "value", at), _status(metric, at)
    if not (value is None or isinstance(value, bool | int | float | str)) or (value is None) == (
        status == "ok"
    ):
        _wrong(f"{at}.value", "a value where the status is 'ok', else null")
    ci = _get(metric, "ci", at)
    if ci is not None:
        ends = [_plain_number(end, f"{at}.ci") for end in _list(metric, "ci", at)]
        if len(ends) != 2:
            _wrong(f"{at}.ci", "two numbers or null")
        ci = (ends[0], ends[1])
    se = _get(metric, "se", at)
    return MetricResult(
        value, None if se is None else _plain_number(se, f"{at}.se"), ci, status, _text(metric, "reason", at)
    )


def _summary(item: object, at: str) -> SummaryValue:
    entry = _object(item, at)
    value, median = _get(entry, "value", at), _get(entry, "median", at)
    return SummaryValue(
        None if value is None else _plain_number(value, f"{at}.value"),
        None if median is None else _plain_number(median, f"{at}.median"),
        _count(entry, "n", at),
        _count(entry, "n_failed", at),
        _count(entry, "n_skipped", at),
    )


def _catalogue_entry(item: object, at: str) -> dict[str, Any]:
    entry = _object(item, at)
    for key in ("analyzer", "unit", "description", "reference"):
        _text(entry, key, at)
    if _get(entry, "better", at) not in ("higher", "lower", None):
        _wrong(f"{at}.better", "'higher', 'lower' or null")
    return entry


def _findings(owner: dict[str, Any], at: str) -> tuple[Finding, ...]:
    found = []
    for index, item in enumerate(_list(owner, "findings", at)):
        place = f"{_join(at, 'findings')}[{index}]"
        entry = _object(item, place)
        severity = _text(entry, "severity", place)
        if severity not in _SEVERITIES:
            _wrong(f"{place}.severity", " or ".join(_SEVERITIES))
        found.append(
            Finding(
                _text(entry, "code", place),
                severity,
                _text(entry, "message", place),
                _object(_get(entry, "evidence", place), f"{place}.evidence"),
            )
        )
    return tuple(found)


def _map(owner: dict[str, Any], key: str, at: str, parse: Callable[[object, str], T]) -> dict[str, T]:
    place = _join(at, key)
    return {
        name: parse(item, f"{place}.{name}") for name, item in _object(_get(owner, key, at), place).items()
    }


def _get(owner: dict[str, Any], key: str, at: str) -> Any:
    if key not in owner:
        raise CorruptError("RA-RP-004", f"The report has no {display_name(_join(at, key))}.")
    return owner[key]


def _typed(owner: dict[str, Any], key: str, at: str, kind: type[T]) -> T:
    value = _get(owner, key, at)
    if type(value) is not kind:
        words = {str: "a text", bool: "true or false", int: "a whole number", list: "a list"}
        _wrong(_join(at, key), words[kind])
    return value


def _text(owner: dict[str, Any], key: str, at: str) -> str:
    return _typed(owner, key, at, str)


def _list(owner: dict[str, Any], key: str, at: str) -> list[Any]:
    return _typed(owner, key, at, list)


def _count(owner: dict[str, Any], key: str, at: str) -> int:
    value = _typed(owner, key, at, int)
    return value if value >= 0 else _wrong(_join(at, key), "not negative")


def _status(owner: dict[str, Any], at: str) -> str:
    value = _text(owner, "status", at)
    return value if value in _STATUSES else _wrong(_join(at, "status"), " or ".join(_STATUSES))


def _shape(owner: dict[str, Any], at: str) -> tuple[int, ...]:
    sizes = _list(owner, "shape", at)
    if not all(type(size) is int and size >= 0 for size in sizes):
        _wrong(_join(at, "shape"), "a list of sizes")
    return tuple(sizes)


def _object(value: object, at: str) -> dict[str, Any]:
    return value if isinstance(value, dict) else _wrong(at, "an object")


def _plain_number(value: object, at: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        _wrong(at, "a finite number")
    return value


def _join(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key


def _wrong(at: str, wanted: str) -> NoReturn:
    raise CorruptError("RA-RP-004", f"{display_name(at) or 'The report'} must be {wanted}.")
