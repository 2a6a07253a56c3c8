"""The largest eigenvalue alone: of noise, where it is hardest, of signals, and of matrices of low rank."""

from __future__ import annotations

import pytest
import torch

from rmtaudit.kernels.noise.largest import largest_squared
from rmtaudit.kernels.spectra.gram import eigenvalues, gram


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(90, 80), (300, 220), (900, 210), (450, 400)])
def test_it_is_that_of_all_eigenvalues(shape: tuple[int, int], dtype: torch.dtype) -> None:
    """Small ones, with and without a Gram matrix; noise, a signal at its edge, and one far from it."""
    for strength in (0.0, 1.05, 4.0):
        signal = gaussian(shape[0], 1, seed=1) @ gaussian(1, shape[1], seed=2) / (shape[0] * shape[1]) ** 0.25
        matrix = gaussian(*shape) + strength * signal
        exact = float(eigenvalues(gram(matrix))[-1])
        assert largest_squared(matrix.to(dtype)) == pytest.approx(exact, rel=2e-6)


def test_two_equal_ones_are_one() -> None:
    scales = torch.linspace(1, 2, 300, dtype=torch.float64)
    scales[-2:] = 3.0
    matrix = torch.linalg.qr(gaussian(300, 300)).Q * scales
    assert largest_squared(matrix) == pytest.approx(9.0, rel=1e-9)


def test_a_matrix_of_low_rank_ends_the_search() -> None:
    for matrix in (gaussian(300, 2) @ gaussian(2, 250, seed=1), torch.ones(300, 250), torch.eye(300)):
        exact = float(torch.linalg.matrix_norm(matrix.double(), 2)) ** 2
        assert largest_squared(matrix) == pytest.approx(exact, rel=1e-6)


def test_what_does_not_converge_is_computed_with_all_others() -> None:
    """Singular values that decay towards the top: their gaps are far below what the steps resolve."""
    scales = 1 - 1e-6 * torch.linspace(0, 1, 400, dtype=torch.float64) ** 8
    matrix = torch.linalg.qr(gaussian(400, 400)).Q * scales
    assert largest_squared(matrix) == pytest.approx(1.0, rel=1e-6)
