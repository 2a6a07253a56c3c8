from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.forensics.grids import Grid, uniform_grid
from rmtaudit.kernels.forensics.lattices import SILENT, fit_lattice

Quantise = Callable[..., torch.Tensor]


def gaussian(rows: int, cols: int, seed: int = 0) -> torch.Tensor:
    return 0.05 * torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed))


def find(W: torch.Tensor, dtype: torch.dtype = torch.float32) -> Grid | None:
    facts = torch.finfo(dtype)
    return uniform_grid(W.to(dtype).float(), epsilon=facts.eps / 2, smallest_normal=facts.smallest_normal)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("unit", ["tensor", "row", "column"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_bits_unit_and_symmetry(
    quantise: Quantise, bits: int, unit: str, symmetric: bool, dtype: torch.dtype
) -> None:
    W = gaussian(96, 160) + (0 if symmetric else 0.03)  # else -8 … 7 would be both
    found = find(quantise(W, bits, unit, symmetric=symmetric), dtype)
    assert found is not None
    assert (found.bits, found.family, found.group, found.symmetric) == (bits, unit, None, symmetric)


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("group", [16, 32, 64, 128])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_groups(quantise: Quantise, bits: int, group: int, dtype: torch.dtype) -> None:
    found = find(quantise(gaussian(64, 512), bits, group=group), dtype)
    assert found is not None
    assert (found.bits, found.family, found.group) == (bits, "group along rows", group)


def test_groups_along_columns(quantise: Quantise) -> None:
    found = find(quantise(gaussian(256, 64).T.contiguous(), 4, group=64).T.contiguous())
    assert found is not None
    assert (found.bits, found.family, found.group) == (4, "group along columns", 64)


def test_step_levels_and_zero_point() -> None:
    levels = torch.randint(-3, 13, (64, 64), generator=torch.Generator().manual_seed(0))
    found = find(0.0125 * levels)
    assert found is not None
    assert found.step == pytest.approx(0.0125)
    assert (found.levels, found.bits, found.zero_point, found.symmetric) == (16, 4, 3, False)


def test_binary_and_ternary() -> None:
    signs = torch.randint(0, 2, (64, 64), generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    found = find(0.3 * signs)
    assert found is not None
    assert (found.family, found.levels, found.bits) == ("tensor", 2, 1)
    assert found.step == pytest.approx(0.6)
    ternary = find(0.3 * signs * (gaussian(64, 64) > 0))
    assert ternary is not None
    assert (ternary.levels, ternary.bits, ternary.symmetric) == (3, 2, True)


@given(
    rows=st.integers(1, 40),
    cols=st.integers(1, 300),
    seed=st.integers(0, 2**31),
    dtype=st.sampled_from(
        [torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]
    ),
    heavy=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_a_floating_grid_is_no_uniform_grid(
    rows: int, cols: int, seed: int, dtype: torch.dtype, heavy: bool
) -> None:
    W = gaussian(rows, cols, seed)
    if heavy:
        W = W.sign() * W.abs() ** 3 * 400
    assert find(W, dtype) is None


@given(
    step=st.floats(1e-6, 1e3),
    span=st.integers(3, 100),
    offset=st.floats(-5, 5),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_a_lattice_is_found_at_any_step_and_offset(step: float, span: int, offset: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    levels = torch.cat([torch.arange(span), torch.randint(0, span, (200,), generator=generator)]).double()
    found = fit_lattice(step * (levels + offset), 2.0**-53, 0.0)
    assert found is not None
    assert found.step == pytest.approx(step, rel=1e-6)
    # zero, or the entry nearest to it, counts as a level, in use or not
    assert span - 1 <= found.high - found.low <= span + abs(offset)
    assert found.evidence > 50


def test_what_says_nothing() -> None:
    assert fit_lattice(torch.zeros(50), 2.0**-24, 0.0) == SILENT
    assert fit_lattice(torch.full((50,), 0.3), 2.0**-24, 0.0) == SILENT
    assert fit_lattice(torch.tensor([1.0, 2.0, 3.0]), 2.0**-24, 0.0) == SILENT
    assert find(torch.zeros(8, 8)) is None
