r"""One row a layer, for spreadsheets and data frames.

A spreadsheet runs a cell that begins with ``=``, ``+``, ``-`` or ``@``: texts that do are written with an
apostrophe before them. Control characters in names are written as ``\x1b``, so that a row is always a line.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from rmtaudit.names import display_name
from rmtaudit.report.model import IDENTITY, MetricResult, Report, Result, metric_names


def write(results: Sequence[Result]) -> str:
    """Return a header line and one line a layer; a subject that could not be scanned is a line of its own.

    The columns: ``path``, :data:`.IDENTITY`, then each metric, followed by ``<metric>_se``, ``<metric>_lo``
    and ``<metric>_hi`` where some layer has them. A metric without a value is an empty cell.
    """
    reports = [result for result in results if isinstance(result, Report)]
    columns = [column for name in metric_names(reports) for column in _columns(name, reports)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", *IDENTITY, *(_cell(column) for column, _, _ in columns)])
    for result in results:
        if not isinstance(result, Report):
            reason = f"{result.error.message} [{result.error.code}]"
            known = {"status": "failed", "reason": _cell(reason)}
            cells = [known.get(column, "") for column in IDENTITY]
            writer.writerow([_cell(result.subject.path), *cells, *[""] * len(columns)])
            continue
        for layer in result.layers:
            values = [_part(layer.metrics.get(name), part) for _, name, part in columns]
            cells = [result.subject["path"], *layer.identity(), *values]
            writer.writerow([_cell(cell) for cell in cells])
    return text.getvalue()


def _columns(name: str, reports: Sequence[Report]) -> list[tuple[str, str, str]]:
    results = [layer.metrics[name] for report in reports for layer in report.layers if name in layer.metrics]
    columns = [(name, name, "value")]
    if any(result.se is not None for result in results):
        columns.append((f"{name}_se", name, "se"))
    if any(result.ci is not None for result in results):
        columns += [(f"{name}_lo", name, "lo"), (f"{name}_hi", name, "hi")]
    return columns


def _part(result: MetricResult | None, part: str) -> Any:
    if result is None:
        return None
    if part in ("lo", "hi"):
        return None if result.ci is None else result.ci[part == "hi"]
    return result.value if part == "value" else result.se


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = display_name(value, longest=max(len(value), 1))
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
