"""The order of a convolution's sides, sides of length 1, and tensors that are no weights."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import rmtaudit
from rmtaudit.matrices.layers import ConvPolicy, Layer, LayerKind
from rmtaudit.matrices.layouts import Layout, layout
from rmtaudit.matrices.plan import plan_layers
from rmtaudit.matrices.tensors import TensorSpec


def spec(name: str, *shape: int, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name=name, shape=shape, dtype=dtype)


def only(*specs: TensorSpec, conv: ConvPolicy = "flattened") -> Layer:
    (layer,) = plan_layers(specs, conv=conv).layers
    return layer


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
    st.integers(2, 5),
    st.integers(33, 40),
    st.integers(0, 2**31),
)
def test_a_kernel_first_convolution_is_the_matrix_of_its_transposed_copy(
    kernel: list[int], inputs: int, outputs: int, seed: int
) -> None:
    """Flax and PyTorch store the same convolution in two orders: one matrix, entry by entry."""
    torch_weight = torch.randn(outputs, inputs, *kernel, generator=torch.Generator().manual_seed(seed))
    flax_weight = torch_weight.permute(*range(2, torch_weight.dim()), 1, 0).contiguous()
    ours = only(spec("params.Conv_0.kernel", *flax_weight.shape))
    assert torch.equal(ours.build((flax_weight,))[0], torch_weight.reshape(outputs, -1))
    assert ours.shape == (outputs, torch_weight.numel() // outputs)
    assert "kernel first" in ours.view


def test_slices_of_a_kernel_first_convolution() -> None:
    weight = torch.randn(3, 3, 16, 64)
    pooled = only(spec("c.kernel", 3, 3, 16, 64), conv="slices-pooled")
    assert (pooled.shape, pooled.matrices) == ((64, 16), 9)
    assert torch.equal(pooled.build((weight,))[4], weight[1, 1].T)
    each = plan_layers([spec("c.kernel", 3, 3, 16, 64)], conv="slices").layers
    assert torch.equal(each[5].build((weight,))[0], weight[1, 2].T)


def test_a_depthwise_kernel_has_a_row_a_channel() -> None:
    weight = torch.arange(3 * 3 * 8 * 2.0).reshape(3, 3, 8, 2)
    layer = only(spec("d.depthwise_kernel", 3, 3, 8, 2))
    assert layer.shape == (16, 9)
    assert torch.equal(layer.build((weight,))[0][5], weight[:, :, 2, 1].reshape(-1))


@pytest.mark.parametrize(
    ("shape", "order"),
    [
        ((3, 3, 64, 128), Layout.KERNEL_FIRST),
        ((64, 32, 3, 3), Layout.OUTPUT_FIRST),
        ((3, 64, 128), Layout.KERNEL_FIRST),
        ((3, 3, 3, 3), Layout.UNCLEAR),
        ((3, 3, 16, 16), Layout.UNCLEAR),
        ((64, 64, 64, 64), Layout.UNCLEAR),
    ],
)
def test_the_name_kernel_and_the_shape_tell_the_order(shape: tuple[int, ...], order: Layout) -> None:
    tensor = spec("c.kernel", *shape)
    assert layout(tensor, {tensor.name: tensor}) is order


def test_the_bias_or_the_other_kernels_tell_where_both_fit() -> None:
    unclear, after = spec("a.kernel", 3, 3, 3, 16), spec("b.kernel", 3, 3, 16, 64)
    before = spec("b.kernel", 64, 16, 3, 3)
    for others, order in (
        ((spec("a.bias", 16),), Layout.KERNEL_FIRST),
        ((spec("a.bias", 3),), Layout.OUTPUT_FIRST),
        ((after,), Layout.KERNEL_FIRST),
        ((before,), Layout.OUTPUT_FIRST),
        ((after, spec("c.kernel", 64, 16, 3, 3)), Layout.UNCLEAR),
    ):
        assert layout(unclear, {each.name: each for each in (unclear, *others)}) is order


def test_an_unclear_order_is_refused_and_counts_against_coverage() -> None:
    found = plan_layers([spec("c.kernel", 3, 3, 16, 16)])
    assert not found.layers
    (skip,) = found.skipped
    assert skip.reason.startswith("layout: 3 x 3 x 16 x 16 fits both")
    assert skip.weight
    assert skip.counted


def test_another_name_means_output_first_unless_that_makes_no_sense() -> None:
    assert only(spec("conv.weight", 3, 3, 16, 16)).shape == (3, 3 * 16 * 16)
    assert only(spec("conv.weight", 3, 3, 64, 128)).shape == (128, 9 * 64)
    assert only(spec("conv.weight", 64, 3, 16, 16)).shape == (64, 3 * 256)


def test_attention_that_keeps_its_heads_apart() -> None:
    specs = [
        spec("attention.query.kernel", 64, 4, 16),
        spec("attention.query.bias", 4, 16),
        spec("attention.out.kernel", 4, 16, 64),
    ]
    found = plan_layers(specs)
    assert [(layer.kind, layer.shape) for layer in found.layers] == [(LayerKind.DENSE, (64, 64))] * 2
    out = torch.randn(4, 16, 64)
    assert torch.equal(found.layers[1].build((out,))[0], out.reshape(64, 64))
    assert [skip.reason for skip in found.skipped] == ["vector (bias of several heads)"]


@pytest.mark.parametrize(
    ("name", "shape", "matrix", "kind"),
    [
        ("basis", (258, 1, 256), (258, 256), LayerKind.DENSE),
        ("basis", (1, 258, 1, 256), (258, 256), LayerKind.DENSE),
        ("pos", (1, 1, 64, 48), (64, 48), LayerKind.DENSE),
        ("pos", (1, 197, 64), (197, 64), LayerKind.DENSE),
        ("dw.weight", (64, 1, 7), (64, 7), LayerKind.CONV1D),
        ("stft_conv.weight", (258, 1, 256), (258, 256), LayerKind.CONV1D),
        ("w", (64, 32, 1, 1), (64, 32), LayerKind.CONV2D),
    ],
)
def test_sides_of_length_one_hide_no_matrix(
    name: str, shape: tuple[int, ...], matrix: tuple[int, int], kind: LayerKind
) -> None:
    layer = only(spec(name, *shape))
    assert (layer.shape, layer.kind) == (matrix, kind)
    values = torch.randn(*shape)
    assert torch.equal(layer.build((values,))[0], values.reshape(matrix))


def test_a_vector_says_which_matrix_it_would_be() -> None:
    (skip,) = plan_layers([spec("last_conv.weight", 1, 64, 3, 3)]).skipped
    assert (
        skip.reason == "vector-shaped weight: 1 x 64 x 3 x 3 is the matrix 1 x 576 (flattened out x in*3*3)"
    )


@pytest.mark.parametrize(
    ("name", "dtype", "learned"),
    [
        ("table", "int64", False),
        ("relative_position_index_2", "int32", False),
        ("edge_idx", "int32", False),
        ("codes", "int32", True),
        ("tokens", "int16", True),
        ("mask", "bool", False),
    ],
)
def test_indices_and_masks_are_not_learned(name: str, dtype: str, learned: bool) -> None:
    (skip,) = plan_layers([spec(name, 64, 64, dtype=dtype)]).skipped
    assert skip.counted
    assert (skip.weight, skip.learned) == (learned, learned)


def test_an_index_table_does_not_lower_the_coverage() -> None:
    state = {
        "w": torch.randn(24, 24),
        "table": torch.arange(400).reshape(20, 20),
        "m": torch.eye(30) > 0,
    }
    report = rmtaudit.scan(state, analyzers=["scale"])
    assert report.coverage.fraction == 1
    assert report.coverage.parameters == report.coverage.weight_parameters == 24 * 24
