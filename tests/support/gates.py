"""Results of gates made by hand: what the formats of CI systems are tested with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from rmtaudit.report.gate import (
    EXIT_CODES,
    GATE_HEADER,
    Check,
    CheckEvidence,
    CheckOutcome,
    CheckSeverity,
    GateBaseline,
    GateCoverage,
    GateDocument,
    GateError,
    GateMetric,
    GatePolicy,
    GateSubject,
    GateTool,
    Suppression,
    outcome_of,
    worst_outcome,
)

HOSTILE = (
    "\x1b[31mred\x1b[0m.weight",
    "a\r\n::error::x",
    "::error file=x,title=y::pwned",
    "::stop-commands::token",
    "x ##[error]y",
    "##vso[task.complete result=Succeeded]",
    "</failure></testcase><testcase name='x'/>",
    "]]><![CDATA[",
    "&entity; &#0; &amp;",
    "nul\x00 bell\x07 vt\x0b",
    "\ufffe\uffff",
    "lone\udc80surrogate",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "a | b | c",
    "`code` *star* _em_ ~~gone~~",
    "[text](javascript:alert(1))",
    "![x](https://example.org/x.png)",
    "https://example.org/login www.example.org mail@example.org @octocat #12 :smile:",
    "# heading",
    "- item",
    "> quote",
    "```",
    "trailing backslash \\",
    "\\| escaped pipe \\",
    "=1+1",
    "@SUM(A1)",
    "-2+3",
    "{0} {1} [link](1)",
    'quote " back \\ line \n } 1',
    "# EOF",
    "bidi\u202eevil\u2066",
    "line\u2028separator\u2029",
    "% %0A %25",
    "${{ secrets.TOKEN }} $(id) `id`",
    "",
)
"""Names that some consumer of a format could take for something else."""


def check(name: str = "h.0.weight", **changes: Any) -> Check:
    outcome: CheckOutcome = changes.get("outcome", "failed")
    severity: CheckSeverity = changes.get("severity", "error")
    values: dict[str, Any] = {
        "rule": "no-damage",
        "title": "No layer is damaged.",
        "why": "Damage has no innocent explanation.",
        "level": "layer",
        "target": name,
        "severity": severity,
        "outcome": outcome,
        "message": f"{name} holds values that are not finite.",
        "reason": "" if outcome in ("passed", "failed") else f"Known of {name}.",
        "evidence": (
            CheckEvidence(layer=name, finding="RA-SC-001"),
            CheckEvidence(
                layer=name, metric="alpha", value=7.25, low=6.5, high=8.0, baseline=3.5, threshold=6
            ),
        ),
        "evidence_left_out": 2,
        "false_alarm_rate": 0.01,
    }
    return Check(**(values | changes))


def subject(*checks: Check, path: str = "models/model.safetensors", **changes: Any) -> GateSubject:
    values: dict[str, Any] = {
        "path": path,
        "report": None,
        "format": "safetensors",
        "digest": f"sha256:{'ab' * 32}",
        "parameters": 4096,
        "coverage": GateCoverage(fraction=0.75, skipped=1),
        "outcome": outcome_of(checks),
        "error": None,
        "checks": checks,
        "metrics": {
            "alpha": GateMetric(value=3.1, low=2.9, high=3.3, unit=""),
            "layers": GateMetric(value=12, low=None, high=None, unit=""),
        },
    }
    return GateSubject(**(values | changes))


def unreadable(code: str = "RA-IN-011", path: str = "models/lfs.safetensors") -> GateSubject:
    return subject(
        path=path,
        format="",
        digest=None,
        parameters=0,
        coverage=None,
        outcome="unreadable",
        error=GateError(
            code=code, message=f"{path}: a Git LFS pointer: 130 bytes.", hint="Run: git lfs pull"
        ),
        metrics={},
    )


def document(*subjects: GateSubject, **changes: Any) -> GateDocument:
    outcome = worst_outcome(each.outcome for each in subjects)
    values: dict[str, Any] = {
        "schema": GATE_HEADER,
        "tool": GateTool(version="1.2.3"),
        "policy": GatePolicy(name="standard", version="1", sha256="cd" * 32, sources=("standard",)),
        "baseline": GateBaseline(path="base.json", digest=None, format="safetensors"),
        "day": "2026-01-01",
        "subjects": subjects,
        "outcome": outcome,
        "exit_code": EXIT_CODES[outcome],
        "suppressions": (
            Suppression(
                rule="no-damage",
                layer="h.*",
                finding=None,
                reason="Known.",
                expires="2025-01-01",
                expired=True,
                used=0,
            ),
        ),
    }
    return GateDocument(**(values | changes))


def sound_model(path: Path) -> None:
    """Write a small checkpoint in which nothing is damaged."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"a.weight": (48, 32), "b.weight": (64, 48)}
    save_file({name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}, path)


def hostile(name: str) -> GateDocument:
    """Return a document that has a name wherever a name or a text can stand."""
    checks = tuple(
        check(f"{name}{index}", outcome=outcome, severity=severity, rule=name or "rule", why=name)
        for index, (outcome, severity) in enumerate(
            [
                ("failed", "error"),
                ("inconclusive", "error"),
                ("suppressed", "error"),
                ("passed", "error"),
                ("failed", "warning"),
                ("inconclusive", "warning"),
            ]
        )
    )
    return document(
        subject(
            *checks,
            path=name or "x",
            format=name,
            metrics={name: GateMetric(value=1.5, low=1.0, high=None, unit=name)},
        ),
        unreadable(path=f"{name}/lfs"),
        policy=GatePolicy(name=name, version=name, sha256="00", sources=(name,)),
        baseline=GateBaseline(path=name, digest=None, format=name),
        suppressions=(
            Suppression(
                rule=name,
                layer=name,
                finding=name,
                reason=name or "x",
                expires="2025-01-01",
                expired=True,
                used=0,
            ),
        ),
    )
