"""The order in which a convolution stores its sides: output first (PyTorch) or kernel first (Flax, Keras)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum

from rmtaudit.matrices.tensors import FLOATING, TensorSpec

LONGEST_KERNEL = 31
"""A side longer than this is none of a convolution's kernel."""

SIDES = range(3, 6)
"""Numbers of sides that the weight of a convolution can have."""

_SEPARATORS = re.compile(r"[./]")
_HEADS_IN = frozenset({"query", "key", "value", "q", "k", "v", "q_proj", "k_proj", "v_proj"})
_HEADS_OUT = frozenset({"out", "o", "output", "out_proj", "o_proj"})


class Layout(Enum):
    """Order of the sides of a weight with more than two."""

    OUTPUT_FIRST = "out x in x kernel"
    KERNEL_FIRST = "kernel x in x out"
    DEPTHWISE = "kernel x in x multiplier"
    HEADS_LAST = "in x heads x width"
    HEADS_FIRST = "heads x width x out"
    UNCLEAR = "fits both kernel x in x out and out x in x kernel, or neither"


def layout(spec: TensorSpec, by_name: Mapping[str, TensorSpec]) -> Layout:
    """Return the order of the sides of a tensor with three to five of them, from names and shapes.

    Flax and Keras call the weight of a layer ``kernel`` and store a convolution kernel first. The sides of
    a kernel are at most 31 long. Where both orders fit, the bias (as long as there are outputs) decides, then
    the other convolutions of the checkpoint; where these say nothing, the order is unclear. Any other name
    means output first, unless only a square kernel in front makes sense of the shape.

    Parameters
    ----------
    spec
        A tensor with three to five sides.
    by_name
        All tensors of the checkpoint.
    """
    leaf = _parts(spec.name)[-1]
    if not names_kernel(spec.name):
        return Layout.KERNEL_FIRST if _only_makes_sense_kernel_first(spec.shape) else Layout.OUTPUT_FIRST
    if leaf.endswith("depthwise_kernel"):
        return Layout.DEPTHWISE
    heads = _of_heads(spec, by_name)
    if heads is not None:
        return heads
    fitting = _fitting(spec.shape)
    if len(fitting) == 2:
        fitting = _by_bias(spec, by_name) or _by_the_others(by_name)
    return fitting.pop() if len(fitting) == 1 else Layout.UNCLEAR


def is_bias_of_heads(spec: TensorSpec, by_name: Mapping[str, TensorSpec]) -> bool:
    """Whether a tensor with two sides is the bias of a projection that keeps its heads apart."""
    if len(spec.shape) != 2 or _parts(spec.name)[-1] != "bias":
        return False
    kernel = by_name.get(f"{spec.name[: -len('bias')]}kernel")
    return kernel is not None and len(kernel.shape) == 3 and kernel.shape[1:] == spec.shape


def names_kernel(name: str) -> bool:
    """Whether the name is that of a weight in Flax or Keras."""
    leaf = _parts(name)[-1]
    return leaf == "kernel" or leaf.endswith("_kernel")


def _parts(name: str) -> list[str]:
    return _SEPARATORS.split(name.lower())


def _fitting(shape: tuple[int, ...]) -> set[Layout]:
    orders = ((Layout.KERNEL_FIRST, shape[:-2]), (Layout.OUTPUT_FIRST, shape[2:]))
    return {order for order, kernel in orders if max(kernel) <= LONGEST_KERNEL}


def _only_makes_sense_kernel_first(shape: tuple[int, ...]) -> bool:
    """Whether the shape is a square kernel in front of channels that are too long to be a kernel."""
    kernel, channels = shape[:-2], shape[-2:]
    square = len(kernel) > 1 and len(set(kernel)) == 1 and kernel[0] <= LONGEST_KERNEL
    return square and min(channels) > LONGEST_KERNEL


def _of_heads(spec: TensorSpec, by_name: Mapping[str, TensorSpec]) -> Layout | None:
    """Return the order of an attention projection that keeps its heads apart; ``None`` for anything else."""
    parts = _parts(spec.name)
    if len(spec.shape) != 3 or len(parts) < 2:
        return None
    if parts[-2] in _HEADS_IN:
        return Layout.HEADS_LAST
    parent = spec.name[: len(spec.name) - len(parts[-1]) - len(parts[-2]) - 1]
    siblings = {_parts(name[len(parent) :])[0] for name in by_name if name.startswith(parent)}
    return Layout.HEADS_FIRST if parts[-2] in _HEADS_OUT and siblings & _HEADS_IN else None


def _by_bias(spec: TensorSpec, by_name: Mapping[str, TensorSpec]) -> set[Layout]:
    bias = by_name.get(f"{spec.name[: -len('kernel')]}bias")
    if bias is None or len(bias.shape) != 1 or spec.shape[0] == spec.shape[-1]:
        return set()
    outputs = {spec.shape[-1]: Layout.KERNEL_FIRST, spec.shape[0]: Layout.OUTPUT_FIRST}
    return {outputs[bias.shape[0]]} if bias.shape[0] in outputs else set()


def _by_the_others(by_name: Mapping[str, TensorSpec]) -> set[Layout]:
    """Return the orders of the checkpoint's convolutions that fit one alone."""
    found: set[Layout] = set()
    for other in by_name.values():
        if names_kernel(other.name) and len(other.shape) in SIDES and other.dtype in FLOATING:
            fitting = _fitting(other.shape)
            if len(fitting) == 1 and _of_heads(other, by_name) is None:
                found |= fitting
    return found
