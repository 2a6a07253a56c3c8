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
    normal_p_value,
    permutation_moments,
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
        "e2": a**2, "e11": a * b, "e4": a**4, "e31": a**3 * b, "e22": a**2 * b**2,
        "e211": a**2 * b * c, "e1111": a * b * c * d,
    }  # fmt: skip
    scale = float(a.abs().max())
    for name, product in exact.items():
        order = 2 if name in ("e2", "e11") else 4
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
def test_neighbour_products_have_the_mean_and_variance_of_all_permutations(
    values: list[float], length: int
) -> None:
    dealt = centred(values)[ORDERS].view(-1, PLACES // length, length)
    statistic = (dealt[..., 1:] * dealt[..., :-1]).sum((1, 2))
    mean, variance = neighbour_products(permutation_moments(centred(values)), length)
    scale = float(dealt.abs().max()) ** 2
    assert mean == pytest.approx(float(statistic.mean()), abs=1e-9 * scale)
    assert variance == pytest.approx(float(statistic.var(correction=0)), abs=1e-8 * scale**2)


def test_tails() -> None:
    assert normal_p_value(3.0, 1.0, 4.0) == pytest.approx(math.erfc(1 / math.sqrt(2)))
    assert normal_p_value(3.0, 1.0, 0.0) == 1.0
    # a gamma law with mean and variance 1 is exponential
    assert gamma_p_value(5.0, 1.0, 1.0) == pytest.approx(2 * math.exp(-5))
    assert gamma_p_value(0.01, 1.0, 1.0) == pytest.approx(2 * (1 - math.exp(-0.01)))
    assert gamma_p_value(1.0, 1.0, 0.0) == 1.0
