"""The machine formats of a report, one module each. The table is for ``rmtaudit.cli``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module

from rmtaudit.errors import UsageError
from rmtaudit.report.formats import FORMATS
from rmtaudit.report.model import Result

Writer = Callable[[Sequence[Result]], str]
"""From the subjects of a run to the text of the format, with its last line end."""


def writer_for(name: str) -> Writer:
    """Return the writer of a format; raises ``UsageError`` (RA-US-302) for an unknown one."""
    if name not in FORMATS:
        raise UsageError("RA-US-302", f"There is no format {name!r}.", hint=f"Formats: {', '.join(FORMATS)}.")
    writer: Writer = import_module(f"rmtaudit.report.writers.{name}").write
    return writer
