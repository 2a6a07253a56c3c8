"""Norms, ranks, determinant condition, shuffles and eigenvectors against identities and definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon

from rmtaudit.kernels.spectra.eigenvalues import singular_values
from rmtaudit.kernels.ww import scale
from rmtaudit.kernels.ww.determinant import determinant_tail
from rmtaudit.kernels.ww.shuffled import jensen_shannon_distance, shuffled_eigenvalues
from rmtaudit.kernels.ww.vectors import MEASURES, localisation


def noise(n: int, m: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, m, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_matrix_rank_is_numpys() -> None:
    for rank in (3, 8, 12):
        W = noise(30, rank, rank) @ noise(rank, 12, rank + 1)
        assert scale.matrix_rank(singular_values(W).eigenvalues, 30) == rank == np.linalg.matrix_rank(W)


def test_rank_loss_adds_up_over_matrices() -> None:
    parts = (singular_values(noise(20, 3) @ noise(3, 9)), singular_values(noise(20, 9)))
    assert scale.rank_loss(parts, 20) == 6 + 0


def test_weak_rank_loss_counts_below_an_absolute_bound() -> None:
    assert scale.weak_rank_loss(tensor(0, 9e-7, 1e-6, 1)) == 2


def test_equal_eigenvalues_have_entropy_one() -> None:
    assert scale.matrix_entropy(torch.ones(50, dtype=torch.float64), 50) == pytest.approx(1, abs=1e-6)


def test_log_alpha_norm_is_the_norm_at_one_and_does_not_overflow() -> None:
    assert scale.log_alpha_norm(tensor(0, 1, 9, 90), 1.0) == pytest.approx(2)
    assert scale.log_alpha_norm(tensor(1, 1e30), 20.0) == pytest.approx(600)


def test_singular_values_of_several_matrices() -> None:
    parts = (singular_values(torch.diag(tensor(1, 2))), singular_values(torch.diag(tensor(3, 1.5))))
    assert scale.singular_range(parts, 1.0) == pytest.approx((3, 1.5))
    assert scale.singular_range(parts, 0.25) == pytest.approx((1.5, 0.75))


def test_combined_eigenvalues_are_scaled_sorted_and_inverted_as_often_as_the_peer_does() -> None:
    parts = tuple(singular_values(torch.diag(tensor(*diagonal))) for diagonal in ((1, 2), (3, 4), (5, 6)))
    assert scale.combined_eigenvalues(parts, 0.5).tolist() == pytest.approx([0.5, 2, 4.5, 8, 12.5, 18])
    inverted = scale.combined_eigenvalues(parts, 1.0, inverse=True)
    assert inverted.tolist() == pytest.approx(sorted([1, 1 / 4, 9, 16, 1 / 25, 1 / 36]))
    with pytest.raises(ArithmeticError, match="no inverse"):
        scale.combined_eigenvalues((singular_values(torch.diag(tensor(0, 1))),), 1.0, inverse=True)


def test_determinant_tail_by_hand() -> None:
    # mean 1 already: 2.5 · 1.9 · 0.4 = 1.9, · 0.15 = 0.285
    found = determinant_tail(tensor(0.05, 0.15, 0.4, 1.9, 2.5))
    assert (found.size, found.threshold, found.rescaled) == pytest.approx((4, 0.15, 0.15))
    found = determinant_tail(tensor(0.05, 0.15, 0.4, 1.9, 2.5) * 8)
    assert (found.size, found.threshold, found.rescaled) == pytest.approx((4, 1.2, 0.15))


def test_determinant_tail_ends_at_a_zero() -> None:
    assert determinant_tail(tensor(0, 0, 1, 3)).size == 3


def test_determinant_tail_when_only_the_smallest_would_bring_the_product_below_one() -> None:
    found = determinant_tail(tensor(0.7, 1.1, 1.2))
    assert (found.size, found.threshold) == (3, 1.1)


def test_determinant_tail_does_not_overflow() -> None:
    """Where the peer's product does: half of the values 1/4, half 7/4, mean 1."""
    n = 6000
    values = torch.cat([torch.full((n // 2,), 0.25), torch.full((n // 2,), 1.75)]).double()
    assert (n // 2) * math.log(1.75) > math.log(np.finfo(np.float64).max)
    needed = math.floor((n // 2) * math.log(1.75) / math.log(4)) + 1
    assert determinant_tail(values).size == n // 2 + needed


@pytest.mark.parametrize("values", [(1.0,), (2.0, 2.0)])
def test_determinant_tail_needs_two_values(values: tuple[float, ...]) -> None:
    with pytest.raises(ArithmeticError):
        determinant_tail(tensor(*values))


def test_a_shuffle_keeps_the_entries_and_the_input() -> None:
    W = noise(40, 30).float()
    before = W.clone()
    values = shuffled_eigenvalues([W], 1.0, torch.Generator().manual_seed(3))
    assert torch.equal(W, before)
    assert float(values.sum()) == pytest.approx(float((W.double() ** 2).sum()))
    again, other = (shuffled_eigenvalues([W], 1.0, torch.Generator().manual_seed(seed)) for seed in (3, 4))
    assert torch.equal(values, again)
    assert not torch.allclose(values, other)


def test_a_shuffle_destroys_structure_and_keeps_noise() -> None:
    planted = torch.outer(torch.ones(60), torch.linspace(-2, 2, 40)).double() + 0.1 * noise(60, 40)
    generator = torch.Generator().manual_seed(1)
    structured = singular_values(planted).eigenvalues[-1]
    assert shuffled_eigenvalues([planted], 1.0, generator)[-1] < 0.2 * structured
    pure = singular_values(noise(300, 200)).eigenvalues[-1]
    assert float(shuffled_eigenvalues([noise(300, 200)], 1.0, generator)[-1]) == pytest.approx(
        float(pure), rel=0.1
    )


def test_shuffles_of_slices_are_pooled_and_scaled() -> None:
    W = noise(9, 7)
    values = shuffled_eigenvalues([W, W], 0.5, torch.Generator().manual_seed(2))
    assert values.shape == (14,)
    assert float(values.sum()) == pytest.approx(float((W**2).sum()))


def test_distance_of_spectra() -> None:
    p, q = tensor(1, 2, 3, 4), tensor(0.5, 1.5, 3, 5)  # of one sum: then m is the mean of p and q
    assert jensen_shannon_distance(p, q) == pytest.approx(float(jensenshannon(p.numpy(), q.numpy())))
    assert jensen_shannon_distance(p, p) == 0
    zeros = tensor(0, 0, 4, 6)
    assert jensen_shannon_distance(zeros, p) == pytest.approx(float(jensenshannon(zeros.numpy(), p.numpy())))


def test_localised_and_spread_vectors() -> None:
    """A diagonal matrix has unit vectors; a rank-one matrix of ones has the constant vector in its tail."""
    n = 64
    found = localisation([torch.diag(torch.arange(1.0, n + 1))], tail_size=10)
    assert {
        f"{side}_{moment}_{name}"
        for side in ("bulk", "tail")
        for moment in ("mean", "var")
        for name in MEASURES
    } == set(found)
    assert found["tail_mean_loc_ratio"] == pytest.approx(1)
    assert found["bulk_mean_part_ratio"] == pytest.approx(1)
    assert found["bulk_var_loc_ratio"] == pytest.approx(0)
    constant = localisation([torch.ones(n, n).double()], tail_size=1)
    assert constant["tail_mean_loc_ratio"] == pytest.approx(n)
    assert constant["tail_mean_part_ratio"] == pytest.approx(n**0.25)


def test_random_vectors_have_the_ratios_of_gaussians() -> None:
    """Unit vectors of n Gaussians: ``‖v‖₄⁴ -> 3/n``, so ``‖v‖₂/‖v‖₄ -> (n/3)^(1/4)``."""
    n = 150
    found = localisation([noise(300, n, 4)], tail_size=n)
    assert set(found) == {f"tail_{moment}_{name}" for moment in ("mean", "var") for name in MEASURES}
    assert found["tail_mean_part_ratio"] == pytest.approx((n / 3) ** 0.25, rel=0.02)


def test_the_tail_is_taken_over_all_matrices() -> None:
    """The larger of two matrices holds the tail: its unit vectors, not the constant one, are there."""
    large, small = 100 * torch.diag(torch.arange(1.0, 9)), torch.ones(8, 8)
    found = localisation([small, large], tail_size=8)
    assert found["tail_mean_loc_ratio"] == pytest.approx(1)
    assert found["bulk_mean_loc_ratio"] > 1
