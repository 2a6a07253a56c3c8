"""Weight norm and spectral norm: the layer is the weight that torch computes from the stored tensors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from rmtaudit.matrices.plan import LayerPlan, plan_layers
from rmtaudit.matrices.skips import SkipReason
from rmtaudit.matrices.tensors import TensorSpec

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")

INPUTS = {"fc": (7,), "conv": (4, 9, 9), "conv_transpose": (4, 9, 9)}
MODULES: dict[str, Callable[[], nn.Module]] = {
    "fc": lambda: nn.Linear(7, 5),
    "conv": lambda: nn.Conv2d(4, 6, 3),
    "conv_transpose": lambda: nn.ConvTranspose2d(4, 6, 3),
    "convtranspose_square": lambda: nn.ConvTranspose1d(6, 6, 3),
    "conv_square": lambda: nn.Conv1d(6, 6, 3),
}


def planned(state: dict[str, torch.Tensor]) -> LayerPlan:
    return plan_layers(
        TensorSpec(name=name, shape=tuple(values.shape), dtype="float32") for name, values in state.items()
    )


def weights(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        layer.name: layer.build(tuple(state[name] for name in layer.tensors))[0]
        for layer in planned(state).layers
    }


@pytest.mark.parametrize("dim", [0, 1, -1, None])
@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("norm", [weight_norm, parametrizations.weight_norm], ids=["hook", "parametrization"])
def test_weight_norm_along_any_side(norm: Callable[..., nn.Module], name: str, dim: int | None) -> None:
    torch.manual_seed(1)
    module = norm(MODULES[name](), dim=dim)
    with torch.no_grad():
        for parameter in module.parameters():  # a fresh module has |v| = g
            parameter.mul_(torch.rand_like(parameter) + 0.5)
        module(torch.zeros(2, *INPUTS.get(name, (6, 9))))
        expected = module.weight
    assert isinstance(expected, torch.Tensor)
    state = {f"{name}.{key}": values for key, values in module.state_dict().items()}
    (found,) = weights(state).values()
    torch.testing.assert_close(found, expected.reshape(len(expected), -1))
    (layer,) = planned(state).layers
    assert layer.name == f"{name}.weight"
    assert layer.parameters == sum(values.numel() for key, values in state.items() if "bias" not in key)
    assert "weight norm" in layer.view


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize(
    "norm", [spectral_norm, parametrizations.spectral_norm], ids=["hook", "parametrization"]
)
def test_spectral_norm_as_in_evaluation(norm: Callable[..., nn.Module], name: str) -> None:
    torch.manual_seed(2)
    module = norm(MODULES[name]()).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(3)
        module(torch.zeros(2, *INPUTS.get(name, (6, 9))))
        expected = module.weight
    assert isinstance(expected, torch.Tensor)
    state = {f"{name}.{key}": values for key, values in module.state_dict().items()}
    (found,) = weights(state).values()
    torch.testing.assert_close(found, expected.reshape(len(expected), -1))
    plan = planned(state)
    (layer,) = plan.layers
    assert (layer.name, layer.parameters) == (f"{name}.weight", expected.numel())
    vectors = [each for each in plan.skipped if "bias" not in each.spec.name]
    assert {each.skip.reason for each in vectors} == {SkipReason.BUFFER}
    assert not any(each.learned for each in vectors)
    assert len(vectors) == 2


def test_the_gates_of_a_recurrent_layer_with_weight_norm() -> None:
    torch.manual_seed(3)
    module = nn.LSTM(5, 4)
    for weight in ("weight_ih_l0", "weight_hh_l0"):
        parametrizations.weight_norm(module, weight, dim=1)
    found = weights(module.state_dict())
    assert sorted(found) == sorted(f"weight_{side}_l0#{gate}" for side in ("ih", "hh") for gate in "ifgo")
    stacked = torch.cat([found[f"weight_ih_l0#{gate}"] for gate in "ifgo"])
    torch.testing.assert_close(stacked, module.weight_ih_l0)


@pytest.mark.parametrize(
    "state",
    [
        {"a.weight_v": torch.rand(6, 4), "a.weight_g": torch.rand(5, 1)},
        {"a.weight_v": torch.rand(6, 4), "a.weight_g": torch.rand(6, 4)},
        {"a.weight_orig": torch.rand(6, 4), "a.weight_u": torch.rand(6)},
        {"a.weight_orig": torch.rand(6, 4), "a.weight_u": torch.rand(6), "a.weight_v": torch.rand(5)},
        {
            "a.parametrizations.weight.original": torch.rand(6, 4),
            "a.parametrizations.weight.0._u": torch.rand(6),
            "a.parametrizations.weight.0._v": torch.rand(4),
            "a.parametrizations.weight.1.base": torch.rand(6, 4),
        },
    ],
    ids=range(5),
)
def test_what_does_not_fit_is_not_undone(state: dict[str, torch.Tensor]) -> None:
    for layer in planned(state).layers:
        assert layer.tensors == (layer.tensor,)


def test_another_parametrization_is_named() -> None:
    module = parametrizations.orthogonal(nn.Linear(6, 6))
    layers = {layer.name: layer for layer in planned(module.state_dict()).layers}
    assert layers["parametrizations.weight.original"].view.endswith("not undone")
