"""The regulariser of a model: which matrices it takes, and that it is what the penalties say."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from rmtaudit.errors import UsageError
from rmtaudit.training import SpectralRegulariser, alpha_penalty, kappa_penalty, norm_penalty


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(40, 36, 3), nn.Linear(64, 48), nn.Linear(48, 10))


@pytest.mark.parametrize(
    ("given", "penalty"),
    [
        ({"penalty": "alpha", "target": 3.0}, lambda matrix: alpha_penalty(matrix, alpha=3.0, tail=0.1)),
        ({"penalty": "kappa", "target": 4.0}, lambda matrix: kappa_penalty(matrix, kappa=4.0)),
        ({"penalty": "norm", "power_steps": 0}, norm_penalty),
    ],
)
def test_it_is_the_mean_of_the_penalties(given: dict[str, Any], penalty: Any) -> None:
    with torch.random.fork_rng():
        model = network()
    regulariser = SpectralRegulariser(model, strength=0.5, **given)
    assert regulariser.names == ("0.weight", "1.weight")
    kernel, dense = model.get_parameter("0.weight"), model.get_parameter("1.weight")
    value = regulariser()
    expected = 0.5 * (penalty(kernel.reshape(36, -1)) + penalty(dense)) / 2
    assert float(value.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    value.backward()
    (gradient,) = torch.autograd.grad(expected, kernel)
    assert kernel.grad is not None
    assert torch.allclose(kernel.grad, gradient, atol=1e-6)
    assert model.get_parameter("2.weight").grad is None


def test_power_iteration_goes_on_from_call_to_call() -> None:
    with torch.random.fork_rng():
        model = network()
    regulariser = SpectralRegulariser(model, penalty="norm", strength=1.0, include=["1.*"])
    exact = float(norm_penalty(model.get_parameter("1.weight")).detach())
    values = [float(regulariser().detach()) for _ in range(200)]
    assert values[0] < 0.9 * exact
    assert values[-1] == pytest.approx(exact, rel=1e-3)
    regulariser().backward()
    gradient = model.get_parameter("1.weight").grad
    assert gradient is not None
    assert float(torch.linalg.matrix_norm(gradient)) == pytest.approx(2 * exact**0.5, rel=1e-3)


def test_the_global_generator_is_left_alone() -> None:
    with torch.random.fork_rng():
        model = network()
    state = torch.get_rng_state()
    SpectralRegulariser(model, penalty="norm", strength=1.0)()
    assert torch.equal(state, torch.get_rng_state())


def test_half_precision_and_parts_of_a_tensor() -> None:
    with torch.random.fork_rng():
        model = nn.MultiheadAttention(48, 4).to(torch.bfloat16)
    regulariser = SpectralRegulariser(model, penalty="kappa", strength=1.0, target=10.0)
    assert regulariser.names[:3] == ("in_proj_weight#q", "in_proj_weight#k", "in_proj_weight#v")
    value = regulariser()
    assert value.dtype == torch.float32
    value.backward()
    assert model.in_proj_weight.grad is not None
    assert bool(model.in_proj_weight.grad.any())


@pytest.mark.parametrize(
    "given",
    [
        {"penalty": "other"},
        {"penalty": "alpha"},
        {"penalty": "alpha", "target": 1.0},
        {"penalty": "kappa", "target": 0.0},
        {"penalty": "norm", "target": 1.0},
        {"penalty": "norm", "strength": -1.0},
        {"penalty": "norm", "power_steps": -1},
        {"penalty": "alpha", "target": 3.0, "tail": 1.0},
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as raised:
        SpectralRegulariser(nn.Linear(40, 40), **{"strength": 1.0, **given})
    assert raised.value.code == "RA-TR-003"


def test_a_model_without_a_matrix_is_refused() -> None:
    with pytest.raises(UsageError) as raised:
        SpectralRegulariser(nn.Linear(40, 8), penalty="norm", strength=1.0)
    assert raised.value.code == "RA-TR-005"
