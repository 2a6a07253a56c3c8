"""The published JSON Schemas, by the names of their documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from rmtaudit.report.comparison import comparison_schema
from rmtaudit.report.derivations import DERIVATIONS, derivation_schema
from rmtaudit.report.gate import gate_schema
from rmtaudit.report.probe import probe_schema
from rmtaudit.report.ranking import ranking_schema
from rmtaudit.report.schema import report_schema
from rmtaudit.report.zoo import zoo_schema

SCHEMAS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "report": report_schema,
    "gate": gate_schema,
    "comparison": comparison_schema,
    "zoo": zoo_schema,
    "rank": ranking_schema,
    "probe": probe_schema,
    **{name: partial(derivation_schema, name) for name in DERIVATIONS},
}


def document_schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a document; ``name`` is a key of :data:`SCHEMAS`."""
    return SCHEMAS[name]()
