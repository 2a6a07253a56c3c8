"""Comparisons and verdicts: known formulas, and how often a verdict is wrong."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from typing import Any

import numpy as np
import pytest

from rmtaudit.kernels.tails.compare import INSIDE, compare_laws, judge
from rmtaudit.kernels.tails.laws import LAWS, fit_laws

RNG = np.random.default_rng


def verdict_of(x: Any, level: float = 0.05) -> Any:
    fits = fit_laws(x, 1.0)
    return judge(fits, compare_laws(fits), level=level)


def lognormal(n: int, rng: np.random.Generator) -> Any:
    x = np.exp(rng.normal(size=4 * n))
    return x[x > 1][:n]


def test_every_two_laws_are_compared_once_in_order() -> None:
    found = compare_laws(fit_laws(1 + RNG(0).pareto(2, 300), 1.0))
    assert [(case.first, case.second) for case in found] == [
        (first, second) for place, first in enumerate(LAWS) for second in LAWS[place + 1 :]
    ]
    for case in found:
        nested = case.first in INSIDE[case.second] or case.second in INSIDE[case.first]
        assert (case.kind == "nested") == nested
        assert 0 <= case.p_value <= 1


@pytest.mark.parametrize("nested", [False, True])
def test_ratio_and_p_value_are_those_of_powerlaw(nested: bool) -> None:
    powerlaw = pytest.importorskip("powerlaw")
    x = lognormal(600, RNG(3))
    other = "truncated_power_law" if nested else "exponential"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = powerlaw.Fit(x, xmin=1.0, parameter_ranges={"alpha": [-50, None]}, verbose=False)
        ratio, p_value = peer.distribution_compare("power_law", other, nested=nested)
    (case,) = [
        case
        for case in compare_laws(fit_laws(x, 1.0))
        if (case.first, case.second) == ("power_law", other)
    ]  # fmt: skip
    assert case.log_ratio == pytest.approx(ratio, rel=1e-4)
    assert case.p_value == pytest.approx(p_value, rel=1e-2, abs=1e-12)


def test_vuong_by_its_formula() -> None:
    fits = fit_laws(1 + RNG(4).pareto(3, 100), 1.0)
    case = compare_laws(fits)[3]
    terms = fits[0].pointwise - fits[4].pointwise
    z = terms.sum() / (math.sqrt(100) * terms.std())
    assert (case.first, case.second, case.kind) == ("power_law", "exponential", "vuong")
    assert case.z == pytest.approx(z)
    assert case.p_value == pytest.approx(math.erfc(abs(z) / math.sqrt(2)))


def test_two_laws_that_are_the_same_density_are_equal() -> None:
    v = RNG(0).exponential(size=400) ** 1.5
    cases = compare_laws(fit_laws(np.exp(v), 1.0))
    (case,) = [case for case in cases if (case.first, case.second) == ("lognormal", "stretched_exponential")]
    assert (case.log_ratio, case.z, case.p_value, case.better) == (0, 0, 1, None)


def test_few_values_distinguish_nothing() -> None:
    verdict = verdict_of(1 + RNG(5).exponential(size=8))
    assert verdict.winner is None
    assert verdict.ruled_out == ()
    assert set(verdict.plausible) == set(LAWS)
    assert verdict.simplest is None


def test_a_power_law_never_wins_but_may_be_all_there_is() -> None:
    verdict = verdict_of(1 + RNG(6).pareto(1.5, 2000))
    assert verdict.winner is None
    assert verdict.simplest == verdict.plausible[0] == "power_law"
    assert [law for law, _ in verdict.ruled_out] == ["exponential"]


def test_a_long_lognormal_tail_wins() -> None:
    verdict = verdict_of(lognormal(30_000, RNG(7)))
    assert verdict.winner == verdict.best == "lognormal"
    assert verdict.plausible == ("lognormal",)
    assert dict(verdict.ruled_out).keys() == set(LAWS) - {"lognormal"}


def test_the_true_law_is_seldom_ruled_out() -> None:
    rng = RNG(8)
    draws = {
        "power_law": lambda: 1 + rng.pareto(1.06, 300),
        "exponential": lambda: 1 + rng.exponential(size=300),
        "lognormal": lambda: lognormal(300, rng),
        "stretched_exponential": lambda: (1 + rng.exponential(size=300)) ** 2,
    }
    wrong: Counter[str] = Counter()
    for law, draw in draws.items():
        for _ in range(60):
            verdict = verdict_of(draw())
            wrong[law] += law not in verdict.plausible
    # level 0.05: of 60, eight or more would have a chance of 2 %
    assert all(count < 8 for count in wrong.values()), wrong


def test_a_stricter_level_rules_out_less() -> None:
    x = lognormal(400, RNG(9))
    loose, strict = verdict_of(x, 0.2), verdict_of(x, 1e-6)
    assert set(loose.plausible) < set(strict.plausible)


@pytest.mark.parametrize("level", [0, 1, -0.1])
def test_a_level_is_a_chance(level: float) -> None:
    fits = fit_laws(1 + RNG(0).pareto(2, 20), 1.0)
    with pytest.raises(ValueError, match="level"):
        judge(fits, compare_laws(fits), level=level)
