"""Where the result of a gate goes: stdout, and any number of files, each in a format of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from rmtaudit.errors import UsageError
from rmtaudit.names import display_name, suggestion
from rmtaudit.report.formats import GATE_FORMATS

if TYPE_CHECKING:
    from rmtaudit.engine.gate.model_files import Stamp
    from rmtaudit.report.gate import GateDocument
    from rmtaudit.report.writers.gate import GateResult

FORMATS = ("table", "json", *GATE_FORMATS)
"""The formats of a result, the default first."""

_NAMES_FILES = frozenset({"cyclonedx", "intoto"})
"""Formats that name a model by the digests of its files."""

_ENDINGS = MappingProxyType(
    {
        ".cdx.json": "cyclonedx",
        ".sarif.json": "sarif",
        ".intoto.json": "intoto",
        ".intoto.jsonl": "intoto",
        ".txt": "table",
        ".json": "json",
        ".md": "markdown",
        ".markdown": "markdown",
        ".html": "html",
        ".sarif": "sarif",
        ".xml": "junit",
    }
)
"""The formats that the endings of files say, the longest endings first."""


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
        RA-US-002: an ending that does not indicate a format. RA-US-302: there is no such format.
    """
    name, equals, rest = text.partition("=")
    if equals and name.isidentifier():
        if name not in FORMATS:
            raise UsageError(
                "RA-US-302",
                f"There is no format {display_name(name)!r}.{suggestion(name, FORMATS)}",
                hint=f"Formats: {', '.join(FORMATS)}. To write a file of this name, give ./{text}.",
            )
        return GateOutput(name, Path(rest))
    path = Path(text)
    lowered = path.name.lower()
    implied = next((format_ for ending, format_ in _ENDINGS.items() if lowered.endswith(ending)), None)
    if implied is None:
        raise UsageError(
            "RA-US-002",
            f"The file ending {path.suffix!r} does not indicate a format.",
            hint=f"Write FORMAT={text} with one of {', '.join(FORMATS)}.",
            where=text,
        )
    return GateOutput(implied, path)


def require_places(outputs: Sequence[GateOutput]) -> None:
    """Raise ``OutputError`` (RA-OU-007) where a statement would break the signature of a folder."""
    for output in outputs:
        if output.format == "intoto":
            from rmtaudit.engine.gate.model_files import require_unsigned

            require_unsigned(output.path)


class ModelFiles:
    """The files of the models of a gate, watched from before they are judged until they are named.

    Nothing is read where no format names files.
    """

    def __init__(self, paths: Sequence[str], formats: Sequence[str]) -> None:
        self._stamps: dict[str, dict[str, Stamp]] = {}
        if _NAMES_FILES.intersection(formats):
            from rmtaudit.engine.gate.model_files import file_stamps

            self._stamps = {path: file_stamps(Path(path)) for path in paths}

    def digests(self, document: GateDocument) -> list[Mapping[str, str]]:
        """Return the SHA-256 of the files of each subject by name.

        Of what was judged from a saved report there are none: whether the files are still those is unknown.
        Raises ``ChangedError`` (RA-IN-007) where a file has changed since the gate began.
        """
        if not self._stamps:
            return [{} for _ in document.subjects]
        from rmtaudit.engine.gate.model_files import file_digests

        digests: list[Mapping[str, str]] = []
        for subject in document.subjects:
            judged = Path(subject.path)  # of a folder with one file it is that file
            given = next((path for path in self._stamps if judged.is_relative_to(path)), None)
            named = given is not None and subject.report is None
            digests.append(file_digests(Path(given), self._stamps[given]) if given and named else {})
        return digests


def rendered(result: GateResult, format_: str) -> str:
    """Return the result of a gate in a format."""
    if format_ == "json":
        return result.document.to_json()
    if format_ == "table":
        from rmtaudit.cli.console import drawn_text
        from rmtaudit.cli.gate_table import draw_gate

        return drawn_text(lambda console: draw_gate(console, result.document))
    from rmtaudit.report.writers.gate import gate_writer

    return gate_writer(format_)(result)
