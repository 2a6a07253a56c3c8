"""The document itself: strict JSON of the published schema."""

from __future__ import annotations

from collections.abc import Sequence

from rmtaudit.report.document import dumps, results_to_dict
from rmtaudit.report.model import Report, Result


def write(results: Sequence[Result]) -> str:
    """Return the document of one subject, or of several under ``reports``.

    Reports that are summaries have a line a layer.
    """
    compact = any(isinstance(result, Report) and result.detail == "summary" for result in results)
    return dumps(results_to_dict(results), compact=compact)
