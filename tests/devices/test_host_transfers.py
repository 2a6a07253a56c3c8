"""What a scan's layer transfers to a GPU and back: bounded, with the list of the lines that ask for it."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from kernel_inputs import weight
from layers import analysed
from pretend_gpu import Traffic, pretend_gpu

MOST_WAITS = {"fast": 20, "default": 150, "audit": 250}
"""Times that a layer has the host wait for the device, most of them for a single number that a test of damage
asks for. The transfers themselves are small; what a wait costs on a GPU was not measured."""

MOST_BYTES = 64
"""Bytes to the host for every row and column: the spectrum, sums of lines, and no matrix. ``audit`` also
shuffles the entries of a matrix, on the CPU, where the order does not depend on the device."""


@pytest.mark.parametrize("preset", MOST_WAITS)
def test_the_waits_of_a_layer_are_bounded(preset: str) -> None:
    small, large = traffic_of(weight(96, 64), preset), traffic_of(weight(256, 160), preset)
    assert small.waits <= MOST_WAITS[preset], listed(small.to_host)
    assert large.waits <= MOST_WAITS[preset], listed(large.to_host)
    shuffled = 4 * 256 * 160 if preset == "audit" else 0
    assert large.to_host_bytes <= MOST_BYTES * (256 + 160) + shuffled, listed(large.to_host)


def test_a_weight_goes_to_the_device_once() -> None:
    traffic = traffic_of(weight(256, 160), "default")
    assert traffic.to_device_bytes <= 1.5 * 4 * 256 * 160, listed(traffic.to_device)


@pytest.mark.parametrize("preset", ["default", "audit", "weightwatcher"])
def test_a_layer_has_the_metrics_of_the_cpu(preset: str) -> None:
    matrix = weight()
    here = analysed(matrix, "cpu", preset)
    with pretend_gpu():
        there = analysed(matrix, "cuda", preset)
    assert there.row.status == "ok"
    assert there.signal == here.signal
    assert [each.code for each in there.observed] == [each.code for each in here.observed]
    for name, metric in here.row.metrics.items():
        computed = there.row.metrics[name]
        assert computed.status == metric.status, name
        if isinstance(metric.value, float):
            assert computed.value == pytest.approx(metric.value, rel=1e-6, abs=1e-9), name
        else:
            assert computed.value == metric.value, name


def traffic_of(matrix: torch.Tensor, preset: str) -> Traffic:
    with pretend_gpu() as traffic:
        assert analysed(matrix, "cuda", preset).row.status == "ok"
    return traffic


def listed(counts: Counter[str]) -> str:
    return "\n".join(f"{count:4} {line}" for line, count in counts.most_common())
