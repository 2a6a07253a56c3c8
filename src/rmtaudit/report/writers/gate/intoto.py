"""Unsigned in-toto statements: which files a gate was about, and result.

A statement says nothing about who made it. Whoever wants to rely on it signs it, with cosign for example.
"""

from __future__ import annotations

from typing import Any

import msgspec

from rmtaudit.report.document import json_text
from rmtaudit.report.gate import EXIT_CODES, GATE_HEADER, GateDocument, GateSubject
from rmtaudit.report.writers.gate import GateResult
from rmtaudit.report.writers.gate.words import whole_line

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = f"urn:rmtaudit:gate:{GATE_HEADER.version}"
"""The type of the predicate: the document of a gate about one checkpoint."""

TENSORS = "rmtauditTensorsV1"
"""Name of the digest of names, shapes, dtypes and values, which is the same in every container."""


def write(result: GateResult) -> str:
    """Return a line of JSON for each checkpoint that can be named by a digest; the others have no line."""
    lines = []
    for index, subject in enumerate(result.document.subjects):
        named = _subjects(subject, dict(result.files_of(index)))
        if named:
            statement = {
                "_type": STATEMENT,
                "subject": named,
                "predicateType": PREDICATE,
                "predicate": _about(result.document, subject).to_dict(),
            }
            lines.append(json_text(statement))
    return "".join(f"{line}\n" for line in lines)


def _subjects(subject: GateSubject, files: dict[str, str]) -> list[dict[str, Any]]:
    named = [{"name": whole_line(name), "digest": {"sha256": digest}} for name, digest in files.items()]
    if subject.digest is not None:
        tensors = subject.digest.removeprefix("sha256:")
        name = f"tensors of {whole_line(subject.path)}"  # names are distinct in a statement
        named.append({"name": name, "digest": {TENSORS: tensors}})
    return named


def _about(document: GateDocument, subject: GateSubject) -> GateDocument:
    """Return the part of a document that is about one of its subjects."""
    outcome = subject.outcome
    return msgspec.structs.replace(
        document, subjects=(subject,), outcome=outcome, exit_code=EXIT_CODES[outcome]
    )
