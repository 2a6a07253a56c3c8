"""The analyzer extrapolate: layers that are known at twice their width, and layers that it refuses."""

from __future__ import annotations

import pytest
import torch

from rmtaudit.analyzers.base import MetricValue
from rmtaudit.analyzers.contract import AnalyzerContract, layer_input
from rmtaudit.analyzers.extrapolate import Extrapolate, ExtrapolateOptions


class TestContract(AnalyzerContract):
    analyzer = Extrapolate()


def gaussian(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_a_gaussian_layer_is_that_of_marchenko_and_pastur() -> None:
    analyzer = Extrapolate(ExtrapolateOptions(block=128, replicas=3))
    found = analyzer.analyze(layer_input(gaussian(1024, 256)))
    assert found["extrapolation_verdict"] == "determined"
    assert found["extrapolation_route"] == "growth by rows"
    own = found["extrapolation_ks"]
    assert isinstance(own, MetricValue)
    assert own.value is not None
    assert float(own.value) < 0.03
    for factor, exact in ((2, (32 + 512**0.5) ** 2), (4, 4 * 1024)):
        edge = found[f"edge_at_{factor}x"]
        assert isinstance(edge, MetricValue)
        assert edge.value == pytest.approx(exact, rel=0.02)
        assert edge.ci is not None
    level = found["log_det_at_2x"]
    assert isinstance(level, MetricValue)
    # of the Marchenko-Pastur law of ratio 1/2: log det / size = -1 - log(1 - 1/2)·(1 - 2) ... in nats
    ratio = 0.5
    mean_log = -1 + (1 - 1 / ratio) * torch.log(torch.tensor(1 - ratio)).item()
    assert level.value == pytest.approx(mean_log + torch.log(torch.tensor(1024.0)).item(), abs=0.02)


@pytest.mark.parametrize(
    ("matrices", "said"),
    [
        ((gaussian(300, 64),), "fewer than 128"),
        ((gaussian(300, 200), gaussian(300, 200)), "2 matrices"),
    ],
)
def test_layers_that_it_leaves_out(matrices: tuple[torch.Tensor, ...], said: str) -> None:
    found = Extrapolate().analyze(layer_input(*matrices))
    for value in found.values():
        assert isinstance(value, MetricValue)
        assert value.status == "skipped"
        assert said in value.reason


def test_a_layer_of_equal_directions_is_not_predicted() -> None:
    found = Extrapolate().analyze(layer_input(torch.eye(160)))
    value = found["edge_at_2x"]
    assert isinstance(value, MetricValue)
    assert value.status == "failed"


@pytest.mark.parametrize("wrong", [{"block": -1}, {"replicas": 1}, {"replicas": -2}])
def test_options_are_checked(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="block must be 0"):
        ExtrapolateOptions(**wrong)
