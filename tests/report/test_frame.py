from __future__ import annotations

import sys
from types import ModuleType

import pytest
from msgspec.structs import replace

from rmtaudit.errors import UsageError
from rmtaudit.report.model import IDENTITY


def test_a_row_a_layer_and_a_column_a_metric(made: ModuleType) -> None:
    report = made.report()
    frame = report.to_pandas()
    assert list(frame.columns) == [*IDENTITY, *made.CATALOGUE]
    assert list(frame["name"]) == [row.name for row in report.layers]
    assert frame["alpha"].mean() == pytest.approx(report.summary["alpha"].value)
    assert frame["alpha"].isna().sum() == 3


def test_an_empty_report_has_the_columns(made: ModuleType) -> None:
    base = made.report()
    frame = replace(base, layers=(), summary={}, metrics={}).to_pandas()
    assert len(frame) == 0
    assert list(frame.columns) == list(IDENTITY)


def test_without_pandas_the_error_says_what_to_install(
    made: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match=r"pip install 'rmtaudit\[pandas\]'"):
        made.report().to_pandas()
