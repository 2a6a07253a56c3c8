"""Layers of tensors whose use and order of sides the container states."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rmtaudit.matrices import views
from rmtaudit.matrices.layers import ConvPolicy, Layer, LayerKind, convolution, part, whole
from rmtaudit.matrices.tensors import Role, TensorSpec, Use

_ORDER = "EOIMDHW1"
"""The order of the sides that is PyTorch's."""

_WORDS = {
    "O": "out", "I": "in", "D": "depth", "H": "height", "W": "width", "M": "multiplier", "E": "matrix",
    "1": "1",
}  # fmt: skip
"""The sides in the words of a view."""

_AS_STORED = "as stored"

_KINDS = {
    Use.DENSE: LayerKind.DENSE,
    Use.EMBEDDING: LayerKind.EMBEDDING,
    Use.RECURRENT: LayerKind.RECURRENT,
    Use.ATTENTION: LayerKind.ATTENTION,
}


def layers_of_role(spec: TensorSpec, role: Role, conv: ConvPolicy) -> Iterator[Layer]:
    """Yield the layers of a tensor with a role: matrices outputs x inputs, whatever the order in the file.

    Parameters
    ----------
    spec
        The tensor; ``role.axes`` has a letter for each of its sides.
    role
        What the container says; its use is not :attr:`~rmtaudit.matrices.tensors.Use.NONE`.
    conv
        How a convolution becomes matrices.
    """
    order = order_of(role.axes)
    sides = {role.axes[side]: spec.shape[side] for side in order if role.axes[side] != "1"}
    kernel = tuple(size for axis, size in sides.items() if axis in "DHW")
    outputs, inputs = sides.get("O", 1), sides.get("I", 1)
    if "M" in sides:
        outputs, inputs = inputs * sides["M"], 1
    stack = (sides["E"],) if "E" in sides else ()
    shape = (*stack, outputs, inputs, *kernel)
    spec = replace(spec, role=None)
    moved = order != tuple(range(len(order)))
    stored = " x ".join(_WORDS[axis] for axis in role.axes)
    for layer in _in_order(replace(spec, shape=shape), role, conv, banded=not moved):
        view = "transposed" if moved and layer.view == _AS_STORED else layer.view
        view += f", stored {stored}" if moved else ""
        yield replace(layer, view=view, build=views.permuted(order, shape[1:], layer.build))


def order_of(axes: str) -> tuple[int, ...]:
    """Return the sides of a tensor in PyTorch's order: stack, outputs, inputs, kernel.

    >>> order_of("HWIO")
    (3, 2, 0, 1)
    """
    return tuple(sorted(range(len(axes)), key=lambda side: _ORDER.index(axes[side])))


def _in_order(spec: TensorSpec, role: Role, conv: ConvPolicy, *, banded: bool) -> Iterator[Layer]:
    """Yield the layers of a tensor in PyTorch's order: stack, outputs, inputs, kernel."""
    if role.use is Use.CONVOLUTION:
        yield from convolution(spec, spec.shape, conv)
    elif "E" in role.axes:
        yield from _of_stack(spec, role, banded=banded)
    elif role.parts:
        for label, start, stop in role.parts:
            view = f"rows {start}:{stop} of {spec.shape[0]} ({label})"
            layer = part(spec, _KINDS[role.use], label, view, (stop - start, spec.shape[1]))
            band = (start, stop) if banded else None
            build = layer.build if banded else views.rows_between(start, stop)
            yield replace(layer, band=band, build=build)
    else:
        yield whole(spec, _KINDS[role.use], _AS_STORED, (spec.shape[0], spec.shape[1]), views.as_stored)


def _of_stack(spec: TensorSpec, role: Role, *, banded: bool) -> Iterator[Layer]:
    """Yield the matrices of a stack, or their parts: the gates of each direction of a recurrent layer."""
    count, outputs, inputs = spec.shape
    kind = LayerKind.STACKED if role.use is Use.DENSE else _KINDS[role.use]
    for index in range(count):
        view = f"matrix {index} of {count}"
        band = (index, index + 1) if banded else None
        whole_matrix = views.as_stored if banded else views.one_of_stack(index)
        if not role.parts:
            layer = part(spec, kind, str(index), view, (outputs, inputs))
            yield replace(layer, band=band, build=whole_matrix)
        for label, start, stop in role.parts:
            rows = f"{view}, rows {start}:{stop} of {outputs} ({label})"
            layer = part(spec, kind, f"{index}.{label}", rows, (stop - start, inputs))
            yield replace(layer, band=band, build=views.rows_of(whole_matrix, start, stop))
