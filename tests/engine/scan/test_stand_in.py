"""Analyzers that stand in for a spectrum beyond the budget: asked there, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from msgspec import structs

from rmtaudit.analyzers.base import Analysis, Analyzer, LayerInput, Metric, NoOptions
from rmtaudit.analyzers.registry import build_all
from rmtaudit.checkpoints.memory import StateDictCheckpoint
from rmtaudit.engine.scan import run as engine
from rmtaudit.engine.scan.run import scan_checkpoint
from rmtaudit.engine.settings.presets import preset_settings
from rmtaudit.engine.settings.scan import ScanSettings
from rmtaudit.report.model import LayerResult, MetricResult, Report

SETTINGS = ScanSettings(analyzers=("scale",), threads=1, memory=400_000)


class StandIn(Analyzer):
    """Counts rows; takes as many bytes as its class says."""

    name = "stand-in"
    metrics = (Metric(name="rows", unit="count", description="Rows.", reference="none"),)
    needs = frozenset({"matrix"})
    stands_in = True
    Options = NoOptions
    takes: ClassVar[int] = 1000

    def working_bytes(self, rows: int, cols: int) -> int:
        del rows, cols
        return self.takes

    def analyze(self, given: LayerInput) -> Analysis:
        assert given.spectrum.method == "unknown"
        return Analysis({"rows": len(given.matrices[0])}, remark="its rows were counted")


class Greedy(StandIn):
    takes = 1 << 40


def tensors() -> Mapping[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "big": torch.randn(300, 250, generator=generator),
        "small": torch.randn(40, 30, generator=generator),
    }


def scan(monkeypatch: pytest.MonkeyPatch, *standing: Analyzer, settings: ScanSettings = SETTINGS) -> Report:
    monkeypatch.setattr(engine, "build_all", lambda names, options: (*build_all(names, options), *standing))
    return scan_checkpoint(StateDictCheckpoint(dict(tensors())), settings)


def measured(layer: LayerResult) -> Mapping[str, MetricResult]:
    """Return the metrics that the layer has a value of."""
    return {name: result for name, result in layer.metrics.items() if result.status == "ok"}


def test_it_is_asked_about_layers_beyond_the_budget_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = scan(monkeypatch)
    report = scan(monkeypatch, StandIn())
    big, small = report.layers
    assert big.metrics["rows"].value == 300
    assert big.reason == f"{plain.layers[0].reason}; its rows were counted"
    assert big.metrics["spectral_norm"].reason == plain.layers[0].reason
    assert structs.replace(small, metrics=measured(small)) == plain.layers[1]
    assert small.metrics["rows"].reason == "the layer has a spectrum of its own"
    assert report.metrics["rows"].analyzer == "stand-in"
    assert report.coverage.parameters_analyzed == plain.coverage.parameters_analyzed


def test_where_all_is_within_the_budget_nothing_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(SETTINGS, memory=None)
    assert (
        scan(monkeypatch, StandIn(), settings=settings).metrics
        == scan(monkeypatch, settings=settings).metrics
    )


def test_it_has_room_or_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    report = scan(monkeypatch, Greedy())
    assert {result.status for result in report.layers[0].metrics.values()} == {"skipped"}
    assert "rows" not in report.metrics
    assert report.layers == scan(monkeypatch).layers
    # beside one that has room, it says that it has none
    settings = replace(
        SETTINGS, analyzers=("scale", "sketch"), options={"sketch": {"top": 1}}, memory=1_880_000
    )
    monkeypatch.setattr(StandIn, "takes", 10)
    report = scan(monkeypatch, Greedy(), settings=settings)
    big = report.layers[0]
    assert big.metrics["sketch_sigma_1"].status == "ok"
    assert big.metrics["rows"].status == "skipped"
    assert big.metrics["rows"].reason.endswith("and stand-in also needs more memory")


def test_alone_it_leaves_the_spectra_in(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(SETTINGS, analyzers=())
    big, small = scan(monkeypatch, StandIn(), settings=settings).layers
    assert (big.status, big.metrics["rows"].value) == ("skipped", 300)
    assert (small.status, small.spectrum["method"], measured(small)) == ("ok", "exact", {})


@pytest.mark.parametrize("preset", ["default", "audit"])
def test_the_presets_that_judge_have_one(preset: str) -> None:
    settings = preset_settings(preset).settings
    standing = [each.name for each in build_all(settings.analyzers) if each.stands_in]
    assert standing == ["predicted"]
    assert settings.analyzers[-1] == "predicted"
