"""Code books and tables: levels that are not equally spaced, and the screen before them."""

from __future__ import annotations

import pytest
import torch

from rmtaudit.kernels.forensics.codebooks import few_values, repeats_values, table_book
from rmtaudit.kernels.forensics.quantisation import quantisation
from rmtaudit.kernels.forensics.tables import TABLES, fit_table
from rmtaudit.matrices.tensors import UNIT_ROUNDOFF

TINY = 2.0**-126


def gaussian(rows: int, cols: int, seed: int = 0) -> torch.Tensor:
    return 0.05 * torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed))


def on_table(W: torch.Tensor, name: str, group: int) -> torch.Tensor:
    levels = torch.tensor(TABLES[name], dtype=torch.float32)
    lines = W.reshape(-1, group)
    scale = lines.abs().amax(1, keepdim=True) / levels.abs().max()
    places = torch.searchsorted((levels[1:] + levels[:-1]) / 2, (lines / scale).contiguous())
    return (levels[places] * scale).reshape(W.shape)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("group", [16, 64, 256])
@pytest.mark.parametrize("name", ["fp4 (e2m1)", "nf4", "fp4 (bitsandbytes)", "iq4_nl", "fp8 (e4m3)"])
def test_tables_are_named_after_any_storage(name: str, group: int, dtype: str) -> None:
    W = on_table(gaussian(64, 256), name, group).to(getattr(torch, dtype)).float()
    grid, book = quantisation(W, epsilon=UNIT_ROUNDOFF[dtype], smallest_normal=TINY)
    assert grid is None
    assert book is not None
    assert book.table == name
    assert book.group == (group if group < 256 else None)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_honest_values_are_no_code_book(dtype: str) -> None:
    for seed in range(2):
        W = gaussian(64, 128, seed).to(getattr(torch, dtype)).float()
        assert not repeats_values(W)
        assert table_book(W, epsilon=UNIT_ROUNDOFF[dtype], smallest_normal=TINY) is None
        assert few_values(W, epsilon=UNIT_ROUNDOFF[dtype]) is None


def test_a_code_book_of_its_own_is_counted() -> None:
    generator = torch.Generator().manual_seed(3)
    centres = 0.05 * torch.randn(16, generator=generator)
    W = centres[torch.randint(16, (96, 128), generator=generator)]
    grid, book = quantisation(W, epsilon=2.0**-24, smallest_normal=TINY)
    assert grid is None
    assert book is not None
    assert (book.family, book.values, book.bits, book.table) == ("tensor", 16, 4, None)


def test_pruned_entries_are_no_code_book() -> None:
    W = gaussian(96, 256)
    W[W.abs() < W.abs().median()] = 0
    assert quantisation(W, epsilon=2.0**-24, smallest_normal=TINY) == (None, None)


def test_integers_are_a_grid_and_no_fp8() -> None:
    W = gaussian(64, 256)
    step = W.abs().amax(1, keepdim=True) / 7
    grid, book = quantisation((W / step).round() * step, epsilon=2.0**-24, smallest_normal=TINY)
    assert book is None  # although 0 … 7 are numbers of fp8
    assert grid is not None
    assert (grid.bits, grid.family) == (4, "row")


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("group", [32, 64, 128])
def test_four_bits_with_a_minimum_in_any_arithmetic(group: int, dtype: str) -> None:
    lines = gaussian(64, 256).reshape(-1, group).to(getattr(torch, dtype))
    low, high = lines.amin(1, keepdim=True), lines.amax(1, keepdim=True)
    step = (high - low) / 15
    W = (((lines - low) / step).round() * step + low).float().reshape(64, 256)
    grid, book = quantisation(W, epsilon=UNIT_ROUNDOFF[dtype], smallest_normal=TINY)
    found = grid or book
    assert found is not None
    assert (found.bits, found.family, found.group) == (4, "group along rows", group)


def test_fit_table_needs_values_that_say_something() -> None:
    levels = TABLES["nf4"]
    fit = fit_table(torch.zeros(64), levels, 2.0**-24, TINY)
    assert fit is not None
    assert fit.evidence == 0
    assert fit_table(torch.linspace(-1, 1, 64), levels, 2.0**-24, TINY) is None
