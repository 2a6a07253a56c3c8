"""The phase analyzer: what it says of a layer, and what it refuses to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from rmtaudit.analyzers.base import MetricValue
from rmtaudit.analyzers.contract import AnalyzerContract, layer_input
from rmtaudit.analyzers.phase import PhaseOfTraining, PhaseOptions
from rmtaudit.kernels.phases.classify import AGREEMENT, OUTCOMES


class TestContract(AnalyzerContract):
    analyzer = PhaseOfTraining()


class TestContractOfSmallLayers(AnalyzerContract):
    """The contract's layers are small: with the default they are all skipped."""

    analyzer = PhaseOfTraining(PhaseOptions(least_side=32, draws=50))


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_noise() -> None:
    found: Mapping[str, Any] = PhaseOfTraining().analyze(layer_input(0.02 * gaussian(300, 150)))
    assert found["phase"] == found["phase_nearest"] == "random-like"
    assert (found["phase_spikes"], found["phase_gap"], found["phase_zero_share"]) == (0, 0.0, 0.0)
    confidence = found["phase_confidence"]
    assert isinstance(confidence, MetricValue)
    assert isinstance(confidence.value, float)
    assert confidence.value > 0.9 * AGREEMENT["random-like"]
    assert confidence.se == pytest.approx((confidence.value * (1 - confidence.value) / 400) ** 0.5)


def test_undecided_keeps_the_nearest_phase_and_says_what_else_it_may_be() -> None:
    y2 = 1.18 * 4 - 2
    strength = ((y2 + (y2**2 - 4) ** 0.5) / 2) ** 0.5
    left, right = (torch.linalg.qr(gaussian(400, 1, seed=seed)).Q for seed in (1, 2))
    given = layer_input(gaussian(400, 400, seed=5) + 20 * strength * left @ right.T)
    strict = PhaseOfTraining(PhaseOptions(least_confidence=0.95)).analyze(given)
    assert strict["phase"] == "undecided"
    assert {strict["phase_nearest"], strict["phase_runner_up"]} == {"bleeding-out", "bulk+spikes"}
    lenient = PhaseOfTraining(PhaseOptions(least_confidence=0.0)).analyze(given)
    assert lenient["phase"] == strict["phase_nearest"]
    assert lenient["phase_confidence"] == strict["phase_confidence"]


def starts(kind: str, seed: int) -> torch.Tensor:
    """An untrained matrix of 256 x 192."""
    matrix = gaussian(256, 192, seed=seed)
    source = torch.Generator().manual_seed(seed + 1)
    heads = torch.linspace(1, 2, 8).repeat_interleave(32)[:, None]
    if kind.startswith("sparse"):
        return matrix * (torch.rand(256, 192, generator=source) > float(kind.split()[1]))
    if kind == "heads":
        return matrix * heads
    if kind == "scales":
        return matrix * torch.exp(0.5 * gaussian(256, 1, seed=seed + 2)) * torch.exp(0.5 * gaussian(1, 192))
    if kind == "heavy entries":
        return matrix / torch.rand(256, 192, generator=source)
    return torch.linalg.qr(matrix).Q * (heads if kind == "orthogonal heads" else 1)


@pytest.mark.parametrize(
    ("kind", "phases"),
    [
        ("sparse 0.9", {"undecided", "random-like"}),
        ("sparse 0.99", {"undecided", "random-like"}),
        ("heads", {"random-like"}),
        ("scales", {"random-like"}),
        ("heavy entries", {"undecided", "random-like"}),
        ("orthogonal", {"none"}),
        ("orthogonal heads", {"none"}),
    ],
)
def test_untrained_layers_have_no_phase_of_training(kind: str, phases: set[str]) -> None:
    for seed in (101, 202, 303):
        found: Mapping[str, Any] = PhaseOfTraining().analyze(layer_input(starts(kind, seed)))
        assert found["phase"] in phases
        if found["phase"] == "random-like":
            assert found["phase_null"].value == "noise of uneven scale"


def test_a_phase_that_rests_on_scales_is_less_sure() -> None:
    """A heavy tail of Σ in random directions stays when scales are evened out; one of scales goes."""
    population = (torch.arange(1, 257) / 257.0) ** -0.5
    rotation = torch.linalg.qr(gaussian(256, 256, seed=9)).Q
    noise = population.sqrt()[:, None] * gaussian(256, 400, seed=10)
    found: Mapping[str, Any] = PhaseOfTraining().analyze(layer_input(rotation @ noise))
    assert found["phase_null"].value == "structure"
    assert found["phase"] == found["phase_nearest"] == "heavy-tailed"
    spike = 4 * gaussian(256, 1, seed=11) @ gaussian(1, 400, seed=12) / 20
    unevened: Mapping[str, Any] = PhaseOfTraining().analyze(layer_input(noise + spike))
    assert unevened["phase_null"].value == "structure"
    assert unevened["phase_confidence"].value < found["phase_confidence"].value
    assert unevened["phase"] == "undecided"


def test_two_separate_groups_of_eigenvalues_are_no_phase() -> None:
    """As in the first layer of a network that has learned addition: no noise, no power law, no decay."""
    population = torch.ones(256)
    population[:50] = 40 * torch.linspace(1, 1.3, 50)
    rotation = torch.linalg.qr(gaussian(256, 256, seed=9)).Q
    given = layer_input(rotation @ (population.sqrt()[:, None] * gaussian(256, 300, seed=10)))
    found: Mapping[str, Any] = PhaseOfTraining(PhaseOptions(least_confidence=0)).analyze(given)
    assert found["phase_gap"] > 1.5
    assert found["phase"] == found["phase_nearest"] == "none"
    assert found["phase_null"].value == "structure"
    assert found["phase_confidence"].value <= AGREEMENT["none"]


def test_no_phase_is_surer_than_a_second_training_agrees() -> None:
    assert set(AGREEMENT) == set(OUTCOMES)
    assert all(0 < share < 1 for share in AGREEMENT.values())
    for matrix in (
        gaussian(300, 150),
        starts("orthogonal", 1),
        gaussian(200, 90) @ gaussian(90, 160, seed=1),
    ):
        found: Mapping[str, Any] = PhaseOfTraining().analyze(layer_input(matrix))
        assert found["phase_confidence"].value <= AGREEMENT[found["phase"]]


def test_the_exponent_is_that_of_powerlaw() -> None:
    from rmtaudit.analyzers.powerlaw import PowerLaw

    given = layer_input(gaussian(200, 150) / torch.rand(200, 150, generator=torch.Generator().manual_seed(1)))
    alpha = PowerLaw().analyze(given).values["alpha"]
    assert isinstance(alpha, MetricValue)
    found: Mapping[str, Any] = PhaseOfTraining().analyze(given)
    assert found["phase_tail_alpha"].value == alpha.value


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_what_rounding_leaves_of_a_zero_counts_as_zero(dtype: str) -> None:
    from dataclasses import replace

    from rmtaudit.matrices.tensors import UNIT_ROUNDOFF

    matrix = gaussian(200, 150) @ gaussian(150, 300, seed=1)
    given = layer_input(matrix.to(getattr(torch, dtype)).float())
    given = replace(given, epsilon=UNIT_ROUNDOFF[dtype], layer=replace(given.layer, dtype=dtype))
    found: Mapping[str, Any] = PhaseOfTraining().analyze(given)
    assert found["phase"] == "rank-collapse"
    assert found["phase_zero_share"] == 0.25


def test_layers_that_have_no_phase_are_refused() -> None:
    for given, status, words in (
        (layer_input(gaussian(127, 200)), "skipped", "127 eigenvalues"),
        (layer_input(torch.zeros(40, 40)), "failed", "zero"),
        (layer_input(gaussian(40, 40), gaussian(40, 40)), "skipped", "pools 2"),
    ):
        for value in PhaseOfTraining().analyze(given).values():
            assert isinstance(value, MetricValue)
            assert value.status == status
            assert words in value.reason


def test_a_layer_that_is_mostly_zero_has_no_bulk() -> None:
    found: Mapping[str, Any] = PhaseOfTraining().analyze(
        layer_input(gaussian(180, 8) @ gaussian(8, 160, seed=1))
    )
    assert found["phase"] == "rank-collapse"
    assert found["phase_bulk_p_value"].status == "failed"
    assert found["phase_tail_alpha"].status == "ok"


def test_options_are_checked() -> None:
    for options in ({"draws": 0}, {"least_confidence": -0.1}, {"least_confidence": 1.1}, {"least_side": 31}):
        with pytest.raises(ValueError, match="must"):
            PhaseOptions(**options)


def test_the_unused_pooler_of_minilm_is_random_and_its_neighbours_are_not(minilm: Path) -> None:
    from safetensors import safe_open

    def phases(name: str) -> tuple[object, object]:
        with safe_open(minilm, framework="pt") as file:
            found: Mapping[str, Any] = PhaseOfTraining().analyze(layer_input(file.get_tensor(name)))
        return found["phase"], found["phase_nearest"]

    assert phases("pooler.dense.weight") == ("random-like", "random-like")
    # the tail is one of scales: evened out, it is cut off
    assert phases("encoder.layer.2.output.dense.weight") == ("undecided", "heavy-tailed")
    assert phases("encoder.layer.5.attention.self.value.weight")[1] == "bulk-decay"
