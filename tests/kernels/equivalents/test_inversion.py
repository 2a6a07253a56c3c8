from __future__ import annotations

import math

import pytest
import torch

from rmtaudit.linalg import equivalents

VARIANCES = torch.tensor([1.0, 3.0, 7.0], dtype=torch.float64).repeat_interleave(300)
TRUTH = float(VARIANCES.log().mean())


def spectrum(variances: torch.Tensor, samples: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(variances), samples, dtype=torch.float64, generator=generator)
    sample = variances.sqrt()[:, None] * noise
    return torch.linalg.eigvalsh(sample @ sample.T / samples).clamp(min=0)


@pytest.mark.parametrize("seed", [0, 1])
def test_three_groups_are_recovered(seed: int) -> None:
    values = spectrum(VARIANCES, 1800, seed)
    estimate = equivalents.estimate_population(values, 1800)
    # the naive mean is 0.31 too low; the standard error of the best estimate is .0013
    assert float(values.log().mean()) == pytest.approx(0.709, abs=0.004)
    assert estimate.log_mean == pytest.approx(TRUTH, abs=0.003)
    closed, error = equivalents.corrected_log_mean(values, 1800)
    assert closed == pytest.approx(TRUTH, abs=3 * error)
    assert estimate.log_mean == pytest.approx(closed, abs=0.003)
    shares = VARIANCES / VARIANCES.sum()
    rank = math.exp(-float((shares * shares.log()).sum()))
    assert estimate.effective_rank == pytest.approx(rank, rel=0.005)
    low, weights = estimate.population.values, estimate.population.weights
    for centre in (1.0, 3.0, 7.0):
        near = (low > centre / 1.25) & (low < centre * 1.25)
        assert float(weights[near].sum()) == pytest.approx(1 / 3, abs=0.05)


def test_the_scale_goes_through() -> None:
    values = spectrum(VARIANCES[::3], 400, 4)
    one = equivalents.estimate_population(values, 400)
    other = equivalents.estimate_population(1e9 * values, 400)
    assert other.log_mean - one.log_mean == pytest.approx(9 * math.log(10), abs=1e-6)
    assert other.effective_rank == pytest.approx(one.effective_rank)


def test_fewer_samples_than_eigenvalues() -> None:
    values = spectrum(VARIANCES, 600, 2)
    estimate = equivalents.estimate_population(values, 600)
    assert estimate.population.mean == pytest.approx(float(values.mean()), rel=0.01)
    assert estimate.log_mean == pytest.approx(TRUTH, abs=0.05)


RANKS = torch.arange(1, 201, dtype=torch.float64)
HEAVY = {
    "1/k": 1 / RANKS,
    "1/k²": 1 / RANKS**2,
    "exponential": torch.exp(-RANKS / 20),
    "spikes": torch.where(RANKS == 1, 200.0, torch.where(RANKS == 2, 50.0, 1.0)),
}


@pytest.mark.parametrize("samples", [400, 100, 50])
@pytest.mark.parametrize("name", HEAVY)
def test_populations_over_many_scales(name: str, samples: int) -> None:
    variances = HEAVY[name]
    shares = variances / variances.sum()
    rank = math.exp(-float((shares * shares.log()).sum()))
    ranks = []
    for seed in range(8):
        values = spectrum(variances, samples, seed)
        estimate = equivalents.estimate_population(values, samples)
        ranks.append(estimate.effective_rank)
        assert estimate.population.mean == pytest.approx(float(values.mean()), rel=1e-3)
        if samples > len(values):
            closed, _ = equivalents.corrected_log_mean(values, samples)
            assert estimate.log_mean == pytest.approx(closed, abs=0.03)
    # few eigenvalues decide the rank, so that one estimate is as noisy as they are
    drawn = torch.tensor(ranks)
    assert float(drawn.mean()) == pytest.approx(rank, abs=0.05 * rank + 3 * float(drawn.std()) / 8**0.5)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="more samples"):
        equivalents.corrected_log_mean(torch.ones(5), 5)
    with pytest.raises(ValueError, match="not negative"):
        equivalents.estimate_population(torch.tensor([1.0, -1.0]), 5)
    with pytest.raises(ValueError, match="at least one sample"):
        equivalents.estimate_population(torch.ones(5), 0)


@pytest.mark.parametrize(("spike", "ratio"), [(3.0, 0.5), (1.5, 0.5), (30.0, 2.0)])
def test_a_spike_in_white_noise(spike: float, ratio: float) -> None:
    noise = equivalents.population(torch.tensor([1.0]))
    outliers = equivalents.spiked_outliers(noise, ratio, torch.tensor([spike]))
    assert bool(outliers.detached) == (spike > 1 + ratio**0.5)
    if bool(outliers.detached):
        assert float(outliers.eigenvalues) == pytest.approx(spike * (1 + ratio / (spike - 1)))
        aligned = (1 - ratio / (spike - 1) ** 2) / (1 + ratio / (spike - 1))
        assert float(outliers.alignment) == pytest.approx(aligned)
    else:
        assert bool(outliers.eigenvalues.isnan())
        assert float(outliers.alignment) == 0
    with pytest.raises(ValueError, match="atom"):
        equivalents.spiked_outliers(noise, ratio, torch.tensor([1.0]))


def test_a_spike_beside_and_between_groups() -> None:
    bulk = equivalents.population(torch.tensor([1.0, 10.0]))
    outliers = equivalents.spiked_outliers(bulk, 0.05, torch.tensor([4.0, 20.0], dtype=torch.float64))
    assert outliers.detached.all()
    aligned, placed = [], []
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        variances = torch.cat([torch.tensor([4.0, 20.0]), torch.tensor([1.0, 10.0]).repeat(50)]).double()
        noise = torch.randn(102, 2000, dtype=torch.float64, generator=generator)
        sample = variances.sqrt()[:, None] * noise
        values, vectors = torch.linalg.eigh(sample @ sample.T / 2000)
        at = torch.tensor([50, 101])  # between the groups, and on top
        placed.append(values[at])
        aligned.append(torch.stack([vectors[0, 50] ** 2, vectors[1, 101] ** 2]))
    assert torch.stack(placed).mean(0) == pytest.approx(outliers.eigenvalues, rel=0.04)
    assert torch.stack(aligned).mean(0) == pytest.approx(outliers.alignment, abs=0.02)
