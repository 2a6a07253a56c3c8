"""A layer of the report: which matrices are made of which tensors, and how."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from rmtaudit.matrices import roles, views
from rmtaudit.matrices.tensors import Encoding, TensorSpec

if TYPE_CHECKING:
    import torch

ConvPolicy = Literal["flattened", "slices-pooled", "slices"]
Build = Callable[[tuple["torch.Tensor", ...]], tuple["torch.Tensor", ...]]


class LayerKind(StrEnum):
    """What a weight tensor does in the network."""

    DENSE = "dense"
    CONV1D = "conv1d"
    CONV2D = "conv2d"
    CONV3D = "conv3d"
    EMBEDDING = "embedding"
    ATTENTION = "attention in-projection"
    RECURRENT = "recurrent"
    EXPERTS = "stacked experts"
    STACKED = "stacked"
    ADAPTER = "low-rank adapter"


CONVOLUTIONS = {3: LayerKind.CONV1D, 4: LayerKind.CONV2D, 5: LayerKind.CONV3D}
"""The kind of a convolution, by the number of sides of its weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One row of the report: one matrix, or the slices of one convolution pooled.

    Attributes
    ----------
    name
        Name of the weight; ``tensor#part`` where the tensor holds several layers (gates, experts, q/k/v).
    tensor
        Name of the tensor it comes from (the first, where it comes from several).
    tensors
        Every tensor that ``build`` takes, in its order.
    kind, view
        What it is, and which matrix was made of it, in words: ``"as stored"``, ``"flattened out x in*3*3"``,
        ``"rows 0:384 of 1152 (q)"`` …
    shape
        Rows and columns of each matrix.
    matrices
        Number of matrices pooled in the row.
    parameters
        Number of stored parameters that this layer covers.
    dtype
        Stored dtype (torch's name); that of the values read where ``encoding`` says how they are stored.
    build
        From the stored tensors (upcast to at least float32) to the matrices.
    slices
        Number of slices of the convolution kernel that the row is, or is one of; 1 for everything else.
    kernel
        Sizes of the kernel of a convolution that was flattened to outputs x (inputs * kernel); else empty.
    band
        Range of the first side of the (single) tensor that ``build`` takes; ``None`` for all of it. So one
        expert of a stack is read without the others.
    encoding
        How a quantised weight is stored; ``None`` for a weight that is stored as numbers.
    """

    name: str
    tensor: str
    tensors: tuple[str, ...]
    kind: LayerKind
    view: str
    shape: tuple[int, int]
    matrices: int
    parameters: int
    dtype: str
    build: Build
    slices: int = 1
    kernel: tuple[int, ...] = ()
    band: tuple[int, int] | None = None
    encoding: Encoding | None = None


def whole(spec: TensorSpec, kind: LayerKind, view: str, shape: tuple[int, int], build: Build) -> Layer:
    """Return the layer that is one matrix made of all of a tensor."""
    return Layer(
        name=spec.name,
        tensor=spec.name,
        tensors=(spec.name,),
        kind=kind,
        view=view,
        shape=shape,
        matrices=1,
        parameters=spec.parameters,
        dtype=spec.dtype,
        build=build,
        encoding=spec.encoding,
    )


def part(
    spec: TensorSpec,
    kind: LayerKind,
    label: str,
    view: str,
    shape: tuple[int, ...],
    band: tuple[int, int] | None = None,
) -> Layer:
    """Return the layer ``tensor#label`` that is one matrix made of a part of a tensor."""
    all_of_it = whole(spec, kind, view, (shape[0], shape[1]), views.as_stored)
    return replace(all_of_it, name=f"{spec.name}#{label}", parameters=shape[0] * shape[1], band=band)


def rows_split(
    spec: TensorSpec, kind: LayerKind, labels: tuple[str, ...], rows: int, cols: int
) -> Iterator[Layer]:
    """Yield a layer for each of the equal parts that share the rows, or one for all without labels."""
    if not labels:
        yield whole(spec, kind, "as stored", (rows, cols), views.as_stored)
        return
    height = rows // len(labels)
    for index, label in enumerate(labels):
        start = index * height
        view = f"rows {start}:{start + height} of {rows} ({label})"
        yield part(spec, kind, label, view, (height, cols), band=(start, start + height))


def convolution(spec: TensorSpec, shape: tuple[int, ...], conv: ConvPolicy) -> Iterator[Layer]:
    """Yield the layers of a convolution kernel of this shape: outputs, inputs, then the kernel's sides."""
    kind = CONVOLUTIONS[len(shape)]
    first, second, *kernel = shape
    sides = "in x out" if roles.names_transposed_convolution(spec.name) else "out x in"
    positions = spec.parameters // (first * second)
    if conv == "flattened":
        flat = (first, spec.parameters // first)
        view = f"flattened {sides}*{'*'.join(map(str, kernel))}"
        yield replace(whole(spec, kind, view, flat, views.flattened), kernel=tuple(kernel))
    elif conv == "slices-pooled":
        view = f"{positions} slices {sides}, pooled"
        layer = whole(spec, kind, view, (first, second), views.slices)
        yield replace(layer, matrices=positions, slices=positions)
    else:
        for index in range(positions):
            view = f"slice {index} of {positions}, {sides}"
            layer = part(spec, kind, str(index), view, (first, second))
            yield replace(layer, slices=positions, build=views.one_slice(index))
