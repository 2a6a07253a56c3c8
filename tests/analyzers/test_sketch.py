"""The analyzer sketch: intervals hold the exact values, pooled layers and layers beyond the budget too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import rmtaudit
from rmtaudit.analyzers.base import MetricValue
from rmtaudit.analyzers.contract import AnalyzerContract, layer_input
from rmtaudit.analyzers.sketch import Sketch, SketchOptions
from rmtaudit.checkpoints.memory import StateDictCheckpoint
from rmtaudit.engine.scan.run import scan_checkpoint
from rmtaudit.engine.settings.scan import ScanSettings
from rmtaudit.report.model import LayerResult, MetricResult


class TestContract(AnalyzerContract):
    analyzer = Sketch()


def gaussian(rows: int, cols: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed))


def sigmas(*matrices: torch.Tensor) -> torch.Tensor:
    return torch.cat([torch.linalg.svdvals(W.double()) for W in matrices]).sort(descending=True).values


def assert_held(found: object, exact: object) -> None:
    assert isinstance(found, MetricValue | MetricResult)
    assert isinstance(found.value, int | float)
    assert found.ci is not None
    low, high = found.ci
    assert low <= found.value <= high
    assert isinstance(exact, int | float)
    assert low <= exact * (1 + 1e-9)
    assert exact <= high * (1 + 1e-9)


@pytest.mark.parametrize(
    "matrices",
    [
        (gaussian(90, 60),),
        (gaussian(60, 90).half().float(),),
        (gaussian(80, 80) / torch.rand(80, 80, generator=torch.Generator().manual_seed(1)).clamp(min=0.01),),
        (gaussian(40, 30), 3 * gaussian(40, 30, 1), 0 * gaussian(40, 30)),
        (gaussian(50, 4) @ gaussian(4, 60, 1),),
        (torch.eye(20),),
    ],
    ids=["Gaussian", "wide", "heavy", "pooled", "low rank", "identity"],
)
def test_intervals_hold_the_exact_values(matrices: tuple[torch.Tensor, ...]) -> None:
    exact = sigmas(*matrices)
    found: Mapping[str, Any] = Sketch(SketchOptions(top=6)).analyze(layer_input(*matrices))
    energy = float((exact**2).sum())
    for i in range(6):
        value = found[f"sketch_sigma_{i + 1}"]
        if float(exact[i]) > 1e-9 * float(exact[0]):
            assert_held(value, float(exact[i]))
        assert value.ci[1] - value.ci[0] <= 0.06 * float(exact[0])
    assert found["sketch_frobenius_norm"] == pytest.approx(energy**0.5, rel=1e-12)
    assert_held(found["sketch_stable_rank"], energy / float(exact[0]) ** 2)
    assert_held(found["sketch_tail_share"], max(1 - float((exact[:6] ** 2).sum()) / energy, 0))


def test_squares_beyond_the_range_of_float64() -> None:
    for scale in (1e200, 1e-200):
        found: Mapping[str, Any] = Sketch().analyze(layer_input(gaussian(30, 20).double() * 1.0))
        huge: Mapping[str, Any] = Sketch().analyze(
            replace(layer_input(gaussian(30, 20)), matrices=(gaussian(30, 20).double() * scale,))
        )
        assert huge["sketch_sigma_1"].value == pytest.approx(found["sketch_sigma_1"].value * scale)
        assert huge["sketch_stable_rank"].value == pytest.approx(found["sketch_stable_rank"].value)


def test_numbers_too_small_for_products_in_float32() -> None:
    W = gaussian(64, 64) * 1e-39
    found: Mapping[str, Any] = Sketch().analyze(layer_input(W))
    assert_held(found["sketch_sigma_1"], float(sigmas(W)[0]))
    low, high = found["sketch_sigma_1"].ci
    assert high - low < 0.01 * high


def test_what_a_layer_does_not_have_is_said() -> None:
    found: Mapping[str, Any] = Sketch().analyze(layer_input(torch.ones(2, 7)))
    assert found["sketch_sigma_3"].status == "skipped"
    assert "2 singular values" in found["sketch_sigma_3"].reason
    zero: Mapping[str, Any] = Sketch().analyze(layer_input(torch.zeros(8, 6)))
    assert zero["sketch_sigma_1"].value == zero["sketch_frobenius_norm"] == 0
    assert zero["sketch_stable_rank"].reason == "the matrix is zero"
    with pytest.raises(ValueError, match="top"):
        SketchOptions(top=0)
    with pytest.raises(ValueError, match="failure"):
        SketchOptions(failure=0.9)


BUDGET = 18_000_000


def assert_empty(layer: LayerResult) -> None:
    """The layer is skipped, and none of its metrics has a value."""
    assert layer.status == "skipped"
    assert {(metric.value, metric.reason) for metric in layer.metrics.values()} == {(None, layer.reason)}


def test_a_layer_beyond_the_budget_is_sketched_and_still_not_counted_as_analysed() -> None:
    W = gaussian(1000, 900)
    settings = ScanSettings(analyzers=("scale", "sketch"), memory=BUDGET, threads=1)
    report = scan_checkpoint(StateDictCheckpoint({"big": W, "small": gaussian(40, 30)}), settings)
    big, small = report.layers
    assert (big.status, small.status) == ("skipped", "ok")
    assert big.reason.startswith("memory: needs about")
    assert big.metrics["spectral_norm"].status == "skipped"
    assert big.metrics["spectral_norm"].reason == big.reason
    assert not big.spectrum
    assert_held(big.metrics["sketch_sigma_1"], float(sigmas(W)[0]))
    assert report.coverage.parameters_analyzed == 1200
    assert [skip.name for skip in report.coverage.skipped] == ["big"]
    assert report.summary["spectral_norm"].n == 1
    # without the sketch, as before
    alone = scan_checkpoint(
        StateDictCheckpoint({"big": W}), replace(settings, analyzers=("scale",), memory=9_000_000)
    )
    assert_empty(alone.layers[0])
    # and where even that is too much
    tight = scan_checkpoint(StateDictCheckpoint({"big": W}), replace(settings, memory=4_000_000))
    assert_empty(tight.layers[0])


def test_no_spectrum_is_computed_where_none_is_needed() -> None:
    settings = ScanSettings(analyzers=("sketch",), threads=1)
    report = scan_checkpoint(
        StateDictCheckpoint({"a": gaussian(40, 30), "zero": torch.zeros(9, 9), "one": torch.ones(5, 6)}),
        settings,
    )
    assert [(row.status, row.reason.partition(":")[0]) for row in report.layers] == [
        ("ok", ""),
        ("ok", "zero"),
        ("ok", "constant"),
    ]
    assert not report.layers[0].spectrum
    seen = []
    scan_checkpoint(
        StateDictCheckpoint({"a": gaussian(40, 30)}), settings, inspect=lambda row, _: seen.append(row.name)
    )
    assert seen == ["a"]
    assert "spectrum" not in report.timings or report.timings["spectrum"] < 0.5
    interval = report.layers[2].metrics["sketch_sigma_2"].ci
    assert interval is not None
    assert interval[1] < 1e-6


def test_a_real_checkpoint(shared: Callable[..., Path]) -> None:
    report = rmtaudit.scan(
        shared("models", "cifar_resnet", "resnet20.th"),
        analyzers=["scale", "sketch"],
        options={"sketch": {"top": 12}},
    )
    rows = [row for row in report.layers if row.status == "ok"]
    assert len(rows) == 20
    for row in rows:
        assert_held(row.metrics["sketch_sigma_1"], row.metrics["spectral_norm"].value)
        assert_held(row.metrics["sketch_stable_rank"], row.metrics["stable_rank"].value)
        frobenius = row.metrics["sketch_frobenius_norm"].value
        assert frobenius == pytest.approx(row.metrics["frobenius_norm"].value, rel=1e-9)
