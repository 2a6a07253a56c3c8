"""Counting the largest eigenvalues by products with a few vectors."""

from __future__ import annotations

import pytest
import torch

from rmtaudit.kernels.noise import krylov
from rmtaudit.kernels.noise.equalised import EqualisedMatrix
from rmtaudit.kernels.noise.krylov import largest_count
from rmtaudit.kernels.spectra.gram import eigenvalues, gram

SIZE = 640


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks as narrow in proportion as those of a large matrix."""
    monkeypatch.setattr(krylov, "_BLOCK", 16)


def spiked(rank: int, strength: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(rank)
    left, right = (torch.randn(SIZE, rank, generator=generator) for _ in range(2))
    return torch.randn(SIZE, SIZE, generator=generator) + strength * left @ right.T / SIZE**0.5


def count(matrix: torch.Tensor, threshold: float, expected: int) -> int | None:
    product = gram(matrix)
    return largest_count(
        lambda vectors: product.to(vectors.dtype) @ vectors, matrix, threshold, expected=expected
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("rank", "expected"), [(0, 0), (3, 3), (40, 40), (40, 20)])
def test_it_counts_spikes(rank: int, expected: int, dtype: torch.dtype) -> None:
    matrix = spiked(rank, 6.0).to(dtype)
    assert count(matrix, 5.0 * SIZE, expected) == rank == int((eigenvalues(gram(matrix)) > 5.0 * SIZE).sum())


def test_more_than_the_subspace_holds_are_left_to_other_methods() -> None:
    assert count(spiked(200, 6.0), 5.0 * SIZE, 200) is None
    assert count(spiked(200, 6.0), 5.0 * SIZE, 0) is None


def test_an_eigenvalue_at_the_threshold_is_left_to_other_methods() -> None:
    matrix = spiked(3, 6.0)
    second = float(eigenvalues(gram(matrix))[-2])
    assert count(matrix, second, 3) is None


@pytest.mark.parametrize("wide", [False, True])
def test_the_products_of_an_equalised_matrix(wide: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(1500, 300, generator=generator) * torch.rand(300, generator=generator)
    equalised = EqualisedMatrix(matrix.T.contiguous().T if wide else matrix)
    vectors = torch.randn(300, 5, generator=generator)
    expected = equalised.product.float() @ vectors
    torch.testing.assert_close(equalised._multiply(vectors), expected, rtol=1e-3, atol=1e-3 * 1500)
