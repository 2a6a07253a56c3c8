from __future__ import annotations

from types import ModuleType

from msgspec.structs import replace

from rmtaudit.finding_kind import Severity
from rmtaudit.report import sentences
from rmtaudit.report.grouping import MOST_WARNINGS, grouped_findings
from rmtaudit.report.model import Finding, LayerResult


def row(name: str, *findings: tuple[str, Severity]) -> LayerResult:
    return LayerResult(
        name=name,
        tensor=name,
        kind="dense",
        view="as stored",
        shape=(9, 9),
        dtype="float32",
        matrices=1,
        parameters=81,
        status="ok",
        reason="",
        verdict="unjudged",
        spectrum={},
        metrics={},
        findings=tuple(
            Finding(code=code, severity=severity, message=f"{code} here.", evidence={})
            for code, severity in findings
        ),
    )


def test_a_cause_is_one_finding_over_all_layers() -> None:
    rows = [row(f"block.{place}", ("RA-FO-005", "info")) for place in range(41)]
    rows[3] = row("block.3", ("RA-FO-005", "info"), ("RA-FO-010", "info"))
    (found,) = grouped_findings(rows)
    assert (found.code, found.severity) == ("RA-FO-005", "info")
    assert found.evidence["codes"] == ["RA-FO-005", "RA-FO-010"]
    assert found.evidence["layers"] == [each.name for each in rows]
    assert found.message == (
        "dead rows or columns, denormals in 41 layers (block.0, block.1, block.2 and 38 more). "
        "block.0: RA-FO-005 here."
    )


def test_severities_and_causes_stay_apart_and_the_worst_come_first() -> None:
    rows = [
        row("a", ("RA-FO-005", "info"), ("RA-FO-004", "warning")),
        row("b", ("RA-FO-005", "warning"), ("RA-FO-001", "error")),
        row("c", ("RA-FO-005", "info")),
    ]
    found = grouped_findings(rows)
    assert [(each.code, each.severity) for each in found] == [
        ("RA-FO-001", "error"),
        ("RA-FO-004", "warning"),
        ("RA-FO-005", "warning"),
        ("RA-FO-005", "info"),
    ]
    assert found[0].message == "b: RA-FO-001 here."


def test_two_findings_of_one_layer_name_it_once() -> None:
    (found,) = grouped_findings([row("a", ("RA-FO-006", "warning"), ("RA-FO-014", "warning"))])
    assert found.evidence["layers"] == ["a"]
    assert found.message.endswith("in a. RA-FO-006 here.")


def test_no_more_than_five_warnings_and_nothing_is_lost() -> None:
    codes = [f"XY-{number}" for number in range(9)]
    rows = [row("a", *((code, "warning") for code in codes), ("RA-FO-001", "error"))]
    found = grouped_findings(rows)
    loud = [each for each in found if each.severity == "warning"]
    assert len(loud) == MOST_WARNINGS
    assert sorted(code for each in loud for code in each.evidence["codes"]) == codes
    assert found[0].severity == "error"


def test_the_sentences_are_those_of_the_groups_also_of_an_older_report(made: ModuleType) -> None:
    rows = tuple(row(f"x.{place}", ("RA-FO-004", "warning"), ("RA-NF-001", "info")) for place in range(7))
    report = made.report(rows, causes=())
    expected = [
        (
            "warning",
            "sparse in 7 layers (x.0, x.1, x.2 and 4 more). x.0: RA-FO-004 here. [RA-FO-004]",
        )
    ]
    assert sentences.findings(report) == expected
    assert sentences.findings(replace(report, causes=grouped_findings(rows))) == expected
