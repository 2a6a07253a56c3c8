"""``rmtaudit rank`` on real models whose quality is known, held against SciPy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import kendalltau

from rmtaudit.cli import cli
from rmtaudit.cli.errors import run

SERIES = {"cifar_resnet": ("cifar10_test_err", False), "ml_kws": ("gsc12_acc", True)}
"""The measure of each family, and whether a higher one is better."""


def _tau(values: list[float], quality: list[float]) -> float | None:
    tau = float(kendalltau(values, quality).statistic)
    return None if tau != tau else tau


@pytest.mark.parametrize("series", SERIES)
def test_every_tau_is_that_of_scipy(
    series: str, shared: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measure, higher = SERIES[series]
    entries = json.loads(shared("models", "catalogue.json").read_text())
    known = {
        entry["file"]: entry["quality"][measure]
        for entry in entries
        if entry.get("series") == series and measure in (entry["quality"] or {})
    }
    assert len(known) >= 4
    manifest, reports, quality = ["models:"], [], []
    for place, (file, value) in enumerate(known.items()):
        target = tmp_path / f"{place}.json"
        path = shared("models", *file.split("/"))
        assert run(cli, ["scan", str(path), "--preset", "fast", "-o", str(target), "-q"]) == 0
        reports.append(json.loads(target.read_text()))
        quality.append(value if higher else -value)
        measured = f"{{{measure}: {{value: {value}, higher_is_better: {str(higher).lower()}}}}}"
        manifest.append(f"  - {{report: {place}.json, family: {series}, quality: {measured}}}")
    zoo = tmp_path / "zoo.yaml"
    zoo.write_text("\n".join(manifest) + "\n")
    capsys.readouterr()
    assert run(cli, ["rank", str(zoo), "--format", "json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)

    [result] = document["measures"]
    assert result["models"] == len(known)
    sizes = [report["subject"]["parameters"] for report in reports]
    assert result["size"]["alone"]["tau"] == pytest.approx(_tau(sizes, quality), abs=1e-12)
    assert document["metrics"] == [n for n in reports[0]["tool"]["columns"] if n in reports[0]["summary"]]
    assert [each["metric"] for each in result["metrics"]] == document["metrics"] != []
    for each in result["metrics"]:
        pairs = [
            (report["summary"][each["metric"]]["value"], one)
            for report, one in zip(reports, quality, strict=True)
            if report["summary"][each["metric"]]["value"] is not None
        ]
        expected = _tau([value for value, _ in pairs], [one for _, one in pairs])
        assert each["models"] == len(pairs)
        assert each["alone"]["tau"] == (None if expected is None else pytest.approx(expected, abs=1e-12))
