"""Kendall's tau within strata: known answers, invariances, coverage and false alarms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rmtaudit.kernels.rank_correlation import kendall
from rmtaudit.kernels.rank_correlation.bootstrap import bootstrap_taus, percentile_interval
from rmtaudit.kernels.rank_correlation.kendall import kendall_tau, partial_tau
from rmtaudit.kernels.rank_correlation.permutation import (
    holm,
    partial_p_values,
    permutations_within,
    tau_p_values,
)

Values = np.ndarray
NUMBERS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 2)), min_size=2, max_size=30
)


def one(n: int) -> Values:
    return np.zeros(n, dtype=np.int64)


@given(NUMBERS)
def test_one_stratum_is_the_tau_of_scipy(rows: list[tuple[int, int, int]]) -> None:
    x, y, _ = np.array(rows, dtype=float).T
    expected = stats.kendalltau(x, y).statistic
    assert kendall_tau(x, y, one(len(x))) == pytest.approx(expected, nan_ok=True, abs=1e-12)


@given(NUMBERS)
def test_only_pairs_of_one_stratum_count(rows: list[tuple[int, int, int]]) -> None:
    x, y, strata = np.array(rows, dtype=np.int64).T
    score = untied_x = untied_y = 0
    for (xa, ya, fa), (xb, yb, fb) in itertools.combinations(rows, 2):
        if fa == fb:
            score += np.sign(xa - xb) * np.sign(ya - yb)
            untied_x += xa != xb
            untied_y += ya != yb
    expected = score / np.sqrt(untied_x * untied_y) if untied_x and untied_y else np.nan
    given_ = kendall_tau(x.astype(float), y.astype(float), strata)
    assert given_ == pytest.approx(expected, nan_ok=True, abs=1e-12)


@pytest.mark.parametrize("levels", [3, 10_000])
def test_large_strata_are_counted_without_their_pairs(levels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, levels, (2, 500)).astype(float)
    strata = rng.integers(0, 3, 500)
    monkeypatch.setattr(kendall, "_LARGE", 10_000)
    by_pairs = kendall_tau(x, y, strata)
    monkeypatch.setattr(kendall, "_LARGE", 20)
    assert kendall_tau(x, y, strata) == pytest.approx(by_pairs, abs=1e-12)


def test_partial_tau_is_that_of_the_fourfold_table() -> None:
    """Kendall's example: pairs concordant with ``z`` against pairs of ``x`` and ``y``."""
    rng = np.random.default_rng(1)
    x, y, z = rng.standard_normal((3, 40))
    first, second = np.triu_indices(40, 1)
    sx, sy, sz = (np.sign(v[first] - v[second]) for v in (x, y, z))
    a, b = ((sx == sz) & (sy == sz)).sum(), ((sx == sz) & (sy != sz)).sum()
    c, d = ((sx != sz) & (sy == sz)).sum(), ((sx != sz) & (sy != sz)).sum()
    expected = (a * d - b * c) / np.sqrt(float((a + b) * (c + d) * (a + c) * (b + d)))
    taus = [np.array(kendall_tau(p, q, one(40))) for p, q in ((x, y), (x, z), (y, z))]
    assert float(partial_tau(*taus)) == pytest.approx(expected, abs=1e-12)


def test_nothing_is_left_where_size_orders_perfectly() -> None:
    assert np.isnan(partial_tau(np.array(1.0), np.array(0.5), np.array(1.0)))


def test_the_exact_p_value_is_that_of_scipy() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((3, 7)), rng.standard_normal(7)
    given_ = tau_p_values(x, y, one(7), generator=rng)
    expected = [stats.kendalltau(each, y, method="exact").pvalue for each in x]
    assert given_ == pytest.approx(expected, abs=1e-12)


def test_permutations_stay_within_strata() -> None:
    strata = np.array([0, 0, 0, 1, 1])
    assert permutations_within(strata) == pytest.approx(12)
    y = np.array([1.0, 2.0, 3.0, 10.0, 20.0])
    # Four concordant pairs, the most there are: 1 of the 12 orders has as many, and 1 has none.
    assert tau_p_values(y[None], y, strata, generator=np.random.default_rng(0)) == pytest.approx([2 / 12])


def test_random_permutations_agree_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    x, y, z = rng.standard_normal((4, 7)), rng.standard_normal(7), rng.standard_normal(7)
    exact = tau_p_values(x, y, one(7), generator=rng), partial_p_values(x, y, z, one(7), generator=rng)
    monkeypatch.setattr("rmtaudit.kernels.rank_correlation.permutation.MOST_EXACT", 10)
    drawn = tau_p_values(x, y, one(7), generator=rng), partial_p_values(x, y, z, one(7), generator=rng)
    for all_of_them, some in zip(exact, drawn, strict=True):
        assert some == pytest.approx(all_of_them, abs=0.04)


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), max_size=12))
@settings(max_examples=50)
def test_adjusted_p_values_are_larger_and_keep_the_order(values: list[float]) -> None:
    adjusted = holm(values)
    assert all(one_ >= other for one_, other in zip(adjusted, values, strict=True))
    ranked = sorted(range(len(values)), key=lambda place: values[place])
    assert all(adjusted[a] <= adjusted[b] for a, b in itertools.pairwise(ranked))


def test_intervals_cover() -> None:
    """Normal variables of correlation .5, 10 items: true tau is 1/3. 120 of 120 x .95 +- 4 sd."""
    rng = np.random.default_rng(4)
    true, repeats = 2 / np.pi * np.arcsin(0.5), 120
    covered = 0
    for _ in range(repeats):
        z, y, noise = rng.standard_normal((3, 10))
        x = 0.5 * y + np.sqrt(0.75) * noise
        replicates = bootstrap_taus(x[None], y, z, one(10), draws=300, generator=rng)
        interval = percentile_interval(replicates.xy[:, 0], kendall_tau(x, y, one(10)))
        assert interval is not None
        covered += interval[0] <= true <= interval[1]
    assert covered >= 0.95 * repeats - 4 * np.sqrt(repeats * 0.95 * 0.05)


def test_size_alone_is_no_effect_of_a_metric() -> None:
    """Metric and quality both follow size and nothing else: partial p-values below .05 in 5 % of cases."""
    rng = np.random.default_rng(5)
    strata = np.repeat(np.arange(2), 6)
    p_values = []
    for _ in range(100):
        z = rng.standard_normal(12)
        y = z + 0.7 * rng.standard_normal(12)
        x = np.exp(z) + 0.5 * rng.standard_normal((1, 12))
        p_values.append(float(partial_p_values(x, y, z, strata, generator=rng)[0]))
    assert np.mean(np.array(p_values) < 0.05) <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 100)
    assert np.nanmean(p_values) >= 0.5 - 4 * np.sqrt(1 / 12 / 100)


def test_a_real_effect_given_size_is_seen() -> None:
    rng = np.random.default_rng(6)
    z, own = rng.standard_normal((2, 40))
    p_values = partial_p_values((z + own)[None], z + own, z, one(40), generator=rng)
    assert p_values[0] < 0.01


def test_large_samples_have_the_width_of_theory() -> None:
    """Independent normal variables: Var(tau) = 2 (2 n + 5) / (9 n (n - 1))."""
    rng = np.random.default_rng(7)
    n = 2000
    x, y, z = rng.standard_normal((3, n))
    replicates = bootstrap_taus(x[None], y, z, one(n), draws=300, generator=rng)
    tau = kendall_tau(x, y, one(n))
    interval = percentile_interval(replicates.xy[:, 0], tau, scale=replicates.scale)
    assert interval is not None
    expected = 2 * 1.96 * np.sqrt(2 * (2 * n + 5) / (9 * n * (n - 1)))
    assert interval[1] - interval[0] == pytest.approx(expected, rel=0.3)
    assert interval[0] <= tau <= interval[1]


def test_an_interval_needs_its_replicates() -> None:
    assert percentile_interval(np.array([np.nan, 0.1, 0.2]), 0.1) is None
    assert percentile_interval(np.array([0.1, 0.2]), float("nan")) is None
