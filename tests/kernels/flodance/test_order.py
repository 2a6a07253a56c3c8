"""The test of the order of the points: exact on random orders, and it sees the orders that people make."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.kernels.flodance import (
    Flag,
    MinorSeries,
    OrderTest,
    Status,
    Stop,
    extrapolate,
    extrapolate_until,
    order_test,
)


def source(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def matern(points: torch.Tensor, length: float = 0.1) -> torch.Tensor:
    distance = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    scaled = distance * (math.sqrt(3) / length)
    return (1 + scaled) * torch.exp(-scaled)


def farthest_first(points: torch.Tensor) -> torch.Tensor:
    nearest = torch.full((len(points),), math.inf, dtype=torch.float64)
    order, at = [], 0
    for _ in range(len(points)):
        order.append(at)
        nearest = torch.minimum(nearest, (points - points[at]).square().sum(1))
        nearest[at] = -1.0
        at = int(nearest.argmax())
    return points[order]


def result_for(points: torch.Tensor, used: int, seed: int = 0, outputs: int = 1) -> OrderTest:
    kernel = matern(points)
    if outputs > 1:
        coupling = torch.full((outputs, outputs), 0.5, dtype=torch.float64)
        kernel = torch.kron(kernel, coupling + 0.5 * torch.eye(outputs, dtype=torch.float64))
    found = order_test(
        lambda rows: kernel[rows][:, rows], used, len(points), generator=source(seed), outputs=outputs
    )
    assert found is not None
    return found


def cloud(seed: int, count: int = 400) -> torch.Tensor:
    return torch.rand(count, 2, generator=source(seed), dtype=torch.float64)


def test_random_orders_pass() -> None:
    found = [result_for(cloud(seed), 200, seed) for seed in range(12)]
    assert sum(each.rejected for each in found) <= 1
    # two-sided p-values of an exact test are uniform
    p_values = [p for each in found for p in (each.start, each.spread, each.rest) if p is not None]
    assert len(p_values) == 36
    assert 0.25 < sum(p_values) / len(p_values) < 0.75


@pytest.mark.parametrize("kind", ["farthest point", "sorted", "clustered"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_orders_that_mean_something_are_rejected(kind: str, outputs: int) -> None:
    points = cloud(5)
    if kind == "farthest point":
        points = farthest_first(points)
    elif kind == "sorted":
        points = points[points[:, 0].argsort()]
    else:
        centres = torch.rand(8, 2, generator=source(9), dtype=torch.float64)
        points = points[torch.cdist(points, centres).argmin(1).argsort(stable=True)]
    assert result_for(points, 200, outputs=outputs).rejected


def test_other_points_from_elsewhere_are_seen() -> None:
    points = torch.cat([cloud(1, 200), 0.5 * cloud(2, 200)])
    found = result_for(points, 200)
    assert found.rest is not None
    assert found.rest < 0.01
    assert found.rejected


def principal(kernel: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    return kernel[rows][:, rows]


@settings(max_examples=10, deadline=None)
@given(unit=st.floats(-20, 20), seed=st.integers(0, 2**31))
def test_the_unit_of_the_matrix_does_not_matter(unit: float, seed: int) -> None:
    kernel = matern(cloud(seed, 40))
    scaled = kernel * 2.0 ** round(unit)
    first, second = (order_test(partial(principal, k), 20, 40, generator=source(3)) for k in (kernel, scaled))
    assert first == second


def test_where_nothing_can_be_tested_there_is_no_test() -> None:
    kernel = matern(cloud(0, 30))
    principal = lambda rows: kernel[rows][:, rows]  # noqa: E731
    assert order_test(principal, 10, 30, generator=source(0)) is None
    singular = torch.ones(40, 40, dtype=torch.float64)
    assert order_test(lambda rows: singular[rows][:, rows], 30, 40, generator=source(0)) is None
    whole = order_test(principal, 30, 30, generator=source(0))
    assert whole is not None
    assert whole.rest is None
    with pytest.raises(ValueError, match="between 1 and 30"):
        order_test(principal, 31, 30, generator=source(0))


def test_extrapolations_refuse_an_order_and_flag_an_untested_one() -> None:
    minors = 2 * torch.linalg.cholesky(matern(cloud(3, 200))).diagonal().log().cumsum(0)
    series = MinorSeries.from_minors(minors)
    passed = OrderTest(start=0.4, spread=0.5, rest=0.6, points=100)
    failed = OrderTest(start=0.002, spread=0.5, rest=0.6, points=100)
    assert passed.p_value == 1.0
    assert failed.p_value == pytest.approx(0.006)
    assert OrderTest(0.3, 0.002, None, 50).p_value == pytest.approx(0.004)
    said = extrapolate(series, 400, order=passed)
    assert said.status is Status.PREDICTED
    assert said.order is passed
    assert Flag.ORDER_UNCHECKED not in said.flags
    assert Flag.ORDER_UNCHECKED in extrapolate(series, 400).flags
    refused = extrapolate(series, 400, order=failed)
    assert refused.status is Status.ORDER
    assert refused.logdet is None
    ended = extrapolate_until([minors], 400, 1e-9, order=failed)
    assert ended.stop is Stop.ORDER
