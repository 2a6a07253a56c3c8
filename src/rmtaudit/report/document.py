"""The document of a run as text: strict JSON, equal bytes for equal results."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rmtaudit.report.model import HEADER, Result
from rmtaudit.report.plain import plain


def results_to_dict(results: Sequence[Result]) -> dict[str, Any]:
    """Return the document of one subject, or ``{"schema", "reports": […]}`` of several."""
    documents = [result.to_dict() for result in results]
    return documents[0] if len(documents) == 1 else {"schema": plain(HEADER), "reports": documents}


def dumps(document: Mapping[str, Any], *, compact: bool = False) -> str:
    """Return the document as text: ASCII only, two spaces of indent, one line end at the end.

    ASCII, because a tensor's name may hold what a terminal obeys. Equal documents give equal bytes. A compact
    text has a line for each layer, finding and skipped tensor, and one for each other part.
    """
    if compact:
        return f"{_lines(document, 0)}\n"
    return json_text(document, indent=2) + "\n"


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Return a value as strict JSON in ASCII, in one line without spaces unless it is indented."""
    separators = (",", ":") if indent is None else (",", ": ")
    return inert(json.dumps(value, allow_nan=False, ensure_ascii=True, indent=indent, separators=separators))


def inert(text: str) -> str:
    """Return JSON of which no line is a command to a CI system that reads the log.

    ``##``, which can only stand in a string, is written as ``#`` and an escape: the same string.
    """
    return text.replace("##", "#\\u0023")


_LISTS = ("reports", "layers", "skipped", "findings", "causes")
"""Lists that have a line an item in a compact text."""


def _lines(value: Any, depth: int) -> str:
    """Return an object with a line a key, and those lists with a line an item, down to two levels."""
    inner, outer = "\n" + " " * (depth + 1), "\n" + " " * depth
    parts = []
    for key, item in value.items():
        if key == "coverage":
            text = _lines(item, depth + 1)
        elif key in _LISTS and item:
            each = (_lines(one, depth + 2) if key == "reports" else json_text(one) for one in item)
            text = f"[{inner} {f',{inner} '.join(each)}{inner}]"
        else:
            text = json_text(item)
        parts.append(f"{json_text(key)}: {text}")
    return f"{{{inner}{f',{inner}'.join(parts)}{outer}}}"
