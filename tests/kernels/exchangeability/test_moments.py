"""Moments over permutations against all permutations."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmtaudit.kernels.exchangeability.moments import (
    gamma_p_value,
    neighbour_products,
    permutation_moments,
    skewed_p_value,
    squared_group_sums,
)

PLACES = 6
ORDERS = torch.tensor(list(itertools.permutations(range(PLACES))))

scores = st.lists(st.floats(-10, 10), min_size=PLACES, max_size=PLACES).filter(
    lambda x: max(x) - min(x) > 0.1
)


def centred(values: list[float]) -> torch.Tensor:
    drawn = torch.tensor(values, dtype=torch.float64)
    return drawn - drawn.mean()


@given(scores)
def test_joint_moments_are_those_of_all_permutations(values: list[float]) -> None:
    found = permutation_moments(centred(values))
    a, b, c, d = centred(values)[ORDERS][:, :4].T
    exact = {
        "e2": a**2, "e11": a * b, "e3": a**3, "e4": a**4, "e6": a**6, "e31": a**3 * b, "e22": a**2 * b**2,
        "e211": a**2 * b * c, "e1111": a * b * c * d,
    }  # fmt: skip
    scale = float(a.abs().max())
    for name, product in exact.items():
        order = {"e2": 2, "e11": 2, "e3": 3, "e6": 6}.get(name, 4)
        assert getattr(found, name) == pytest.approx(float(product.mean()), abs=1e-9 * scale**order)


@given(scores, st.sampled_from([(3, 3), (2, 2, 2), (1, 2, 3), (4, 2), (2, 3), (1, 1)]))
def test_group_sums_have_the_mean_and_variance_of_all_permutations(
    values: list[float], sizes: tuple[int, ...]
) -> None:
    dealt = centred(values)[ORDERS]
    ends = list(itertools.accumulate(sizes))
    statistic = sum(
        dealt[:, end - size : end].sum(1).square() / size for size, end in zip(sizes, ends, strict=True)
    )
    assert isinstance(statistic, torch.Tensor)
    mean, variance = squared_group_sums(permutation_moments(centred(values)), torch.tensor(sizes))
    scale = float(dealt.abs().max()) ** 2
    assert mean == pytest.approx(float(statistic.mean()), abs=1e-9 * scale)
    assert variance == pytest.approx(float(statistic.var(correction=0)), abs=1e-8 * scale**2)


@given(scores, st.sampled_from([2, 3, 6]))
def test_neighbour_products_have_the_moments_of_all_permutations(values: list[float], length: int) -> None:
    dealt = centred(values)[ORDERS].view(-1, PLACES // length, length)
    statistic = (dealt[..., 1:] * dealt[..., :-1]).sum((1, 2))
    mean, variance, skewness = neighbour_products(permutation_moments(centred(values)), length)
    scale = float(dealt.abs().max()) ** 2
    assert mean == pytest.approx(float(statistic.mean()), abs=1e-9 * scale)
    assert variance == pytest.approx(float(statistic.var(correction=0)), abs=1e-8 * scale**2)
    if variance > 1e-3 * scale**2:
        central = float((statistic - statistic.mean()).pow(3).mean())
        assert skewness * variance**1.5 == pytest.approx(central, abs=1e-7 * scale**3)


def test_neighbour_products_of_squares_have_the_skewness_of_random_permutations() -> None:
    """48 lines of 3 places, as along a side of sixteen 3 x 3 kernels."""
    drawn = torch.randn(144, generator=torch.Generator().manual_seed(1), dtype=torch.float64).square()
    scores = drawn - drawn.mean()
    orders = torch.rand(40_000, 144, generator=torch.Generator().manual_seed(2)).argsort(1)
    dealt = scores[orders].view(-1, 48, 3)
    statistic = (dealt[..., 1:] * dealt[..., :-1]).sum((1, 2))
    mean, variance, skewness = neighbour_products(permutation_moments(scores), 3)
    z = (statistic - mean) / variance**0.5
    assert skewness > 0.4
    assert float(z.pow(3).mean()) == pytest.approx(skewness, rel=0.1)
    p_values = [skewed_p_value(value, mean, variance, skewness) for value in statistic.tolist()]
    for level in (0.01, 0.001):
        share = sum(p < level for p in p_values) / len(p_values)
        normal = float((z.abs() > -torch.special.ndtri(torch.tensor(level / 2))).double().mean())
        assert share < level + 3 * (level / len(p_values)) ** 0.5 < normal


def test_tails() -> None:
    assert skewed_p_value(3.0, 1.0, 4.0, 0.0) == pytest.approx(math.erfc(1 / math.sqrt(2)))
    assert skewed_p_value(3.0, 1.0, 0.0, 0.0) == 1.0
    # with a skewness of 2 the shifted gamma law is exponential
    assert skewed_p_value(4.0, 0.0, 1.0, 2.0) == pytest.approx(2 * math.exp(-5))
    assert skewed_p_value(-4.0, 0.0, 1.0, 2.0) == pytest.approx(math.erfc(4 / math.sqrt(2)))
    assert skewed_p_value(-4.0, 0.0, 1.0, -2.0) == pytest.approx(2 * math.exp(-5))
    # nearly symmetric, it is nearly normal, on both sides of the change of formula
    for skewness in (0.99e-4, 1.01e-4):
        assert skewed_p_value(3.0, 0.0, 1.0, skewness) == pytest.approx(math.erfc(3 / 2**0.5), rel=1e-2)
    # a gamma law with mean and variance 1 is exponential
    assert gamma_p_value(5.0, 1.0, 1.0) == pytest.approx(2 * math.exp(-5))
    assert gamma_p_value(0.01, 1.0, 1.0) == pytest.approx(2 * (1 - math.exp(-0.01)))
    assert gamma_p_value(1.0, 1.0, 0.0) == 1.0
