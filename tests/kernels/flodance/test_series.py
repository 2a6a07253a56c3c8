"""What a series holds, and what it refuses to hold."""

from __future__ import annotations

import pytest
import torch

from rmtaudit.kernels.flodance import MinorSeries, grow_minors, ordering_average


def positive(size: int, seed: int = 0) -> torch.Tensor:
    factor = torch.randn(size, 2 * size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return factor @ factor.T


@pytest.mark.parametrize(
    ("sizes", "logdets", "outputs", "message"),
    [
        ([1, 2], [0.0], 1, "same length"),
        ([2, 2], [0.0, 1.0], 1, "increasing"),
        ([0, 2], [0.0, 1.0], 1, "positive"),
        ([1, 2], [0.0, float("-inf")], 1, "not finite"),
        ([1, 2], [0.0, 1.0], 0, "at least one output"),
    ],
)
def test_refuses(sizes: list[int], logdets: list[float], outputs: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MinorSeries.of(sizes, logdets, outputs=outputs)


def test_minors_of_points_with_several_outputs() -> None:
    minors = 2 * torch.linalg.cholesky(positive(31)).diagonal().log().cumsum(0)
    series = MinorSeries.from_minors(minors, outputs=3)
    assert series.sizes.tolist() == list(range(1, 11))
    assert torch.equal(series.logdets, minors[2:30:3])
    pivots = torch.linalg.cholesky(positive(31)).diagonal() ** 2
    assert series.smallest == pytest.approx(float(pivots.min()))
    assert series.largest == pytest.approx(float(pivots.max()))


def test_thinning_keeps_the_last_size_and_every_scale() -> None:
    series = MinorSeries.of(torch.arange(1, 50_001), torch.zeros(50_000))
    thin = series.thinned(256)
    assert int(thin.sizes[-1]) == 50_000
    assert thin.sizes[:200].tolist() == list(range(1, 201))
    steps = thin.sizes.diff()[:-1] / thin.sizes[1:-1]
    assert float(steps[1000:].max()) < 1.5 / 256
    assert len(thin.sizes) < 256 * 11


@pytest.mark.parametrize("step", [1, 7, 64])
def test_grown_minors_are_those_of_one_factor(step: int) -> None:
    matrix = positive(100)
    asked = []

    def rows(start: int, stop: int) -> torch.Tensor:
        asked.append((start, stop))
        return matrix[start:stop, :stop]

    ends = [*range(step, 100, step), 100]
    grown = torch.cat(list(grow_minors(rows, ends)))
    whole = 2 * torch.linalg.cholesky(matrix).diagonal().log().cumsum(0)
    assert torch.allclose(grown, whole, rtol=1e-12)
    assert [stop for _, stop in asked] == ends


def test_growing_stops_asking_when_nobody_draws() -> None:
    matrix = positive(100)
    asked = []

    def rows(start: int, stop: int) -> torch.Tensor:
        asked.append(stop)
        return matrix[start:stop, :stop]

    next(grow_minors(rows, range(10, 101, 10)))
    assert asked == [10]


def test_growing_names_the_minor_that_fails() -> None:
    matrix = positive(50)
    matrix[37, 37] = -1
    with pytest.raises(ArithmeticError, match="size 38 "):
        list(grow_minors(lambda start, stop: matrix[start:stop, :stop], [20, 50]))


def test_growing_refuses_other_shapes_and_sizes() -> None:
    matrix = positive(20)
    with pytest.raises(ValueError, match="must increase"):
        list(grow_minors(lambda start, stop: matrix[start:stop, :stop], [10, 10]))
    with pytest.raises(ValueError, match="must have shape"):
        list(grow_minors(lambda start, stop: matrix[start:stop, :start], [10, 20]))


def test_average_over_orderings_sees_only_the_first_points() -> None:
    matrix = positive(24)
    spoiled = matrix.clone()
    spoiled[12:] = float("nan")
    spoiled[:, 12:] = float("nan")
    one, other = (
        ordering_average(m, orderings=5, generator=torch.Generator().manual_seed(1), outputs=2)(6)
        for m in (matrix, spoiled)
    )
    assert torch.equal(one, other)
    assert float(one[-1]) == pytest.approx(float(torch.logdet(matrix[:12, :12])))


def test_average_over_orderings_has_less_noise() -> None:
    """For independent points the increments have one law; their mean over orderings varies less."""
    matrix = torch.diag(torch.rand(200, dtype=torch.float64, generator=torch.Generator().manual_seed(2)))
    average = ordering_average(matrix, orderings=50, generator=torch.Generator().manual_seed(3))(200)
    plain = matrix.diagonal().log()
    assert float(average.diff().var()) < float(plain.var()) / 20
    assert float(average[-1]) == pytest.approx(float(plain.sum()))


def test_average_over_orderings_refuses() -> None:
    generator = torch.Generator()
    with pytest.raises(ValueError, match="square"):
        ordering_average(torch.zeros(2, 3), orderings=1, generator=generator)
    with pytest.raises(ValueError, match="at least one"):
        ordering_average(torch.eye(2), orderings=0, generator=generator)
    with pytest.raises(ArithmeticError, match="not positive definite"):
        ordering_average(-torch.eye(2), orderings=1, generator=generator)(2)
