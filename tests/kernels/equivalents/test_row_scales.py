"""Rows with scales of their own: the estimate of the scales, and the corrections that take them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rmtaudit.kernels.equivalents.inversion import corrected_log_mean, estimate_population
from rmtaudit.kernels.equivalents.row_scales import (
    ScaleVariance,
    dual_transforms,
    log_mean_bias,
    scale_variance,
    squared_scales,
)

SIZE, COUNT, SIGMA = 60, 150, 0.35
VARIANCE = math.exp(4 * SIGMA**2) - 1


def rows(seed: int, sigma: float, variances: torch.Tensor) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    scales = (sigma * torch.randn(COUNT, 1, dtype=torch.float64, generator=generator) - sigma**2).exp()
    noise = torch.randn(COUNT, len(variances), dtype=torch.float64, generator=generator)
    return scales * noise * variances.sqrt()


def test_equal_scales_are_the_known_case() -> None:
    ones = torch.ones(5, dtype=torch.float64)
    for ratio in (0.1, 0.6, 0.95):
        bias, error = log_mean_bias(ratio, ones)
        assert bias == pytest.approx(-1 - (1 - ratio) / ratio * math.log1p(-ratio), abs=1e-10)
        assert error == pytest.approx(math.sqrt(-2 * math.log1p(-ratio)), abs=1e-10)
    z = np.array([0.3 + 0.1j, 2 + 2j, -1 + 0.5j])
    sample = rows(0, 0.0, torch.ones(SIZE, dtype=torch.float64))
    values = torch.linalg.eigvalsh(sample.T @ sample / COUNT).numpy()
    v = SIZE / COUNT * (1 / (values[None] - z[:, None])).mean(1) - (1 - SIZE / COUNT) / z
    left, dual = dual_transforms(v, z, ones)
    assert np.allclose(left, 1 / v + z)
    assert np.allclose(dual, v)


def test_the_variance_of_scales_is_seen_and_heavy_tails_of_single_directions_are_not() -> None:
    decaying = 1 / torch.arange(1, SIZE + 1, dtype=torch.float64)
    seen: list[ScaleVariance] = []
    none: list[ScaleVariance] = []
    tails: list[ScaleVariance] = []
    for seed in range(12):
        for values, sigma in ((seen, SIGMA), (none, 0.0)):
            sample = rows(seed, sigma, decaying)
            values.append(scale_variance(sample - sample.mean(0)))
        heavy = rows(seed, 0.0, decaying) ** 3  # independent entries of kurtosis 46
        tails.append(scale_variance(heavy - heavy.mean(0)))
    assert 0.6 * VARIANCE < sum(each.value for each in seen) / 12 < 1.2 * VARIANCE
    assert sum(each.value > 2 * each.se for each in seen) >= 9
    assert sum(each.value > 2 * each.se for each in none) <= 2
    assert sum(each.value > 2 * each.se for each in tails) <= 3
    assert scale_variance(torch.ones(30, 1, dtype=torch.float64)).se == math.inf


def test_squared_scales_have_the_variance() -> None:
    lengths = torch.rand(400, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.1
    scales = squared_scales(lengths, 0.1)
    assert float(scales.mean()) == pytest.approx(1)
    assert float(scales.var()) == pytest.approx(0.1)
    assert squared_scales(lengths, 0.0).tolist() == pytest.approx([1.0] * 400)


def test_corrections_with_scales_remove_the_bias() -> None:
    flat = torch.ones(SIZE, dtype=torch.float64)
    plain, corrected, errors, ranks, plain_ranks = [], [], [], [], []
    for seed in range(20, 40):
        sample = rows(seed, SIGMA, flat)
        generator = torch.Generator().manual_seed(seed)
        scales = (SIGMA * torch.randn(COUNT, dtype=torch.float64, generator=generator) - SIGMA**2).exp() ** 2
        scales = scales / scales.mean()
        own = sample / sample.square().mean().sqrt()
        values = torch.linalg.eigvalsh(own.T @ own / COUNT)
        plain.append(corrected_log_mean(values, COUNT)[0])
        log_mean, error = corrected_log_mean(values, COUNT, scales=scales)
        corrected.append(log_mean)
        errors.append(error)
        ranks.append(estimate_population(values, COUNT, scales=scales).effective_rank)
        plain_ranks.append(estimate_population(values, COUNT).effective_rank)
    spread = torch.tensor(corrected).std().item()
    assert abs(sum(corrected) / 20) < 4 * spread / math.sqrt(20)
    assert abs(sum(plain) / 20) > 5 * spread / math.sqrt(20)
    assert 0.5 < spread / (sum(errors) / 20) < 1.6
    assert sum(ranks) / 20 > 57 > 55 > sum(plain_ranks) / 20
