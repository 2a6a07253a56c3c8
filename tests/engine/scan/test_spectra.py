"""Which arithmetic the spectrum of a layer has in a scan."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
import torch

from rmtaudit.analyzers.registry import available, build
from rmtaudit.checkpoints.memory import StateDictCheckpoint
from rmtaudit.engine.scan import spectra
from rmtaudit.engine.scan.run import scan_checkpoint
from rmtaudit.engine.settings.presets import preset_settings
from rmtaudit.engine.settings.scan import ScanSettings
from rmtaudit.kernels.spectra.accuracy import Accuracy
from rmtaudit.report.model import Report

SETTINGS = replace(preset_settings("fast").settings, threads=1)


@pytest.fixture(autouse=True)
def _from_a_small_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectra, "LEAST_SIDE", 64)


def weight(dtype: torch.dtype = torch.bfloat16, shape: tuple[int, int] = (600, 200)) -> torch.Tensor:
    return (0.02 * torch.randn(shape, generator=torch.Generator().manual_seed(3))).to(dtype)


def scan(tensors: dict[str, torch.Tensor], settings: ScanSettings = SETTINGS) -> Report:
    return scan_checkpoint(StateDictCheckpoint(tensors), settings)


def precision(tensors: dict[str, torch.Tensor], settings: ScanSettings = SETTINGS) -> object:
    (row,) = scan(tensors, settings).layers
    assert row.status == "ok"
    return row.spectrum["precision"]


@pytest.mark.parametrize("preset", ["fast", "default"])
def test_a_layer_in_half_precision_has_a_spectrum_in_float32(preset: str) -> None:
    settings = replace(preset_settings(preset).settings, threads=1)
    found = scan({"w": weight()}, settings)
    exact = scan({"w": weight()}, replace(settings, precision="float64"))
    (ours,), (theirs,) = found.layers, exact.layers
    assert (ours.spectrum["precision"], theirs.spectrum["precision"]) == ("float32", "float64")
    assert (found.tool["precision"], exact.tool["precision"]) == ("auto", "float64")
    assert [each.code for each in ours.findings] == [each.code for each in theirs.findings]
    assert ours.signal == theirs.signal
    for name, metric in theirs.metrics.items():
        if isinstance(metric.value, float):
            assert ours.metrics[name].value == pytest.approx(metric.value, rel=3e-4, abs=3e-4), name
        else:
            assert ours.metrics[name].value == metric.value, name


@pytest.mark.parametrize(
    ("tensor", "changes"),
    [
        (weight(torch.float32), {}),
        (weight(shape=(200, 200)), {}),  # to compute its smallest singular values apart is not worth it
        (weight(shape=(600, 50)), {}),  # too small to be worth it
        (weight(), {"solver": "svd"}),
        (weight(), {"analyzers": ("scale", "logdet")}),
    ],
    ids=["float32", "square", "small", "svd", "logdet"],
)
def test_other_layers_have_one_in_float64(tensor: torch.Tensor, changes: dict[str, object]) -> None:
    assert precision({"w": tensor}, replace(SETTINGS, **changes)) == "float64"  # type: ignore[arg-type]


def test_the_update_of_an_adapter_has_one_in_float64() -> None:
    factors = {"m.lora_A.weight": weight(shape=(70, 600)), "m.lora_B.weight": weight(shape=(300, 70))}
    assert precision(factors) == "float64"


def test_a_tail_alone_needs_few_digits_of_the_small_values() -> None:
    square: dict[str, torch.Tensor] = {"w": weight(shape=(200, 200))}
    assert precision(square, replace(SETTINGS, analyzers=("powerlaw",), options={})) == "float32"


def test_analyzers_say_how_exact_they_need_the_eigenvalues() -> None:
    """All that is not known to do with less asks for float64."""
    stated: dict[str, Literal[Accuracy.STORED, Accuracy.LARGE]] = {
        "scale": Accuracy.STORED,
        "forensics": Accuracy.STORED,
        "noise": Accuracy.STORED,
        "powerlaw": Accuracy.LARGE,
        "null_alpha": Accuracy.LARGE,
    }
    for name in available():
        analyzer = build(name)
        assert analyzer.accuracy is stated.get(analyzer.name, Accuracy.FULL)
