"""The levels of a decoded weight: what its decoder makes of constant codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rmtaudit.checkpoints.levels import Levels, levels_of
from rmtaudit.checkpoints.schemes.scheme import Decoded

if TYPE_CHECKING:
    import torch

_BITS = {
    "int2": 2, "int4": 4, "int8": 8, "uint4": 4, "uint8": 8, "nf4": 4, "fp4": 4, "float4_e2m1fn": 4,
}  # fmt: skip
"""Bits of the codes that fill a byte without a rest, by the dtype of an encoding."""


def decoded_levels(decoded: Decoded, label: str, tensors: Mapping[str, torch.Tensor]) -> Levels | None:
    """Return the levels of a weight; ``None`` for codes that do not fill a byte, as those of 3 bits.

    Parameters
    ----------
    decoded
        How the weight is decoded.
    label
        The name within the module of the tensor of codes.
    tensors
        What the decoder takes, by name.
    """
    import torch

    codes = tensors.get(label)
    if codes is None:
        return None

    def decode(filled: torch.Tensor) -> torch.Tensor:
        return decoded.decode({**tensors, label: filled}).float()

    if codes.dtype.is_floating_point:
        if codes.element_size() != 1:
            return None
        values = torch.arange(256, dtype=torch.uint8).view(codes.dtype).double()
        table = sorted({float(value) for value in values if bool(torch.isfinite(value))})
        step = decode(torch.ones(codes.shape).to(codes.dtype))
        return Levels(origin=torch.zeros_like(step), step=step, table=tuple(table))
    bits = _BITS.get(decoded.encoding.dtype)
    if bits is None:
        return None
    whole = bits == 8 and codes.dtype == torch.int8
    codes_used = range(-128, 128) if whole else range(1 << bits)

    def constant(code: int) -> torch.Tensor:
        byte = sum((code & ((1 << bits) - 1)) << place for place in range(0, 8, bits))
        raw = torch.full((codes.numel() * codes.element_size(),), byte, dtype=torch.uint8)
        return decode(raw.view(codes.dtype).reshape(codes.shape))

    return levels_of(constant, codes_used)
