"""How long a scan will take, before it starts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rmtaudit.analyzers.registry import build_all
from rmtaudit.checkpoints.memory import StateDictCheckpoint
from rmtaudit.engine.resources.progress import Estimate
from rmtaudit.engine.resources.threads import one_thread_each
from rmtaudit.engine.scan import cost
from rmtaudit.engine.scan.cost import COSTS, Matrices, Rates, Speed, estimate_scan, measured_rates
from rmtaudit.engine.scan.run import scan_checkpoint
from rmtaudit.engine.scan.spectra import narrow_expected
from rmtaudit.engine.scan.worker import LayerWork
from rmtaudit.engine.settings.presets import preset_settings
from rmtaudit.engine.settings.scan import ScanSettings
from rmtaudit.matrices.plan import plan_layers

LAYERS = [Matrices((4096, 4096), 1)] * 50


def rates() -> Rates:
    return Rates(Speed(2e10, 5e9), Speed(4e10, 8e9))


def settings(preset: str) -> ScanSettings:
    return preset_settings(preset).settings


@pytest.mark.parametrize("preset", sorted(COSTS))
def test_seconds_follow_the_shapes(preset: str) -> None:
    estimate = estimate_scan(LAYERS, settings(preset), threads=2, rates=rates)
    assert estimate is not None
    expected = [
        25
        * (
            constants.fixed
            + constants.entries * 4096**2
            + (2 * constants.products / 2e10 + constants.eigenvalues / 5e9) * 4096**3
        )
        for constants in (COSTS[preset].signal, COSTS[preset].noise)
    ]
    assert [estimate.seconds, estimate.seconds_most] == pytest.approx(sorted(expected))
    assert (estimate.layers, estimate.threads) == (50, 2)
    if preset == "fast":
        assert estimate.seconds_fast is None
    else:
        assert estimate.seconds_fast is not None
        assert estimate.seconds_fast < estimate.seconds


def test_the_longest_layer_is_not_shared_out() -> None:
    one = [Matrices((16384, 16384), 1)]
    few, many = (estimate_scan(one, settings("fast"), threads=count, rates=rates) for count in (1, 16))
    assert few is not None
    assert many is not None
    assert few.seconds == many.seconds


def test_pooled_matrices_count_each() -> None:
    nine = estimate_scan([Matrices((4096, 4096), 9)], settings("default"), threads=1, rates=rates)
    one = estimate_scan([Matrices((4096, 4096), 1)] * 9, settings("default"), threads=1, rates=rates)
    assert nine is not None
    assert one is not None
    assert nine.seconds == pytest.approx(one.seconds)


def test_nothing_is_said_of_a_short_scan_nor_is_the_machine_measured() -> None:
    def never() -> Rates:
        raise AssertionError

    assert estimate_scan([Matrices((384, 1536), 1)] * 38, settings("default"), threads=2, rates=never) is None
    assert estimate_scan([], settings("default"), threads=2, rates=never) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"analyzers": ("scale", "htmp")},
        {"options": {"powerlaw": {"bootstrap": 200}}},
        {"solver": "svd"},
    ],
    ids=str,
)
def test_nothing_is_said_of_what_was_not_measured(changed: dict[str, object]) -> None:
    assert estimate_scan(LAYERS, settings("default"), threads=1, rates=rates) is not None
    other = replace(settings("default"), **changed)  # type: ignore[arg-type]
    assert estimate_scan(LAYERS, other, threads=1, rates=rates) is None


def test_the_order_of_the_analyzers_does_not_matter() -> None:
    default = settings("default")
    other = replace(default, analyzers=default.analyzers[::-1])
    given = estimate_scan(LAYERS, other, threads=1, rates=rates)
    assert given == estimate_scan(LAYERS, default, threads=1, rates=rates)


@pytest.mark.parametrize("preset", sorted(COSTS))
def test_a_range_ascends_and_float64_takes_longer_than_float32(preset: str) -> None:
    for shape in ((4096, 4096), (11008, 4096)):
        wide, narrow = (
            estimate_scan([Matrices(shape, 20, narrow=each)], settings(preset), threads=1, rates=rates)
            for each in (False, True)
        )
        assert wide is not None
        assert narrow is not None
        assert wide.seconds <= wide.seconds_most
        assert narrow.seconds <= narrow.seconds_most
        assert narrow.seconds < wide.seconds


def test_the_rates_are_those_of_a_machine() -> None:
    with one_thread_each():
        measured = measured_rates()
    for speed in (measured.float64, measured.float32):
        assert 1e8 < speed.eigenvalues < speed.products < 1e13


@pytest.mark.parametrize(
    ("preset", "shape", "dtype", "narrow"),
    [
        ("default", (2048, 2048), torch.bfloat16, True),
        ("default", (1024, 4096), torch.float16, True),
        ("default", (1024, 1024), torch.bfloat16, False),
        ("fast", (1024, 1024), torch.bfloat16, False),
        ("default", (2048, 2048), torch.float32, False),
        ("default", (512, 4096), torch.bfloat16, False),
    ],
)
def test_the_precision_of_a_spectrum_is_expected_before_the_weights_are_read(
    preset: str, shape: tuple[int, int], dtype: torch.dtype, narrow: bool
) -> None:
    checkpoint = StateDictCheckpoint({"a.weight": torch.zeros(shape, dtype=dtype)})
    (layer,) = plan_layers(checkpoint.tensors, conv="flattened").layers
    chosen = settings(preset)
    work = LayerWork(
        analyzers=build_all(chosen.analyzers, chosen.options),
        solver=chosen.solver,
        precision=chosen.precision,
        device=torch.device("cpu"),
        seed=0,
    )
    assert narrow_expected(layer, work) is narrow
    assert not narrow_expected(layer, replace(work, precision="float64"))


def test_a_scan_announces_itself_before_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "WORTH_SAYING", 0.001)
    events: list[str] = []
    given: list[Estimate] = []

    class Watched(StateDictCheckpoint):
        def read(self, name: str) -> torch.Tensor:
            events.append("read")
            return super().read(name)

    def expect(estimate: Estimate) -> None:
        events.append("estimate")
        given.append(estimate)

    weights = {f"{index}.weight": torch.randn(40, 30) for index in range(3)}
    chosen = replace(settings("fast"), threads=1)
    report = scan_checkpoint(Watched(weights), chosen, expect=expect)
    assert events[0] == "estimate"
    assert events.count("estimate") == 1
    assert given[0].layers == len(report.layers) == 3
    scan_checkpoint(Watched(weights), replace(chosen, memory=1000), expect=expect)
    assert len(given) == 1, "layers beyond the budget take another time"
