"""The keys of the columns of a table: the properties of a layer, and the metrics of the report.

``--sort`` and ``--columns`` take them, the heads of the tables show them, and the shell completes them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rmtaudit.report.model import Report

NAME, FINDING = "layer", "finding"
"""The first and the last column of every table."""

PROPERTIES = MappingProxyType(
    {
        NAME: "name of the layer; always the first column",
        "kind": "what the layer does in the network",
        "shape": "rows and columns of each matrix; sorted by their product",
        "dtype": "data type as stored",
        "parameters": "number of stored parameters",
        "matrices": "number of matrices in the row",
        "view": "how the tensor was turned into a matrix",
        "integrity": "verdict on damage: ok, warning, damaged or unjudged",
        "signal": "verdict on learning: structured, noise-like and others",
        FINDING: "the findings in words; always the last column, if there are any",
    }
)
"""The properties of a layer that a table can show, each with its meaning, in the order of the docs."""

NUMERIC = frozenset({"shape", "parameters", "matrices"})
"""Properties that are numbers: aligned to the right, and sorted with the largest first."""

_FIXED = frozenset({NAME, FINDING})


def shown_columns(
    report: Report, *, before: Sequence[str] = ("kind", "shape"), after: Sequence[str] = ("signal",)
) -> list[str]:
    """Return the columns between the name and the finding: ``tool["columns"]`` that the report has.

    Where these name no property, ``before`` and ``after`` stand around the metrics.
    """
    metrics = report.metrics
    chosen = [name for name in report.tool["columns"] if name in metrics or name in PROPERTIES]
    if any(name not in metrics for name in chosen):
        return [name for name in chosen if name in metrics or name not in _FIXED]
    return [*before, *chosen, *after]


def has_chosen_properties(report: Report) -> bool:
    """Whether ``tool["columns"]`` names a property, so that the table shows these columns and no others."""
    return any(name in PROPERTIES and name not in report.metrics for name in report.tool["columns"])


def is_numeric(name: str, metrics: Collection[str]) -> bool:
    """Whether a column is aligned to the right."""
    return name in metrics or name in NUMERIC
