"""Quantisation to the levels of common schemes, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch

_NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
    -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023,
    1.0,
)  # fmt: skip
"""Dettmers et al. 2023, appendix E."""

_E2M1 = (-6.0, -4.0, -3.0, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""OCP Microscaling Formats 1.0, table 5."""

Quantise = Callable[[torch.Tensor], torch.Tensor]


def quantised(weight: torch.Tensor, scheme: str) -> torch.Tensor:
    """Return a weight as a scheme stores it, rounded to the nearest level, without a search for scales.

    Parameters
    ----------
    weight
        Shape ``(rows, cols)``, real floating dtype, finite.
    scheme
        One of :data:`SCHEMES`. Blocks lie along the rows; the last one of a row may be shorter.

    Returns
    -------
    Tensor
        float32.
    """
    return SCHEMES[scheme](weight.float())


def _in_blocks(encode: Quantise, size: int | None) -> Quantise:
    """Return an encoder of blocks, shape ``(blocks, size)``, as one of a matrix."""

    def matrix(weight: torch.Tensor) -> torch.Tensor:
        if size is None:
            return encode(weight)
        rows, cols = weight.shape
        padded = torch.nn.functional.pad(weight, (0, -cols % size))
        return encode(padded.reshape(-1, size)).reshape(rows, -1)[:, :cols]

    return matrix


def _symmetric(bits: int) -> Quantise:
    most = 2 ** (bits - 1) - 1

    def encode(blocks: torch.Tensor) -> torch.Tensor:
        step = _positive(blocks.abs().amax(1, keepdim=True) / most)
        return (blocks / step).round().clamp(-most, most) * step

    return encode


def _affine(bits: int) -> Quantise:
    def encode(blocks: torch.Tensor) -> torch.Tensor:
        low = blocks.amin(1, keepdim=True)
        step = _positive((blocks.amax(1, keepdim=True) - low) / (2**bits - 1))
        return ((blocks - low) / step).round() * step + low

    return encode


def _table(levels: tuple[float, ...], *, power_of_two: bool = False) -> Quantise:
    def encode(blocks: torch.Tensor) -> torch.Tensor:
        table = torch.tensor(levels, device=blocks.device)
        scale = _positive(blocks.abs().amax(1, keepdim=True) / table[-1])
        scale = torch.exp2(torch.log2(scale).ceil()) if power_of_two else scale
        middles = (table[1:] + table[:-1]) / 2
        return table[torch.bucketize((blocks / scale).contiguous(), middles)] * scale

    return encode


def _fp8(blocks: torch.Tensor) -> torch.Tensor:
    scale = _positive(blocks.abs().amax(1, keepdim=True) / 448)
    return (blocks / scale).to(torch.float8_e4m3fn).float() * scale


def _cast(dtype: torch.dtype) -> Quantise:
    return lambda weight: weight.to(dtype).float()


def _positive(scale: torch.Tensor) -> torch.Tensor:
    return torch.where(scale > 0, scale, 1)


SCHEMES: Mapping[str, Quantise] = MappingProxyType(
    {
        "bf16": _cast(torch.bfloat16),
        "fp16": _cast(torch.float16),
        "fp8": _fp8,
        "int8": _symmetric(8),
        "int8-g32": _in_blocks(_symmetric(8), 32),
        "int4": _symmetric(4),
        "int4-g128": _in_blocks(_symmetric(4), 128),
        "int4-g32": _in_blocks(_affine(4), 32),
        "int3-g128": _in_blocks(_affine(3), 128),
        "int2-g64": _in_blocks(_affine(2), 64),
        "nf4": _in_blocks(_table(_NF4), 64),
        "mxfp4": _in_blocks(_table(_E2M1, power_of_two=True), 32),
    }
)
"""By name: casts, scales by row, and scales of ``g`` weights along a row (nf4: 64, mxfp4: 32)."""
