"""Counting eigenvalues above a number without computing them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.noise.inertia import eigenvalues_above


def symmetric(values: torch.Tensor, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    size = len(values)
    basis = torch.linalg.qr(torch.randn(size, size, dtype=torch.float64, generator=generator)).Q
    return (basis * values) @ basis.T


@settings(deadline=None, max_examples=40)
@given(
    size=st.integers(1, 40),
    seed=st.integers(0, 2**31),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    data=st.data(),
)
def test_it_counts_what_lies_above(size: int, seed: int, dtype: torch.dtype, data: st.DataObject) -> None:
    above = data.draw(st.integers(0, size))
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(size, dtype=torch.float64, generator=generator) * 0.99
    values[:above] = 1.01 + 100 * values[:above]
    assert eigenvalues_above(symmetric(values, seed).to(dtype), 1.0) == above


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_eigenvalue_within_rounding_of_the_threshold_leaves_it_open(dtype: torch.dtype) -> None:
    values = torch.tensor([0.1, 0.2, 1.0, 1000.0], dtype=torch.float64)
    assert eigenvalues_above(symmetric(values, 0).to(dtype), 1.0) is None
    assert eigenvalues_above(symmetric(values, 0).to(dtype), 2.0) == 1


def test_the_matrix_is_not_changed() -> None:
    matrix = symmetric(torch.arange(1.0, 9.0, dtype=torch.float64), 1)
    before = matrix.clone()
    assert eigenvalues_above(matrix, 4.5) == 4
    assert torch.equal(matrix, before)


def test_only_a_matrix_that_may_be_overwritten_changes() -> None:
    matrix = symmetric(torch.arange(1.0, 61.0).double(), 1)
    before = matrix.clone()
    assert eigenvalues_above(matrix, 40.5) == 20
    assert torch.equal(matrix, before)
    assert eigenvalues_above(matrix, 40.5, overwrite=True) == 20
