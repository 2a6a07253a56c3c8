"""The phase of a spectrum: on matrices of known phase that set no threshold, and on known answers."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.phases.classify import (
    LEAST_SIDE,
    OUTCOMES,
    PHASES,
    PhaseStatistics,
    PhaseVerdict,
    phase_confidence,
    phase_of,
    phase_statistics,
)

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture(scope="module")
def ensembles() -> ModuleType:
    spec = importlib.util.spec_from_file_location("phase_ensembles", BENCHMARKS / "phase_ensembles.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def spectrum(matrix: torch.Tensor) -> torch.Tensor:
    gram = matrix @ matrix.T if len(matrix) <= matrix.shape[1] else matrix.T @ matrix
    return torch.linalg.eigvalsh(gram).clamp(min=0)


def statistics_of(matrix: torch.Tensor, rank: int | None = None) -> PhaseStatistics:
    return phase_statistics(spectrum(matrix), *matrix.shape, rank=rank or min(matrix.shape))


def verdict_of(matrix: torch.Tensor, rank: int | None = None, seed: int = 0) -> PhaseVerdict:
    return phase_confidence(
        spectrum(matrix),
        matrix.shape[0],
        matrix.shape[1],
        statistics_of(matrix, rank),
        generator=torch.Generator().manual_seed(seed),
    )


def test_fresh_matrices_come_out_right(ensembles: ModuleType) -> None:
    """8 matrices of each phase, N from 500 to 560; 2 of 48 may be wrong: 95 %."""
    source = ensembles.Source(77)
    right, number = 0, 0
    for phase in PHASES:
        for _ in range(8):
            matrix = ensembles.draw(
                phase, ensembles.FRESH, ensembles.fresh_shape(source, 500, 560), source
            ).matrix
            # eps² of the largest is what float64 leaves of a zero
            values = spectrum(matrix)
            rank = int((values > 1e-13 * values[-1]).sum())
            right += phase_of(phase_statistics(values, *matrix.shape, rank=rank)) == phase
            number += 1
    assert right >= 0.95 * number


def test_the_ensembles_share_nothing_but_gaussian_noise(ensembles: ModuleType) -> None:
    assert set(ensembles.FRESH) == set(ensembles.CALIBRATION) == set(PHASES)
    for phase in PHASES:
        shared = set(ensembles.FRESH[phase]) & set(ensembles.CALIBRATION[phase])
        assert shared <= {"Gaussian"}, phase


def test_noise_with_directions_taken_out_of_it_has_the_spikes_that_were_put_in() -> None:
    strengths = torch.tensor([3.0, 4.0, 6.0], dtype=torch.float64)
    left = torch.linalg.qr(gaussian(300, 3, seed=1)).Q
    right = torch.linalg.qr(gaussian(300, 3, seed=2)).Q
    matrix = gaussian(300, 300) + math.sqrt(300) * (left * strengths) @ right.T
    found = statistics_of(matrix)
    assert found.spikes == 3
    # x comes to (x + 1/x)²; the edge is 4; the steps are 4 to 3, 3 to 4, 4 to 6
    places = [4.0, *((float(x) + 1 / float(x)) ** 2 for x in strengths)]
    assert found.gap == pytest.approx((places[3] - places[2]) / 4, rel=0.1)
    assert found.bulk_p_value > 0.2
    assert phase_of(found) == "bulk+spikes"
    assert verdict_of(matrix).confidence == 1.0


def test_many_fixed_directions_in_a_square_matrix_leave_noise() -> None:
    """They take as much from either side, so what is left is square: not (p - k) x p."""
    left = torch.linalg.qr(gaussian(600, 20, seed=1)).Q
    right = torch.linalg.qr(gaussian(600, 20, seed=2)).Q
    found = statistics_of(gaussian(600, 600) + 4 * math.sqrt(600) * left @ right.T)
    assert found.spikes == 20
    assert found.bulk_p_value > 0.2
    assert found.bulk is not None
    assert found.bulk.variance == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("share", [0.03, 0.5, 0.9])
def test_zero_eigenvalues_are_rank_collapse(share: float) -> None:
    p = 200
    rank = p - round(share * p)
    matrix = gaussian(p, rank) @ gaussian(rank, 300, seed=1)
    found = statistics_of(matrix, rank)
    assert found.zero_share == pytest.approx(share, abs=1e-12)
    assert phase_of(found) == "rank-collapse"
    assert verdict_of(matrix, rank).confidence == 1.0


def test_a_heavy_tail_and_one_that_is_cut_off() -> None:
    """Values above a cut are one power law's and a compact law's with the same exponent at the start."""
    generator = torch.Generator().manual_seed(3)
    uniform = torch.rand(500, generator=generator, dtype=torch.float64)
    whole = uniform ** (-1 / 1.5)
    cut = (1 - uniform * (1 - 4.0**-1.5)) ** (-1 / 1.5)
    heavy, compact = (statistics_of(scale.sqrt()[:, None] * gaussian(500, 2000)) for scale in (whole, cut))
    assert phase_of(heavy) == "heavy-tailed"
    assert heavy.tail_reach_p_value > 0.05
    assert phase_of(compact) == "bulk-decay"
    assert compact.tail_reach_p_value < 0.01


def test_orthogonal_columns_are_none_of_them() -> None:
    assert phase_of(statistics_of(torch.linalg.qr(gaussian(300, 150)).Q)) == "none"


def test_a_bulk_decays_only_without_a_wide_gap_or_with_a_power_law() -> None:
    rotation = torch.linalg.qr(gaussian(400, 400, seed=2)).Q
    noise = gaussian(400, 500, seed=3)

    def of(population: torch.Tensor) -> PhaseStatistics:
        return statistics_of(rotation @ (population.sqrt()[:, None] * noise))

    narrow = of(torch.exp(0.3 * gaussian(400, seed=1)))
    assert narrow.gap < 1.5
    assert phase_of(narrow) == "bulk-decay"
    groups = torch.ones(400, dtype=torch.float64)
    groups[:80] = 40 * torch.linspace(1, 1.3, 80)
    apart = of(groups)
    assert apart.gap > 1.5
    assert phase_of(apart) == "none"
    pareto = of((torch.arange(1, 401) / 400.5).double() ** (-1 / 3.6))
    assert pareto.tail_misfit < 0.8
    assert phase_of(pareto) == "bulk-decay"


def test_a_weak_spike_is_less_sure_than_a_strong_one() -> None:
    def spiked(reach: float) -> torch.Tensor:
        y2 = (1 + reach) * 4 - 2
        strength = math.sqrt((y2 + math.sqrt(y2**2 - 4)) / 2)
        left, right = (torch.linalg.qr(gaussian(400, 1, seed=seed)).Q for seed in (1, 2))
        return gaussian(400, 400, seed=5) + 20 * strength * left @ right.T

    assert verdict_of(spiked(1.0)).confidence > 0.99
    weak = verdict_of(spiked(0.17))
    assert weak.confidence < 0.8
    assert {phase for phase, _ in weak.shares} >= {"bleeding-out", "bulk+spikes"}


def test_the_confidence_is_a_share_of_draws() -> None:
    matrix = gaussian(100, 130)
    found = statistics_of(matrix)
    values = spectrum(matrix)
    for draws in (1, 7, 400):
        verdict = phase_confidence(
            values, 100, 130, found, generator=torch.Generator().manual_seed(1), draws=draws
        )
        assert sum(share for _, share in verdict.shares) == pytest.approx(1)
        assert verdict.confidence == dict(verdict.shares).get(verdict.phase, 0.0)
        assert verdict.confidence * draws == pytest.approx(round(verdict.confidence * draws))
    assert verdict_of(matrix, seed=4) == verdict_of(matrix, seed=4)


@pytest.mark.slow
def test_what_is_sure_is_right(ensembles: ModuleType) -> None:
    """At smaller sides, where more is unsure: 20 matrices of each phase, N from 240 to 320."""
    source = ensembles.Source(5)
    sure = Counter[bool]()
    for phase in PHASES:
        for _ in range(20):
            shape = ensembles.fresh_shape(source, 240, 320)
            matrix = ensembles.draw(phase, ensembles.FRESH, shape, source).matrix
            values = spectrum(matrix)
            rank = int((values > 1e-13 * values[-1]).sum())
            found = phase_confidence(
                values,
                matrix.shape[0],
                matrix.shape[1],
                phase_statistics(values, *matrix.shape, rank=rank),
                generator=source.generator,
            )
            if found.confidence >= 0.9:
                sure[found.phase == phase] += 1
    assert sure.total() > 90
    assert sure[True] / sure.total() > 0.95


@settings(max_examples=25, deadline=None)
@given(
    p=st.integers(LEAST_SIDE, 60),
    more=st.integers(0, 80),
    power=st.floats(0.0, 2.0),
    unit=st.floats(-60, 60),
    seed=st.integers(0, 1000),
)
def test_the_unit_and_the_orientation_play_no_part(
    p: int, more: int, power: float, unit: float, seed: int
) -> None:
    scales = torch.arange(1, p + 1, dtype=torch.float64) ** -power
    matrix = scales[:, None] * gaussian(p, p + more, seed=seed)
    values = spectrum(matrix)
    one = phase_statistics(values, p, p + more, rank=p)
    other = phase_statistics(values * 10**unit, p + more, p, rank=p)
    assert phase_of(one) == phase_of(other)
    assert other.gap == pytest.approx(one.gap, rel=1e-6)
    assert other.bulk_p_value == pytest.approx(one.bulk_p_value, rel=1e-6)
    assert other.zero_share == one.zero_share
    verdict = phase_confidence(values, p, p + more, one, generator=torch.Generator().manual_seed(0), draws=50)
    assert verdict.phase in OUTCOMES
    assert 0 <= verdict.confidence <= 1


def test_what_is_no_spectrum_of_a_matrix_is_refused() -> None:
    values = spectrum(gaussian(40, 50))
    for wrong, words in (
        ((values, 41, 50, 40), "41 eigenvalues, not 40"),
        ((values[-20:], 20, 50, 20), "needs 32 eigenvalues"),
        ((values, 40, 50, 0), "rank"),
        ((values, 40, 50, 41), "rank"),
    ):
        eigs, rows, cols, rank = wrong
        with pytest.raises(ValueError, match=words):
            phase_statistics(eigs, rows, cols, rank=rank)
    with pytest.raises(ValueError, match="draws"):
        phase_confidence(
            values,
            40,
            50,
            phase_statistics(values, 40, 50, rank=40),
            generator=torch.Generator(),
            draws=0,
        )
