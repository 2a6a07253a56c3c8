"""Codes of 2 to 8 bits in bytes, in the layouts of bitsandbytes, HQQ, quanto and Gemma."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rmtaudit.checkpoints.schemes.codes import nibbles
from rmtaudit.checkpoints.schemes.modules import Facts, Module
from rmtaudit.checkpoints.schemes.scheme import Decoded, Refused, encoding

if TYPE_CHECKING:
    import torch

_STATE_CAP = 1 << 16
"""Largest description of a tensor of bitsandbytes, in bytes; written by it they have below 200."""


def bitsandbytes_4bit(module: Module, facts: Facts) -> Decoded | Refused | None:
    """NF4 and FP4 of bitsandbytes: high nibble first, ``map[q] absmax`` in blocks of the flattened weight.

    With double quantisation the maxima are codes themselves: ``nested_map[a] nested_absmax + offset``.
    """
    states = [label for label in module.parts if label.startswith("weight.quant_state.bitsandbytes__")]
    needed = {"weight.absmax", "weight.quant_map"}
    if module.codes.dtype != "uint8" or not needed <= set(module.parts) or len(states) != 1:
        return None
    nested = "weight.nested_absmax" in module.parts
    known = {*needed, *states, "weight.nested_absmax", "weight.nested_quant_map"}
    if set(module.parts) - known or module.parts[states[0]].parameters > _STATE_CAP:
        return None
    kind = states[0].rpartition("__")[2]
    state = _state(bytes(facts.read(module.parts[states[0]].name).tolist()))
    if state is None:
        return Refused(f"bitsandbytes {kind}, with a description that cannot be read")
    shape, size = tuple(state["shape"]), state["blocksize"]
    count = math.prod(shape)
    if -(-count // 2) != module.codes.parameters or module.parts["weight.absmax"].parameters != -(
        -count // size
    ):
        return Refused(f"bitsandbytes {kind}, with a shape that is not that of its codes")
    offset, inner = state.get("nested_offset", 0.0), state.get("nested_blocksize", 256)
    labels = ["weight.absmax", "weight.quant_map"]
    labels += ["weight.nested_absmax", "weight.nested_quant_map"] if nested else []

    def decode(tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        codes = nibbles(tensors["weight"].reshape(-1), high_first=True)[:count]
        absmax = tensors["weight.absmax"].reshape(-1)
        if nested:
            outer = tensors["weight.nested_absmax"].float().repeat_interleave(inner)[: len(absmax)]
            absmax = tensors["weight.nested_quant_map"].float()[absmax.int()] * outer + offset
        values = tensors["weight.quant_map"].float()[codes.int()]
        return (values * absmax.float().repeat_interleave(size)[:count]).reshape(shape)

    name = f"bitsandbytes {kind.upper()}{', double quantisation' if nested else ''}"
    return Decoded(
        shape=shape,
        decode=decode,
        takes=(module.label, *labels),
        encoding=encoding(module, name, kind, (1, size), count),
    )


def hqq(module: Module, facts: Facts) -> Decoded | Refused | None:
    """HQQ with 4 or 8 bits: the first half of the rows in the high nibbles, ``(q - zero) scale``."""
    needed = {"scale", "zero", "shape", "nbits", "group_size", "axis"}
    if module.label != "W_q" or module.codes.dtype != "uint8" or not needed <= set(module.parts):
        return Refused("HQQ without the shape of the weight") if module.label == "W_q" else None
    small = {"nbits", "group_size", "axis"}
    if any(module.parts[label].parameters != 1 for label in small) or module.parts["shape"].parameters > 8:
        return None
    bits, size, axis = (
        int(facts.read(module.parts[label].name)) for label in ("nbits", "group_size", "axis")
    )
    shape = tuple(int(side) for side in facts.read(module.parts["shape"].name).reshape(-1))
    count = math.prod(shape)
    if bits not in {4, 8} or axis != 1 or size < 1 or min(shape, default=0) < 1 or count % size:
        return Refused(f"HQQ with {bits} bits along axis {axis}")
    if module.codes.parameters != count * bits // 8 or module.parts["scale"].shape != (count // size, 1):
        return Refused("HQQ with a shape that is not that of its codes")

    def decode(tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        import torch

        packed = tensors["W_q"].reshape(-1, size)
        codes = packed if bits == 8 else torch.cat([packed >> 4, packed & 15])
        return ((codes.float() - tensors["zero"].float()) * tensors["scale"].float()).reshape(shape)

    return Decoded(
        shape=shape,
        decode=decode,
        takes=("W_q", "scale", "zero"),
        encoding=encoding(module, f"HQQ int{bits}", f"int{bits}", (1, size), count),
    )


def quanto_int4(module: Module, facts: Facts) -> Decoded | Refused | None:
    """int4 of quanto: groups as rows, the first half of them in the low nibbles, ``q scale - shift``.

    The shape of the weight is not in the file. The bias of the layer tells the number of its rows; the
    ``hidden_size`` in ``config.json`` tells one side of a projection from or to the residual stream.
    """
    scale, shift = module.parts.get("weight._scale"), module.parts.get("weight._shift")
    if (
        module.label != "weight._data._data"
        or module.codes.dtype != "uint8"
        or scale is None
        or shift is None
    ):
        return None
    if facts.quantisation.get("weights", "int4") not in {"int4", "qint4"} or len(module.codes.shape) != 2:
        return Refused("quanto with codes that are not 4 bits wide")
    half, size = module.codes.shape
    groups = 2 * half
    if scale.shape != (groups, 1) or shift.shape != scale.shape:
        return None
    rows, inputs = facts.outputs(module.name), facts.inputs(module.name)
    if not rows and inputs and groups * size % inputs == 0:
        rows = groups * size // inputs
    if not rows or groups * size % rows or groups * size // rows % size:
        return Refused("quanto int4, whose file does not state the shape of the weight")

    def decode(tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        import torch

        packed = tensors["weight._data._data"]
        codes = torch.cat([packed & 15, packed >> 4]).float()
        shifted = codes * tensors["weight._scale"].float() - tensors["weight._shift"].float()
        return shifted.reshape(rows, -1)

    return Decoded(
        shape=(rows, groups * size // rows),
        decode=decode,
        takes=(module.label, "weight._scale", "weight._shift"),
        encoding=encoding(module, "quanto int4", "int4", (1, size), groups * size),
    )


def gemma(module: Module, facts: Facts) -> Decoded | Refused | None:
    """Gemma's own scheme (Transformers, ``quant_method: gemma``): 2 or 4 bits in bytes, low bits first.

    ``(q - 2^(b-1)) scale``, a scale a row. Columns at the end that are 0 in every row fill the last byte.
    """
    bits, scale = facts.quantisation.get("num_bits"), module.parts.get("weight_scale")
    if facts.quantisation.get("quant_method") != "gemma" or module.codes.dtype != "uint8" or scale is None:
        return None
    if (
        type(bits) is not int
        or bits not in {2, 4}
        or len(module.codes.shape) != 2
        or set(module.parts) != {"weight_scale"}
    ):
        return None
    rows, width = module.codes.shape
    if scale.shape != (rows, 1):
        return None
    each = 8 // bits
    last = _columns(facts.read(module.codes.name)[:, -1:], bits)
    used = [column for column in range(each) if bool(last[:, column].any())]
    cols = (width - 1) * each + (used[-1] + 1 if used else each)

    def decode(tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        codes = _columns(tensors["weight"], bits)[:, :cols]
        return (codes.float() - (1 << (bits - 1))) * tensors["weight_scale"].float()

    return Decoded(
        shape=(rows, cols),
        decode=decode,
        takes=("weight", "weight_scale"),
        encoding=encoding(module, f"Gemma int{bits}", f"int{bits}", (1, cols), rows * cols),
        banded=True,
    )


def _columns(packed: torch.Tensor, bits: int) -> torch.Tensor:
    import torch

    mask = (1 << bits) - 1
    columns = [packed >> shift & mask for shift in range(0, 8, bits)]
    return torch.stack(columns, dim=-1).flatten(1)


def _state(text: bytes) -> dict[str, Any] | None:
    """Return the description of a tensor of bitsandbytes, if its numbers can be used."""
    try:
        state = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(state, dict):
        return None
    shape, size, inner = state.get("shape"), state.get("blocksize"), state.get("nested_blocksize", 256)
    sides = (
        isinstance(shape, list)
        and 0 < len(shape) < 6
        and all(type(side) is int and side > 0 for side in shape)
    )
    sizes = all(type(each) is int and each > 0 for each in (size, inner))
    return state if sides and sizes and isinstance(state.get("nested_offset", 0.0), int | float) else None
