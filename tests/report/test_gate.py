from __future__ import annotations

from typing import get_args

import jsonschema
import pytest

from rmtaudit.report.gate import (
    EXIT_CODES,
    GATE_HEADER,
    Check,
    CheckEvidence,
    CheckOutcome,
    CheckSeverity,
    GateCoverage,
    GateDocument,
    GateMetric,
    GateOutcome,
    GatePolicy,
    GateSubject,
    GateTool,
    Suppression,
    gate_schema,
    outcome_of,
    worst_outcome,
)


def check(outcome: CheckOutcome = "failed", severity: CheckSeverity = "error") -> Check:
    return Check(
        rule="no-damage",
        title="No layer is damaged.",
        why="Damage has no innocent explanation.",
        level="layer",
        target="h.0.weight",
        severity=severity,
        outcome=outcome,
        message="h.0.weight holds values that are not finite.",
        evidence=(CheckEvidence(layer="h.0.weight", finding="RA-SC-001", value=3, threshold=0),),
        false_alarm_rate=0.01,
    )


def document(checks: tuple[Check, ...]) -> GateDocument:
    outcome = outcome_of(checks)
    subject = GateSubject(
        path="model.safetensors",
        report=None,
        format="safetensors",
        digest="sha256:00",
        parameters=4096,
        coverage=GateCoverage(fraction=1.0, skipped=0),
        outcome=outcome,
        error=None,
        checks=checks,
        metrics={"alpha": GateMetric(value=3.1, low=2.9, high=3.3, unit="")},
    )
    return GateDocument(
        schema=GATE_HEADER,
        tool=GateTool(version="1"),
        policy=GatePolicy(name="standard", version="1", sha256="00", sources=("standard",)),
        baseline=None,
        day="2026-01-01",
        subjects=(subject,),
        outcome=outcome,
        exit_code=EXIT_CODES[outcome],
        suppressions=(
            Suppression(
                rule="no-damage", layer="h.*", finding=None, reason="known", expires="2025-01-01",
                expired=True, used=0,
            ),
        ),
    )  # fmt: skip


def test_a_document_follows_its_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(gate_schema())
    validator = jsonschema.Draft202012Validator(gate_schema())
    written = document((check(),)).to_dict()
    validator.validate(written)
    assert written["exit_code"] == 1
    del written["subjects"][0]["checks"][0]["rule"]
    assert not validator.is_valid(written)


@pytest.mark.parametrize(
    ("checks", "outcome"),
    [
        ([], "passed"),
        ([check("passed"), check("suppressed")], "passed"),
        ([check("failed", "warning"), check("inconclusive", "warning"), check("passed")], "passed"),
        ([check("passed"), check("inconclusive")], "inconclusive"),
        ([check("inconclusive"), check("failed"), check("passed")], "failed"),
    ],
)
def test_outcome_of_a_subject(checks: list[Check], outcome: GateOutcome) -> None:
    assert outcome_of(checks) == outcome


def test_the_worst_of_several_subjects() -> None:
    order: list[GateOutcome] = ["passed", "inconclusive", "failed", "unreadable"]
    assert set(order) == set(get_args(GateOutcome)) == set(EXIT_CODES)
    for index, outcome in enumerate(order):
        assert worst_outcome(order[: index + 1]) == outcome
    assert [EXIT_CODES[outcome] for outcome in order] == [0, 3, 1, 2]
    assert worst_outcome([]) == "passed"
