"""The names of the machine formats; the table is for ``rmtaudit.cli``."""

from __future__ import annotations

from types import MappingProxyType

FORMATS = ("json", "jsonl", "csv", "markdown")

SUFFIXES = MappingProxyType(
    {".json": "json", ".jsonl": "jsonl", ".csv": "csv", ".md": "markdown", ".markdown": "markdown"}
)
"""Which format the ending of a file stands for."""
