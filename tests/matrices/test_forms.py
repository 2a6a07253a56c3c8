"""Tensors whose names differ in numbers alone are planned together, as each would be by itself."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmtaudit.matrices import plan as planning
from rmtaudit.matrices.forms import may_name_factors, name_forms
from rmtaudit.matrices.plan import LayerPlan, plan_layers
from rmtaudit.matrices.tensors import TensorSpec

PARTS = st.sampled_from(
    ["layers", "0", "7", "12", "attn", "in_proj_weight", "weight", "bias", "kernel", "weight_v", "weight_g",
     "weight_ih_l0", "weight_hh_l0", "weight_orig", "weight_u", "original", "lora_A", "lora_B", "experts",
     "gate_up_proj", "c_attn", "embed_tokens", "position_ids", "mask", "conv1", "parametrizations",
     "original0", "original1", "norm", "a\nb"]
)  # fmt: skip
NAMES = st.lists(PARTS, min_size=1, max_size=5).map(".".join)
SHAPES = st.sampled_from(
    [(), (12,), (12, 4), (4, 12), (12, 1), (1, 1, 4, 4), (3, 3, 4, 6), (4, 6, 5), (0, 4)]
)
SPECS = st.lists(
    st.builds(
        lambda name, shape, dtype: TensorSpec(name=name, shape=shape, dtype=dtype),
        NAMES, SHAPES, st.sampled_from(["float32", "float16", "int64", "bool"]),
    ),
    max_size=12,
    unique_by=lambda spec: spec.name,
)  # fmt: skip


def without_build(plan: LayerPlan) -> tuple[list[dict[str, object]], list[object]]:
    layers = [
        {field: getattr(layer, field) for field in type(layer).__slots__ if field != "build"}
        for layer in plan.layers
    ]
    return layers, [(each.spec, each.skip, each.weight, each.counted, each.learned) for each in plan.skipped]


def planned_one_by_one(specs: Sequence[TensorSpec]) -> LayerPlan:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "decides_alone", lambda _form, _sides: False)
        patch.setattr("rmtaudit.matrices.adapters.may_name_factors", lambda _names: True)
        return plan_layers(specs)


@given(SPECS)
def test_shared_decisions_are_those_on_each_tensor(specs: list[TensorSpec]) -> None:
    assert without_build(plan_layers(specs)) == without_build(planned_one_by_one(specs))


def test_alike_tensors_share_one_outcome() -> None:
    specs = [
        TensorSpec(name=f"h.{block}.{leaf}", shape=shape, dtype="float32")
        for block in range(30)
        for leaf, shape in (("q.weight", (8, 6)), ("norm.weight", (8,)), ("q.bias", (8,)))
    ]
    assert len({id(outcome) for _, outcome in planning.plan_tensors(specs).outcomes}) == 3
    plan = plan_layers(specs)
    assert [layer.name for layer in plan.layers] == [f"h.{block}.q.weight" for block in range(30)]
    assert all(layer.tensors == (layer.tensor,) == (layer.name,) for layer in plan.layers)
    assert len(plan.skipped) == 60


def test_forms_of_names() -> None:
    assert name_forms(["a.10.b.2.c", "10.b.2", "a.b2.1", "a.1.2.3.b"]) == [
        "a.0.b.0.c",
        "10.b.2",
        "a.b2.1",
        "a.0.0.0.b",
    ]
    assert name_forms([]) == []
    assert name_forms(["a.1.b\n.2.c", "d.4.e"]) == ["a.0.b\n.0.c", "d.0.e"]


def test_names_of_factors_are_seen() -> None:
    assert may_name_factors(["a.weight", "b.LoRA_A.weight"])
    assert may_name_factors(["x.hada_w1_a"])
    assert may_name_factors(["x:down"])
    assert not may_name_factors(["layers.0.mlp.down_proj.weight", "lo", "ra"])
