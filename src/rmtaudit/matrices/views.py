"""From stored tensors to matrices: the builders that a planned layer carries.

Each takes the layer's tensors (at least float32, any device) and returns its matrices, as views where it can.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    Tensors = tuple[torch.Tensor, ...]
    Build = Callable[[Tensors], Tensors]


def as_stored(tensors: Tensors) -> Tensors:
    """Return the tensor as it is, without leading sides of length 1."""
    (weight,) = tensors
    return (weight.reshape(weight.shape[-2:]),)


def flattened(tensors: Tensors) -> Tensors:
    """Return first side x everything else."""
    (weight,) = tensors
    return (weight.reshape(weight.shape[0], -1),)


def slices(tensors: Tensors) -> Tensors:
    """Return one matrix, first x second side, for every position of the kernel."""
    (weight,) = tensors
    return tuple(weight.reshape(*weight.shape[:2], -1).unbind(-1))


def one_slice(index: int) -> Build:
    """Return the builder of the matrix at one position of the kernel."""
    return lambda tensors: (tensors[0].reshape(*tensors[0].shape[:2], -1)[..., index],)


def kernel_last(build: Build) -> Build:
    """Return the builder for a convolution that is stored kernel x in x out."""

    def apply(tensors: Tensors) -> Tensors:
        (weight,) = tensors
        return build((weight.permute(-1, -2, *range(weight.dim() - 2)),))

    return apply


def depthwise_last(build: Build) -> Build:
    """Return the builder for a depthwise convolution that is stored kernel x in x multiplier."""

    def apply(tensors: Tensors) -> Tensors:
        (weight,) = tensors
        kernel = weight.shape[:-2]
        return build((weight.permute(-2, -1, *range(len(kernel))).reshape(-1, 1, *kernel),))

    return apply


def permuted(order: tuple[int, ...], sides: tuple[int, ...], build: Build) -> Build:
    """Return the builder for a tensor (or a band of it) that is first put in another order.

    Its sides but the first are then merged to ``sides``.
    """

    def apply(tensors: Tensors) -> Tensors:
        (weight,) = tensors
        return build((weight.permute(order).reshape(-1, *sides),))

    return apply


def rows_of_groups(groups: int, units: int, chosen: tuple[int, int], *, transposed: bool) -> Build:
    """Return the builder of some units of the rows of a matrix, in each of its groups.

    The rows, of the transposed matrix where that is stored, are seen as ``(groups, units, rows a unit)``.
    """

    def apply(tensors: Tensors) -> Tensors:
        (weight,) = tensors
        matrix = weight.reshape(weight.shape[-2:])
        if transposed:
            matrix = matrix.T
        rows = matrix.reshape(groups, units, -1, matrix.shape[1])[:, slice(*chosen)]
        return (rows.reshape(-1, matrix.shape[1]),)

    return apply


def rows_between(start: int, stop: int) -> Build:
    """Return the builder of a range of the rows of a matrix."""
    return lambda tensors: (tensors[0][start:stop],)


def rows_of(build: Build, start: int, stop: int) -> Build:
    """Return the builder of a range of the rows of the matrix that another builder makes."""
    return lambda tensors: (build(tensors)[0][start:stop],)


def one_of_stack(index: int) -> Build:
    """Return the builder of one matrix of a stack."""
    return lambda tensors: (tensors[0][index],)


def leading_merged(tensors: Tensors) -> Tensors:
    """Return everything else x last side."""
    (weight,) = tensors
    return (weight.reshape(-1, weight.shape[-1]),)


def squeezed(tensors: Tensors) -> Tensors:
    """Return the two sides that are longer than 1."""
    (weight,) = tensors
    return (weight.squeeze(),)


def after(first: Build, build: Build, band: tuple[int, int] | None) -> Build:
    """Return the builder that makes a weight of several tensors, and then the matrices of a band of it."""

    def apply(tensors: Tensors) -> Tensors:
        (weight,) = first(tensors)
        return build((weight if band is None else weight[slice(*band)],))

    return apply


def weight_norm(axes: tuple[int, ...]) -> Build:
    """Return the builder of ``g v / |v|`` from direction and magnitude, with the norm over some sides."""

    def apply(tensors: Tensors) -> Tensors:
        direction, magnitude = tensors
        norms = direction.norm(2, dim=axes, keepdim=True)
        return (direction * (magnitude.reshape(norms.shape) / norms),)

    return apply


def spectral_norm(dim: int) -> Build:
    """Return the builder of ``W / (u' W v)`` from ``W``, ``u`` and ``v``; ``u`` is of the side ``dim``."""

    def apply(tensors: Tensors) -> Tensors:
        weight, left, right = tensors
        matrix = weight.movedim(dim, 0).reshape(len(left), -1)
        return (weight / (left @ (matrix @ right)),)

    return apply
