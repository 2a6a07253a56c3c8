"""The bootstraps: whether their intervals cover, and what their p-value accepts and rejects."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from rmtaudit.kernels.powerlaw.bootstrap import PowerLawBootstrap, bootstrap_power_law
from rmtaudit.kernels.powerlaw.fit import NoFit, PowerLawFit, fit_power_law


def pareto(n: int, seed: int, alpha: float = 2.5) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy((1 - rng.random(n)) ** (-1 / (alpha - 1)))


def fitted(values: torch.Tensor, min_tail: int = 8) -> PowerLawFit:
    fit = fit_power_law(values, min_tail=min_tail, stability=False)
    assert isinstance(fit, PowerLawFit)
    return fit


def bootstrapped(values: torch.Tensor, fit: PowerLawFit, **settings: Any) -> PowerLawBootstrap:
    result = bootstrap_power_law(values, fit, **settings)
    assert isinstance(result, PowerLawBootstrap)
    return result


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_intervals_cover_and_true_laws_are_kept() -> None:
    """60 samples of a Pareto law: a 90 % interval that missed 14 of them would be one chance in 2000.

    The p-values of a true law are spread over [0, 1]: their mean has a standard error of 0.04.
    """
    samples = 60
    covered = 0
    p_values = []
    for seed in range(samples):
        values = pareto(150, seed)
        found = bootstrapped(values, fitted(values), replicas=40, generator=generator(seed))
        covered += found.alpha_ci[0] <= 2.5 <= found.alpha_ci[1]
        p_values.append(found.p_value)
    assert covered >= samples - 13
    assert sum(p_value < 0.1 for p_value in p_values) <= 13
    assert 0.35 < np.mean(p_values) < 0.65


def test_p_value_rejects_what_is_no_power_law() -> None:
    """With the whole sample as its tail, a uniform law is far from every power law."""
    values = torch.from_numpy(np.random.default_rng(0).uniform(1, 2, 400))
    found = bootstrapped(values, fitted(values, 400), replicas=100, generator=generator())
    assert found.p_value == 0
    assert 0 < found.p_value_se < 0.02


def test_interval_is_wider_than_the_error_for_a_known_start() -> None:
    values = torch.from_numpy(np.random.default_rng(3).lognormal(0, 1, 400))
    fit = fitted(values)
    found = bootstrapped(values, fit, replicas=100, generator=generator())
    assert found.alpha_se > fit.sigma
    assert found.xmin_ci[0] <= found.xmin_ci[1]


def test_equal_generators_give_equal_results() -> None:
    values = pareto(100, 0)
    fit = fitted(values)
    first, again, other = (
        bootstrap_power_law(values, fit, replicas=20, generator=generator(seed)) for seed in (5, 5, 6)
    )
    assert first == again
    assert first != other


def test_order_and_excluded_values_change_nothing() -> None:
    values = pareto(100, 0)
    more = torch.cat([values.flip(0), torch.zeros(5, dtype=torch.float64)])
    plain = bootstrapped(values, fitted(values), replicas=20, generator=generator())
    assert bootstrap_power_law(more, fitted(more), replicas=20, generator=generator()) == plain


def test_unit_changes_only_xmin() -> None:
    values = pareto(100, 0)
    plain = bootstrapped(values, fitted(values), replicas=20, generator=generator())
    small = values * 2.0**-700
    scaled = bootstrapped(small, fitted(small), replicas=20, generator=generator())
    assert scaled.alpha_ci == plain.alpha_ci
    assert scaled.xmin_ci == tuple(bound * 2.0**-700 for bound in plain.xmin_ci)
    assert scaled.p_value == plain.p_value


def test_wider_confidence_is_a_wider_interval() -> None:
    values = pareto(100, 0)
    half, most = (
        bootstrapped(
            values, fitted(values), replicas=50, generator=generator(), confidence=confidence
        ).alpha_ci
        for confidence in (0.5, 0.98)
    )
    assert most[0] <= half[0] < half[1] <= most[1]


def test_an_exponent_next_to_one_draws_no_infinity() -> None:
    values = torch.from_numpy(10.0 ** np.linspace(-300, 300, 30))
    found = bootstrapped(values, fitted(values), replicas=20, generator=generator())
    assert found.unfitted == 0
    assert found.alpha_ci[0] > 1


def test_replicas_without_a_fit_are_counted() -> None:
    """Of two values, half of the resamples are one value twice."""
    values = torch.tensor([1.0, 2.0], dtype=torch.float64)
    found = bootstrapped(values, fitted(values, 2), replicas=60, generator=generator())
    assert 10 < found.unfitted < 50


def test_too_few_replicas_with_a_fit_give_a_reason() -> None:
    """One value of 1000 differs: a resample misses it with probability 0.37, one of two with 0.6."""
    values = torch.cat([torch.ones(999, dtype=torch.float64), torch.full((1,), 1.5, dtype=torch.float64)])
    found = [
        bootstrap_power_law(values, fitted(values), replicas=2, generator=generator(seed))
        for seed in range(20)
    ]
    reasons = [outcome.reason for outcome in found if isinstance(outcome, NoFit)]
    assert reasons
    assert all("two replicas" in reason for reason in reasons)


def test_calls_that_make_no_sense_are_refused() -> None:
    values = pareto(50, 0)
    fit = fitted(values)
    with pytest.raises(ValueError, match="replicas"):
        bootstrap_power_law(values, fit, replicas=1, generator=generator())
    with pytest.raises(ValueError, match="confidence"):
        bootstrap_power_law(values, fit, replicas=5, generator=generator(), confidence=1.0)
    with pytest.raises(ValueError, match="not fitted"):
        bootstrap_power_law(values[:-1], fit, replicas=5, generator=generator())
    with pytest.raises(ValueError, match="not fitted"):
        bootstrap_power_law(values, dataclasses.replace(fit, xmin=1e9), replicas=5, generator=generator())
