"""Codes of 8 bits, integers or floats, times a scale: for the tensor, for each row, or for each block."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rmtaudit.checkpoints.schemes import FLOAT8
from rmtaudit.checkpoints.schemes.codes import e8m0, spread
from rmtaudit.checkpoints.schemes.modules import Facts, Module
from rmtaudit.checkpoints.schemes.scheme import Decoded, Refused, encoding
from rmtaudit.checkpoints.values import torch_dtype
from rmtaudit.matrices.tensors import FLOATING, TensorSpec

if TYPE_CHECKING:
    import torch

_CODES = frozenset({"weight", "_weight_qdata", "qdata", "weight._data"})
_SCALES = (
    "weight_scale", "weight_scale_inv", "scale_weight", "_weight_scale", "weight._scale", "scale",
    "scale_inv", "weight.scales", "weight.scale", "weight.qscale_weight",
)  # fmt: skip
_ZEROS = ("weight_zero_point", "_weight_zero_point", "zero_point", "weight.zero_point")
_OF_INPUTS = frozenset({
    "input_scale", "scale_input", "output_scale", "input_zero_point", "k_scale", "v_scale", "q_scale",
    "weight_g_idx", "input_observer", "weight_format",
})  # fmt: skip
"""What schemes keep for the activations, or as a constant: it does not touch the weight."""

_BLOCK = 128
"""Side of a block of 8-bit floats where the file does not say (DeepSeek-V3, section 3.3.2)."""


def bitsandbytes_int8(module: Module, facts: Facts) -> Decoded | Refused | None:
    """LLM.int8() of bitsandbytes: ``q SCB / 127``, one absolute maximum a row."""
    del facts
    codes, scb = module.codes, module.parts.get("SCB")
    if scb is None or codes.dtype != "int8" or set(module.parts) - {"SCB", "weight_format"}:
        return None
    rows, _ = codes.shape
    if scb.shape != (rows,):
        return None

    def decode(tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return tensors[module.label].float() * (tensors["SCB"].float()[:, None] / 127)

    return Decoded(
        shape=codes.shape,
        decode=decode,
        takes=(module.label, "SCB"),
        encoding=encoding(module, "bitsandbytes int8", "int8", (1, codes.shape[1]), codes.parameters),
        banded=True,
    )


def scaled(module: Module, facts: Facts) -> Decoded | Refused | None:
    """Return the weight ``(q - z) s`` of 8-bit integers or floats.

    The layouts of compressed-tensors (``int-quantized``, ``float-quantized``, ``mxfp8``), Transformers'
    ``fp8`` with blocks, modelopt FP8, torchao, quanto and ComfyUI.
    """
    codes = module.codes
    named = [label for label in _SCALES if label in module.parts]
    if (module.label not in _CODES and named != ["scale"]) or len(named) != 1:
        return None
    if len(codes.shape) not in {2, 3}:
        return None
    if codes.dtype not in FLOAT8 and codes.dtype != "int8":
        return None
    scale = module.parts[named[0]]
    zero = next((module.parts[label] for label in _ZEROS if label in module.parts), None)
    rest = set(module.parts) - {*_SCALES, *_ZEROS, *_OF_INPUTS}
    if rest:
        return None
    kind = _torchao(module, facts)
    if isinstance(kind, Refused):
        return kind
    if zero is not None and (codes.dtype in FLOAT8 or zero.shape != scale.shape):
        return None
    block = _block(codes, scale, facts.quantisation)
    if block is None:
        return Refused(f"8-bit codes whose blocks are not stated; scales {_sides(scale)} for {_sides(codes)}")
    takes = (module.label, named[0]) + (() if zero is None else (_label(module, zero),))

    def decode(tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        values = tensors[module.label].float()
        if zero is not None:
            values -= _broadcast(tensors[takes[2]].float(), values, block)
        return values * _broadcast(_numbers(tensors[named[0]]), values, block)

    return Decoded(
        shape=codes.shape,
        decode=decode,
        takes=takes,
        encoding=encoding(
            module,
            _scheme(module, scale, block, kind),
            codes.dtype,
            _reported(block),
            codes.parameters,
        ),
        banded=len(scale.shape) == len(codes.shape) and scale.shape[0] == codes.shape[0],
    )


def _torchao(module: Module, facts: Facts) -> str | Refused:
    """Return the name of the subclass that torchao notes in the header of the file."""
    noted = facts.metadata.get(module.name)
    if noted is None or not module.label.endswith("qdata"):
        return ""
    try:
        kind = json.loads(noted).get("_type", "")
    except (ValueError, AttributeError, RecursionError):
        return Refused("torchao, with a header that cannot be read")
    return kind if kind in {"Int8Tensor", "Float8Tensor"} else Refused(f"torchao {kind}")


def _block(codes: TensorSpec, scale: TensorSpec, config: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Return the sides of a block, ``()`` where the scales broadcast; ``None`` where nothing says so."""
    shape, sides = codes.shape, scale.shape
    if scale.dtype == "uint8":  # exponents: MXFP8
        return (1, 32) if codes.dtype in FLOAT8 and sides == (shape[0], -(-shape[-1] // 32)) else None
    if scale.dtype not in FLOATING and scale.dtype != "float8_e8m0fnu":
        return None
    if math.prod(sides) == 1 or sides == (shape[0],) or sides == (*shape[:-1], 1):
        return ()
    if len(shape) == 3 and (sides == (shape[0], 1, 1) or (sides == shape[:2] and shape[1] != shape[2])):
        return ()
    if len(sides) != 2 or len(shape) != 2:
        return None
    stated = _stated_block(config) or (_BLOCK, _BLOCK)
    if codes.dtype in FLOAT8 and sides == tuple(
        -(-side // size) for side, size in zip(shape, stated, strict=True)
    ):
        return stated
    return (1, shape[1] // sides[1]) if sides[0] == shape[0] and shape[1] % sides[1] == 0 else None


def _stated_block(config: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the block that the configuration of the model states."""
    found = [config.get("weight_block_size")]
    groups = config.get("config_groups")
    if isinstance(groups, Mapping):
        for group in groups.values():
            weights = group.get("weights") if isinstance(group, Mapping) else None
            if isinstance(weights, Mapping):
                found.append(weights.get("block_structure"))
    for each in found:
        if isinstance(each, list) and len(each) == 2 and all(type(side) is int and side > 0 for side in each):
            return each[0], each[1]
    return None


def _broadcast(scale: torch.Tensor, values: torch.Tensor, block: tuple[int, ...]) -> torch.Tensor:
    if block:
        return spread(scale, (block[0], block[1]), (values.shape[0], values.shape[1]))
    if scale.numel() == 1:
        return scale.reshape(())
    return scale.reshape(*scale.shape, *[1] * (values.dim() - scale.dim()))


def _numbers(scale: torch.Tensor) -> torch.Tensor:
    import torch

    power = scale.dtype in {torch.uint8, torch_dtype("float8_e8m0fnu")}
    return e8m0(scale) if power else scale.float()


def _scheme(module: Module, scale: TensorSpec, block: tuple[int, ...], torchao: str) -> str:
    if torchao:
        return f"torchao {torchao}"
    number = "int8" if module.codes.dtype == "int8" else "fp8"
    if scale.dtype == "uint8":
        return "MXFP8"
    if module.label == "weight._data":
        return f"quanto {number}"
    if "scale_weight" in module.parts:
        return "scaled fp8 (ComfyUI)"
    return (
        f"{number}, a scale a block"
        if block
        else f"{number}, a scale a {'row' if scale.parameters > 1 else 'tensor'}"
    )


def _reported(block: tuple[int, ...]) -> tuple[int, int] | None:
    return (block[0], block[1]) if block else None


def _label(module: Module, part: TensorSpec) -> str:
    return next(label for label, spec in module.parts.items() if spec is part)


def _sides(spec: TensorSpec) -> str:
    return " x ".join(map(str, spec.shape)) or "a scalar"
