"""Tensors whose container states the order of their sides: the same layers whatever the order."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmtaudit.matrices.layers import ConvPolicy, Layer, LayerKind
from rmtaudit.matrices.plan import plan_layers
from rmtaudit.matrices.tensors import Role, TensorSpec, Use

SIZES = {"O": 6, "I": 4, "D": 2, "H": 3, "W": 5, "E": 3, "1": 1}


def made(layer: Layer, weight: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return layer.build((weight if layer.band is None else weight[slice(*layer.band)],))


def layers(weight: torch.Tensor, role: Role, conv: ConvPolicy = "flattened") -> tuple[Layer, ...]:
    spec = TensorSpec(name="w", shape=tuple(weight.shape), dtype="float32", role=role)
    plan = plan_layers([spec], conv=conv)
    assert not plan.skipped
    return plan.layers


@pytest.mark.parametrize("conv", ["flattened", "slices-pooled", "slices"])
@pytest.mark.parametrize(
    ("use", "axes"),
    [
        (Use.DENSE, "OI"),
        (Use.DENSE, "EOI"),
        (Use.EMBEDDING, "OI"),
        (Use.CONVOLUTION, "OIW"),
        (Use.CONVOLUTION, "OIHW"),
        (Use.CONVOLUTION, "OIDHW"),
    ],
)
@given(data=st.data())
def test_the_order_of_the_sides_does_not_matter(
    use: Use, axes: str, conv: ConvPolicy, data: st.DataObject
) -> None:
    weight = torch.randn([SIZES[axis] for axis in axes], generator=torch.Generator().manual_seed(1))
    order = data.draw(st.permutations(range(len(axes))))
    usual = layers(weight, Role(use=use, axes=axes), conv)
    moved = weight.permute(order).contiguous()
    others = layers(moved, Role(use=use, axes="".join(axes[side] for side in order)), conv)
    assert [(each.name, each.kind, each.shape, each.matrices) for each in usual] == [
        (each.name, each.kind, each.shape, each.matrices) for each in others
    ]
    for one, other in zip(usual, others, strict=True):
        for mine, theirs in zip(made(one, weight), made(other, moved), strict=True):
            assert mine.shape == one.shape
            assert torch.equal(mine, theirs)


@pytest.mark.parametrize("axes", ["OI", "IO"])
def test_gates_are_parts_of_the_outputs(axes: str) -> None:
    weight = torch.arange(8 * 6, dtype=torch.float32).reshape(8, 6)
    stored = weight if axes == "OI" else weight.T.contiguous()
    role = Role(use=Use.RECURRENT, axes=axes, parts=(("i", 0, 3), ("f", 3, 8)))
    first, second = layers(stored, role)
    assert (first.name, second.name) == ("w#i", "w#f")
    assert first.kind is second.kind is LayerKind.RECURRENT
    assert first.parameters + second.parameters == 48
    assert torch.equal(made(first, stored)[0], weight[:3])
    assert torch.equal(made(second, stored)[0], weight[3:])


@pytest.mark.parametrize("axes", ["EOI", "EIO"])
def test_each_direction_has_its_gates(axes: str) -> None:
    weight = torch.arange(2 * 8 * 6, dtype=torch.float32).reshape(2, 8, 6)
    stored = weight if axes == "EOI" else weight.transpose(1, 2).contiguous()
    role = Role(use=Use.RECURRENT, axes=axes, parts=(("i", 0, 3), ("f", 3, 8)))
    found = layers(stored, role)
    assert [layer.name for layer in found] == ["w#0.i", "w#0.f", "w#1.i", "w#1.f"]
    assert {layer.kind for layer in found} == {LayerKind.RECURRENT}
    assert sum(layer.parameters for layer in found) == weight.numel()
    for layer, direction, rows in zip(found, (0, 0, 1, 1), (slice(3), slice(3, 8)) * 2, strict=True):
        (matrix,) = made(layer, stored)
        assert matrix.shape == layer.shape
        assert torch.equal(matrix, weight[direction, rows])


@pytest.mark.parametrize(("axes", "order"), [("HWIM", (0, 1, 2, 3)), ("MHWI", (3, 0, 1, 2))])
def test_a_depthwise_kernel_has_a_row_for_each_output(axes: str, order: tuple[int, ...]) -> None:
    weight = torch.randn(3, 3, 4, 2, generator=torch.Generator().manual_seed(2))
    stored = weight.permute(order).contiguous()
    (layer,) = layers(stored, Role(use=Use.CONVOLUTION, axes=axes))
    assert layer.shape == (8, 9)
    (matrix,) = made(layer, stored)
    assert torch.equal(matrix[2 * 3 + 1], weight[:, :, 3, 1].reshape(-1))


def test_a_depthwise_kernel_of_tensorflow_lite() -> None:
    weight = torch.randn(1, 3, 3, 8, generator=torch.Generator().manual_seed(2))
    (layer,) = layers(weight, Role(use=Use.CONVOLUTION, axes="1HWO"))
    assert torch.equal(made(layer, weight)[0][5], weight[0, :, :, 5].reshape(-1))


def test_what_is_no_weight_is_listed_with_its_reason() -> None:
    role = Role(use=Use.NONE, reason="the shape that Reshape takes")
    spec = TensorSpec(name="s", shape=(3, 4), dtype="float32", role=role)
    (skip,) = plan_layers([spec]).skipped
    assert (skip.reason, skip.weight) == ("the shape that Reshape takes", False)


@pytest.mark.parametrize(
    ("use", "axes", "view"),
    [
        (Use.DENSE, "OI", "as stored"),
        (Use.DENSE, "IO", "transposed, stored in x out"),
        (Use.CONVOLUTION, "OIHW", "flattened out x in*3*5"),
        (Use.CONVOLUTION, "HWIO", "flattened out x in*3*5, stored height x width x in x out"),
    ],
)
def test_the_view_says_what_was_done(use: Use, axes: str, view: str) -> None:
    (layer,) = layers(torch.zeros([SIZES[axis] for axis in axes]), Role(use=use, axes=axes))
    assert layer.view == view
