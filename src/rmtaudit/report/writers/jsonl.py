"""One event a line: every layer, then the subject's summary (the report without its layers)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from rmtaudit.report.document import inert
from rmtaudit.report.model import Report, Result


def write(results: Sequence[Result]) -> str:
    """Return the events of the subjects, one after the other: the text of two runs can be joined.

    ``{"event": "layer", "subject": PATH, …}`` a layer, ``{"event": "summary", …}`` once a subject, and
    ``{"event": "error", …}`` for a subject that could not be scanned.
    """
    lines = [inert(json.dumps(event, allow_nan=False, ensure_ascii=True)) for event in _events(results)]
    return "".join(f"{line}\n" for line in lines)


def _events(results: Sequence[Result]) -> Iterator[dict[str, Any]]:
    for result in results:
        document = result.to_dict()
        if not isinstance(result, Report):
            yield {"event": "error", **document}
            continue
        layers = document.pop("layers")
        for layer in layers:
            yield {"event": "layer", "subject": document["subject"]["path"], **layer}
        yield {"event": "summary", **document}
