"""Where the result of a gate goes: stdout, and any number of files, each in a format of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rmtaudit.errors import UsageError
from rmtaudit.names import display_name, suggestion

if TYPE_CHECKING:
    from rmtaudit.report.gate import GateDocument
    from rmtaudit.report.model import Result

FORMATS = ("table", "json")
"""The formats of a result, the default first."""

_SUFFIXES = {".txt": "table", ".json": "json"}


@dataclass(frozen=True, slots=True)
class GateOutput:
    """A file, and the format that it gets."""

    format: str
    path: Path


def parse_output(text: str) -> GateOutput:
    """Return what ``--output`` says: ``FORMAT=FILE``, or a file whose ending says the format.

    Raises
    ------
    UsageError
        RA-US-002: an ending that says no format. RA-US-302: there is no such format.
    """
    name, equals, rest = text.partition("=")
    if equals and name.isidentifier():
        if name not in FORMATS:
            raise UsageError(
                "RA-US-302",
                f"No format {display_name(name)!r}.{suggestion(name, FORMATS)}",
                hint=f"Formats: {', '.join(FORMATS)}. A file of such a name is written as ./{text}.",
            )
        return GateOutput(name, Path(rest))
    path = Path(text)
    implied = _SUFFIXES.get(path.suffix.lower())
    if implied is None:
        raise UsageError(
            "RA-US-002",
            f"The ending {path.suffix!r} says no format.",
            hint=f"Write FORMAT={text} with one of {', '.join(FORMATS)}.",
            where=text,
        )
    return GateOutput(implied, path)


def rendered(document: GateDocument, reports: Sequence[Result], format_: str) -> str:
    """Return the result of a gate in a format; ``reports`` are those that were judged."""
    del reports  # for formats that show findings
    if format_ == "json":
        return document.to_json()
    from rmtaudit.cli.gate_table import draw_gate
    from rmtaudit.cli.table import drawn_text

    return drawn_text(lambda console: draw_gate(console, document))
