from __future__ import annotations

import pytest
import torch

from rmtaudit.kernels.equivalents import feature_kernel
from rmtaudit.kernels.equivalents.activations import ACTIVATIONS
from rmtaudit.linalg import equivalents


def inputs(count: int, size: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    lengths = 0.5 + torch.rand(count, 1, dtype=torch.float64, generator=generator)
    return lengths * torch.randn(count, size, dtype=torch.float64, generator=generator) / size**0.5


@pytest.mark.parametrize("name", equivalents.FEATURES)
def test_the_kernel_is_the_mean_over_weights(name: str) -> None:
    points = torch.cat([inputs(4, 3, 0), -inputs(1, 3, 0), inputs(1, 3, 0) * 2])  # cosines of ±1 among them
    weights = torch.randn(20_000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    weights = torch.cat([weights, -weights])
    features = ACTIVATIONS[name](weights @ points.T)
    drawn = features.T @ features / len(weights)
    error = (features[:, :, None] * features[:, None, :]).std(0) / len(weights) ** 0.5
    kernel = equivalents.feature_kernel(name, points)
    assert ((kernel - drawn).abs() <= 4.5 * error + 1e-4).all()  # of the series at ρ = ±1
    assert equivalents.feature_variances(name, points) == pytest.approx(kernel.diagonal(), rel=1e-9)
    assert equivalents.feature_kernel(name, points, points[:2]) == pytest.approx(kernel[:, :2], abs=2e-3)


def test_the_series_equals_the_closed_form() -> None:
    points, others = inputs(20, 30, 2), inputs(10, 30, 3)
    for name in ("erf", "sin", "cos", "relu"):
        exact = equivalents.feature_kernel(name, points, others)
        lengths, widths = points.norm(dim=1), others.norm(dim=1)
        cosine = points @ others.T / (lengths[:, None] * widths)
        series = feature_kernel._series(name, lengths, widths, cosine, same=False)
        assert series == pytest.approx(exact, abs=1e-6 if name == "relu" else 1e-10)


@pytest.mark.parametrize("name", ["relu", "tanh"])
@pytest.mark.parametrize("width", [60, 200, 500])
def test_theory_equals_draws(name: str, width: int) -> None:
    x, tested = inputs(200, 40, 4), inputs(300, 40, 5)
    y, wanted = torch.sin(3 * x[:, :2]), torch.sin(3 * tested[:, :2])
    ridges = torch.tensor([1e-4, 1e-2, 1.0], dtype=torch.float64)
    problem = equivalents.ridge_problem(
        equivalents.feature_kernel(name, x),
        y,
        cross=equivalents.feature_kernel(name, tested, x),
        variances=equivalents.feature_variances(name, tested),
        test_targets=wanted,
    )
    theory = equivalents.ridge_errors(problem, width, ridges)
    generator = torch.Generator().manual_seed(6)
    draws = torch.stack(
        [
            torch.stack(
                equivalents.simulate_ridge(name, (x, y), (tested, wanted), width, ridges, generator=generator)
            )
            for _ in range(20)
        ]
    )
    mean, error = draws.mean(0), draws.std(0) / 20**0.5
    # the theory is a limit: at 200 samples it may be off by some 1/n
    assert ((theory.train - mean[0]).abs() <= 3.5 * error[0] + 0.02 * mean[0]).all()
    assert ((theory.test.mean(1) - mean[1]).abs() <= 3.5 * error[1] + 0.02 * mean[1]).all()


def test_infinitely_many_units_are_kernel_regression() -> None:
    x, y = inputs(50, 20, 7), torch.linspace(-1, 1, 50, dtype=torch.float64)
    kernel = equivalents.feature_kernel("relu", x)
    width, ridge = 10**9, 10.0**6
    problem = equivalents.ridge_problem(kernel, y)
    error = float(equivalents.ridge_errors(problem, width, torch.tensor([ridge])).train)
    left = ridge * torch.linalg.solve(width / 50 * kernel + ridge * torch.eye(50).double(), y)
    assert error == pytest.approx(float(left.square().mean()), rel=1e-3)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="'hardtanh' is not one of"):
        equivalents.feature_kernel("hardtanh", torch.eye(2))
    with pytest.raises(ValueError, match="columns"):
        equivalents.feature_kernel("relu", torch.eye(2), torch.eye(3))
    with pytest.raises(ValueError, match="shape"):
        equivalents.ridge_problem(torch.eye(2), torch.ones(3))
    with pytest.raises(ValueError, match="test data"):
        equivalents.ridge_problem(torch.eye(2), torch.ones(2), variances=torch.ones(2))
    problem = equivalents.ridge_problem(torch.eye(2), torch.ones(2))
    with pytest.raises(ValueError, match="positive"):
        equivalents.ridge_errors(problem, 2, torch.tensor([0.0]))
    with pytest.raises(ValueError, match="kernel is 0"):
        equivalents.ridge_errors(
            equivalents.ridge_problem(torch.zeros(2, 2), torch.ones(2)), 2, torch.tensor([1.0])
        )
