"""The interval of an exponent whose tail may begin elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rmtaudit.kernels.powerlaw.fit import PowerLawFit
from rmtaudit.kernels.tails.average import AlphaSpread, spread_of_alpha
from rmtaudit.kernels.tails.support import Support, fit_start


def spread(x: np.ndarray, support: Support = "continuous", replicas: int = 99) -> AlphaSpread:
    x = np.sort(x)
    fit = fit_start(x, support, excluded=0, min_tail=8, margin=None)
    assert isinstance(fit, PowerLawFit)
    generator = torch.Generator().manual_seed(0)
    found = spread_of_alpha(x, fit, support, replicas=replicas, generator=generator, confidence=0.9)
    assert isinstance(found, AlphaSpread)
    return found


@pytest.mark.parametrize("law", ["power law", "lognormal body"])
def test_intervals_hold_the_exponent_and_true_laws_are_not_rejected(law: str) -> None:
    """Binomial bounds at four standard errors around 90 % and 5 %, with 40 samples of 200 values."""
    rng = np.random.default_rng(0)
    held, rejected = 0, 0
    for _ in range(40):
        x = 1 + rng.pareto(1.5, 200)
        if law == "lognormal body":
            body = np.exp(rng.normal(-0.7, 0.5, 2000))
            x = np.where(rng.random(200) < 0.5, x, body[body < 1][:200])
        found = spread(x, replicas=29)
        held += found.alpha_ci[0] <= 2.5 <= found.alpha_ci[1]
        rejected += found.p_value <= 0.05
    assert held >= 40 * 0.9 - 4 * np.sqrt(40 * 0.09)
    assert rejected <= 40 * 0.05 + 4 * np.sqrt(40 * 0.0475)


def test_whole_numbers_hold_theirs() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(6):
        found = spread(rng.zipf(2.5, 300).astype(float), "discrete", replicas=19)
        held += found.alpha_ci[0] <= 2.5 <= found.alpha_ci[1]
    assert held >= 3  # of 6 at 90 %: 2 or fewer have a chance of 0.1 %


def test_a_kink_inside_the_tail_is_doubt() -> None:
    rng = np.random.default_rng(2)
    kink = np.concatenate((1 + rng.pareto(0.6, 600), 3 * (1 + rng.pareto(4.0, 600))))
    assert spread(kink[kink < 40]).changed > spread(1 + rng.pareto(1.5, 600)).changed


def test_the_result_does_not_depend_on_the_unit() -> None:
    x = 1 + np.random.default_rng(3).pareto(1.5, 200)
    one, other = spread(x, replicas=20), spread(x * 2.0**40, replicas=20)
    assert one.alpha_ci == pytest.approx(other.alpha_ci, rel=1e-9)
    assert one.p_value == other.p_value
