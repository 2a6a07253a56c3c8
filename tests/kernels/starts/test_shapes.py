"""What initialisations add to independent entries."""

from __future__ import annotations

import pytest
import torch

from rmtaudit.kernels.starts.shapes import (
    identity_removed,
    is_identity,
    lines_are_even,
    rescaled_blocks,
    without_zero_lines,
)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_zero_lines_are_taken_out() -> None:
    matrix = normal(6, 5)
    assert without_zero_lines(matrix) is matrix
    matrix[2], matrix[:, 0] = 0, 0
    assert without_zero_lines(matrix).shape == (5, 4)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kernel", [(3,), (3, 3), (3, 3, 3)])
def test_dirac_kernels_are_identities(kernel: tuple[int, ...], groups: int) -> None:
    tensor = torch.nn.init.dirac_(torch.empty(16, 8, *kernel), groups)
    assert is_identity(tensor.reshape(16, -1), kernel)
    assert not is_identity(tensor.reshape(16, -1))
    tensor.view(-1)[5] = 0.1
    assert not is_identity(tensor.reshape(16, -1), kernel)


def test_identities() -> None:
    assert is_identity(2.5 * torch.eye(12, 9))
    assert is_identity(torch.eye(9, 12))
    assert not is_identity(torch.zeros(9, 9))
    assert not is_identity(torch.eye(9).flip(0))
    assert not is_identity(torch.diag(normal(9)))


@pytest.mark.parametrize(("kernel", "centre"), [((), 0), ((3, 3), 4)])
def test_an_identity_is_taken_off_the_noise_it_was_added_to(kernel: tuple[int, ...], centre: int) -> None:
    noise = 0.05 * normal(32, 32 * (9 if kernel else 1))
    places = torch.arange(32)
    with_identity = noise.clone()
    with_identity[places, places * (9 if kernel else 1) + centre] += 1
    rest = identity_removed(with_identity, kernel)
    assert rest is not None
    assert float((rest - noise).abs().max()) < 0.05
    assert identity_removed(noise, kernel) is None
    assert identity_removed(noise, (5,)) is None


def test_blocks_are_brought_to_one_scale() -> None:
    noise = normal(96, 64)
    scales = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64).repeat_interleave(32)[:, None]
    name, even = next(rescaled_blocks(scales * noise))
    assert name == "3 blocks of rows"
    assert lines_are_even(even)
    assert not lines_are_even(scales * noise)
    name, even = next(rescaled_blocks((scales * noise).T))
    assert name == "3 blocks of columns"
    assert even.shape == (64, 96)


def test_two_parts_of_any_heights_are_found() -> None:
    scales = torch.ones(100, 1, dtype=torch.float64)
    scales[:37] = 3
    names = [name for name, _ in rescaled_blocks(scales * normal(100, 64))]
    assert names[0] == "2 blocks of rows"


def test_scales_of_single_rows_are_no_blocks() -> None:
    scales = (0.3 * normal(96, 1, seed=3)).exp()
    assert list(rescaled_blocks(scales * normal(96, 64))) == []
