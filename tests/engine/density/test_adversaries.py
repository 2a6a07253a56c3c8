"""The tables of the benchmark of adversaries: they pool all rows, and can show a wrong answer."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture(scope="module")
def adversaries() -> ModuleType:
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location("adversaries_script", FOLDER / "adversaries.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(FOLDER))
    return module


def test_rows_are_pooled_with_the_interval_of_their_rate(
    adversaries: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    common = {"kind": "block", "family": "semicircle", "n": 64, "factor": 2.0}
    rows = [adversaries.Row(**common, verdict="determined", ks=0.01, held=9) for _ in range(9)]
    rows.append(adversaries.Row(**common, verdict="determined", ks=0.2, held=0))
    rows.append(adversaries.Row(**common, verdict="refused", obstacle="wide"))
    adversaries.print_density(rows)
    adversaries.print_free(rows)
    printed = capsys.readouterr().out
    assert "| block, determined | 10 | 10 | 1: 10.0% (0.3% to 44.5%) | 0.900 |" in printed
    assert "| semicircle | 11 | 10 | 0 | 1 | wide 1 |" in printed


def test_the_interval_of_a_rate_is_that_of_clopper_and_pearson(adversaries: ModuleType) -> None:
    assert adversaries.interval(0, 10) == "0.0% (0.0% to 30.8%)"
    assert adversaries.interval(10, 10) == "100.0% (69.2% to 100.0%)"
    assert adversaries.interval(0, 0) == "-"
