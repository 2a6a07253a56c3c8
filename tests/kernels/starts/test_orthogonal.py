"""Orthogonal starts, and what is none."""

from __future__ import annotations

import math

import pytest
import torch

from rmtaudit.kernels.spectra.eigenvalues import gram_eigenvalues
from rmtaudit.kernels.starts.orthogonal import (
    is_block_of_orthogonal,
    is_orthogonal,
    orthogonal_blocks,
    scaled_orthogonal,
)

SINGLE = 2.0**-24


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def basis(rows: int, cols: int, seed: int = 0) -> torch.Tensor:
    return torch.linalg.qr(normal(rows, cols, seed=seed)).Q


@pytest.mark.parametrize(
    ("dtype", "epsilon"), [(torch.float32, SINGLE), (torch.float16, 2.0**-11), (torch.bfloat16, 2.0**-8)]
)
def test_stored_orthogonal_matrices_are_recognised_in_every_format(
    dtype: torch.dtype, epsilon: float
) -> None:
    for rows, cols in ((96, 64), (64, 64), (300, 20)):
        stored = (1.4 * basis(rows, cols)).to(dtype).double()
        assert is_orthogonal(gram_eigenvalues(stored).eigenvalues, rows, cols, epsilon)


def test_other_matrices_are_not_orthogonal() -> None:
    noise = gram_eigenvalues(normal(96, 64)).eigenvalues
    assert not is_orthogonal(noise, 96, 64, 2.0**-8)
    assert not is_orthogonal(torch.ones(4), 4, 4, SINGLE)
    assert not is_orthogonal(torch.ones(64), 64, 64, 2.0**-4)
    near = basis(96, 64) + 1e-4 * normal(96, 64, seed=1)
    assert not is_orthogonal(gram_eigenvalues(near).eigenvalues, 96, 64, SINGLE)


def test_zero_lines_are_left_out() -> None:
    padded = torch.nn.functional.pad(basis(64, 32), (0, 3, 1, 0))
    values = gram_eigenvalues(padded).eigenvalues
    assert is_orthogonal(values, 64, 32, SINGLE)
    assert not is_orthogonal(values, 65, 35, SINGLE)


FORMATS = {torch.float32: SINGLE, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
SHAPES = [
    (8, 256),
    (8, 2048),
    (8, 16384),
    (4096, 8),
    (9, 65536),
    (12, 1200),
    (24, 8192),
    (64, 1024),
    (64, 64),
]


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_orthogonal_starts_are_told_from_noise_at_every_aspect(
    shape: tuple[int, int], dtype: torch.dtype
) -> None:
    rows, cols = shape
    for seed, gain in enumerate((0.02, 1.0, 2.0**0.5, 7.3)):
        start = torch.linalg.qr(normal(max(shape), min(shape), seed=seed).float()).Q  # as torch makes it
        start = (gain * (start if rows >= cols else start.T)).to(dtype).double()
        assert is_orthogonal(gram_eigenvalues(start).eigenvalues, rows, cols, FORMATS[dtype])
        noise = normal(rows, cols, seed=seed)
        for law in (noise, noise.sign(), noise.clamp(-1, 1)):
            stored = (gain * law).to(dtype).double()
            assert not is_orthogonal(gram_eigenvalues(stored).eigenvalues, rows, cols, FORMATS[dtype])


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_blocks_and_scaled_rows_are_told_from_noise(dtype: torch.dtype) -> None:
    epsilon = FORMATS[dtype]
    for rows, cols in ((16, 16384), (16, 2), (32, 4096), (4096, 8), (64, 96)):
        for seed in range(3):
            noise = normal(rows, cols, seed=seed).to(dtype).double()
            assert orthogonal_blocks(noise, epsilon) is None
            assert scaled_orthogonal(noise, epsilon) is None
    heads = torch.cat([(1 + head) * basis(4096, 16, head).T for head in range(4)]).to(dtype).double()
    assert orthogonal_blocks(heads, epsilon) == 4
    rows_apart = torch.linspace(1, 3, 16, dtype=torch.float64)[:, None] * basis(4096, 16).T
    assert scaled_orthogonal(rows_apart.to(dtype).double(), epsilon) == 16


@pytest.mark.parametrize("gates", [3, 4])
def test_one_gate_of_a_recurrent_start_is_told_from_noise(gates: int) -> None:
    for seed in range(10):
        block = basis(gates * 64, 64, seed)[:64]
        assert is_block_of_orthogonal(gram_eigenvalues(block).eigenvalues, 64, 64, gates * 64)
        noise = gram_eigenvalues(normal(64, 64, seed=seed)).eigenvalues
        assert not is_block_of_orthogonal(noise, 64, 64, gates * 64)


def test_a_block_that_is_the_whole_is_none() -> None:
    assert not is_block_of_orthogonal(torch.ones(64), 64, 64, 64)
    assert not is_block_of_orthogonal(torch.ones(64), 64, 64, 32)


def test_blocks_with_scales_of_their_own() -> None:
    heads = torch.cat([(1 + head) * basis(48, 16, head).T for head in range(4)])
    assert orthogonal_blocks(heads, SINGLE) == 4
    assert orthogonal_blocks(normal(64, 48), SINGLE) is None


def test_scales_of_blocks_are_found_and_taken_off() -> None:
    scales = torch.tensor([1.0, 1.7, 0.6, 1.2], dtype=torch.float64).repeat_interleave(32)[:, None]
    assert scaled_orthogonal(scales * basis(128, 64), SINGLE) == 4
    assert scaled_orthogonal(scales[:64] * basis(96, 64).T, SINGLE) == 64
    assert scaled_orthogonal(normal(128, 64), SINGLE) is None
    assert scaled_orthogonal(normal(64, 128), SINGLE) is None


def test_the_tolerance_is_far_below_what_training_leaves() -> None:
    values = gram_eigenvalues(normal(512, 16)).eigenvalues
    assert math.sqrt(float(values[-1] / values[0])) > 1.2
    assert not is_orthogonal(values, 512, 16, 2.0**-8)
