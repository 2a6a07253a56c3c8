"""The formats of the result of a gate for CI systems, one module each.

Every writer is a pure function from the result to text. The table and JSON are not among them: they are for
``rmtaudit.cli`` and :meth:`.GateDocument.to_json`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import MappingProxyType

from msgspec import Struct

from rmtaudit.report.gate import GateDocument
from rmtaudit.report.model import Result


class GateResult(Struct, frozen=True, kw_only=True):
    """What a writer may draw on.

    Attributes
    ----------
    document
        The verdict, and everything that led to it.
    results
        The reports that were judged, in the order of the subjects of the document; empty where they are not
        at hand. SARIF takes its findings from them.
    files
        For each subject, in the same order, the SHA-256 of its files in hexadecimal, by name; empty where
        they were not computed. Attestations and bills of materials name a model by them.
    """

    document: GateDocument
    results: Sequence[Result] = ()
    files: Sequence[Mapping[str, str]] = ()

    def files_of(self, index: int) -> Mapping[str, str]:
        """Return the digests of the files of one subject."""
        return self.files[index] if index < len(self.files) else {}


GateWriter = Callable[[GateResult], str]
"""From a result to the text of the format, with its last line end."""

GATE_WRITERS: Mapping[str, str] = MappingProxyType(
    {
        "junit": "JUnit XML: a suite for each checkpoint, a case for each rule and target",
        "sarif": "SARIF 2.1.0: findings about bytes and formats, for code scanning",
        "github": "annotations of GitHub Actions",
        "markdown": "a summary of at most 1 MiB, for GitHub's step summary or a comment",
        "html": "one self-contained page for people",
        "openmetrics": "OpenMetrics text: a few numbers with their intervals",
        "cyclonedx": "CycloneDX 1.6: a bill of materials with the metrics in its model card",
        "intoto": "unsigned in-toto statements, one line for each checkpoint",
    }
)
"""The formats, and what each is, in a few words."""

DIGESTED = frozenset({"cyclonedx", "intoto"})
"""The formats that name a model by the digests of its files."""


def gate_writer(name: str) -> GateWriter:
    """Return the writer of a format of :data:`GATE_WRITERS`; raises ``KeyError`` for another one."""
    if name not in GATE_WRITERS:
        raise KeyError(name)
    writer: GateWriter = import_module(f"rmtaudit.report.writers.gate.{name}").write
    return writer
