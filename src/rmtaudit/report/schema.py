"""The published JSON Schema (2020-12) of a report, generated from the classes of the model."""

from __future__ import annotations

from typing import Any

import msgspec

from rmtaudit.report.model import HEADER, FailedSubject, Report

_REFERENCES = "#/$defs/{name}"


def report_schema() -> dict[str, Any]:
    """Return the schema of every document of reports: of one subject, of several, of one that failed."""
    (report, failed), parts = msgspec.json.schema_components(
        [Report, FailedSubject], ref_template=_REFERENCES
    )
    several = {
        "title": "Several",
        "description": "The scans of one run over several subjects, in the order they were given.",
        "type": "object",
        "properties": {
            "schema": {"$ref": _REFERENCES.format(name="SchemaHeader")},
            "reports": {"type": "array", "items": {"anyOf": [report, failed]}},
        },
        "required": ["schema", "reports"],
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:{HEADER.name.replace('.', ':')}:{HEADER.version}",
        "title": "Report of rmtaudit",
        "anyOf": [report, {"$ref": _REFERENCES.format(name="Several")}, failed],
        "$defs": {
            **msgspec.json.decode(msgspec.json.encode(parts)),
            "Several": several,
        },  # defaults as JSON has them
    }
