from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmtaudit.matrices.layers import ConvPolicy, Layer, LayerKind
from rmtaudit.matrices.plan import LayerPlan, plan_layers
from rmtaudit.matrices.skips import Skip, SkipReason
from rmtaudit.matrices.tensors import ITEMSIZE, Role, TensorSpec, Use


def spec(name: str, *shape: int, dtype: str = "float32", alias: object = None) -> TensorSpec:
    return TensorSpec(name=name, shape=shape, dtype=dtype, alias=alias)


def plan(*specs: TensorSpec, conv: ConvPolicy = "flattened") -> LayerPlan:
    return plan_layers(specs, conv=conv)


def build(layer: Layer, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    if layer.band is not None:
        tensors = tuple(tensor[slice(*layer.band)] for tensor in tensors)
    return layer.build(tensors)


def numbered(*shape: int) -> torch.Tensor:
    return torch.arange(float(np.prod(shape))).reshape(shape)


@pytest.mark.parametrize(
    ("name", "shape", "kind"),
    [
        ("encoder.layer.0.attention.self.query.weight", (384, 384), LayerKind.DENSE),
        ("embeddings.LayerNorm.dense.weight", (4, 4), LayerKind.DENSE),
        ("embeddings.word_embeddings.weight", (30522, 384), LayerKind.EMBEDDING),
        ("model.embed_tokens.weight", (320, 64), LayerKind.EMBEDDING),
        ("transformer.wte.weight", (320, 64), LayerKind.EMBEDDING),
        ("sy_embeddings.weight", (6227, 16), LayerKind.EMBEDDING),
        ("conv1.weight", (128, 129, 3), LayerKind.CONV1D),
        ("stft_conv.weight", (258, 1, 256), LayerKind.CONV1D),
        ("layers.3.weight", (32, 16, 5), LayerKind.CONV1D),
        ("layer1.0.conv1.weight", (16, 16, 3, 3), LayerKind.CONV2D),
        ("five_d", (4, 3, 3, 3, 3), LayerKind.CONV3D),
        ("h.0.attn.in_proj_weight", (96, 32), LayerKind.ATTENTION),
        ("model.layers.0.mlp.experts.gate_up_proj", (8, 64, 32), LayerKind.EXPERTS),
        ("attention.heads", (12, 64, 768), LayerKind.STACKED),
    ],
)
def test_kinds(name: str, shape: tuple[int, ...], kind: LayerKind) -> None:
    found = plan(spec(name, *shape))
    assert {layer.kind for layer in found.layers} == {kind}
    assert not found.skipped


def test_a_dense_weight_is_taken_as_stored() -> None:
    (layer,) = plan(spec("w", 5, 3)).layers
    (matrix,) = build(layer, numbered(5, 3))
    assert torch.equal(matrix, numbered(5, 3))
    assert (layer.shape, layer.matrices, layer.parameters) == ((5, 3), 1, 15)


def test_a_convolution_flattened_is_one_matrix() -> None:
    (layer,) = plan(spec("conv.weight", 4, 3, 2, 2)).layers
    (matrix,) = build(layer, numbered(4, 3, 2, 2))
    assert layer.shape == tuple(matrix.shape) == (4, 12)
    assert torch.equal(matrix, numbered(4, 3, 2, 2).reshape(4, 12))
    assert layer.view == "flattened out x in*2*2"


def test_a_convolution_in_slices_is_pooled_or_one_row_each() -> None:
    kernel = numbered(4, 3, 2, 5)
    (pooled,) = plan(spec("conv.weight", 4, 3, 2, 5), conv="slices-pooled").layers
    single = plan(spec("conv.weight", 4, 3, 2, 5), conv="slices").layers
    matrices = build(pooled, kernel)
    assert (pooled.matrices, pooled.slices, len(matrices), len(single)) == (10, 10, 10, 10)
    for index, (matrix, layer) in enumerate(zip(matrices, single, strict=True)):
        assert torch.equal(matrix, kernel[:, :, index // 5, index % 5])
        assert torch.equal(build(layer, kernel)[0], matrix)
        assert (layer.name, layer.slices, layer.matrices) == (f"conv.weight#{index}", 10, 1)
    assert sum(layer.parameters for layer in single) == pooled.parameters == 120


def test_a_transposed_convolution_says_so() -> None:
    (layer,) = plan(spec("decoder.convT1.weight", 32, 16, 4, 4)).layers
    assert layer.view == "flattened in x out*4*4"


@pytest.mark.parametrize(
    ("rows", "labels"), [(4 * 6, ["i", "f", "g", "o"]), (3 * 6, ["r", "z", "n"]), (6, None), (5, None)]
)
def test_gates_are_split_where_their_number_is_known(rows: int, labels: list[str] | None) -> None:
    specs = (
        spec("lstm.weight_ih_l0", rows, 7),
        spec("lstm.weight_hh_l0", rows, 6),
        spec("lstm.bias_ih_l0", rows),
    )
    layers = plan(*specs).layers
    if labels is None:
        assert [layer.name for layer in layers] == ["lstm.weight_ih_l0", "lstm.weight_hh_l0"]
        assert {layer.view for layer in layers} == {"as stored"}
        return
    assert [layer.name for layer in layers[: len(labels)]] == [
        f"lstm.weight_ih_l0#{label}" for label in labels
    ]
    parts = [build(layer, numbered(rows, 7))[0] for layer in layers[: len(labels)]]
    assert torch.equal(torch.cat(parts), numbered(rows, 7))
    assert {layer.kind for layer in layers} == {LayerKind.RECURRENT}


def test_an_in_projection_is_split_into_q_k_v() -> None:
    layers = plan(spec("attn.in_proj_weight", 12, 4)).layers
    assert [layer.name.rpartition("#")[2] for layer in layers] == ["q", "k", "v"]
    assert torch.equal(build(layers[1], numbered(12, 4))[0], numbered(12, 4)[4:8])


def test_stacked_experts_are_one_matrix_each_and_read_one_at_a_time() -> None:
    layers = plan(spec("mlp.experts.down_proj", 3, 4, 5)).layers
    assert [layer.band for layer in layers] == [(0, 1), (1, 2), (2, 3)]
    stack = numbered(3, 4, 5)
    for index, layer in enumerate(layers):
        assert torch.equal(build(layer, stack)[0], stack[index])


def test_a_position_table_with_a_batch_side_is_one_matrix() -> None:
    (layer,) = plan(spec("pos_embed", 1, 197, 64)).layers
    assert layer.shape == (197, 64)
    assert torch.equal(build(layer, numbered(1, 197, 64))[0], numbered(197, 64))


@pytest.mark.parametrize(
    ("down", "up", "stem"),
    [
        ("base.q_proj.lora_A.weight", "base.q_proj.lora_B.weight", "base.q_proj"),
        ("base.q_proj.lora_A.default.weight", "base.q_proj.lora_B.default.weight", "base.q_proj"),
        ("lora_unet_x.lora_down.weight", "lora_unet_x.lora_up.weight", "lora_unet_x"),
        ("attn.to_q_lora.down.weight", "attn.to_q_lora.up.weight", "attn.to_q_lora"),
        ("text_encoder:0:down", "text_encoder:0:up", "text_encoder:0"),
    ],
)
def test_an_adapter_has_the_singular_values_of_its_product(down: str, up: str, stem: str) -> None:
    a, b = torch.randn(3, 20, dtype=torch.float64), torch.randn(11, 3, dtype=torch.float64)
    (layer,) = plan(spec(up, 11, 3), spec(down, 3, 20)).layers
    assert (layer.name, layer.tensors, layer.shape) == (stem, (down, up), (11, 20))
    (core,) = build(layer, a, b)
    torch.testing.assert_close(
        torch.linalg.svdvals(core), torch.linalg.svdvals(b @ a)[:3], rtol=1e-12, atol=0
    )
    assert layer.parameters == 3 * 20 + 11 * 3


def test_half_an_adapter_is_a_matrix_like_any_other() -> None:
    assert [layer.kind for layer in plan(spec("q.lora_A.weight", 3, 20)).layers] == [LayerKind.DENSE]


@pytest.mark.parametrize(
    ("direction", "magnitude"),
    [
        ("conv.weight_v", "conv.weight_g"),
        ("conv.parametrizations.weight.original1", "conv.parametrizations.weight.original0"),
    ],
)
def test_weight_normalisation_is_undone(direction: str, magnitude: str) -> None:
    (layer,) = plan(spec(magnitude, 6, 1, 1), spec(direction, 6, 5, 3)).layers
    reference = torch.nn.Conv1d(5, 6, 3)
    v, g = torch.randn(6, 5, 3), torch.rand(6, 1, 1)
    expected = torch._weight_norm(v, g, 0)
    assert reference.weight.shape == expected.shape
    assert layer.name == "conv.weight"
    assert layer.parameters == 6 * 5 * 3 + 6
    torch.testing.assert_close(build(layer, v, g)[0], expected.reshape(6, 15))


@pytest.mark.parametrize(
    ("tensor", "name", "reason", "weight"),
    [
        (spec("norm.weight", 384), SkipReason.ONE_DIMENSIONAL, "vector", False),
        (spec("scale"), SkipReason.SCALAR, "scalar", False),
        (spec("ints", 64, 64, dtype="int64"), SkipReason.INTEGER, "integer values (int64)", False),
        (spec("bools", 8, 8, dtype="bool"), SkipReason.BOOLEAN, "boolean", False),
        (spec("z", 8, 8, dtype="complex64"), SkipReason.COMPLEX, "complex", True),
        (spec("empty", 0, 16), SkipReason.EMPTY, "empty", True),
        (spec("row", 1, 512), SkipReason.VECTOR, "vector", True),
        (spec("one_by_one", 1, 1), SkipReason.VECTOR, "vector", True),
        (spec("final_conv.weight", 1, 128, 1), SkipReason.VECTOR, "vector", True),
        (
            spec("conv.weight", 1, 8, 3, 3),
            SkipReason.VECTOR_VIEW,
            "vector-shaped weight: 1 x 8 x 3 x 3 is the",
            True,
        ),
        (spec("h.0.attn.bias", 1, 1, 64, 64), SkipReason.BUFFER, "buffer", False),
        (spec("rotary.cos_cached", 64, 32), SkipReason.BUFFER, "buffer", False),
        (spec("w", 8, 8, dtype="int8"), SkipReason.INTEGER, "integer values (int8)", True),
        (
            replace(spec("b", 8, 8), role=Role(use=Use.NONE, reason="bias of a table")),
            SkipReason.NO_WEIGHT,
            "bias of a table",
            False,
        ),
        (
            TensorSpec(name="s", shape=(4, 4), dtype="float32", unreadable="sparse tensor"),
            SkipReason.NO_VALUES,
            "sparse tensor",
            True,
        ),
        (
            TensorSpec(name="q", shape=(4, 4), dtype="qint8", unreadable="quantised tensor (qint8)"),
            SkipReason.QUANTISED,
            "quantised tensor (qint8)",
            True,
        ),
    ],
)
def test_what_is_not_analysed_says_why(
    tensor: TensorSpec, name: SkipReason, reason: str, weight: bool
) -> None:
    found = plan(tensor)
    assert not found.layers
    (skip,) = found.skipped
    assert skip.skip.reason is name
    assert skip.reason.startswith(reason)
    assert skip.weight is weight


def test_eight_bit_floats_without_scales_are_weights() -> None:
    assert plan(spec("a.weight", 8, 8, dtype="float8_e4m3fn")).layers


def test_tied_tensors_are_counted_once() -> None:
    found = plan(spec("wte.weight", 9, 4, alias=("0", 0)), spec("lm_head.weight", 9, 4, alias=("0", 0)))
    assert [layer.name for layer in found.layers] == ["wte.weight"]
    (skip,) = found.skipped
    assert not skip.counted
    assert skip.skip == Skip.of(SkipReason.TIED, what="storage", original="wte.weight")
    assert "wte.weight" in skip.reason


@given(
    st.lists(
        st.builds(
            TensorSpec,
            name=st.text(max_size=20),
            shape=st.lists(st.integers(0, 6), max_size=6).map(tuple),
            dtype=st.sampled_from(sorted(ITEMSIZE)),
        ),
        unique_by=lambda each: each.name,
        max_size=8,
    ),
    st.sampled_from(["flattened", "slices-pooled", "slices"]),
)
def test_every_tensor_is_a_layer_or_a_reason_and_every_parameter_is_counted(
    specs: list[TensorSpec], conv: ConvPolicy
) -> None:
    found = plan_layers(specs, conv=conv)
    read = {name for layer in found.layers for name in layer.tensors}
    left = {skip.spec.name for skip in found.skipped}
    assert read | left == {each.name for each in specs}
    assert not read & left
    assert all(skip.reason for skip in found.skipped)
    counted = sum(layer.parameters for layer in found.layers) + sum(
        skip.spec.parameters for skip in found.skipped
    )
    assert counted == sum(each.parameters for each in specs)


@given(
    st.lists(st.integers(2, 5), min_size=2, max_size=6),
    st.sampled_from(["flattened", "slices-pooled", "slices"]),
)
def test_what_is_built_has_the_planned_shape_and_all_the_energy(shape: list[int], conv: ConvPolicy) -> None:
    found = plan_layers([spec("w", *shape)], conv=conv)
    tensor = numbered(*shape)
    matrices = [matrix for layer in found.layers for matrix in build(layer, tensor)]
    assert {tuple(matrix.shape) for matrix in matrices} == {layer.shape for layer in found.layers}
    energy = sum(float(matrix.square().sum()) for matrix in matrices)
    assert energy == pytest.approx(float(tensor.square().sum()))
