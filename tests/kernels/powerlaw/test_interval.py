"""The interval of a power-law exponent: coverage, instability, invariances and degenerate values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.powerlaw.fit import PowerLawFit, fit_power_law
from rmtaudit.kernels.powerlaw.interval import exponent_interval


def pareto(rng: np.random.Generator, n: int, alpha: float) -> np.ndarray:
    return rng.random(n) ** (-1 / (alpha - 1))


@pytest.mark.parametrize("alpha", [1.7, 3.0, 5.0])
@pytest.mark.parametrize(("n", "share"), [(96, 1.0), (96, 0.5), (300, 0.3)])
def test_the_interval_holds_the_true_exponent(n: int, share: float, alpha: float) -> None:
    """Of 120 intervals at 90 %, at least 85 % hold it, less three binomial standard errors: 90."""
    rng = np.random.default_rng([n, round(10 * alpha)])
    held = 0
    for _ in range(120):
        tail = rng.binomial(n, share)
        values = np.concatenate([rng.random(n - tail), pareto(rng, tail, alpha)])
        found = exponent_interval(torch.from_numpy(values))
        assert found is not None
        held += found.low <= alpha <= found.high
    assert held >= 90


def test_the_interval_narrows_as_the_tail_grows() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for n in (100, 1000, 10_000):
        found = exponent_interval(torch.from_numpy(pareto(rng, n, 2.5)))
        assert found is not None
        widths.append(found.high - found.low)
    assert widths[0] > widths[1] > widths[2]
    assert widths[2] < 0.2


def test_two_tails_that_fit_as_well_are_unstable() -> None:
    """Exact quantiles of a power law of exponent 1.5, whose 40 largest values follow one of exponent 6."""
    whole = (1 - (np.arange(400) + 0.5) / 400) ** -2.0
    steep = 10**2 * (1 - (np.arange(40) + 0.5) / 40) ** (-1 / 5)
    found = exponent_interval(torch.from_numpy(np.concatenate([whole[:360], steep])))
    assert found is not None
    (rival,) = found.rivals
    assert found.low < 1.6
    assert found.high > 6
    assert rival.alpha == pytest.approx(1.5, abs=0.1)


def test_a_power_law_is_stable() -> None:
    rng = np.random.default_rng(3)
    unstable = 0
    for _ in range(60):
        found = exponent_interval(torch.from_numpy(pareto(rng, 200, 2.5)))
        assert found is not None
        unstable += bool(found.rivals)
    assert unstable <= 4


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(1e-6, 1e6), min_size=8, max_size=80),
    st.sampled_from([2.0**-900, 2.0**-30, 4.0, 2.0**900]),
    st.integers(0, 20),
)
def test_the_fit_lies_inside_and_neither_unit_nor_order_nor_zeros_matter(
    values: list[float], unit: float, zeros: int
) -> None:
    x = torch.tensor(values, dtype=torch.float64)
    found = exponent_interval(x)
    fit = fit_power_law(x, min_tail=8)
    if not isinstance(fit, PowerLawFit):
        assert found is None
        return
    assert found is not None
    assert 1 < found.low < found.high < math.inf
    shuffled = torch.cat([torch.zeros(zeros, dtype=torch.float64), x.flip(0) * unit])
    again = exponent_interval(shuffled)
    assert again is not None
    assert again.low == pytest.approx(found.low, rel=1e-9)
    assert again.high == pytest.approx(found.high, rel=1e-9)


def test_values_that_differ_in_the_last_bit_have_an_interval_as_they_have_a_fit() -> None:
    """Their logarithms are equal in float64; their ratios are not."""
    x = torch.full((20,), 1e6, dtype=torch.float64)
    x[7] += 2.0**-33
    assert isinstance(fit_power_law(x, min_tail=8), PowerLawFit)
    assert exponent_interval(x) is not None


def test_a_higher_confidence_makes_it_wider() -> None:
    x = torch.from_numpy(pareto(np.random.default_rng(1), 100, 3.0))
    narrow, wide = exponent_interval(x, confidence=0.5), exponent_interval(x, confidence=0.99)
    assert narrow is not None
    assert wide is not None
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize("values", [torch.ones(50), torch.zeros(50), torch.arange(1.0, 7.0)])
def test_without_a_tail_there_is_no_interval(values: torch.Tensor) -> None:
    assert exponent_interval(values) is None


@pytest.mark.parametrize("changed", [{"min_tail": 1}, {"confidence": 0.0}, {"confidence": 1.0}])
def test_arguments_that_make_no_sense_are_refused(changed: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(changed))):
        exponent_interval(torch.arange(1.0, 30.0), **changed)  # type: ignore[arg-type]
