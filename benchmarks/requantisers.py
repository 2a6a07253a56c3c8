"""Encoders of common quantisation schemes: each takes a matrix and returns what its decoder would give.

Written from the layouts of their libraries (llama.cpp, bitsandbytes, compressed-tensors, GPTQ): the block,
the format of the scales and the levels are exact; the scales come from the extremes, without a search.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch

from rmtaudit.kernels.forensics.tables import TABLES

Quantise = Callable[[torch.Tensor], torch.Tensor]


def _e4m3(values: torch.Tensor) -> torch.Tensor:
    return values.clamp(-448, 448).to(torch.float8_e4m3fn).float()


def _half(values: torch.Tensor) -> torch.Tensor:
    return values.half().float()


def _blocks(W: torch.Tensor, size: int) -> torch.Tensor:
    return W.float().reshape(-1, size)


def _signed_extreme(blocks: torch.Tensor) -> torch.Tensor:
    return blocks.gather(1, blocks.abs().argmax(1, keepdim=True))


def _over(values: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return torch.where(scale == 0, torch.zeros_like(values), values / torch.where(scale == 0, 1, scale))


def gguf_symmetric(bits: int) -> Quantise:
    """Q4_0 and Q5_0: blocks of 32, the entry of largest size is the lowest code, scale in float16."""

    def encode(W: torch.Tensor) -> torch.Tensor:
        blocks, half = _blocks(W, 32), 2 ** (bits - 1)
        exact = _signed_extreme(blocks) / -half
        codes = (_over(blocks, exact) + half + 0.5).floor().clamp(0, 2 * half - 1) - half
        return (codes * _half(exact)).reshape(W.shape)

    return encode


def gguf_with_minimum(bits: int) -> Quantise:
    """Q4_1 and Q5_1: blocks of 32, step and minimum in float16."""

    def encode(W: torch.Tensor) -> torch.Tensor:
        blocks = _blocks(W, 32)
        low = blocks.amin(1, keepdim=True)
        exact = (blocks.amax(1, keepdim=True) - low) / (2**bits - 1)
        codes = (_over(blocks - low, exact) + 0.5).floor().clamp(0, 2**bits - 1)
        return (codes * _half(exact) + _half(low)).reshape(W.shape)

    return encode


def q8_0(W: torch.Tensor) -> torch.Tensor:
    blocks = _blocks(W, 32)
    exact = blocks.abs().amax(1, keepdim=True) / 127
    return (_over(blocks, exact).round() * _half(exact)).reshape(W.shape)


def k_with_minimum(bits: int, size: int, scale_bits: int) -> Quantise:
    """Q2_K, Q4_K, Q5_K: in 256 weights, steps and minima of the parts are integers times one float16."""

    def encode(W: torch.Tensor) -> torch.Tensor:
        blocks, most = _blocks(W, size), 2**scale_bits - 1
        low = -blocks.amin(1, keepdim=True).clamp(max=0)
        step = (blocks.amax(1, keepdim=True) + low) / (2**bits - 1)
        parts = 256 // size
        steps, lows = step.reshape(-1, parts), low.reshape(-1, parts)
        d, dmin = (_half(each.amax(1, keepdim=True) / most) for each in (steps, lows))
        step = (_over(steps, d).round().clamp(0, most) * d).reshape(-1, 1)
        low = (_over(lows, dmin).round().clamp(0, most) * dmin).reshape(-1, 1)
        codes = _over(blocks + low, step).round().clamp(0, 2**bits - 1)
        return (codes * step - low).reshape(W.shape)

    return encode


def k_symmetric(bits: int, scale_bits: int) -> Quantise:
    """Q3_K and Q6_K: in 256 weights, the scales of the 16 parts are signed integers times one float16."""

    def encode(W: torch.Tensor) -> torch.Tensor:
        blocks, half, most = _blocks(W, 16), 2 ** (bits - 1), 2 ** (scale_bits - 1)
        step = _signed_extreme(blocks) / -half
        steps = step.reshape(-1, 16)
        d = _half(_signed_extreme(steps) / -most)
        step = (_over(steps, d).round().clamp(-most, most - 1) * d).reshape(-1, 1)
        return (_over(blocks, step).round().clamp(-half, half - 1) * step).reshape(W.shape)

    return encode


def _nearest(values: torch.Tensor, name: str) -> torch.Tensor:
    levels = torch.tensor(TABLES[name], dtype=torch.float32)
    return levels[torch.searchsorted((levels[1:] + levels[:-1]) / 2, values.contiguous())]


def iq4_nl(W: torch.Tensor) -> torch.Tensor:
    """IQ4_NL: blocks of 32, the extreme is level -127, then the scale by least squares, float16."""
    blocks = _blocks(W, 32)
    levels = _nearest(_over(blocks, _signed_extreme(blocks) / -127), "iq4_nl")
    scale = _half(
        (levels * blocks).sum(1, keepdim=True) / (levels * levels).sum(1, keepdim=True).clamp(min=1)
    )
    return (_nearest(_over(blocks, scale), "iq4_nl") * scale).reshape(W.shape)


def bitsandbytes(name: str, *, double: bool = False) -> Quantise:
    """NF4 and FP4: blocks of 64; doubly quantised scales are 8 bits in blocks of 256 about their mean."""

    def encode(W: torch.Tensor) -> torch.Tensor:
        blocks = _blocks(W, 64)
        scale = blocks.abs().amax(1, keepdim=True)
        levels = _nearest(_over(blocks, scale), name)
        if double:
            flat = scale.reshape(-1)
            mean = flat.mean()
            wide = torch.nn.functional.pad(flat - mean, (0, -len(flat) % 256)).reshape(-1, 256)
            largest = wide.abs().amax(1, keepdim=True)
            wide = (_over(wide, largest) * 127).round() / 127 * largest
            scale = (wide.reshape(-1)[: len(flat)] + mean).reshape(-1, 1)
        return (levels * scale).reshape(W.shape)

    return encode


def nvfp4(W: torch.Tensor) -> torch.Tensor:
    blocks = _blocks(W, 16)
    overall = blocks.abs().max() / (6 * 448)
    scale = _e4m3(blocks.abs().amax(1, keepdim=True) / 6 / overall) * overall
    return (_nearest(_over(blocks, scale).clamp(-6, 6), "fp4 (e2m1)") * scale).reshape(W.shape)


def mxfp4(W: torch.Tensor) -> torch.Tensor:
    blocks = _blocks(W, 32)
    scale = torch.exp2(torch.floor(torch.log2(blocks.abs().amax(1, keepdim=True).clamp(min=1e-30))) - 2)
    return (_nearest((blocks / scale).clamp(-6, 6), "fp4 (e2m1)") * scale).reshape(W.shape)


def mxfp8(W: torch.Tensor) -> torch.Tensor:
    blocks = _blocks(W, 32)
    scale = torch.exp2(torch.floor(torch.log2(blocks.abs().amax(1, keepdim=True).clamp(min=1e-30))) - 8)
    return (_e4m3(blocks / scale) * scale).reshape(W.shape)


def fp8(block: tuple[int, int] | None) -> Quantise:
    """e4m3 with one scale a block (rows, columns; 0 for all of a side); ``None`` for one of the tensor."""

    def encode(W: torch.Tensor) -> torch.Tensor:
        W = W.float()
        rows, cols = (side or length for side, length in zip(block or (0, 0), W.shape, strict=True))
        result = W.clone()
        for row in range(0, W.shape[0], rows):
            for col in range(0, W.shape[1], cols):
                part = W[row : row + rows, col : col + cols]
                scale = part.abs().max().clamp(min=1e-12) / 448
                result[row : row + rows, col : col + cols] = _e4m3(part / scale) * scale
        return result

    return encode


def integers(bits: int, group: int | None, *, zero_point: bool = False, scales: str = "float16") -> Quantise:
    """Uniform integers by group along the row, or by row: symmetric, or with an integer zero point."""

    def encode(W: torch.Tensor) -> torch.Tensor:
        blocks = _blocks(W, group or W.shape[1])
        most = 2**bits - 1
        if zero_point:
            low, high = blocks.amin(1, keepdim=True).clamp(max=0), blocks.amax(1, keepdim=True).clamp(min=0)
            scale = ((high - low) / most).to(getattr(torch, scales)).float()
            zero = _over(-low, scale).round().clamp(0, most)
            codes = (_over(blocks, scale) + zero).round().clamp(0, most) - zero
        else:
            scale = (blocks.abs().amax(1, keepdim=True) / (most / 2)).to(getattr(torch, scales)).float()
            codes = _over(blocks, scale).round().clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        return (codes * scale).reshape(W.shape)

    return encode


SCHEMES: Mapping[str, tuple[Quantise, str]] = MappingProxyType(
    {
        "Q4_0": (gguf_symmetric(4), "32"),
        "Q4_1": (gguf_with_minimum(4), "32"),
        "Q4_K": (k_with_minimum(4, 32, 6), "32"),
        "IQ4_NL": (iq4_nl, "32"),
        "NF4": (bitsandbytes("nf4"), "64"),
        "NF4 double": (bitsandbytes("nf4", double=True), "64"),
        "NVFP4": (nvfp4, "16"),
        "fp8 row": (fp8((1, 0)), "row"),
        "fp8 128x128": (fp8((128, 128)), "128x128"),
        "int4 g64": (integers(4, 64), "64"),
        "int4 g128": (integers(4, 128), "128"),
        "int4 g64 zero point": (integers(4, 64, zero_point=True), "64"),
        "int4 g128 zero point": (integers(4, 128, zero_point=True), "128"),
        "FP4 bitsandbytes": (bitsandbytes("fp4 (bitsandbytes)"), "64"),
        "MXFP4": (mxfp4, "32"),
        "Q2_K": (k_with_minimum(2, 16, 4), "16"),
        "Q3_K": (k_symmetric(3, 6), "16"),
        "int3 g128": (integers(3, 128, zero_point=True), "128"),
        "Q5_0": (gguf_symmetric(5), "32"),
        "Q5_1": (gguf_with_minimum(5), "32"),
        "Q5_K": (k_with_minimum(5, 32, 6), "32"),
        "Q6_K": (k_symmetric(6, 8), "16"),
        "Q8_0": (q8_0, "32"),
        "int8 row": (integers(8, None), "row"),
        "fp8 tensor": (fp8(None), "tensor"),
        "MXFP8": (mxfp8, "32"),
    }
)
"""What is tried, with the block that shares a scale."""
