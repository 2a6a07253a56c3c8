"""The document itself: strict JSON of the published schema."""

from __future__ import annotations

from collections.abc import Sequence

from rmtaudit.report.document import dumps, results_to_dict
from rmtaudit.report.model import Result


def write(results: Sequence[Result]) -> str:
    """Return the document of one subject, or of several under ``reports``."""
    return dumps(results_to_dict(results))
