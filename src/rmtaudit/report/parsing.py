"""From the text of a document to a report. What is accepted is what the classes of the model say."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec
from msgspec import ValidationError

from rmtaudit.errors import CorruptError
from rmtaudit.names import display_name
from rmtaudit.report.model import HEADER, FailedSubject, Report, Result, SchemaHeader
from rmtaudit.report.plain import plain
from rmtaudit.report.strict_json import parse_json
from rmtaudit.report.upgrade import upgraded

T = TypeVar("T")
Step = str | int
_OPEN = ("tool", "subject", "verification")
"""The parts to which later versions may add keys."""

COMPARISON_NAME = "rmtaudit.comparison"
"""The schema of what ``rmtaudit compare`` writes, which is often taken for a report."""

_VERSIONS: tuple[str, ...] = get_args(get_type_hints(SchemaHeader)["version"])
"""The versions of the schema that are read."""
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")


def loads(text: str | bytes) -> tuple[Result, ...]:
    """Return the subjects of a document's text, in order.

    Raises ``CorruptError``: RA-RP-001 where the text is no strict JSON, and as :func:`report_from_dict`.
    """
    with _collector_off():
        document = parse_json(text)
        _check_schema(document)
        if "reports" not in document:
            return (_result(document, ()),)
        entries = _checked(document, _Several, ()).reports
        return tuple(_result(entry, ("reports", index)) for index, entry in enumerate(entries))


@contextmanager
def _collector_off() -> Iterator[None]:
    """Keep the collector of cycles from running while many objects that have none are made.

    It would look at all of them again and again: a fifth of the time that a gate of a saved report takes.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def report_from_dict(document: object) -> Report:
    """Return the report of a document of one subject; the inverse of :meth:`Report.to_dict`.

    Raises ``CorruptError``: RA-RP-002 not a report of rmtaudit, RA-RP-003 another version of the schema,
    RA-RP-004 a field that is missing, unknown or of the wrong type (named by its path).
    """
    _check_schema(document)
    try:
        copy = plain(document)
    except (TypeError, ValueError) as error:
        raise CorruptError("RA-RP-004", f"{display_name(str(error), longest=200)}.") from None
    return _report(copy, ())


class _Several(msgspec.Struct, forbid_unknown_fields=True):
    schema: Any
    reports: list[Any]


def _result(document: Any, at: tuple[Step, ...]) -> Result:
    _check_schema(document)
    if "layers" in document or "error" not in document:
        return _report(document, at)
    return msgspec.structs.replace(_checked(document, FailedSubject, at), schema=HEADER)


def _report(document: dict[str, Any], at: tuple[Step, ...]) -> Report:
    report = upgraded(_checked(document, Report, at), document)
    opened = {name: document[name] for name in _OPEN if document.get(name)}
    return msgspec.structs.replace(report, schema=HEADER, **opened)


def _check_schema(document: object) -> None:
    schema = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(schema, dict) or schema.get("name") != HEADER.name:
        raise _no_report(schema.get("name") if isinstance(schema, dict) else None)
    if schema.get("version") not in _VERSIONS:
        version = display_name(repr(schema.get("version")), longest=40)
        raise CorruptError(
            "RA-RP-003",
            f"The report has version {version} of its schema; this version of rmtaudit reads "
            f"{' and '.join(_VERSIONS)}.",
            hint="Render it with the version of rmtaudit that wrote it, or scan again.",
        )


def _no_report(name: object) -> CorruptError:
    if name == COMPARISON_NAME:
        return CorruptError(
            "RA-RP-002",
            "The file is a saved comparison, not the report of a scan.",
            hint="A gate compares the weights itself: rmtaudit gate CANDIDATE --baseline BASE.",
        )
    return CorruptError(
        "RA-RP-002", f"The file is not a report of rmtaudit: its schema is not {HEADER.name!r}."
    )


def _checked(document: dict[str, Any], kind: type[T], at: tuple[Step, ...]) -> T:
    """Return the object of a document; an error names the place from the top of the file, ``at`` first."""
    try:
        return msgspec.convert(document, kind)
    except ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
        steps = [*at, *_steps(document, path, kind, str(error))]
        where = display_name(_text(steps), longest=200) or "The report"
        raise CorruptError("RA-RP-004", f"{where}: {display_name(problem, longest=200)}.") from None


def _steps(document: dict[str, Any], path: str, kind: type[Any], problem: str) -> list[Step]:
    """Return the steps of a path of msgspec's, ``.layers[0].metrics[...].value``, with the keys of mappings.

    Which key ``[...]`` stands for is found by halving the mapping, until the same problem has one key left.
    """
    steps: list[Step] = []
    owner: Any = document
    for name, index in _STEP.findall(path.rstrip("`")):
        step: Step = name or (int(index) if index != "..." else "")
        if index == "...":
            keys = list(owner)
            while len(keys) > 1:
                half = {key: owner[key] for key in keys[: len(keys) // 2]}
                blamed = _problem(_replaced(document, steps, half), kind) == problem
                keys = list(half) if blamed else keys[len(half) :]
            step = keys[0]
        steps.append(step)
        owner = owner[step]
    return steps


def _problem(document: Any, kind: type[Any]) -> str:
    try:
        msgspec.convert(document, kind)
    except ValidationError as error:
        return str(error)
    return ""


def _replaced(document: Any, steps: list[Step], value: Mapping[str, Any]) -> Any:
    """Return the document with another value at a place; what leads there is copied."""
    if not steps:
        return value
    copy: Any = list(document) if isinstance(document, list) else dict(document)
    copy[steps[0]] = _replaced(document[steps[0]], steps[1:], value)
    return copy


def _text(steps: list[Step]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")
