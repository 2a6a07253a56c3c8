"""The names of the machine formats; the table is for ``rmtaudit.cli``."""

from __future__ import annotations

from types import MappingProxyType

FORMATS = ("json", "jsonl", "csv", "markdown", "html")

GATE_FORMATS = ("junit", "sarif", "github", "markdown", "html", "openmetrics", "cyclonedx", "intoto")
"""Those of a gate's result that CI systems read, beside JSON."""

SUFFIXES = MappingProxyType(
    {
        ".json": "json",
        ".jsonl": "jsonl",
        ".csv": "csv",
        ".md": "markdown",
        ".markdown": "markdown",
        ".html": "html",
        ".htm": "html",
    }
)
"""The format that the ending of a file implies."""
