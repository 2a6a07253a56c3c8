"""The lower bound of the rank of the signal: never above it, and near it where the signal is strong."""

from __future__ import annotations

import pytest
import torch

from rmtaudit.kernels.noise.sign_flip import flipped_gram, largest_eigenvalue
from rmtaudit.kernels.noise.spike_bound import equalised_squares, noise_ceiling
from rmtaudit.kernels.noise.tracy_widom import MEAN, soft_edge, upper_quantile
from rmtaudit.kernels.noise.variance_profile import equalised_gram, sinkhorn
from rmtaudit.kernels.spectra.gram import eigenvalues


def bound(matrix: torch.Tensor, level: float = 0.01) -> int:
    profile = sinkhorn(matrix)
    values = eigenvalues(equalised_gram(matrix, profile))
    generator = torch.Generator().manual_seed(0)
    ceiling = noise_ceiling(matrix, profile, level=level, draws=4, generator=generator)
    return int((values > ceiling).sum())


def noise(kind: str, shape: tuple[int, int], generator: torch.Generator) -> torch.Tensor:
    """Independent entries, even (``gaussian``), heavy-tailed, or with scales of every row and column."""
    entries = torch.randn(shape, dtype=torch.float64, generator=generator)
    if kind == "student":  # 3 degrees of freedom
        squares = torch.randn((3, *shape), dtype=torch.float64, generator=generator).square().mean(0)
        return entries / squares.sqrt()
    if kind == "uneven":
        rows, cols = (torch.randn(size, dtype=torch.float64, generator=generator).exp() for size in shape)
        return entries * rows[:, None] * cols
    if kind == "blocks":  # a profile that is no product of scales
        entries[: shape[0] // 3, : shape[1] // 2] *= 4
        entries[shape[0] // 2 :, shape[1] // 4 :] *= 0.2
    return entries


@pytest.mark.parametrize("kind", ["gaussian", "student", "uneven", "blocks"])
def test_noise_has_none(kind: str) -> None:
    """At a level of 1 %, 2 of 60 would happen in a tenth of runs; more has a chance of 0.3 %."""
    generator = torch.Generator().manual_seed(1)
    assert sum(bound(noise(kind, (150, 60), generator)) > 0 for _ in range(60)) <= 2


@pytest.mark.parametrize("kind", ["gaussian", "student", "uneven", "blocks"])
@pytest.mark.parametrize("strength", [0.5, 1.5, 6.0])
def test_never_more_than_the_rank(kind: str, strength: float) -> None:
    generator = torch.Generator().manual_seed(2)
    n, p, rank = 150, 60, 5
    for _ in range(15):
        matrix = noise(kind, (n, p), generator)
        left = torch.linalg.qr(torch.randn(n, rank, dtype=torch.float64, generator=generator)).Q
        right = torch.linalg.qr(torch.randn(p, rank, dtype=torch.float64, generator=generator)).Q
        scale = strength * float(matrix.square().mean().sqrt()) * (n**0.5 + p**0.5)
        found = bound(matrix + scale * left @ right.T)
        assert found <= rank
        if strength == 6.0 and kind == "gaussian":
            assert found == rank


def test_one_huge_entry_is_one_direction_at_most() -> None:
    generator = torch.Generator().manual_seed(3)
    matrix = noise("gaussian", (150, 60), generator)
    matrix[3, 4] = 500.0
    assert bound(matrix) <= 1


@pytest.mark.parametrize("seed", range(4))
def test_draws_that_stay_below_are_passed_over_without_changing_the_ceiling(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    shape = 150, 60
    matrix = noise("student", shape, generator)
    matrix[3, 4] = 40.0  # single entries outweigh the rest, so that signs are drawn
    profile = sinkhorn(matrix)
    ceiling = noise_ceiling(matrix, profile, level=0.01, draws=6, generator=torch.Generator().manual_seed(9))
    again = torch.Generator().manual_seed(9)
    variance = equalised_squares(matrix, profile)[1] / (shape[0] * shape[1])
    tops = [largest_eigenvalue(flipped_gram(matrix, profile, again)) / variance for _ in range(6)]
    centre, width = soft_edge(*shape)
    located = max(centre, max(tops) - MEAN * width)
    assert ceiling == pytest.approx(variance * (located + width * upper_quantile(0.01)), rel=1e-12)
