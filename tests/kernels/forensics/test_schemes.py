"""The scheme that a grid or a table belongs to."""

from __future__ import annotations

import pytest
import torch

from rmtaudit.kernels.forensics.quantisation import quantisation
from rmtaudit.kernels.forensics.schemes import quantisation_scheme
from rmtaudit.kernels.forensics.tables import TABLES
from rmtaudit.matrices.tensors import UNIT_ROUNDOFF

FORMATS = ["float32", "float16", "bfloat16"]


def gaussian(rows: int = 64, cols: int = 512, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (
        0.05
        * torch.randn(rows, cols, generator=generator)
        * (0.3 * torch.randn(rows, 1, generator=generator)).exp()
    )


def named(W: torch.Tensor, dtype: str) -> tuple[str | None, str, int | None]:
    stored = W.to(getattr(torch, dtype)).float()
    precision = {
        "epsilon": UNIT_ROUNDOFF[dtype],
        "smallest_normal": float(torch.finfo(getattr(torch, dtype)).smallest_normal),
    }
    grid, book = quantisation(stored, **precision)
    levels = grid or book
    assert levels is not None
    return quantisation_scheme(stored, levels, **precision), levels.family, levels.group


def extreme(blocks: torch.Tensor) -> torch.Tensor:
    return blocks.gather(1, blocks.abs().argmax(1, keepdim=True))


def on_table(blocks: torch.Tensor, scale: torch.Tensor, name: str) -> torch.Tensor:
    levels = torch.tensor(TABLES[name], dtype=torch.float32)
    return levels[torch.searchsorted((levels[1:] + levels[:-1]) / 2, (blocks / scale).contiguous())] * scale


def q4_0(W: torch.Tensor) -> torch.Tensor:
    blocks = W.reshape(-1, 32)
    scale = extreme(blocks) / -8
    return ((blocks / scale).round().clamp(-8, 7) * scale.half()).reshape(W.shape)


def affine(W: torch.Tensor, *, k_quant: bool) -> torch.Tensor:
    blocks = W.reshape(-1, 32)
    low, high = blocks.amin(1, keepdim=True), blocks.amax(1, keepdim=True)
    scale = ((high - low) / 15).half().float()
    if k_quant:
        parts = scale.reshape(-1, 8)
        unit = (parts.amax(1, keepdim=True) / 63).half().float()
        scale = ((parts / unit).round().clamp(1, 63) * unit).reshape(-1, 1)
    return (((blocks - low) / scale).round().clamp(0, 15) * scale + low.half()).reshape(W.shape)


@pytest.mark.parametrize("dtype", FORMATS)
def test_4_bits_of_llama_cpp(dtype: str) -> None:
    W = gaussian()
    assert named(q4_0(W), dtype) == ("Q4_0", "group along rows", 32)
    assert named(affine(W, k_quant=False), dtype) == ("Q4_1", "group along rows", 32)
    assert named(affine(W, k_quant=True), dtype) == ("Q4_K", "group along rows", 32)


@pytest.mark.parametrize("dtype", FORMATS)
def test_iq4_nl_has_scales_of_either_sign(dtype: str) -> None:
    blocks = gaussian().reshape(-1, 32)
    scale = (extreme(blocks) / -127).half().float()
    assert (scale > 0).any()
    assert (scale < 0).any()
    W = on_table(blocks, scale, "iq4_nl").reshape(64, 512)
    assert named(W, dtype) == ("IQ4_NL", "group along rows", 32)
    parts = scale.reshape(-1, 8)
    unit = extreme(parts) / -32
    whole = ((parts / unit).round().clamp(-32, 31) * unit).reshape(-1, 1)
    whole = torch.where(whole == 0, unit.repeat_interleave(8, 0).reshape(-1, 1), whole)
    assert named(on_table(blocks, whole, "iq4_nl").reshape(64, 512), dtype)[0] == "IQ4_XS"


@pytest.mark.parametrize("dtype", FORMATS)
def test_the_scales_of_fp4(dtype: str) -> None:
    W, table = gaussian(), "fp4 (e2m1)"
    blocks = W.reshape(-1, 32)
    power = torch.exp2(torch.floor(torch.log2(blocks.abs().amax(1, keepdim=True))) - 2)
    assert named(on_table(blocks, power, table).reshape(W.shape), dtype)[::2] == ("MXFP4", 32)
    blocks = W.reshape(-1, 16)
    exact = blocks.abs().amax(1, keepdim=True) / 6
    overall = exact.max() / 448
    scale = (exact / overall).to(torch.float8_e4m3fn).float() * overall
    assert named(on_table(blocks, scale, table).reshape(W.shape), dtype)[::2] == ("NVFP4", 16)
    if dtype == "float32":  # scales of any size are of no known scheme
        assert named(on_table(blocks, exact, table).reshape(W.shape), dtype)[::2] == (table, 16)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("shape", [(256, 384), (300, 200), (128, 512)])
def test_square_blocks(shape: tuple[int, int], dtype: str) -> None:
    W = gaussian(*shape)
    for row in range(0, shape[0], 128):
        for col in range(0, shape[1], 128):
            part = W[row : row + 128, col : col + 128]
            scale = part.abs().max() / 448
            part.copy_((part / scale).to(torch.float8_e4m3fn).float() * scale)
    assert named(W, dtype) == ("fp8 (e4m3)", "block", 128)


def test_integers_in_32_with_other_scales_are_not_named_after_llama_cpp() -> None:
    blocks = gaussian().reshape(-1, 32)
    scale = extreme(blocks) / -8  # as Q4_0, but no float16 number
    W = ((blocks / scale).round().clamp(-8, 7) * scale).reshape(64, 512)
    assert named(W, "float32")[0] == "int4 symmetric"
    low, high = blocks.amin(1, keepdim=True), blocks.amax(1, keepdim=True)
    scale = ((high - low) / 15).half().float()
    zero = (-low / scale).round()  # zero is a level, as it is not in Q4_1
    W = (((blocks / scale).round() + zero).clamp(0, 15) - zero).mul(scale).reshape(64, 512)
    assert named(W, "float32")[0] == "int4 affine"


def test_without_levels_there_is_no_scheme() -> None:
    assert quantisation_scheme(gaussian(), None, epsilon=2.0**-24, smallest_normal=2.0**-126) is None
