"""One list of keys for the columns, in every table and in the order of the rows."""

from __future__ import annotations

import re
from types import ModuleType

import pytest

from rmtaudit.cli.table import table_text
from rmtaudit.report.columns import FINDING, NAME, PROPERTIES, shown_columns
from rmtaudit.report.html import report_html
from rmtaudit.report.model import Report
from rmtaudit.report.ordering import worst_first
from rmtaudit.report.sentences import order_line
from rmtaudit.report.strips import ranged_metric
from rmtaudit.report.writers.markdown import write


def with_tool(made: ModuleType, **changes: object) -> Report:
    report: Report = made.report(tool={**made.report().tool, **changes})
    return report


def heads_of_markdown(report: Report) -> list[str]:
    line = next(line for line in write([report]).splitlines() if line.startswith("| layer"))
    return [head.replace("\\", "") for head in line.strip("| ").split(" | ")]


def heads_of_html(report: Report) -> list[str]:
    head = report_html(report).partition("<thead>")[2].partition("</thead>")[0]
    return re.findall(r"<th[^>]*>([^<]+)</th>", head)


def heads_of_terminal(report: Report, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", "300")
    line = next(line for line in table_text([report], top=0).splitlines() if "  layer " in line)
    return re.split(r"\s{2,}", line.strip())


def test_every_property_can_be_a_column_of_every_table(
    made: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    between = [name for name in PROPERTIES if name not in (NAME, FINDING)]
    report = with_tool(made, columns=[*between, "alpha"])
    assert shown_columns(report) == [*between, "alpha"]
    every = [NAME, *between, "alpha [low–high]", FINDING]
    assert heads_of_markdown(report) == every
    assert heads_of_html(report) == every
    assert heads_of_terminal(report, monkeypatch) == every
    for column in every[:-2]:
        assert re.search(rf"\b{column}\b", table_text([report], top=0))


def test_metrics_alone_leave_the_usual_columns(made: ModuleType) -> None:
    report = with_tool(made, columns=["stable_rank"])
    assert shown_columns(report) == ["kind", "shape", "stable_rank", "signal"]
    assert heads_of_markdown(report)[:4] == ["layer", "kind", "shape", "stable_rank"]


def test_the_first_and_the_last_column_stay_where_they_are(
    made: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = with_tool(made, columns=["finding", "kind", "layer"])
    assert heads_of_terminal(report, monkeypatch) == ["layer", "kind", "finding"]


@pytest.mark.parametrize(
    ("sort", "expected", "words"),
    [
        ("parameters", "cab", "parameters, largest first"),
        ("shape", "bca", "shape, largest first"),
        ("kind", "acb", "by kind"),
        ("layer", "abc", "by name"),
        ("finding", "abc", "by name"),
    ],
)
def test_rows_are_ordered_by_a_property(made: ModuleType, sort: str, expected: str, words: str) -> None:
    rows = (
        made.layer("a", kind="conv2d", shape=(10, 10), parameters=200),
        made.layer("b", kind="embedding", shape=(100, 10), parameters=100),
        made.layer("c", kind="dense", shape=(20, 10), parameters=1000),
    )
    report: Report = made.report(rows, tool={**made.report().tool, "sort": sort})
    assert "".join(row.name for row in worst_first(report)) == expected
    assert words in order_line(report)


def test_strips_state_a_metric_whatever_the_columns_are(made: ModuleType) -> None:
    assert ranged_metric(with_tool(made, sort="kind", columns=["kind", "stable_rank"])) == "stable_rank"
    assert ranged_metric(with_tool(made, sort="kind", columns=["kind"])) == "alpha"


def test_a_metric_of_the_same_name_is_the_metric(made: ModuleType) -> None:
    base = with_tool(made, columns=["alpha"])
    named: Report = made.report(
        base.layers,
        metrics={**base.metrics, "view": base.metrics["alpha"]},
        tool={**base.tool, "columns": ["view"]},
    )
    assert shown_columns(named) == ["kind", "shape", "view", "signal"]
