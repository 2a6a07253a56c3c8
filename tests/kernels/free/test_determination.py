"""What a block determines: smooth laws are answered, few atoms and gaps are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rmtaudit.kernels.free import determination
from rmtaudit.kernels.free.determination import MILDER, REJECTED, Outcome, determine
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


def test_a_compact_law_is_determined_only_if_it_is_smooth() -> None:
    """Beta(2, 2) is no block of a matrix twice as large, which the data show at order 400."""
    true = torch.from_numpy(stats.beta(2, 2).ppf((np.arange(1200) + 0.5) / 1200))
    found = determine(block(true, 400), 3.0)
    assert found.outcome is Outcome.IF_SMOOTH
    assert found.level.share in MILDER
    assert not found.levels[0].fits
    assert found.level.answers
    assert ks_distance(found.level.central.quantiles(1200), true) < 0.04
    levels = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    drawn = torch.stack([one.ppf(levels) for one in found.level.extremes])
    exact = torch.quantile(true, levels)
    assert bool(((drawn.amin(0) <= exact + 0.01) & (exact - 0.01 <= drawn.amax(0))).all())


def test_no_answer_hangs_on_the_usual_assumption_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a margin the band has to be narrow under a milder assumption too."""
    widths = {2.0: 0.05, 1.75: 0.12}
    problem = _problem(monkeypatch, widths)
    tried = determination._milder(problem, problem.level(2.0))
    assert [one.share for one in tried] == [2.0, 1.75]
    assert not tried[-1].answers


def test_the_mildest_narrow_assumption_is_taken_with_the_law_of_the_strongest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem = _problem(monkeypatch, {2.0: 0.02, 1.75: 0.05, 1.5: 0.09, 1.25: 0.2})
    usual = problem.level(2.0)
    tried = determination._milder(problem, usual)
    assert [one.share for one in tried] == [2.0, 1.75, 1.5]
    assert tried[-1].answers
    assert tried[-1].central is usual.central


def _problem(monkeypatch: pytest.MonkeyPatch, widths: dict[float, float]) -> determination._Problem:
    """Return a problem whose levels all fit and have these widths."""
    law = determine(block(poisson(96), 48), 2.0).level.central

    def level(_: determination._Problem, share: float) -> determination.Level:
        own = replace(law, share=share)
        return determination.Level(
            share=share,
            chi_square=1.0,
            n_data=1,
            p_value=1.0,
            width=widths[share],
            central=own,
            extremes=(own,),
        )

    monkeypatch.setattr(determination._Problem, "level", level)
    monkeypatch.setattr(determination._Problem, "accepts", lambda *_: True)
    return determination._Problem(None, None, 2.0, True, 0)  # type: ignore[arg-type]


@given(st.lists(st.booleans(), min_size=60, max_size=60))
def test_a_class_is_rejected_early_exactly_where_its_p_value_says_so(exceed: list[bool]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(determination, "_rises", lambda *_: iter(exceed))
        arguments: Any = (None, None, None, 0)
        assert determination._not_rejected(*arguments) == (determination._p_value(*arguments) > REJECTED)


def test_a_class_that_is_no_worse_than_others_fits_only_where_it_explains_the_block() -> None:
    law = determine(block(poisson(96), 48), 2.0).level.central
    fits = [
        determination.Level(
            share=2.0, chi_square=chi, n_data=100, p_value=1.0, width=0.01, central=law, extremes=()
        ).fits
        for chi in (110.0, 4400.0)
    ]
    assert fits == [True, False]


def test_the_search_for_a_factor_can_be_left_out() -> None:
    assert determine(block(three(1000), 200), 5.0, search=False).largest_factor is None


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
