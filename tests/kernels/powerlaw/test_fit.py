"""The branch and bound against the brute force it replaces, and against laws whose exponent is known."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.powerlaw.fit import STABILITY_MARGIN, Ecdf, NoFit, PowerLawFit, fit_power_law

TIGHT = 1e-12


@dataclass
class Candidate:
    tail_size: int
    alpha: float
    distance: float


def brute_force(values: np.ndarray, *, min_tail: int, ecdf: Ecdf) -> list[Candidate]:
    """Every candidate as the paper writes it, one after the other."""
    x = np.sort(values)
    found = []
    for i in range(len(x) - min_tail + 1):
        if ecdf == "both" and i and x[i] == x[i - 1]:
            continue
        log = np.log(x[i:]) - np.log(x[i])
        if x[i] > 1e-250 * x[-1]:  # else the ratio overflows
            log = np.log1p((x[i:] - x[i]) / x[i])
        m = len(log)
        if not log.sum() > 0:
            continue
        alpha = 1 + m / math.fsum(log)
        law = -np.expm1((1 - alpha) * log)
        distance = np.abs(law - np.arange(m) / m).max()
        if ecdf == "both":
            distance = max(distance, np.abs(law - np.arange(1, m + 1) / m).max())
        found.append(Candidate(m, alpha, float(distance)))
    return found


def assert_same(fit: PowerLawFit | NoFit, values: np.ndarray, *, min_tail: int, ecdf: Ecdf) -> None:
    candidates = brute_force(values, min_tail=min_tail, ecdf=ecdf)
    if not candidates:
        assert isinstance(fit, NoFit)
        return
    assert isinstance(fit, PowerLawFit)
    least = min(candidate.distance for candidate in candidates)
    same = next(candidate for candidate in candidates if candidate.tail_size == fit.tail_size)
    assert fit.ks_distance == pytest.approx(least, abs=TIGHT)
    assert same.distance == pytest.approx(least, abs=TIGHT)
    assert fit.alpha == pytest.approx(same.alpha, rel=TIGHT)
    assert fit.xmin == np.sort(values)[len(values) - fit.tail_size]
    assert fit.sigma == pytest.approx((same.alpha - 1) / math.sqrt(same.tail_size), rel=TIGHT)

    # a candidate whose distance is the margin's edge up to rounding may or may not count
    reach = least + STABILITY_MARGIN
    surely = [c.alpha for c in candidates if c.distance <= reach - TIGHT]
    perhaps = [c.alpha for c in candidates if c.distance <= reach + TIGHT]
    assert fit.alpha_low is not None
    assert fit.alpha_high is not None
    assert min(perhaps) * (1 - TIGHT) <= fit.alpha_low <= min(surely) * (1 + TIGHT)
    assert max(surely) * (1 - TIGHT) <= fit.alpha_high <= max(perhaps) * (1 + TIGHT)


def sample(law: str, n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if law == "wishart":
        return np.linalg.svd(rng.standard_normal((n, 2 * n)), compute_uv=False) ** 2
    if law == "pareto":
        return 1 + rng.pareto(2.0, n)
    if law == "lognormal":
        return rng.lognormal(0.0, 1.0, n)
    if law == "inverse gamma":
        return 1 / rng.gamma(1.5, 1.0, n)
    if law == "rounded":
        return np.round(1 + rng.pareto(2.0, n), 1)
    raise ValueError(law)


LAWS = ("wishart", "pareto", "lognormal", "inverse gamma", "rounded")


@pytest.mark.parametrize("ecdf", ["both", "lower"])
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("n", [30, 400])
def test_equals_brute_force(law: str, n: int, ecdf: Ecdf) -> None:
    values = sample(law, n)
    assert_same(fit_power_law(torch.from_numpy(values), ecdf=ecdf), values, min_tail=2, ecdf=ecdf)


spread = st.floats(-20.0, 20.0).map(math.exp)
tied = st.integers(1, 6).map(float)
close = st.floats(1.0, 1.0 + 1e-6)


@settings(max_examples=300, deadline=None)
@given(
    values=st.one_of(
        st.lists(spread, min_size=0, max_size=60),
        st.lists(tied, min_size=0, max_size=30),
        st.lists(close, min_size=0, max_size=30),
        st.lists(st.one_of(spread, tied), min_size=0, max_size=60),
    ),
    min_tail=st.integers(2, 10),
    ecdf=st.sampled_from(["both", "lower"]),
)
def test_equals_brute_force_on_anything(values: list[float], min_tail: int, ecdf: Ecdf) -> None:
    array = np.array(values)
    fit = fit_power_law(torch.from_numpy(array), min_tail=min_tail, ecdf=ecdf)
    assert_same(fit, array, min_tail=min_tail, ecdf=ecdf)


@settings(max_examples=100, deadline=None)
@given(exponents=st.lists(st.floats(-300.0, 300.0), min_size=2, max_size=40))
def test_range_of_six_hundred_decades(exponents: list[float]) -> None:
    array = 10.0 ** np.array(exponents)
    assert_same(fit_power_law(torch.from_numpy(array)), array, min_tail=2, ecdf="both")


@pytest.mark.parametrize("law", ["pareto", "lognormal"])
def test_equals_the_powerlaw_package(law: str) -> None:
    import powerlaw

    values = sample(law, 200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = powerlaw.Fit(values, parameter_ranges={"alpha": [1, None]}, verbose=False)
    ours = fit_power_law(torch.from_numpy(values), ecdf="lower")
    assert isinstance(ours, PowerLawFit)
    assert ours.xmin == peer.power_law.xmin
    assert ours.alpha == pytest.approx(peer.power_law.alpha, rel=TIGHT)
    assert ours.ks_distance == pytest.approx(peer.power_law.D, abs=TIGHT)


@pytest.mark.parametrize("alpha", [1.5, 2.0, 3.0, 6.0])
def test_recovers_the_exponent_of_a_pareto_law(alpha: float) -> None:
    rng = np.random.default_rng(1)
    values = (1 - rng.random(20_000)) ** (-1 / (alpha - 1))
    fit = fit_power_law(torch.from_numpy(values), min_tail=1000)
    assert isinstance(fit, PowerLawFit)
    assert abs(fit.alpha - alpha) < 4 * fit.sigma


def test_finds_where_a_tail_starts() -> None:
    rng = np.random.default_rng(2)
    values = np.concatenate([rng.uniform(0, 10, 3000), 10 * (1 - rng.random(3000)) ** (-1 / 1.5)])
    fit = fit_power_law(torch.from_numpy(values))
    assert isinstance(fit, PowerLawFit)
    assert 9 < fit.xmin < 13
    assert abs(fit.alpha - 2.5) < 4 * fit.sigma


@pytest.mark.parametrize("ecdf", ["both", "lower"])
@pytest.mark.parametrize("factor", [2.0**-900, 2.0**40, 2.0**900])
def test_powers_of_two_change_nothing(factor: float, ecdf: Ecdf) -> None:
    values = torch.from_numpy(sample("lognormal", 300))
    fit, scaled = fit_power_law(values, ecdf=ecdf), fit_power_law(values * factor, ecdf=ecdf)
    assert isinstance(fit, PowerLawFit)
    assert isinstance(scaled, PowerLawFit)
    assert scaled.xmin == fit.xmin * factor
    for name in ("alpha", "ks_distance", "tail_size", "sigma", "alpha_low", "alpha_high"):
        assert getattr(scaled, name) == getattr(fit, name)


@pytest.mark.parametrize("factor", [1e-280, 0.3, 1e280])
def test_the_unit_changes_nothing(factor: float) -> None:
    values = torch.from_numpy(sample("lognormal", 300))
    fit, scaled = fit_power_law(values), fit_power_law(values * factor)
    assert isinstance(fit, PowerLawFit)
    assert isinstance(scaled, PowerLawFit)
    assert scaled.tail_size == fit.tail_size
    assert scaled.alpha == pytest.approx(fit.alpha, rel=TIGHT)


def test_order_changes_nothing_and_the_values_stay() -> None:
    values = torch.from_numpy(sample("pareto", 300))
    before = values.clone()
    assert fit_power_law(values) == fit_power_law(values.sort().values)
    assert torch.equal(values, before)


def test_both_sides_are_never_nearer_than_one() -> None:
    for law in LAWS:
        values = torch.from_numpy(sample(law, 200))
        both, lower = fit_power_law(values, ecdf="both"), fit_power_law(values, ecdf="lower")
        assert isinstance(both, PowerLawFit)
        assert isinstance(lower, PowerLawFit)
        assert both.ks_distance >= lower.ks_distance - TIGHT


def test_without_stability() -> None:
    values = torch.from_numpy(sample("pareto", 300))
    fit, bare = fit_power_law(values), fit_power_law(values, stability=False)
    assert isinstance(fit, PowerLawFit)
    assert isinstance(bare, PowerLawFit)
    assert (bare.alpha_low, bare.alpha_high) == (None, None)
    assert (bare.alpha, bare.ks_distance) == (fit.alpha, fit.ks_distance)


def test_least_tail() -> None:
    values = torch.from_numpy(sample("wishart", 100))
    for min_tail in (2, 20, 60, 100):
        fit = fit_power_law(values, min_tail=min_tail)
        assert isinstance(fit, PowerLawFit)
        assert fit.tail_size >= min_tail


def test_zeros_and_negative_values_are_excluded_and_counted() -> None:
    values = torch.from_numpy(sample("pareto", 100))
    fit = fit_power_law(torch.cat([values, torch.zeros(7), -torch.ones(3)]))
    clean = fit_power_law(values)
    assert isinstance(fit, PowerLawFit)
    assert isinstance(clean, PowerLawFit)
    assert (fit.size, fit.excluded, clean.excluded) == (100, 10, 0)
    assert fit.alpha == clean.alpha


def test_equal_values_have_no_exponent() -> None:
    none = fit_power_law(torch.full((50,), 3.0))
    assert isinstance(none, NoFit)
    assert "equal" in none.reason
    assert none.size == 50


@pytest.mark.parametrize("values", [[], [0.0, 0.0], [1.0], [1.0, -1.0]])
def test_too_few_values(values: list[float]) -> None:
    none = fit_power_law(torch.tensor(values, dtype=torch.float64))
    assert isinstance(none, NoFit)
    assert "fewer" in none.reason
    assert none.size + none.excluded == len(values)


def test_two_values() -> None:
    fit = fit_power_law(torch.tensor([1.0, math.e], dtype=torch.float64))
    assert isinstance(fit, PowerLawFit)
    assert fit.alpha == pytest.approx(3.0)
    assert fit.ks_distance == pytest.approx(0.5)


def test_a_tail_holds_all_the_values_equal_to_its_start() -> None:
    values = torch.tensor([1.0] * 5 + [2.0] * 5 + [3.0] * 5 + [5.0, 9.0], dtype=torch.float64)
    fit = fit_power_law(values)
    assert isinstance(fit, PowerLawFit)
    assert fit.tail_size == int((values >= fit.xmin).sum())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        fit_power_law(torch.tensor([1.0, 2.0, bad]))


def test_calls_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="one-dimensional"):
        fit_power_law(torch.ones(2, 2))
    with pytest.raises(ValueError, match="min_tail"):
        fit_power_law(torch.ones(2), min_tail=1)
