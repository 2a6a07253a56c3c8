"""Predictions against values that are known, and refusals."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rmtaudit.kernels.flodance import (
    Flag,
    MinorSeries,
    Status,
    Stop,
    extrapolate,
    extrapolate_until,
    grow_minors,
    ordering_average,
)

Shared = Callable[..., Path]
SIZES = np.arange(1.0, 4097)
LAW = 1 - 2 * np.log(SIZES)
KERNELS = {(2, 0.04, 0.0): "rough", (2, 0.1, 1e-3): "nugget", (4, 0.2, 0.0): "four dimensions"}


def matern(size: int, dimension: int, length: float, nugget: float, seed: int) -> torch.Tensor:
    at = torch.from_numpy(np.random.default_rng(seed).random((size, dimension)))
    distance = torch.cdist(at, at, compute_mode="donot_use_mm_for_euclid_dist") * (math.sqrt(3) / length)
    kernel = (1 + distance) * torch.exp(-distance)
    kernel.diagonal().add_(nugget)
    return kernel


def minors(kernel: torch.Tensor) -> torch.Tensor:
    return 2 * torch.linalg.cholesky(kernel).diagonal().log().cumsum(0)


def made(seed: int, known: int = 1024, law: np.ndarray = LAW) -> tuple[MinorSeries, float]:
    logdets = np.cumsum(law + np.random.default_rng(seed).standard_normal(len(law)))
    return MinorSeries.of(np.arange(1, known + 1), logdets[:known]), float(logdets[-1])


def ntk(shared: Shared, stem: str, outputs: int, upto: int) -> tuple[MinorSeries, dict[int, float]]:
    with shared("data", "ntk_resnet50_cifar10", "index.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["file"].startswith(stem)]
    rows.sort(key=lambda row: int(row["matrix_size"]))
    known = {int(row["matrix_size"]) // outputs: row for row in rows}
    used = [size for size in known if size <= upto]
    last = known[used[-1]]
    series = MinorSeries.of(
        used,
        [float(known[size]["logdet"]) for size in used],
        outputs=outputs,
        smallest=float(last["min_eigenvalue"]),
        largest=float(last["max_eigenvalue"]),
    )
    return series, {size: float(row["logdet"]) for size, row in known.items()}


def test_ntk_with_nine_outputs(shared: Shared) -> None:
    series, known = ntk(shared, "cifar_resnet50_fp64_l9_p", 9, 2048)
    said = extrapolate(series, 4096)
    assert said.status is Status.PREDICTED
    assert said.low is not None
    assert said.high is not None
    assert said.per_dimension is not None
    assert said.low <= known[4096] <= said.high
    assert abs(said.per_dimension - known[4096] / (9 * 4096)) < 0.01
    # Three increments, two coefficients: it says so.
    assert Flag.FEW_DEGREES in said.flags
    assert Flag.BACK_TEST_EMPTY in said.flags
    assert Flag.FLOOR_UNCHECKED not in said.flags


def test_ntk_with_ten_outputs_is_refused(shared: Shared) -> None:
    series, _ = ntk(shared, "cifar_resnet50_fp64_p", 10, 2048)
    said = extrapolate(series, 4096)
    assert said.status is Status.ROUNDING_FLOOR
    assert said.logdet is said.low is said.high is None
    blind = extrapolate(MinorSeries.of(series.sizes, series.logdets, outputs=10), 4096)
    assert Flag.FLOOR_UNCHECKED in blind.flags


def test_kept_back_size_of_the_nine_outputs_is_back_tested(shared: Shared) -> None:
    series, _ = ntk(shared, "cifar_resnet50_fp64_l9_p", 9, 4096)
    said = extrapolate(series, 8192)
    assert said.back_test is not None
    assert [row.origin for row in said.back_test.judged] == [2048]
    assert said.back_test.missed == 0


@pytest.mark.parametrize("setting", KERNELS, ids=KERNELS.get)
def test_matern(setting: tuple[int, float, float]) -> None:
    covered = 0
    for seed in range(3):
        exact = minors(matern(1600, *setting, seed))
        said = extrapolate(MinorSeries.from_minors(exact[:400]), 1600)
        assert said.status is Status.PREDICTED
        assert said.low is not None
        assert said.high is not None
        assert said.noise is not None
        assert said.noise < (said.high - said.low) / 2
        assert said.back_test is not None
        assert sum(c.weight for c in said.back_test.candidates) == pytest.approx(1)
        covered += said.low <= float(exact[-1]) <= said.high
    assert covered >= 2


@pytest.mark.slow
def test_matern_covers_in_nine_of_ten() -> None:
    covered = predicted = 0
    for setting in KERNELS:
        for seed in range(5):
            exact = minors(matern(4096, *setting, seed))
            said = extrapolate(MinorSeries.from_minors(exact[:1024]), 4096)
            if said.low is not None and said.high is not None:
                predicted += 1
                covered += said.low <= float(exact[-1]) <= said.high
    assert predicted == 15
    assert covered >= 0.9 * predicted


def test_interval_covers_what_obeys_the_law() -> None:
    covered = predicted = 0
    for seed in range(15):
        series, truth = made(seed, known=600)
        said = extrapolate(series, 4096)
        if said.low is not None and said.high is not None:
            predicted += 1
            covered += said.low <= truth <= said.high
    # Refusals have a level of 1 %, and a binomial of 95 % falls below 11 of 15 once in a thousand.
    assert predicted >= 13
    assert covered >= predicted - 4


def test_rescaling_moves_the_prediction_and_not_the_interval() -> None:
    series, _ = made(0)
    moved = MinorSeries.of(series.sizes, series.logdets + 5.0 * series.sizes)
    one, other = extrapolate(series, 4096), extrapolate(moved, 4096)
    assert one.per_dimension is not None
    assert other.per_dimension is not None
    assert other.per_dimension - one.per_dimension == pytest.approx(5.0, abs=1e-9)
    assert other.half_width_per_dimension == pytest.approx(one.half_width_per_dimension, rel=1e-6)
    assert one.half_width_percent != pytest.approx(other.half_width_percent, rel=0.1)


def test_known_size_is_exact() -> None:
    series, _ = made(0)
    said = extrapolate(series, 512)
    assert said.status is Status.KNOWN
    assert said.logdet == said.low == said.high == float(series.logdets[511])


def test_too_few_sizes() -> None:
    said = extrapolate(MinorSeries.of([10, 20, 40], [1.0, 2.0, 3.0]), 80)
    assert said.status is Status.TOO_FEW_SIZES
    assert said.logdet is None
    assert said.chosen is None


@pytest.mark.parametrize("sizes", [[7], [7, 9]])
def test_one_or_two_sizes(sizes: list[int]) -> None:
    assert extrapolate(MinorSeries.of(sizes, [1.0] * len(sizes)), 80).status is Status.TOO_FEW_SIZES


def test_series_that_leaves_its_law_is_refused() -> None:
    """A swing that the candidates follow for a while: forecasts of the past miss."""
    swing = LAW + 4 * np.sin(SIZES / 100)
    found = {extrapolate(made(seed, law=swing)[0], 4096).status for seed in range(3)}
    assert found <= {Status.BACK_TEST_FAILED, Status.REGIME_CHANGE}


def test_wider_than_the_tolerance_is_refused() -> None:
    series, _ = made(0)
    free = extrapolate(series, 4096)
    assert free.half_width_per_dimension is not None
    assert extrapolate(series, 4096, tolerance=1.01 * free.half_width_per_dimension).logdet == free.logdet
    tight = extrapolate(series, 4096, tolerance=0.99 * free.half_width_per_dimension)
    assert tight.status is Status.TOO_WIDE
    assert tight.logdet is None


def test_further_is_wider_and_more_confident_is_wider() -> None:
    series, _ = made(0)
    widths = [extrapolate(series, size).half_width_per_dimension or 0.0 for size in (1200, 2048, 4096)]
    assert widths == sorted(widths)
    half, most = (extrapolate(series, 4096, confidence=c).half_width_percent or 0.0 for c in (0.5, 0.99))
    assert half < most


def test_long_series_are_pooled() -> None:
    sizes = np.arange(1.0, 20_001)
    series, truth = made(1, known=5000, law=1 - 2 * np.log(sizes))
    said = extrapolate(series, 20_000)
    assert said.low is not None
    assert said.high is not None
    assert said.low <= truth <= said.high
    assert said.chosen is not None
    assert said.chosen.omega == pytest.approx(1.0, rel=0.15)


def test_averaged_orderings_are_weighed_by_the_back_test() -> None:
    kernel = matern(1200, 2, 0.1, 0.0, 0)
    exact = minors(kernel)
    average = ordering_average(kernel[:300, :300], orderings=8, generator=torch.Generator().manual_seed(0))
    said = extrapolate(MinorSeries.from_minors(exact[:300]), 1200, averaged=average)
    assert said.low is not None
    assert said.high is not None
    assert said.low <= float(exact[-1]) <= said.high
    assert said.back_test is not None
    averaged = [c for c in said.back_test.candidates if c.averaged]
    assert len(averaged) == len(said.back_test.candidates) / 2
    assert all(c.score is not None and c.tested for c in averaged)


def test_averaging_needs_every_minor() -> None:
    with pytest.raises(ValueError, match="every minor"):
        extrapolate(MinorSeries.of([1, 2, 4, 8], [1.0, 2, 3, 4]), 16, averaged=lambda n: torch.zeros(n))


@pytest.mark.parametrize(
    ("size", "options", "message"),
    [
        (80, {"confidence": 1.0}, "confidence"),
        (80, {"tolerance": 0.0}, "tolerance"),
        (3, {}, "not among those known"),
    ],
)
def test_arguments_that_make_no_sense(size: int, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        extrapolate(MinorSeries.of([2, 4, 8, 16], [1.0, 2, 3, 4]), size, **options)


def test_empty_series() -> None:
    with pytest.raises(ValueError, match="no leading minor"):
        extrapolate(MinorSeries.of([], []), 4)


def test_anytime_stops_early_and_covers() -> None:
    kernel = matern(1200, 2, 0.1, 1e-2, 0)
    truth = float(minors(kernel)[-1])
    asked = []

    def rows(start: int, stop: int) -> torch.Tensor:
        asked.append(stop)
        return kernel[start:stop, :stop]

    found = extrapolate_until(grow_minors(rows, range(50, 1201, 50)), 1200, 0.3)
    said = found.extrapolation
    assert found.stop is Stop.TOLERANCE
    assert said.last_size == asked[-1] < 1200
    assert said.half_width_per_dimension is not None
    assert said.half_width_per_dimension <= 0.3
    assert said.low is not None
    assert said.high is not None
    assert said.low <= truth <= said.high
    assert len(found.looks) < len(asked)
    assert found.looks[-1].last_size == said.last_size
    assert found.looks[-1].low is not None
    assert said.low <= found.looks[-1].low


def test_anytime_reaches_the_size() -> None:
    exact = minors(matern(300, 2, 0.1, 0.0, 0))
    found = extrapolate_until(exact.split(100), 300, 1e-6)
    assert found.stop is Stop.COMPLETE
    assert found.extrapolation.logdet == float(exact[-1])


def test_anytime_runs_out() -> None:
    exact = minors(matern(300, 2, 0.1, 0.0, 0))
    found = extrapolate_until(exact.split(100), 3000, 1e-6)
    assert found.stop is Stop.EXHAUSTED
    assert found.extrapolation.last_size == 300


def test_anytime_stops_at_the_rounding_floor() -> None:
    pivots = torch.logspace(0, -40, 400, dtype=torch.float64)
    found = extrapolate_until(pivots.log().cumsum(0).split(100), 4000, 0.1)
    assert found.stop is Stop.ROUNDING_FLOOR
    assert found.extrapolation.last_size < 400


def test_anytime_refuses() -> None:
    with pytest.raises(ValueError, match="tolerance"):
        extrapolate_until([torch.zeros(3)], 9, 0.0)
    with pytest.raises(ValueError, match="complete point"):
        extrapolate_until([torch.zeros(3)], 9, 0.1, outputs=4)
