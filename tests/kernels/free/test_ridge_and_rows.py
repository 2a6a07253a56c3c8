"""The ridge log-determinant in closed form, and growth by rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rmtaudit.kernels.free import laws
from rmtaudit.kernels.free.deformed import companion, companion_power, deformed_quantiles
from rmtaudit.kernels.free.evolution import evolve
from rmtaudit.kernels.free.ridge import resolvable_scale, ridge_log_det
from rmtaudit.kernels.free.validation import ks_distance


def test_the_ridge_log_determinant_is_that_of_the_evolved_law() -> None:
    law = laws.marchenko_pastur(0.1)
    block, whole = evolve(law.levy(), 1.0).quantiles(20_000), evolve(law.levy(), 3.0)
    least = resolvable_scale(block, 3.0)
    assert least == pytest.approx(2 * 0.9, rel=1e-3)  # (3 - 1)/m(0), m(0) = 1/(1 - 0.1)
    for ridge in (1.05 * least, 3 * least, 30.0):
        found = ridge_log_det(block, 3.0, ridge)
        assert found.log_det == pytest.approx(whole.log_det(ridge), abs=1e-6)
        values = whole.quantiles(20_000)
        share = float((values / (values + ridge)).mean())
        assert found.effective_dimension == pytest.approx(share, abs=1e-5)


def test_a_factor_of_1_is_the_block_itself() -> None:
    values = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    found = ridge_log_det(values, 1.0, 0.25)
    assert found.log_det == pytest.approx(float((values + 0.25).log().mean()))
    assert found.block_ridge == pytest.approx(0.25)


def test_the_ridge_below_the_resolvable_scale_is_refused() -> None:
    values = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    with pytest.raises(ValueError, match="resolvable scale"):
        ridge_log_det(values, 4.0, resolvable_scale(values, 4.0) * 0.99)
    with pytest.raises(ValueError, match="must be at least 1"):
        ridge_log_det(values, 0.5, 10.0)
    with pytest.raises(ValueError, match="must not be negative"):
        ridge_log_det(values - 1, 2.0, 10.0)
    assert resolvable_scale(torch.tensor([0.0, 1.0]), 4.0) == 0.0


def test_rows_of_one_scale_grow_into_marchenko_pastur() -> None:
    x = torch.randn(200, 800, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    block = torch.linalg.eigvalsh(x @ x.T / 800)
    truth = evolve(laws.marchenko_pastur(0.75).levy(), 1.0).quantiles(600)
    guess = deformed_quantiles(block, 800, 3.0, 600)
    assert ks_distance(guess, truth) < 0.01
    assert float(guess.mean()) == pytest.approx(float(block.mean()), rel=2e-3)
    with pytest.raises(ValueError, match="at least 1"):
        deformed_quantiles(block, 800, 0.5, 600)


def test_more_rows_than_columns_leave_zeros() -> None:
    x = torch.randn(150, 200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    guess = deformed_quantiles(torch.linalg.eigvalsh(x @ x.T / 200), 200, 2.0, 300)
    assert float((guess == 0).double().mean()) == pytest.approx(1 / 3, abs=0.01)


def test_a_power_of_two_points_is_the_binomial_law() -> None:
    # the free square of a sign is the arcsine law on [-2, 2]
    law = companion_power(torch.tensor([-1.0, 1.0], dtype=torch.float64), 2.0)
    x = torch.tensor([-1.5, 0.1, 1.0], dtype=torch.float64)
    torch.testing.assert_close(law.pdf(x), 1 / (math.pi * (4 - x**2).sqrt()), rtol=1e-6, atol=0)
    assert law.mass == pytest.approx(1, abs=1e-6)


def test_row_scales_are_what_the_deformed_method_is_for() -> None:
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((800, 1600)) * np.exp(rng.standard_normal(800) / 2)[:, None]
    gram = torch.from_numpy(weights @ weights.T / 1600)
    truth, block = torch.linalg.eigvalsh(gram), torch.linalg.eigvalsh(gram[:200, :200])
    assert ks_distance(deformed_quantiles(block, 1600, 4.0, 800), truth) < 0.04


def test_the_companion_has_the_zeros_of_the_other_side() -> None:
    values = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
    assert companion(values, 5).tolist() == [0, 0, 0, 1, 2]
    assert companion(values, 2).tolist() == [1, 2]


@pytest.mark.parametrize("decades", [1, 3, 5])
def test_the_zeros_of_the_companion_are_found_however_wide_the_sizes(decades: int) -> None:
    sizes = 10 ** (
        decades * torch.rand(100, generator=torch.Generator().manual_seed(decades), dtype=torch.float64)
    )
    x = (
        torch.randn(100, 3200, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
        * sizes[:, None].sqrt()
    )
    law = companion_power(companion(torch.linalg.eigvalsh(x @ x.T / 3200), 3200), 8.0)
    ((place, mass),) = law.atoms
    assert place == pytest.approx(0, abs=1e-9 * float(law.x[-1]))
    assert mass == pytest.approx(1 - 800 / 3200, abs=1e-9)
    assert law.mass == pytest.approx(1, abs=1e-6)
