"""Which arrangements are rejected, and how often random ones are."""

from __future__ import annotations

import pytest
import scipy.stats
import torch

from rmtaudit.kernels.exchangeability import exchangeability, exchangeability_of_nonzeros


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("law", ["normal", "heavy", "integers", "signs", "offset"])
def test_random_order_is_seldom_rejected(law: str) -> None:
    def entries(seed: int) -> torch.Tensor:
        drawn = normal(32, 45, seed=seed)
        made = {
            "normal": drawn, "heavy": drawn**3, "integers": (3 * drawn).round(), "signs": drawn.sign(),
            "offset": drawn + 0.3,
        }  # fmt: skip
        return made[law]

    found = [exchangeability(entries(seed), (3, 3)).p_value for seed in range(100)]
    assert sum(p <= 0.05 for p in found) <= scipy.stats.binom.ppf(0.9999, 100, 0.05)


@pytest.mark.parametrize(
    ("change", "strongest"),
    [
        (lambda W: W * torch.linspace(0.7, 1.4, 48)[:, None, None, None], "sizes of rows"),
        (lambda W: W * torch.linspace(0.5, 2, 16)[None, :, None, None], "sizes of inputs"),
        (lambda W: W * torch.linspace(0.7, 1.4, 9).view(3, 3), "sizes of positions"),
        (lambda W: W + 0.5 * torch.linspace(-1, 1, 48)[:, None, None, None], "means of rows"),
        (lambda W: W + 0.7 * W.roll(1, 2), "means of neighbours along kernel side 0"),
        (lambda W: W + 0.7 * W.roll(1, 0), "means of neighbours along columns"),
        (lambda W: W + 0.7 * W.roll(1, 1), "means of neighbours along inputs"),
    ],
)
def test_what_is_learned_in_scales_and_neighbours_is_found(change: object, strongest: str) -> None:
    tensor = change(normal(48, 16, 3, 3))  # type: ignore[operator]
    found = exchangeability(tensor.reshape(48, -1), (3, 3))
    assert found.p_value < 1e-6
    assert found.strongest == strongest


def test_a_shared_pattern_of_kernels_is_found_by_its_alignment() -> None:
    pattern = normal(16, 1, seed=1) * normal(1, 9, seed=2)
    tensor = normal(48, 16, 9) + 0.8 * pattern * normal(48, 1, 1, seed=3)
    found = exchangeability(tensor.reshape(48, -1), (3, 3))
    assert min(found.p_values["alignment of positions"], found.p_values["alignment of inputs"]) < 1e-6


def test_row_scales_of_ten_percent_are_found() -> None:
    scales = 1 + 0.1 * normal(256, 1, seed=7)
    assert exchangeability(normal(256, 256) * scales).p_value < 1e-5


def test_a_shuffle_makes_anything_exchangeable() -> None:
    matrix = normal(64, 96) * torch.linspace(0.2, 3, 64)[:, None]
    order = torch.randperm(matrix.numel(), generator=torch.Generator().manual_seed(1))
    assert exchangeability(matrix).p_value < 1e-12
    assert exchangeability(matrix.flatten()[order].view(64, 96)).p_value > 0.001


def test_sparse_entries_are_tested_among_their_own_places() -> None:
    zeros = torch.rand(128, 96, generator=torch.Generator().manual_seed(2)) < torch.linspace(0.5, 0.99, 96)
    sparse = normal(128, 96).masked_fill(zeros, 0)
    assert exchangeability(sparse).p_value < 1e-12
    assert exchangeability_of_nonzeros(sparse).p_value > 0.001
    assert exchangeability_of_nonzeros(sparse * torch.linspace(0.5, 2, 128)[:, None]).p_value < 1e-12


def test_what_cannot_be_tested_is_refused() -> None:
    for refused, words in (
        (lambda: exchangeability(normal(3, 5)), "no tests for 3 x 5"),
        (lambda: exchangeability(normal(8, 10), (3,)), "kernel"),
        (lambda: exchangeability(torch.ones(8, 8)), "same value"),
        (lambda: exchangeability_of_nonzeros(torch.eye(8)), "only 8"),
        (lambda: exchangeability_of_nonzeros(torch.eye(32)), "same value"),
    ):
        with pytest.raises(ValueError, match=words):
            refused()
