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


def dumps(document: Mapping[str, Any]) -> str:
    """Return the document as text: ASCII only, two spaces of indent, one line end at the end.

    ASCII, because a tensor's name may hold what a terminal obeys. Equal documents give equal bytes.
    """
    return json.dumps(document, allow_nan=False, ensure_ascii=True, indent=2) + "\n"
