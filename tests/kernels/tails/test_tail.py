"""Both tails, the inverse gamma law near zero, and their bootstraps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from rmtaudit.kernels.powerlaw.fit import NoFit, fit_power_law
from rmtaudit.kernels.tails.average import AlphaSpread, spread_of_alpha
from rmtaudit.kernels.tails.bootstrap import TailBootstrap, bootstrap_tail, calibrated
from rmtaudit.kernels.tails.near_zero import NearZero, NearZeroBootstrap, bootstrap_near_zero, fit_near_zero
from rmtaudit.kernels.tails.tail import Tail, fit_tail


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def inverse_gamma(n: int, shape: float, rate: float, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(rate / np.random.default_rng(seed).gamma(shape, 1.0, n))


def pareto(n: int, alpha: float, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy((1 - np.random.default_rng(seed).random(n)) ** (-1 / (alpha - 1)))


def tail_of(values: torch.Tensor, side: str = "upper") -> Tail:
    tail = fit_tail(values, side)  # type: ignore[arg-type]
    assert isinstance(tail, Tail)
    return tail


def near_zero_of(values: torch.Tensor, fraction: float = 0.05) -> NearZero:
    fit = fit_near_zero(values, fraction=fraction)
    assert isinstance(fit, NearZero)
    return fit


@pytest.mark.parametrize(
    ("size", "alpha", "ks_distance", "tail_size", "near_zero"),
    [
        (10, 2.066, 0.011, 2501, {0.05: (30, 2.66, 0.139), 0.02: (6, None, None), 0.005: (0.3, None, None)}),
        (12, 2.063, 0.011, 8424, {0.05: (112, 2.27, 0.0845), 0.02: (18, None, None), 0.005: (2, None, None)}),
    ],
)
def test_the_neural_tangent_kernel(
    shared: Callable[..., Path],
    size: int,
    alpha: float,
    ks_distance: float,
    tail_size: int,
    near_zero: dict[float, tuple[float, float | None, float | None]],
) -> None:
    path = shared("data", "ntk_resnet50_cifar10", f"cifar_resnet50_fp64_l9_p{size}.npy")
    values = torch.from_numpy(np.load(path))
    tail = tail_of(values)
    assert tail.power_law.alpha == pytest.approx(alpha, abs=0.0006)
    assert tail.power_law.ks_distance == pytest.approx(ks_distance, abs=0.0006)
    assert tail.power_law.tail_size == tail_size
    assert tail.verdict.simplest == "power_law"
    for fraction, (gain, power, rate) in near_zero.items():
        fit = near_zero_of(values, fraction)
        assert fit.gain == pytest.approx(gain, abs=0.6)
        if power is not None and rate is not None:
            assert fit.power == pytest.approx(power, abs=0.01)
            assert fit.rate == pytest.approx(rate, abs=0.001)


def test_the_upper_tail_is_that_of_the_power_law() -> None:
    x = pareto(500, 2.5)
    tail = tail_of(x)
    assert tail.power_law == fit_power_law(x, min_tail=8)
    assert tail.laws[0].parameters["alpha"].value == pytest.approx(tail.power_law.alpha, rel=1e-12)


def test_the_lower_tail_is_that_of_the_reciprocals() -> None:
    x = inverse_gamma(400, 1.5, 1.0)
    lower, upper = tail_of(1 / x, "lower"), tail_of(x)
    assert lower.power_law.alpha == pytest.approx(upper.power_law.alpha, rel=1e-9)
    assert lower.verdict == upper.verdict


def test_the_smallest_eigenvalues_of_square_noise_have_the_exponent_one_half() -> None:
    w = np.random.default_rng(0).standard_normal((600, 600))
    tail = tail_of(torch.from_numpy(np.linalg.eigvalsh(w.T @ w)), "lower")
    assert tail.power_law.alpha - 1 == pytest.approx(0.5, abs=0.06)


def test_zeros_and_negative_values_are_counted_not_fitted() -> None:
    x = pareto(300, 3.0)
    with_zeros = torch.cat((x, torch.zeros(5), -torch.ones(2)))
    for side in ("upper", "lower"):
        clean, other = tail_of(x, side), tail_of(with_zeros, side)
        assert (other.power_law.excluded, other.power_law.alpha) == (7, clean.power_law.alpha)
    assert near_zero_of(with_zeros).excluded == 7


@pytest.mark.parametrize("shape", [0.7, 1.66, 4.0])
def test_an_inverse_gamma_sample_gives_its_parameters_back(shape: float) -> None:
    fit = near_zero_of(inverse_gamma(40_000, shape, 0.5), 0.3)
    assert abs(fit.power - (shape + 1)) < 4 * fit.power_se
    assert fit.rate_se is not None
    assert abs(fit.rate - 0.5) < 4 * fit.rate_se
    assert fit.gain > 10
    assert not fit.degenerate


def test_a_power_law_near_zero_gains_nothing() -> None:
    x = 1 / pareto(20_000, 2.5)
    fit = near_zero_of(x)
    assert fit.gain < 4
    assert fit.p_value > 0.005
    assert abs(fit.exponent - 1.5) < 4 * fit.exponent_se
    # on log-convex values the power law itself is the most likely inverse gamma law
    convex = torch.from_numpy(np.exp(-(np.random.default_rng(0).exponential(size=300) ** 1.2)))
    flat = near_zero_of(convex / convex.max(), 1.0)
    assert flat.degenerate == (flat.rate == 0) == (flat.rate_se is None)


def test_the_unit_moves_the_rate_alone() -> None:
    x = inverse_gamma(5000, 1.5, 1.0)
    one, other = near_zero_of(x), near_zero_of(1e-6 * x)
    assert other.power == pytest.approx(one.power, rel=1e-6)
    assert other.rate == pytest.approx(1e-6 * one.rate, rel=1e-6)
    assert other.gain == pytest.approx(one.gain, abs=1e-6)


@pytest.mark.parametrize(
    ("values", "reason"),
    [([1.0, 2.0], "fewer"), ([0.0] * 50, "fewer"), ([3.0] * 50, "equal"), ([], "fewer")],
)
def test_no_tail_has_a_reason(values: list[float], reason: str) -> None:
    x = torch.tensor(values, dtype=torch.float64)
    for found in (fit_tail(x, "upper"), fit_tail(x, "lower"), fit_near_zero(x, fraction=0.5)):
        assert isinstance(found, NoFit)
        assert reason in found.reason


def test_the_bootstrap_is_that_of_the_power_law_and_knows_its_seed() -> None:
    x = pareto(300, 2.5)
    tail = tail_of(x)
    found = bootstrap_tail(x, tail, replicas=40, generator=seeded())
    again = bootstrap_tail(x, tail, replicas=40, generator=seeded())
    plain = spread_of_alpha(
        x.sort().values.numpy(),
        tail.power_law,
        "continuous",
        replicas=40,
        generator=seeded(),
        confidence=0.9,
    )
    assert isinstance(plain, AlphaSpread)
    assert isinstance(found, TailBootstrap)
    assert found == again
    assert (found.alpha_ci, found.alpha_se, found.p_value) == (plain.alpha_ci, plain.alpha_se, plain.p_value)
    assert found.alpha_ci[0] < tail.power_law.alpha < found.alpha_ci[1]
    assert sum(found.best_shares.values()) == pytest.approx(1)
    assert set(found.gain_p_values) == {"truncated_power_law", "lognormal", "stretched_exponential"}
    assert all(1 / 41 <= p_value <= 1 for p_value in found.gain_p_values.values())


def test_a_cut_off_survives_the_calibration_and_chance_does_not() -> None:
    rng = np.random.default_rng(1)
    bent = torch.from_numpy(1 + rng.gamma(0.6, 3.0, 800))
    tail = tail_of(bent)
    found = bootstrap_tail(bent, tail, replicas=100, generator=seeded())
    assert isinstance(found, TailBootstrap)
    assert found.gain_p_values["truncated_power_law"] < 0.05
    straight = pareto(400, 2.2, seed=3)
    tail = tail_of(straight)
    found = bootstrap_tail(straight, tail, replicas=100, generator=seeded())
    assert isinstance(found, TailBootstrap)
    judged = calibrated(tail, found)
    assert "power_law" in judged.verdict.plausible
    for before, after in zip(tail.comparisons, judged.comparisons, strict=True):
        assert after.p_value >= before.p_value


def test_intervals_near_zero_hold_the_truth() -> None:
    x = inverse_gamma(4000, 1.5, 1.0, seed=2)
    fit = near_zero_of(x, 0.2)
    found = bootstrap_near_zero(x, fit, replicas=60, generator=seeded(), confidence=0.99)
    assert isinstance(found, NearZeroBootstrap)
    assert found.power_ci[0] < 2.5 < found.power_ci[1]
    assert found.rate_ci[0] < 1 < found.rate_ci[1]
    assert found.p_value == pytest.approx(1 / 61)


@pytest.mark.parametrize(("replicas", "confidence"), [(1, 0.9), (10, 1.0)])
def test_bootstraps_refuse_nonsense(replicas: int, confidence: float) -> None:
    x = inverse_gamma(200, 1.5, 1.0)
    with pytest.raises(ValueError, match="must"):
        bootstrap_tail(x, tail_of(x), replicas=replicas, generator=seeded(), confidence=confidence)
    with pytest.raises(ValueError, match="must"):
        bootstrap_near_zero(
            x, near_zero_of(x, 0.5), replicas=replicas, generator=seeded(), confidence=confidence
        )
    with pytest.raises(ValueError, match="not fitted"):
        bootstrap_tail(x[:-5], tail_of(x), replicas=5, generator=seeded())


def test_values_must_be_a_finite_list() -> None:
    for values in (torch.ones(3, 3), torch.tensor([1.0, float("nan")])):
        with pytest.raises(ValueError, match="values"):
            fit_tail(values, "upper")
    with pytest.raises(ValueError, match="fraction"):
        fit_near_zero(torch.ones(5), fraction=0.0)
