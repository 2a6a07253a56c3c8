"""The relation of two checkpoints, in a word with its numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.engine.pairs import ModelRelation, Relation, opened, paired, related
from rmtaudit.engine.pairs.relation import Obstacle

State = dict[str, torch.Tensor]
SHAPES = {"fc1.weight": (60, 30), "fc2.weight": (50, 60), "fc3.weight": (40, 50), "fc4.weight": (10, 40)}


def network(seed: int, shapes: dict[str, tuple[int, ...]] | None = None) -> State:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in (shapes or SHAPES).items()}


def moved(state: State, change: float, seed: int) -> State:
    noise = network(seed, {name: tuple(value.shape) for name, value in state.items()})
    return {name: value + change * noise[name] for name, value in state.items()}


def relation_of(base: State, candidate: State, most_layers: int | None = None) -> ModelRelation:
    one, other = opened(base), opened(candidate)
    return related(one, other, paired(one, other), most_layers=most_layers)


def test_identical() -> None:
    result = relation_of(network(1), network(1))
    assert (result.relation, result.p_value, result.identical) == (Relation.IDENTICAL, None, 4)


@pytest.mark.parametrize("change", [0.1, 1.0, 3.0])
def test_derived_from_one_another(change: float) -> None:
    result = relation_of(network(1), moved(network(1), change, 2))
    assert result.relation is Relation.DERIVED
    assert result.p_value == 1e-12
    assert result.cosine == pytest.approx((1 + change**2) ** -0.5, abs=0.05)


def test_same_initialisation_is_not_called_derived() -> None:
    start = network(1)
    result = relation_of(moved(start, 1.5, 2), moved(start, 1.5, 3))
    assert result.relation is Relation.SAME_INITIALISATION
    assert result.cosine == pytest.approx(1 / 3.25, abs=0.06)


def test_independent_with_the_power_of_the_test() -> None:
    result = relation_of(network(1), network(2))
    assert result.relation is Relation.INDEPENDENT
    assert result.p_value is not None
    assert result.p_value > 0.01
    assert result.detectable is not None
    assert 0 < result.detectable < 0.15
    assert [group.units for group in result.groups] == [40, 50, 60]


def test_few_units_that_were_kept_are_a_derived_model() -> None:
    base, candidate = network(1), network(2)
    for name, value in candidate.items():
        if name != "fc4.weight":
            value[:10, :] = base[name][:10]
    result = relation_of(base, {**candidate, "fc4.weight": base["fc4.weight"] + 0.1})
    assert result.relation is Relation.DERIVED


def test_permuted_copies_are_found_without_a_p_value() -> None:
    base = network(1)
    orders = [torch.randperm(size, generator=torch.Generator().manual_seed(size)) for size in (60, 50, 40)]
    copy = {
        "fc1.weight": base["fc1.weight"][orders[0]],
        "fc2.weight": base["fc2.weight"][orders[1]][:, orders[0]],
        "fc3.weight": base["fc3.weight"][orders[2]][:, orders[1]],
        "fc4.weight": base["fc4.weight"][:, orders[2]],
    }
    result = relation_of(base, moved(copy, 0.3, 9))
    assert result.relation is Relation.PERMUTED
    assert "uncalibrated" in result.relation
    assert result.p_value is not None
    assert result.p_value > 0.001
    assert result.matched is not None
    assert result.matched.cosine > 0.8


def test_frozen_layers_make_a_model_derived_and_constants_do_not() -> None:
    base, other = network(1), network(2)
    frozen = relation_of(base, {**other, "fc2.weight": base["fc2.weight"]})
    assert frozen.relation is Relation.DERIVED
    assert frozen.shared == pytest.approx(3000 / 7200)
    mask = torch.tril(torch.ones(60, 60))
    constant = relation_of({**base, "mask_table.weight": mask}, {**other, "mask_table.weight": mask})
    assert constant.relation is Relation.INDEPENDENT
    assert constant.identical == 1


def test_untestable_with_the_reason() -> None:
    result = relation_of({"a.weight": torch.randn(5, 7)}, {"b.weight": torch.randn(3, 4)})
    assert (result.relation, result.obstacle) == (Relation.UNTESTABLE, Obstacle.NO_COMMON_LAYERS)
    result = relation_of(network(1, {"a.weight": (10, 30)}), network(2, {"a.weight": (10, 30)}))
    assert (result.relation, result.obstacle) == (Relation.UNTESTABLE, Obstacle.NO_UNITS)


def test_layers_that_cannot_be_tested_say_why() -> None:
    base, candidate = network(1), moved(network(1), 0.5, 2)
    candidate["fc1.weight"][0, 0] = float("nan")
    base["fc2.weight"][:] = 1.0
    result = relation_of(base, candidate)
    reasons = {layer.name: layer.obstacle for layer in result.layers}
    assert reasons["fc1.weight"] is Obstacle.NOT_FINITE
    assert reasons["fc2.weight"] is Obstacle.CONSTANT
    assert result.relation is Relation.DERIVED


def test_a_sample_of_layers() -> None:
    shapes: dict[str, tuple[int, ...]] = {"in.weight": (40, 10)}
    shapes |= {f"layers.{index}.weight": (40, 40) for index in range(9)} | {"out.weight": (5, 40)}
    result = relation_of(network(1, shapes), moved(network(1, shapes), 1, 2), most_layers=3)
    assert [layer.name for layer in result.layers] == ["in.weight", "layers.4.weight", "out.weight"]
    assert result.relation is Relation.DERIVED


def test_half_precision_and_the_same_again() -> None:
    base, candidate = network(1), {name: value.bfloat16() for name, value in moved(network(1), 2, 3).items()}
    first, second = relation_of(base, candidate), relation_of(base, candidate)
    assert first.relation is Relation.DERIVED
    assert first == second


REAL = [
    ("rxnfp/bert_pretrained.bin", "rxnfp/bert_ft.bin", Relation.DERIVED),
    ("disent_vae/VAE_mnist.pt", "disent_vae/betaH_mnist.pt", Relation.SAME_INITIALISATION),
    ("disent_vae/VAE_mnist.pt", "disent_vae/btcvae_mnist.pt", Relation.SAME_INITIALISATION),
    ("disent_vae/betaH_mnist.pt", "disent_vae/btcvae_mnist.pt", Relation.SAME_INITIALISATION),
    ("dtln/DTLN_norm_40h.h5", "dtln/DTLN_norm_500h.h5", Relation.SAME_INITIALISATION),
    ("ultraface/RFB-320.pth", "ultraface/RFB-320-masked.pth", Relation.INDEPENDENT),
    *(
        (f"cifar_resnet/resnet{one}.th", f"cifar_resnet/resnet{other}.th", Relation.INDEPENDENT)
        for one, other in ((20, 32), (20, 44), (20, 56), (32, 44), (32, 56), (44, 56))
    ),
    ("silero/silero_v5.1.2.onnx", "silero/silero_v5.1.2_half.onnx", Relation.IDENTICAL),
    ("dtln/model_2.onnx", "dtln/model_quant_2.tflite", Relation.DERIVED),
    ("mlperf_tiny/resnet8.h5", "mlperf_tiny/resnet8_int8.tflite", Relation.DERIVED),
]


@pytest.mark.parametrize(("base", "candidate", "relation"), REAL)
def test_real_pairs(shared: Callable[..., Path], base: str, candidate: str, relation: Relation) -> None:
    paths = [shared("models", *name.split("/")) for name in (base, candidate)]
    with open_checkpoint(paths[0]) as one, open_checkpoint(paths[1]) as other:
        result = related(one, other, paired(one, other))
    assert result.relation is relation
    if relation is Relation.INDEPENDENT:
        assert result.p_value is not None
        assert result.p_value > 0.01
    if relation in (Relation.DERIVED, Relation.SAME_INITIALISATION):
        assert result.p_value == 1e-12
