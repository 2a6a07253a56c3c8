"""Codes that are 4-bit floats E2M1 in blocks of 16 or 32: NVFP4 and MXFP4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rmtaudit.checkpoints.schemes.codes import e2m1, e8m0, nibbles
from rmtaudit.checkpoints.schemes.modules import Facts, Module
from rmtaudit.checkpoints.schemes.scheme import Decoded, Refused, encoding

if TYPE_CHECKING:
    import torch

_OF_INPUTS = frozenset({"input_scale", "input_global_scale", "k_scale", "v_scale", "output_scale"})


def nvfp4(module: Module, facts: Facts) -> Decoded | Refused | None:
    """Return the weight of NVFP4: two codes a byte, a scale in e4m3 every 16, and one for the tensor.

    The last **divides** in compressed-tensors (``weight_global_scale``) and **multiplies** in modelopt
    (``weight_scale_2``).
    """
    codes, scale = module.codes, module.parts.get("weight_scale")
    if module.label == "weight_packed" and "weight_global_scale" in module.parts:
        scheme, last, divides = "NVFP4 (compressed-tensors)", "weight_global_scale", True
    elif module.label == "weight" and "weight_scale_2" in module.parts:
        scheme, last, divides = "NVFP4 (modelopt)", "weight_scale_2", False
    else:
        return None
    if scale is None or scale.dtype != "float8_e4m3fn" or codes.dtype != "uint8":
        return None
    if "comfy_quant" in module.parts or "_quantization_metadata" in facts.metadata:
        return Refused("NVFP4 (ComfyUI), whose scales lie in another order")
    *lead, width = codes.shape
    if not lead or scale.shape != (*lead, 2 * width // 16) or width % 8:
        return None
    if set(module.parts) - {"weight_scale", last, *_OF_INPUTS}:
        return None
    whole = module.parts[last]
    stack = len(lead) == 2 and whole.parameters == lead[0]
    if whole.parameters != 1 and not stack:
        return None

    def decode(tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        total = (
            tensors[last].float().reshape(-1, *[1] * len(lead))
            if stack
            else tensors[last].float().reshape(())
        )
        scales = tensors["weight_scale"].float()
        scales = scales / total if divides else scales * total
        return e2m1(nibbles(tensors[module.label])) * scales.repeat_interleave(16, -1)

    shape = (*lead, 2 * width)
    return Decoded(
        shape=shape,
        decode=decode,
        takes=(module.label, "weight_scale", last),
        encoding=encoding(module, scheme, "float4_e2m1fn", (1, 16), 2 * codes.parameters),
        banded=stack,
    )


def mxfp4(module: Module, facts: Facts) -> Decoded | Refused | None:
    """Return the weight of MXFP4: two codes a byte, a power of two every 32.

    compressed-tensors keeps ``weight_packed`` (rows, cols / 2); gpt-oss keeps ``_blocks`` (experts, rows,
    groups, 16), whose weight has its last two sides swapped.
    """
    del facts
    codes = module.codes
    if codes.dtype != "uint8" or len(codes.shape) < 2:
        return None
    if module.label == "blocks" and set(module.parts) == {"scales"}:
        return _gpt_oss(module)
    scale = module.parts.get("weight_scale")
    if module.label != "weight_packed" or scale is None or set(module.parts) - {"weight_scale", *_OF_INPUTS}:
        return None
    *lead, width = codes.shape
    if scale.dtype not in {"uint8", "float8_e8m0fnu"} or scale.shape != (*lead, width // 16) or width % 16:
        return None

    def decode(tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        powers = e8m0(tensors["weight_scale"]).repeat_interleave(32, -1)
        return e2m1(nibbles(tensors[module.label])) * powers

    return Decoded(
        shape=(*lead, 2 * width),
        decode=decode,
        takes=(module.label, "weight_scale"),
        encoding=encoding(module, "MXFP4", "float4_e2m1fn", (1, 32), 2 * codes.parameters),
        banded=True,
    )


def _gpt_oss(module: Module) -> Decoded | None:
    codes, scale = module.codes, module.parts["scales"]
    if (
        len(codes.shape) != 4
        or codes.shape[-1] != 16
        or scale.shape != codes.shape[:-1]
        or scale.dtype != "uint8"
    ):
        return None
    experts, rows, groups, _ = codes.shape

    def decode(tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        values = e2m1(nibbles(tensors["blocks"])) * e8m0(tensors["scales"])[..., None]
        return values.flatten(-2).swapaxes(-1, -2).contiguous()

    return Decoded(
        shape=(experts, 32 * groups, rows),
        decode=decode,
        takes=("blocks", "scales"),
        encoding=encoding(module, "MXFP4 (gpt-oss)", "float4_e2m1fn", (32, 1), 2 * codes.parameters),
        banded=True,
    )
