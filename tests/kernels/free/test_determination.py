"""What a block determines: smooth laws are answered, few atoms and gaps are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from rmtaudit.kernels.free.determination import Outcome, determine
from rmtaudit.kernels.free.evolution import evolve
from rmtaudit.kernels.free.laws import marchenko_pastur
from rmtaudit.kernels.free.validation import free_block, ks_distance


def block(true: torch.Tensor, size: int, seed: int = 0) -> torch.Tensor:
    return free_block(true, size, torch.Generator().manual_seed(seed))


def poisson(count: int) -> torch.Tensor:
    return evolve(marchenko_pastur(0.25).levy(), 1.0).quantiles(count)


def three(count: int) -> torch.Tensor:
    share = round(0.3 * count)
    parts = [torch.full((share,), -1.0), torch.zeros(count - 2 * share), torch.full((share,), 2.0)]
    return torch.cat(parts).double()


def test_a_smooth_law_is_determined() -> None:
    true = poisson(600)
    found = determine(block(true, 200), 3.0)
    assert found.outcome is Outcome.DETERMINED
    assert found.positive
    assert found.level.width <= 0.1
    assert found.level.fits
    assert ks_distance(found.level.central.quantiles(600), true) < 0.06
    levels = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    drawn = torch.stack([one.ppf(levels) for one in found.level.extremes])
    exact = torch.quantile(true, levels)
    assert bool(((drawn.amin(0) <= exact + 0.01) & (exact - 0.01 <= drawn.amax(0))).all())


@pytest.mark.parametrize("seed", range(3))
def test_three_atoms_are_refused(seed: int) -> None:
    assert determine(block(three(1000), 200, seed), 5.0).outcome is Outcome.REFUSED


def test_a_gap_is_refused() -> None:
    half = torch.linspace(-0.5, 0.5, 400, dtype=torch.float64)
    found = determine(block(torch.cat([half - 1.5, half + 1.5]), 200), 4.0)
    assert found.outcome is Outcome.REFUSED


def test_far_ahead_only_a_smooth_law_is_determined_or_none() -> None:
    values = block(poisson(2000), 200)
    near, far = determine(values, 2.0), determine(values, 100.0)
    assert near.outcome is Outcome.DETERMINED
    assert far.outcome is not Outcome.DETERMINED
    assert far.levels[0].width > near.level.width
    if far.outcome is Outcome.REFUSED:
        assert far.largest_factor is not None
        assert 1 < far.largest_factor < 100


def test_a_block_that_is_positive_by_chance_is_not_a_positive_matrix() -> None:
    values = block(2 + torch.linspace(-3, 3, 800, dtype=torch.float64), 200)
    found = determine(values, 4.0)
    assert float(values.min()) > 0
    assert not found.positive


def test_the_case_of_three_atoms(shared: Callable[..., Path]) -> None:
    values = torch.from_numpy(np.load(shared("cases", "density-three-atoms", "eigenvalues.npy")))
    found = determine(values, 3000 / len(values))
    assert found.outcome is Outcome.REFUSED


@pytest.mark.slow
def test_the_real_kernel_is_determined_only_if_it_is_smooth(shared: Callable[..., Path]) -> None:
    name = "cifar_resnet50_fp64_logm_n55K_eig_n01024_samples.npy"
    samples = torch.from_numpy(np.load(shared("data", "ntk_resnet50_cifar10", name)))
    outcomes = {determine(one.sort().values, 16.0).outcome for one in samples[:3]}
    assert outcomes == {Outcome.IF_SMOOTH}
