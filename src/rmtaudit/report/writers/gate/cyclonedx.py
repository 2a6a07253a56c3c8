"""CycloneDX 1.6: a bill of materials of models, with the metrics of each in its model card.

The document has neither a time nor a random serial number: the same result gives the same bytes.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from rmtaudit.report.document import dumps, json_text
from rmtaudit.report.gate import GateDocument, GateSubject
from rmtaudit.report.writers.gate import GateResult
from rmtaudit.report.writers.gate.words import (
    counts,
    one_line,
    policy_line,
    suppression_line,
    whole_line,
)

_SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"


def write(result: GateResult) -> str:
    """Return the bill of materials, a component for each checkpoint."""
    document = result.document
    components = [
        _component(document, subject, result.files_of(index), f"model-{index + 1}")
        for index, subject in enumerate(document.subjects)
    ]
    tool = {"type": "application", "name": "rmtaudit", "version": one_line(document.tool.version)}
    body = {"metadata": {"tools": {"components": [tool]}}, "components": components}
    content = hashlib.sha256(json_text(body).encode()).hexdigest()
    bill = {
        "$schema": _SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'urn:rmtaudit:bom:{content}')}",
        "version": 1,
        **body,
    }
    return dumps(bill)


def _component(
    document: GateDocument, subject: GateSubject, files: Mapping[str, str], reference: str
) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": reference,
        "name": whole_line(PurePath(subject.path).name or subject.path) or "model",
    }
    if len(files) == 1:
        component["hashes"] = [_hash(digest) for digest in files.values()]
    metrics = [_metric(name, subject) for name in subject.metrics]
    component["modelCard"] = {
        "bom-ref": f"{reference}-card",
        **({"quantitativeAnalysis": {"performanceMetrics": metrics}} if metrics else {}),
    }
    if len(files) > 1:
        component["components"] = [
            {"type": "file", "name": whole_line(name), "hashes": [_hash(digest)]}
            for name, digest in files.items()
        ]
    facts = {
        "path": whole_line(subject.path),
        "format": one_line(subject.format),
        "tensors-digest": one_line(subject.digest or ""),
        "parameters": str(subject.parameters),
        "coverage": repr(subject.coverage.fraction) if subject.coverage is not None else "",
        "policy": policy_line(document),
        "outcome": subject.outcome,
        "checks": counts(subject),
        "error": one_line(f"{subject.error.message} [{subject.error.code}]") if subject.error else "",
    }
    component["properties"] = [
        {"name": f"rmtaudit:{name}", "value": value} for name, value in facts.items() if value
    ]
    component["properties"] += [
        {"name": "rmtaudit:suppression", "value": suppression_line(each)} for each in document.suppressions
    ]
    return component


def _metric(name: str, subject: GateSubject) -> dict[str, Any]:
    metric = subject.metrics[name]
    unit = f" ({one_line(metric.unit)})" if metric.unit else ""
    entry: dict[str, Any] = {"type": f"{whole_line(name)}{unit}", "value": repr(metric.value)}
    ends = {"lowerBound": metric.low, "upperBound": metric.high}
    interval = {end: repr(number) for end, number in ends.items() if number is not None}
    return {**entry, "confidenceInterval": interval} if interval else entry


def _hash(digest: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": digest}
