from __future__ import annotations

import math

import pytest
import scipy.stats
import torch

from rmtaudit.kernels.forensics.outliers import DEFLATION, SUSPECTS, largest_entries
from rmtaudit.kernels.forensics.vectors import localised_direction


def heavy(seed: int, tail: float, shape: tuple[int, int] = (60, 50)) -> torch.Tensor:
    """Pareto sizes with random signs: the null hypothesis itself."""
    generator = torch.Generator().manual_seed(seed)
    u = torch.rand(shape, generator=generator, dtype=torch.float64)
    return u ** (-1 / tail) * (torch.rand(shape, generator=generator).round() * 2 - 1)


@pytest.mark.parametrize("tail", [1.0, 3.0, 8.0])
def test_the_level_holds_on_pareto_tails(tail: float) -> None:
    found = [largest_entries(heavy(seed, tail)) for seed in range(400)]
    p_values = [each.model_p_value for each in found if each is not None]
    assert len(p_values) == 400
    for level in (0.01, 0.05):
        # at most the level (the four tries overlap, so less); above it only as 400 draws allow once in 1,000
        allowed = scipy.stats.binom.ppf(0.999, 400, level)
        assert sum(p <= level for p in p_values) <= allowed


def test_the_level_is_conservative_on_light_tails() -> None:
    found = [
        largest_entries(torch.randn(60, 50, generator=torch.Generator().manual_seed(seed)))
        for seed in range(200)
    ]
    assert all(each is None or each.model_p_value > 1e-3 for each in found)


def test_one_outlier_is_found_and_placed() -> None:
    W = torch.randn(200, 150, generator=torch.Generator().manual_seed(0))
    W[17, 99] = -40
    found = largest_entries(W)
    assert found is not None
    assert found.p_value < 1e-4
    assert (found.positions, found.values) == (((17, 99),), (-40.0,))
    assert found.next_largest == pytest.approx(float(W.abs().flatten().sort().values[-2]))
    assert found.p_value == pytest.approx(found.model_p_value**DEFLATION)


def test_outliers_do_not_hide_one_another() -> None:
    W = torch.randn(200, 150, generator=torch.Generator().manual_seed(0))
    for place in range(SUSPECTS):
        W[place, 2 * place] = 40 + place
    found = largest_entries(W)
    assert found is not None
    assert found.p_value < 1e-9
    assert set(found.positions) == {(place, 2 * place) for place in range(SUSPECTS)}


def test_scale_does_not_matter() -> None:
    W = heavy(1, 3.0)
    first, second = largest_entries(W), largest_entries(W * 1024)
    assert first is not None
    assert second is not None
    assert second.p_value == pytest.approx(first.p_value, rel=1e-9)
    assert second.values == pytest.approx([1024 * value for value in first.values])


def test_what_says_nothing() -> None:
    assert largest_entries(torch.ones(5, 5)) is None
    assert largest_entries(torch.ones(50, 50)) is None
    assert largest_entries(torch.eye(50)) is None


def test_a_large_entry_pulls_a_singular_vector_onto_itself() -> None:
    W = torch.randn(100, 80, generator=torch.Generator().manual_seed(0))
    W[3, 7] = 200
    sigma, localisation = localised_direction(W, 7)
    assert sigma == pytest.approx(float(torch.linalg.matrix_norm(W, 2)), rel=1e-3)
    assert localisation > 0.9
    vector = torch.full((80,), 1 / math.sqrt(80))
    assert localised_direction(torch.outer(torch.ones(100), vector), 7)[1] == pytest.approx(1 / 80, rel=1e-4)
