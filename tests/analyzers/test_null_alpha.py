"""The exponent of noise beside the exponent of the layer."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rmtaudit.analyzers.base import MetricValue, Scalar
from rmtaudit.analyzers.contract import AnalyzerContract, layer_input
from rmtaudit.analyzers.null_alpha import NullAlpha, NullAlphaOptions
from rmtaudit.analyzers.powerlaw import PowerLaw


class TestContract(AnalyzerContract):
    analyzer = NullAlpha()


class TestContractWithFarms(AnalyzerContract):
    analyzer = NullAlpha(NullAlphaOptions(farms=True, farms_side=8))


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def number(value: MetricValue | Scalar) -> float:
    plain = value.value if isinstance(value, MetricValue) else value
    assert isinstance(plain, float | int)
    return plain


def test_noise_lies_in_its_own_interval() -> None:
    """40 layers: fewer than 30 in a 90 % interval has probability 1e-3."""
    inside = 0
    for seed in range(40):
        given = layer_input(gaussian(150, 100, seed=seed))
        null = NullAlpha().analyze(given)["alpha_null"]
        assert isinstance(null, MetricValue)
        assert null.ci is not None
        low, high = null.ci
        alpha = PowerLaw().analyze(given).values["alpha"]
        assert isinstance(alpha, MetricValue)
        assert isinstance(alpha.value, float)
        inside += low <= alpha.value <= high
    assert inside >= 30


def test_a_heavy_tail_is_not_that_of_noise() -> None:
    matrix = gaussian(200, 200) * torch.linspace(0.005, 1, 200, dtype=torch.float64) ** -1.0
    found = NullAlpha().analyze(layer_input(matrix))
    assert found["alpha_null_p_value"] == pytest.approx(0.01)
    assert number(found["alpha_null_ratio"]) < 0.6


def test_alpha_hangs_on_a_few_eigenvalues_where_they_stand_apart() -> None:
    """Dropping the largest eigenvalues is fitting the spectrum without them."""
    values = torch.cat(
        [torch.linspace(1, 2, 60, dtype=torch.float64), torch.tensor([50.0, 80.0, 200.0]).double()]
    )
    found = NullAlpha().analyze(layer_input(torch.diag(values.sqrt())))
    for count in (1, 2, 3):
        expected = PowerLaw().analyze(layer_input(torch.diag(values[:-count].sqrt()))).values["alpha"]
        assert isinstance(expected, MetricValue)
        assert found[f"alpha_drop_{count}"] == pytest.approx(expected.value)
    whole = PowerLaw().analyze(layer_input(torch.diag(values.sqrt()))).values["alpha"]
    assert isinstance(whole, MetricValue)
    shifts = [abs(number(found[f"alpha_drop_{count}"]) - number(whole)) for count in (1, 2, 3)]
    assert found["alpha_drop_shift"] == pytest.approx(max(shifts))


def test_farms_only_when_asked() -> None:
    given = layer_input(gaussian(200, 100))
    assert "alpha_farms" not in NullAlpha().analyze(given)
    found = NullAlpha(NullAlphaOptions(farms=True, farms_side=40)).analyze(given)
    assert found["alpha_farms"] == pytest.approx(found["alpha_farms_null"], abs=0.15)


def test_options_are_checked() -> None:
    wrong: list[dict[str, Any]] = [{"farms_side": 7}, {"farms_aspect": 0}]
    for options in wrong:
        with pytest.raises(ValueError, match="must be at least"):
            NullAlphaOptions(**options)
