from __future__ import annotations

from itertools import pairwise
from types import ModuleType

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rmtaudit.report.ordering import natural_key, worst_first


def names(report: object) -> list[str]:
    return [row.name for row in worst_first(report)]  # type: ignore[arg-type]


def test_failed_then_worst_then_without_the_metric_then_skipped(made: ModuleType) -> None:
    assert names(made.report()) == [
        "encoder.layer.4.weight",
        "encoder.layer.2.weight",
        "encoder.layer.10.weight",
        "encoder.layer.0.weight",
        "encoder.layer.3.weight",
        "encoder.layer.5.qweight",
    ]


def test_the_direction_is_the_metrics_own(made: ModuleType) -> None:
    rows = (made.layer("a", 1.0), made.layer("b", 3.0), made.layer("c", 2.0))
    for better, expected in (("lower", "bca"), ("higher", "acb"), (None, "bca")):
        metrics = {"alpha": replace(made.CATALOGUE["alpha"], better=better)}
        assert "".join(names(made.report(rows, metrics=metrics))) == expected


def test_texts_and_unknown_metrics_leave_the_order_of_names(made: ModuleType) -> None:
    rows = (made.layer("b.10"), made.layer("b.9"), made.layer("a.1"))
    tool = made.report().tool
    for sort in ("warning", "no such metric"):
        assert names(made.report(rows, tool={**tool, "sort": sort})) == ["a.1", "b.9", "b.10"]


@given(st.lists(st.text(max_size=8), max_size=6))
def test_any_names_can_be_compared(texts: list[str]) -> None:
    keys = [natural_key(text) for text in sorted(texts, key=natural_key)]
    assert all(first <= second for first, second in pairwise(keys))


@given(st.lists(st.integers(0, 10**30), max_size=8))
def test_numbers_in_names_are_in_numeric_order(numbers: list[int]) -> None:
    ranked = sorted((f"layer.{number}.weight" for number in numbers), key=natural_key)
    assert ranked == [f"layer.{number}.weight" for number in sorted(numbers)]
