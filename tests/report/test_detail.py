"""The compact form of a report."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import jsonschema
from msgspec.structs import replace

from rmtaudit.cli.table import table_text
from rmtaudit.report.detail import summarised
from rmtaudit.report.document import dumps, results_to_dict
from rmtaudit.report.model import Result, failed_subject
from rmtaudit.report.parsing import loads
from rmtaudit.report.schema import report_schema
from rmtaudit.report.writers import writer_for

VALIDATOR = jsonschema.Draft202012Validator(report_schema())
LOST = failed_subject("lost.bin", "RA-IN-001", "No such file.", "Check the path.")


def found(made: ModuleType) -> Any:
    """Return a report with findings, spectra, and a metric that no table shows."""
    rows = tuple(
        made.layer(
            name,
            alpha,
            spectrum={"method": "exact", "floor": [1.0] * 20},
            findings=(made.finding("RA-FO-004", "warning", f"{name} here.", {"share": 0.9, "rows": [1, 2]}),),
        )
        for name, alpha in (("a", 2.0), ("b", 6.0))
    )
    metrics = {**made.CATALOGUE, "alpha_low": made.CATALOGUE["xmin"]}
    rows = tuple(replace(row, metrics={**row.metrics, "alpha_low": made.metric(1.5)}) for row in rows)
    return made.report(rows, metrics=metrics)


def test_a_summary_keeps_to_the_schema_and_is_read_as_it_was(made: ModuleType) -> None:
    for report in (made.report(), found(made), made.hostile_report()):
        summary = summarised(report)
        assert summary.detail == "summary"
        document = summary.to_dict()
        assert not [error.message for error in VALIDATOR.iter_errors(document)]
        assert loads(writer_for("json")([summary])) == (summary,)
        assert summarised(summary) == summary


def test_a_summary_shows_the_same_table_and_findings(made: ModuleType) -> None:
    for report in (made.report(), found(made), made.hostile_report()):
        summary = summarised(report)
        assert table_text([summary], top=0) == table_text([report], top=0)
        assert writer_for("markdown")([summary]) == writer_for("markdown")([report])
        assert [each.message for each in summary.findings] == [each.message for each in report.findings]


def test_a_summary_keeps_what_stands_in_for_a_spectrum(made: ModuleType) -> None:
    predicted = {"predicted_median": made.metric(0.5, ci=(0.4, 0.6))}
    row = replace(made.without_metrics("big", "skipped", "memory: needs about 9 GB"), metrics=predicted)
    entry = replace(made.CATALOGUE["xmin"], analyzer="predicted")
    report = made.report((row,), metrics={**made.CATALOGUE, "predicted_median": entry})
    assert "big: median 0.5000" in table_text([report], top=0)
    assert table_text([summarised(report)], top=0) == table_text([report], top=0)


def test_what_a_summary_leaves_out(made: ModuleType) -> None:
    report = found(made)
    summary = summarised(report)
    assert "warning" in report.metrics
    assert list(summary.metrics) == [*report.tool["columns"], "alpha_low"]
    assert all(set(row.metrics) == set(summary.metrics) for row in summary.layers)
    assert all(row.spectrum == {} for row in summary.layers)
    # the single numbers are those that a row of the table shows
    assert all(row.findings[0].evidence == {"share": 0.9} for row in summary.layers)
    assert summary.causes[0].evidence == {"codes": ["RA-FO-004"], "layers": ["a", "b"]}
    assert summary.coverage == report.coverage


def test_a_summary_has_a_line_a_layer(made: ModuleType) -> None:
    report = summarised(found(made))
    text = writer_for("json")([report])
    assert text.isascii()
    assert [line.strip().rstrip(",") for line in text.splitlines() if line.startswith('  {"name"')] == [
        json.dumps(row, separators=(",", ":")) for row in report.to_dict()["layers"]
    ]
    several: list[Result] = [report, LOST, summarised(made.hostile_report())]
    assert json.loads(writer_for("json")(several)) == results_to_dict(several)
    assert dumps(results_to_dict(several)) != writer_for("json")(several)
    assert len(text) < len(dumps(report.to_dict())) / 1.5
