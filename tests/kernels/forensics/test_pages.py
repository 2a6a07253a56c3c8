"""Overwritten pages: what is found, where, and what looks the same by design."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.forensics.pages import PAGE, Fault, damaged_regions

CHUNK = 16 * PAGE


def gaussian(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def stored(values: torch.Tensor) -> torch.Tensor:
    return values.reshape(-1).view(torch.uint8)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(300, 500), (64, 32, 5, 7), (4, 200, 210), (7000, 40)])
@pytest.mark.parametrize("start", [24 + CHUNK, 40_008])
def test_a_zeroed_chunk_is_found_to_the_byte(shape: tuple[int, ...], dtype: torch.dtype, start: int) -> None:
    values = gaussian(*shape, dtype=dtype)
    assert damaged_regions(values) == ()
    stored(values)[start : start + CHUNK] = 0
    (region,) = damaged_regions(values)
    assert (region.fault, region.start, region.stop) == (Fault.CONSTANT, start, start + CHUNK)
    assert (region.value, region.source) == (0.0, None)


@settings(max_examples=40, deadline=None)
@given(
    source=st.integers(0, 3000),
    target=st.integers(0, 3000),
    pages=st.integers(2, 20),
    seed=st.integers(0, 99),
)
def test_a_copied_chunk_is_found_with_its_source(source: int, target: int, pages: int, seed: int) -> None:
    values = gaussian(401, 411, seed=seed)  # rows of 1644 bytes, of which no shift by pages is a multiple
    data, length = stored(values), pages * PAGE
    first, second = 8 + (source % 30) * PAGE, 8 + 120 * PAGE + (target % 20) * PAGE
    data[second : second + length] = data[first : first + length].clone()
    (region,) = damaged_regions(values)
    assert region.fault is Fault.REPEATED
    # the bytes next to the ends may agree by chance
    assert second - 2 <= region.start <= second
    assert second + length <= region.stop <= second + length + 2
    assert region.source == region.start - (second - first)


def test_the_end_of_a_cut_and_filled_file_is_found() -> None:
    values = gaussian(300, 500)
    stored(values)[250_004:] = 0
    (region,) = damaged_regions(values)
    assert (region.start, region.stop) == (250_004, 600_000)


def test_another_value_than_zero() -> None:
    values = gaussian(300, 500)
    values.reshape(-1)[20_001:31_003] = 0.5
    (region,) = damaged_regions(values)
    assert (region.start, region.stop, region.value) == (80_004, 124_012, 0.5)


def padding(values: torch.Tensor) -> None:
    values[0] = 0
    values[-7:] = 0


def pruned_rows(values: torch.Tensor) -> None:
    values[::9] = 0


def repeated_rows(values: torch.Tensor) -> None:
    values[20:40] = values[60:80]


def one_unused_row(values: torch.Tensor) -> None:
    values[50:70] = values[50]


def lower_triangle(values: torch.Tensor) -> None:
    values.copy_(values.tril())


def upper_triangle(values: torch.Tensor) -> None:
    values.copy_(values.triu())


def blocks(values: torch.Tensor) -> None:
    keep = torch.zeros_like(values)
    for i in range(8):
        rows, cols = len(values) // 8, values.shape[1] // 8
        keep[i * rows : (i + 1) * rows, i * cols : (i + 1) * cols] = 1
    values.mul_(keep)


def very_sparse(values: torch.Tensor) -> None:
    values.mul_(torch.rand(values.shape, generator=torch.Generator().manual_seed(1)) < 0.002)


def all_equal(values: torch.Tensor) -> None:
    values.fill_(0.25)


def two_halves(values: torch.Tensor) -> None:
    values[len(values) // 2 :] = values[: len(values) // 2].clone()


def identity(values: torch.Tensor) -> None:
    values.zero_()
    values.diagonal().fill_(1)


DESIGNS = [
    padding, pruned_rows, repeated_rows, one_unused_row, lower_triangle, upper_triangle, blocks, very_sparse,
    all_equal, two_halves, identity,
]  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("design", DESIGNS)
def test_what_is_meant_is_not_found(design: object, dtype: torch.dtype) -> None:
    assert callable(design)
    for shape in ((160, 4096), (800, 1040), (3000, 96)):
        values = gaussian(*shape, dtype=dtype)
        design(values)
        assert damaged_regions(values) == (), shape


def test_small_tensors_and_other_dtypes() -> None:
    assert damaged_regions(torch.zeros(10, 10)) == ()
    assert damaged_regions(torch.zeros(0, 4)) == ()
    values = gaussian(400, 400).to(torch.float8_e4m3fn)
    assert damaged_regions(values) == ()
    stored(values)[30_003:90_000] = 0
    (region,) = damaged_regions(values)
    assert (region.start, region.stop) == (30_003, 90_000)


def test_a_band_whose_memory_is_not_aligned() -> None:
    values = gaussian(301, 501, dtype=torch.bfloat16)[1:]
    assert values.storage_offset() % 4
    stored(values)[40_002:120_000] = 0
    (region,) = damaged_regions(values)
    assert (region.start, region.stop) == (40_002, 120_000)
