from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from rmtaudit.matrices.layers import LayerKind
from rmtaudit.matrices.plan import plan_layers
from rmtaudit.matrices.tensors import TensorSpec

HEADS, GROUPS, WIDTH = 6, 2, 4
HIDDEN = HEADS * WIDTH


def matrices(
    tensors: Mapping[str, torch.Tensor], config: Mapping[str, object]
) -> dict[str, tuple[str, torch.Tensor]]:
    """Return view and matrix of every layer, by its name."""
    specs = [
        TensorSpec(name=name, shape=tuple(tensor.shape), dtype="float32") for name, tensor in tensors.items()
    ]
    plan = plan_layers(specs, config=config)
    found = {}
    for layer in plan.layers:
        (stored,) = (tensors[name] for name in layer.tensors)
        (matrix,) = layer.build((stored if layer.band is None else stored[slice(*layer.band)],))
        assert tuple(matrix.shape) == layer.shape
        found[layer.name] = (layer.view, matrix)
    assert sum(layer.parameters for layer in plan.layers) == sum(t.numel() for t in tensors.values())
    return found


def projections(queries: int = HEADS, groups: int = HEADS) -> dict[str, torch.Tensor]:
    """Return query, key and value weights, one row block a head: shape (heads, width, inputs)."""
    return {
        "q": torch.randn(queries, WIDTH, HIDDEN),
        "k": torch.randn(groups, WIDTH, HIDDEN),
        "v": torch.randn(groups, WIDTH, HIDDEN),
    }


def check(
    found: Mapping[str, tuple[str, torch.Tensor]], name: str, parts: Mapping[str, torch.Tensor]
) -> None:
    assert list(found) == [f"{name}#{label}" for label in parts]
    for label, expected in parts.items():
        assert torch.equal(found[f"{name}#{label}"][1], expected.reshape(-1, expected.shape[-1]))


def in_turn(parts: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([each.reshape(-1, HIDDEN) for each in parts.values()])


def by_group(parts: Mapping[str, torch.Tensor], groups: int) -> torch.Tensor:
    """Return the rows head by head: the queries of a group, its key, its value."""
    rows = []
    queries = len(parts["q"]) // groups
    for group in range(groups):
        rows += [*parts["q"][group * queries : (group + 1) * queries], parts["k"][group], parts["v"][group]]
    return torch.cat(rows)


@pytest.mark.parametrize("config", [{"model_type": "gpt2"}, {}])
def test_gpt2_is_stored_inputs_first(config: Mapping[str, object]) -> None:
    parts = projections()
    tensors = {
        "h.0.attn.c_attn.weight": in_turn(parts).T.contiguous(),
        "h.0.attn.c_proj.weight": torch.randn(HIDDEN, HIDDEN),
        "h.0.mlp.c_fc.weight": torch.randn(HIDDEN, 4 * HIDDEN),
    }
    found = matrices(tensors, config)
    check({k: v for k, v in found.items() if "c_attn" in k}, "h.0.attn.c_attn.weight", parts)
    for name in ("h.0.attn.c_proj.weight", "h.0.mlp.c_fc.weight"):
        assert torch.equal(found[name][1], tensors[name].T)
        assert "stored in x out" in found[name][0]


def test_a_copy_of_gpt2_with_linear_layers_is_left_as_it_is() -> None:
    tensors = {"h.0.attn.c_attn.weight": torch.randn(72, 24), "h.0.attn.c_proj.weight": torch.randn(24, 24)}
    found = matrices(tensors, {})
    assert all(torch.equal(found[name][1], tensor) for name, tensor in tensors.items())
    assert "fused (q, k, v)" in found["h.0.attn.c_attn.weight"][0]


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "gpt_neox", "num_attention_heads": HEADS},
        {"model_type": "bloom", "n_head": HEADS},
        {"model_type": "falcon", "num_attention_heads": HEADS, "multi_query": False},
    ],
)
def test_heads_are_interleaved(config: Mapping[str, object]) -> None:
    parts = projections()
    name = "h.0.attention.query_key_value.weight"
    stored = by_group(parts, HEADS)
    check(matrices({name: stored}, config), name, parts)
    # what transformers does with the projected states, applied to the rows
    q, k, v = stored.view(HEADS, 3 * WIDTH, HIDDEN).chunk(3, 1)
    for label, expected in (("q", q), ("k", k), ("v", v)):
        assert torch.equal(
            matrices({name: stored}, config)[f"{name}#{label}"][1], expected.reshape(-1, HIDDEN)
        )
    with pytest.raises(AssertionError):
        check(matrices({name: in_turn(parts)}, config), name, parts)


def test_groups_of_heads_are_interleaved_in_new_falcon_and_internlm2() -> None:
    parts = projections(groups=GROUPS)
    falcon = {
        "model_type": "falcon", "num_attention_heads": HEADS, "num_kv_heads": GROUPS,
        "new_decoder_architecture": True,
    }  # fmt: skip
    check(
        matrices({"a.query_key_value.weight": by_group(parts, GROUPS)}, falcon),
        "a.query_key_value.weight",
        parts,
    )
    intern = {"model_type": "internlm2", "num_attention_heads": HEADS, "num_key_value_heads": GROUPS}
    check(matrices({"a.wqkv.weight": by_group(parts, GROUPS)}, intern), "a.wqkv.weight", parts)


@pytest.mark.parametrize(
    ("name", "config", "groups"),
    [
        ("qkv_proj", {"model_type": "phi3", "num_key_value_heads": GROUPS}, GROUPS),
        ("qkv_proj", {"model_type": "phi3"}, HEADS),
        (
            "query_key_value",
            {"model_type": "chatglm", "multi_query_attention": True, "multi_query_group_num": GROUPS},
            GROUPS,
        ),
        ("query_key_value", {"model_type": "falcon", "multi_query": True}, 1),
        ("W_pack", {"model_type": "baichuan"}, HEADS),
        ("c_attn", {"model_type": "gpt_bigcode", "multi_query": True}, 1),
        ("Wqkv", {"model_type": "dbrx", "attn_config": {"kv_n_heads": GROUPS}}, GROUPS),
    ],
)
def test_projections_follow_one_another(name: str, config: Mapping[str, object], groups: int) -> None:
    parts = projections(groups=groups)
    tensors = {f"a.{name}.weight": in_turn(parts)}
    check(matrices(tensors, {**config, "num_attention_heads": HEADS}), f"a.{name}.weight", parts)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"model_type": "phi3"},
        {"model_type": "gpt_neox", "num_attention_heads": 7},
        {"model_type": "gpt_neox", "num_attention_heads": "6"},
        {"model_type": "gpt_neox", "num_attention_heads": -6},
        {"model_type": "falcon", "num_attention_heads": HEADS},
        {"model_type": "unknown", "num_attention_heads": HEADS},
        {"model_type": ["gpt_neox"], "num_attention_heads": HEADS},
    ],
)
def test_without_the_numbers_a_fused_weight_stays_whole(config: Mapping[str, object]) -> None:
    stored = torch.randn(3 * HIDDEN, HIDDEN)
    for name in ("a.query_key_value.weight", "a.qkv_proj.weight"):
        found = matrices({name: stored}, config)
        assert torch.equal(found[name][1], stored)
        assert "config.json does not state how they are arranged" in found[name][0]


def test_gate_and_up() -> None:
    gate, up = torch.randn(2, 10, 6)
    found = matrices({"mlp.gate_up_proj.weight": torch.cat([gate, up])}, {"model_type": "phi3"})
    check(found, "mlp.gate_up_proj.weight", {"gate": gate, "up": up})
    found = matrices({"mlp.dense_h_to_4h.weight": torch.cat([gate, up])}, {"model_type": "chatglm"})
    check(found, "mlp.dense_h_to_4h.weight", {"gate": gate, "up": up})
    assert list(matrices({"mlp.dense_h_to_4h.weight": gate}, {"model_type": "gpt_neox"})) == [
        "mlp.dense_h_to_4h.weight"
    ]


@pytest.mark.parametrize("model", ["gpt_oss", "llama4_text", "mixtral", "qwen3_moe"])
def test_stacked_experts(model: str) -> None:
    count, inner, hidden = 3, 5, 8
    gate, up = torch.randn(2, count, inner, hidden)
    down = torch.randn(count, hidden, inner)
    if model == "gpt_oss":
        # GptOssExperts: gate, up = gate_up[..., ::2], gate_up[..., 1::2]
        stored = torch.empty(count, hidden, 2 * inner)
        stored[..., ::2], stored[..., 1::2] = gate.mT, up.mT
    else:
        stored = torch.cat([gate, up], 1)
        stored = stored.mT.contiguous() if model == "llama4_text" else stored
    inputs_first = model in ("gpt_oss", "llama4_text")
    tensors = {
        "m.experts.gate_up_proj": stored,
        "m.experts.down_proj": down.mT.contiguous() if inputs_first else down,
    }
    found = matrices(tensors, {"model_type": "outer", "text_config": {"model_type": model}})
    assert len(found) == 3 * count
    for index in range(count):
        assert torch.equal(found[f"m.experts.gate_up_proj#{index}.gate"][1], gate[index])
        assert torch.equal(found[f"m.experts.gate_up_proj#{index}.up"][1], up[index])
        assert torch.equal(found[f"m.experts.down_proj#{index}"][1], down[index])


def test_parts_of_attention_have_its_kind() -> None:
    spec = TensorSpec(name="a.query_key_value.weight", shape=(72, 24), dtype="float32")
    plan = plan_layers([spec], config={"model_type": "gpt_neox", "num_attention_heads": 6})
    assert {layer.kind for layer in plan.layers} == {LayerKind.ATTENTION}
