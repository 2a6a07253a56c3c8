"""What is said of a larger matrix, against matrices that are that large and laws that are known."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.extrapolation import Obstacle, grown_gram, nested_scores, predict
from rmtaudit.kernels.extrapolation.functionals import ends, functionals, interval
from rmtaudit.kernels.extrapolation.growth import missed_variance
from rmtaudit.kernels.extrapolation.spikes import carried, shared_spikes, without
from rmtaudit.kernels.free.evolution import evolve
from rmtaudit.kernels.free.measure import LevyMeasure
from rmtaudit.kernels.free.validation import ks_distance
from rmtaudit.kernels.noise.marchenko_pastur import MarchenkoPastur


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(count: int, cols: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, cols, generator=seeded(seed), dtype=torch.float64) / cols**0.5


def eigenvalues(weights: torch.Tensor) -> torch.Tensor:
    return torch.linalg.eigvalsh(weights @ weights.T).clamp(min=0)


def semicircle(variance: float) -> object:
    at = torch.zeros(1, dtype=torch.float64)
    return evolve(LevyMeasure(left=at, right=at, mass=at + variance, mean=0.0), 1.0)


def test_more_rows_of_noise_are_marchenko_pastur() -> None:
    law = grown_gram(eigenvalues(rows(128, 512)), 512, 4.0)
    known = MarchenkoPastur(1.0, 1.0)
    levels = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    assert float((law.ppf(levels) - known.ppf(levels)).abs().max()) < 0.03
    assert law.atoms == ()
    assert law.mass == pytest.approx(1, abs=1e-3)


def test_rows_beyond_the_dimension_are_zeros() -> None:
    law = grown_gram(eigenvalues(rows(96, 240)), 240, 5.0)
    ((place, mass),) = law.atoms
    assert place == 0
    assert mass == pytest.approx(1 - 240 / 480, abs=1e-12)
    predicted = law.quantiles(480)
    assert int((predicted == 0).sum()) == 240
    assert float(law.cdf(torch.tensor([-1.0, 0.0, 1e9], dtype=torch.float64))[1]) == pytest.approx(
        0.5, abs=1e-6
    )


def test_hardly_more_rows_are_the_same_rows() -> None:
    values = eigenvalues(rows(64, 200))
    law = grown_gram(values, 200, 1.02, points=800)
    assert float((law.quantiles(64) - values).abs().max()) < 0.04 * float(values[-1])
    with pytest.raises(ValueError, match="above 1"):
        grown_gram(values, 200, 1.0)


@settings(max_examples=3, deadline=None)
@given(scale=st.floats(1e-6, 1e6), factor=st.floats(1.5, 6.0))
def test_units_do_not_matter(scale: float, factor: float) -> None:
    values = eigenvalues(rows(32, 80))
    levels = torch.linspace(0.1, 0.9, 5, dtype=torch.float64)
    one = grown_gram(values, 80, factor, points=300).ppf(levels)
    other = grown_gram(scale * values, 80, factor, points=300).ppf(levels)
    assert torch.allclose(scale * one, other, rtol=1e-3, atol=0)


def test_merged_eigenvalues_tell_the_same() -> None:
    values = eigenvalues(rows(256, 512))
    levels = torch.linspace(0.05, 0.95, 9, dtype=torch.float64)
    whole, merged = (grown_gram(values, 512, 2.0, points=800, cells=cells) for cells in (256, 96))
    assert torch.allclose(whole.ppf(levels), merged.ppf(levels), rtol=2e-3)


def test_a_shared_direction_is_a_spike_and_a_long_row_is_none() -> None:
    noise = rows(128, 256)
    shared = torch.outer(torch.ones(128, dtype=torch.float64), rows(1, 256, 1)[0]) * 0.5
    assert shared_spikes((noise + shared) @ (noise + shared).T)[1] == (0,)
    long = noise.clone()
    long[3] *= 6
    assert shared_spikes(long @ long.T)[1] == ()


def test_where_a_shared_direction_goes() -> None:
    count, cols = 640, 800
    left, right = torch.randn(count, generator=seeded(5)).double(), rows(1, cols, 6)[0]
    weights = rows(count, cols) + 0.3 * torch.outer(left, right)
    values, places = shared_spikes(weights[:160] @ weights[:160].T)
    assert places == (0,)
    bulk = without(values[None], places)[0]
    law = grown_gram(bulk, cols - 1, 4.0, points=800, cells=96)
    found = carried(bulk, law, cols - 1, 4.0, float(values[-1]))
    assert found == pytest.approx(float(eigenvalues(weights)[-1]), rel=0.08)


def test_rows_with_directions_in_common_are_not_free_of_each_other() -> None:
    weights = rows(200, 400)
    sizes = torch.exp(0.5 * torch.randn(200, 1, generator=seeded(2), dtype=torch.float64))
    free = weights * sizes
    assert abs(missed_variance(free @ free.T, 400, 2.0)) < 0.03
    slanted = weights * torch.linspace(0.1, 2, 400, dtype=torch.float64) ** 2
    missed = missed_variance(slanted @ slanted.T, 400, 2.0)
    # E a_ij² is tr Σ²/(tr Σ)² there; more rows of the same covariance have that variance
    more = rows(400, 400, 1) * torch.linspace(0.1, 2, 400, dtype=torch.float64) ** 2
    spread = float(eigenvalues(more).var(correction=0))
    covariance = torch.linspace(0.1, 2, 400, dtype=torch.float64) ** 4
    off = float((covariance**2).sum()) / 400**2
    assert missed == pytest.approx(200 * (float(covariance.mean()) ** 2 / 400 - off) / spread, rel=0.1)
    assert missed < -0.1


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.0, 0.4])
def test_a_layer_is_predicted_from_a_quarter(spread: float) -> None:
    """Also where rows differ in size, which free decompression cannot know."""
    count, cols = 512, 1024
    sizes = torch.exp(spread * torch.randn(count, 1, generator=seeded(9), dtype=torch.float64))
    weights = rows(count, cols) * sizes
    block = weights[:128] @ weights[:128].T
    found = predict(
        torch.linalg.eigvalsh(block), 4.0, generator=seeded(), matrix=block, dimension=cols, replicas=2
    )
    assert not found.verdict.refused
    assert found.route == "rows"
    true = eigenvalues(weights)
    assert ks_distance(found.quantiles(count), true) < (0.01 if not spread else 0.05)
    for name, interval_ in found.numbers().items():
        assert interval_.value is not None, name
        assert interval_.low is not None
        assert interval_.low <= interval_.value <= (interval_.high or math.inf)
    assert found.numbers()["log_det"].value == pytest.approx(float(true.log().mean()), abs=0.15)


def test_a_diagonal_matrix_is_refused() -> None:
    """Every block has its spectrum: nothing spreads, whatever a fit of the eigenvalues says."""
    values = eigenvalues(rows(128, 256))
    found = predict(values, 4.0, generator=seeded(), matrix=torch.diag(values), replicas=2)
    assert found.verdict.obstacle is Obstacle.NOT_FREE
    assert found.diagonal_share == pytest.approx(1.0)
    assert found.law is None
    assert found.numbers() == {}
    with pytest.raises(ValueError, match="refused"):
        found.quantiles(10)


def test_real_quarters_see_what_eigenvalues_do_not() -> None:
    values = eigenvalues(rows(160, 320))
    score = nested_scores(torch.diag(values), seeded(), positive=True)
    assert score is not None
    assert score.free > 0.15
    assert nested_scores(torch.eye(64, dtype=torch.float64), seeded(), positive=True) is None


@pytest.mark.parametrize(
    ("values", "factor", "said"),
    [
        (torch.ones(200), 2.0, ""),
        (torch.arange(8.0), 2.0, "32"),
        (torch.arange(200.0), 1.0, "above 1"),
    ],
)
def test_what_cannot_be_predicted_is_said(values: torch.Tensor, factor: float, said: str) -> None:
    with pytest.raises(ValueError, match=said or "."):
        predict(values, factor, generator=seeded())


def test_intervals() -> None:
    drawn = [1.0, 2.0, 3.0]
    t = 2.919986  # Student, 2 degrees of freedom, 95 %
    pooled = interval("mean", 2.0, drawn, pooled=True)
    assert pooled.value == 2.0
    assert pooled.high == pytest.approx(2 + t / 3**0.5, rel=1e-5)
    redrawn = interval("mean", 2.5, drawn, pooled=False, floor=0.0)
    assert redrawn.value == 2.5
    z = 1.644854  # normal, 95 %
    assert redrawn.low == 0.0  # 2.5 - hypot(t, z/2) is below
    assert redrawn.high == pytest.approx(2.5 + math.hypot(t, 0.5 * z), rel=1e-5)
    smoothed = interval("mean", 2.5, drawn, pooled=False, alternatives=[2.4, 3.7, "an atom"])
    assert smoothed.high == pytest.approx(2.5 + math.hypot(t, 1.2 * z), rel=1e-4)
    ratio = interval("condition", 10.0, [5.0, 10.0, 20.0], pooled=True)
    assert ratio.low is not None
    assert ratio.high is not None
    assert ratio.low * ratio.high == pytest.approx(100.0)


def test_numbers_of_a_semicircle() -> None:
    law = semicircle(1.0)
    found = functionals(law, order=100, positive=False)  # type: ignore[arg-type]
    assert found["mean"] == pytest.approx(0, abs=1e-6)
    assert found["standard_deviation"] == pytest.approx(1, abs=1e-4)
    assert isinstance(found["log_det"], str)
    low, high = ends(law, 100)  # type: ignore[arg-type]
    # the mass beyond x = 2 - e is (2/3π) e^1.5
    assert 2 - high == pytest.approx((0.005 * 1.5 * math.pi) ** (2 / 3), rel=0.02)
    assert low == pytest.approx(-high, abs=1e-6)


def test_quarters_of_a_law_that_ends_are_fitted_with_the_usual_smoothing() -> None:
    """An arcsine spectrum in a random basis ends at a finite factor: its fit has no smoothing of its own."""
    values = torch.cos(torch.linspace(0, math.pi, 512, dtype=torch.float64))
    basis = torch.linalg.qr(torch.randn(512, 256, generator=seeded(7), dtype=torch.float64)).Q
    block = basis.T @ (values[:, None] * basis)
    block = (block + block.T) / 2
    spectrum = torch.linalg.eigvalsh(block)
    found = predict(spectrum, 2.0, generator=seeded(8), matrix=block, replicas=0)
    assert found.nested is not None
    assert math.isfinite(found.nested.free)


@pytest.mark.parametrize(("size", "obstacle"), [(64, Obstacle.SMALL), (128, None)])
def test_a_small_block_supports_no_assumption_of_smoothness(size: int, obstacle: Obstacle | None) -> None:
    wigner = torch.randn(size, size, generator=seeded(), dtype=torch.float64)
    values = torch.linalg.eigvalsh((wigner + wigner.T) / (2 * size) ** 0.5)
    verdict = predict(values[None], 4.0, generator=seeded(), replicas=0).verdict
    assert verdict.obstacle is obstacle
    if obstacle is not None:
        assert "100 rows or more" in verdict.reason
        assert verdict.largest_factor is not None
