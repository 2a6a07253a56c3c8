"""How long a scan will take, before it starts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rmtaudit.checkpoints.memory import StateDictCheckpoint
from rmtaudit.engine.resources.progress import Estimate
from rmtaudit.engine.resources.threads import one_thread_each
from rmtaudit.engine.scan import cost
from rmtaudit.engine.scan.cost import COSTS, Matrices, estimate_scan, measured_rate
from rmtaudit.engine.scan.run import scan_checkpoint
from rmtaudit.engine.settings.presets import preset_settings
from rmtaudit.engine.settings.scan import ScanSettings

LAYERS = [Matrices((4096, 4096), 1)] * 50


def rate() -> float:
    return 2e10


def settings(preset: str) -> ScanSettings:
    return preset_settings(preset).settings


@pytest.mark.parametrize("preset", sorted(COSTS))
def test_seconds_follow_the_shapes(preset: str) -> None:
    estimate = estimate_scan(LAYERS, settings(preset), threads=2, rate=rate)
    assert estimate is not None
    each = COSTS[preset].fixed + (2 * COSTS[preset].products + COSTS[preset].eigenvalues) * 4096**3 / 2e10
    assert estimate.seconds == pytest.approx(25 * each)
    assert (estimate.layers, estimate.threads) == (50, 2)
    if preset == "fast":
        assert estimate.seconds_fast is None
    else:
        assert estimate.seconds_fast is not None
        assert estimate.seconds_fast < estimate.seconds


def test_the_longest_layer_is_not_shared_out() -> None:
    one = [Matrices((16384, 16384), 1)]
    few, many = (estimate_scan(one, settings("fast"), threads=count, rate=rate) for count in (1, 16))
    assert few is not None
    assert many is not None
    assert few.seconds == many.seconds


def test_pooled_matrices_count_each() -> None:
    nine = estimate_scan([Matrices((4096, 4096), 9)], settings("default"), threads=1, rate=rate)
    one = estimate_scan([Matrices((4096, 4096), 1)] * 9, settings("default"), threads=1, rate=rate)
    assert nine is not None
    assert one is not None
    assert nine.seconds == pytest.approx(one.seconds)


def test_nothing_is_said_of_a_short_scan_nor_is_the_machine_measured() -> None:
    def never() -> float:
        raise AssertionError

    assert estimate_scan([Matrices((384, 1536), 1)] * 38, settings("default"), threads=2, rate=never) is None
    assert estimate_scan([], settings("default"), threads=2, rate=never) is None


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
    assert estimate_scan(LAYERS, settings("default"), threads=1, rate=rate) is not None
    other = replace(settings("default"), **changed)  # type: ignore[arg-type]
    assert estimate_scan(LAYERS, other, threads=1, rate=rate) is None


def test_the_order_of_the_analyzers_does_not_matter() -> None:
    default = settings("default")
    other = replace(default, analyzers=default.analyzers[::-1])
    given = estimate_scan(LAYERS, other, threads=1, rate=rate)
    assert given == estimate_scan(LAYERS, default, threads=1, rate=rate)


def test_the_rate_is_that_of_a_machine() -> None:
    with one_thread_each():
        assert 1e8 < measured_rate() < 1e13


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
