"""Reports made by hand: what the renderers are tested with."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from rmtaudit.matrices.skips import label_of, reason_of
from rmtaudit.report.grouping import grouped_findings, listed_findings
from rmtaudit.report.model import (
    HEADER,
    Better,
    Coverage,
    Finding,
    LayerResult,
    MetricEntry,
    MetricResult,
    Report,
    SkippedTensor,
    SummaryValue,
)
from rmtaudit.report.verdict import NOT_RECORDED, Verdict, integrity_of, verdict_of

HOSTILE = (
    "\x1b[31mred\x1b[0m.weight",
    "a\r\n::error::x",
    "[red]markup[/red].weight",
    "pipe|cell|weight",
    "<script>alert(1)</script>",
    "bidi\u202eevil\u2066",
    "=1+1",
    "@SUM(A1)",
    "-2+3",
    "+cmd",
    "\t=tab",
    "`code` *star* _em_",
    "lone\udc80surrogate",
    "🤖 wide 名前.weight",
    "x" * 5000,
    ":smile: [/] \\[x]",
    "",
)
"""Names that a terminal, a table, a spreadsheet or a browser could take for something else."""

METRICS: tuple[tuple[str, str, Better | None], ...] = (
    ("alpha", "powerlaw", "lower"),
    ("xmin", "powerlaw", None),
    ("ks_distance", "powerlaw", "lower"),
    ("tail_size", "powerlaw", None),
    ("stable_rank", "scale", "higher"),
    ("log10_spectral_norm", "scale", None),
    ("warning", "powerlaw", None),
)
CATALOGUE = {
    name: MetricEntry(analyzer=analyzer, unit="", better=better, description="A metric.", reference="None.")
    for name, analyzer, better in METRICS
}
COLUMNS = ["alpha", "xmin", "ks_distance", "tail_size", "stable_rank", "log10_spectral_norm"]


def layer(name: str, alpha: float | None = 3.0, **changes: Any) -> LayerResult:
    values: dict[str, Any] = {
        "name": name,
        "tensor": name,
        "kind": "dense",
        "view": "as stored",
        "shape": (384, 1536),
        "dtype": "float32",
        "matrices": 1,
        "parameters": 384 * 1536,
        "status": "ok",
        "reason": "",
        "verdict": "unjudged",
        "findings": (),
        "spectrum": {"method": "exact", "unresolved": 0},
        "metrics": metrics(alpha),
    } | changes
    unread = (
        ""
        if values["status"] == "ok" or values.get("skip") == "nonfinite"
        else label_of(values.get("skip"), values["reason"])
    )
    own = integrity_of(values["findings"], unread=unread)
    return LayerResult(**(words(values["verdict"], own) | values))


def words(verdict: str, own: Verdict) -> dict[str, Any]:
    """Return the words that a joint verdict stands for."""
    joint = verdict_of(verdict)
    damaged = joint.word == "damaged"
    return {
        "judgement": joint,
        "integrity": joint if damaged else own,
        "signal": NOT_RECORDED if damaged else joint,
    }


def metric(value: float | str | None, **changes: Any) -> MetricResult:
    return MetricResult(**({"value": value, "se": None, "ci": None, "status": "ok", "reason": ""} | changes))


def finding(code: str, severity: Any, message: str, evidence: Any = MappingProxyType({})) -> Finding:
    return Finding(code=code, severity=severity, message=message, evidence=dict(evidence))


def metrics(alpha: float | None) -> Mapping[str, MetricResult]:
    return {
        "alpha": metric(alpha, se=0.153, ci=(2.5, 3.5))
        if alpha is not None
        else metric(None, status="skipped", reason="too few eigenvalues"),
        "xmin": metric(0.01234),
        "ks_distance": metric(0.0456),
        "tail_size": metric(120),
        "stable_rank": metric(45.678),
        "log10_spectral_norm": metric(-1.5),
        "warning": metric("=over-trained"),
    }


def tensor(name: str, shape: tuple[int, ...], dtype: str, reason: str) -> SkippedTensor:
    return SkippedTensor(name=name, shape=shape, dtype=dtype, reason=reason, skip=reason_of(reason))


def without_metrics(name: str, status: str, reason: str, **changes: Any) -> LayerResult:
    skip = reason_of(reason)
    return layer(name, status=status, reason=reason, skip=skip, metrics={}, spectrum={}, **changes)


def report(layers: tuple[LayerResult, ...] = (), **changes: Any) -> Report:
    layers = layers or (
        layer("encoder.layer.0.weight", 2.5),
        layer("encoder.layer.10.weight", 6.5),
        layer("encoder.layer.2.weight", 6.5),
        layer("encoder.layer.3.weight", None),
        without_metrics("encoder.layer.4.weight", "failed", "nonfinite: 3 values are not finite"),
        without_metrics("encoder.layer.5.qweight", "skipped", "quantised: packed integer codes (.qweight)"),
    )
    alphas = [row.metrics["alpha"].value for row in layers if "alpha" in row.metrics]
    numbers = [value for value in alphas if isinstance(value, float)]
    mean = sum(numbers) / len(numbers) if numbers else None
    values: dict[str, Any] = {
        "schema": HEADER,
        "tool": {
            "version": "0.1.0",
            "preset": "default",
            "analyzers": ["scale", "powerlaw"],
            "options": {"powerlaw": {"bootstrap": 0}, "scale": {}},
            "conv": "flattened",
            "solver": "gram",
            "seed": 0,
            "device": "cpu",
            "sort": "alpha",
            "columns": COLUMNS,
        },
        "subject": {
            "path": "models/model.safetensors",
            "format": "safetensors",
            "digest": "sha256:00",
            "parameters": 22_713_216,
            "dtypes": {"float32": 22_713_216},
            "warnings": [],
        },
        "coverage": Coverage(
            tensors=101,
            parameters=22_713_216,
            weight_parameters=22_600_000,
            parameters_analyzed=22_580_000,
            fraction=22_580_000 / 22_713_216,
            skipped=(
                tensor("encoder.norm.weight", (384,), "float32", "vector (bias, norm, statistic)"),
                tensor("encoder.layer.5.qweight", (4, 4), "int8", "quantised: packed integer codes"),
            ),
        ),
        "layers": layers,
        "summary": {"alpha": SummaryValue(value=mean, median=mean, n=len(numbers), n_failed=1, n_skipped=1)},
        "metrics": CATALOGUE,
        "verdict": "unjudged",
        "complete": True,
        "error": None,
        "timings": {"total": 1.5, "threads": 2},
    } | changes
    values = {
        "findings": listed_findings(values["layers"]),
        "causes": grouped_findings(values["layers"]),
    } | values
    every = [*values["causes"], *(found for row in layers for found in row.findings)]
    return Report(**(words(values["verdict"], integrity_of(every)) | values))


def hostile_report() -> Report:
    rows = tuple(layer(name, 2.0 + index / 8, kind=name[:30]) for index, name in enumerate(HOSTILE))
    rows += tuple(without_metrics(name, "failed", f"nonfinite: '{name}'") for name in HOSTILE)
    rows += tuple(without_metrics(name, "skipped", name or "empty") for name in HOSTILE)
    skipped = tuple(tensor(name, (1,), "float32", name or "empty") for name in HOSTILE)
    base = report(rows)
    findings = [
        finding(f"RA-{name}", ("info", "warning", "error")[index % 3], name, {name: [name, 1.5, None]})
        for index, name in enumerate(HOSTILE)
    ]
    rows += (layer("found.weight", findings=tuple(findings)),)
    return report(
        rows,
        causes=tuple(findings[:3]),
        subject={**base.subject, "path": "m\r\n::error::\x1b[31m.safetensors", "warnings": list(HOSTILE)},
        coverage=Coverage(
            tensors=101,
            parameters=10,
            weight_parameters=10,
            parameters_analyzed=5,
            fraction=0.5,
            skipped=skipped,
        ),
    )
