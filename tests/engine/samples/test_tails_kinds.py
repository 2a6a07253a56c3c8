"""Tails of values that no continuous law has: counts, grids, ties, clipped data; and of any size."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rmtaudit.engine.samples.tails import TailSettings, study_values
from rmtaudit.errors import NothingAuditableError
from rmtaudit.kernels.tails.ties import tied
from rmtaudit.report.document import dumps

PARETO = np.random.default_rng(0).pareto(1.2, 600) + 1


def upper(values: np.ndarray) -> dict[str, object]:
    document = study_values(torch.from_numpy(values.astype(float)), TailSettings(side="upper"))
    dumps(document)
    found: dict[str, object] = document["upper"]
    return found


@pytest.mark.parametrize("step", [1.0, 2.0, 10.0, 0.1, 0.25])
def test_counts_in_any_step_have_a_discrete_law_near_the_exponent(step: float) -> None:
    values = step * np.random.default_rng(1).zipf(2.5, 1000)
    found = upper(values)
    assert found["support"] == "discrete"
    assert found["alpha"]["value"] == pytest.approx(2.5, abs=4 * found["alpha"]["se"])  # type: ignore[index]
    assert found["xmin"]["value"] == pytest.approx(step)  # type: ignore[index]
    lower = study_values(torch.from_numpy(values), TailSettings())["lower"]
    assert lower["status"] == "failed"
    assert "grid" in lower["reason"]


def test_a_fine_grid_is_as_good_as_none() -> None:
    found = upper(np.round(PARETO, 4))
    assert found["support"] == "continuous"
    assert not found["warnings"]


@pytest.mark.parametrize(
    "values",
    [
        np.array([1] * 1000 + [10] * 100 + [100] * 10 + [1000]),
        np.array([1.0] * 300 + [7.0] * 5),
        np.random.default_rng(2).integers(0, 8, 3000) * 0.37,
        np.random.default_rng(2).binomial(3, 0.5, 500),
    ],
    ids=["decades", "two", "four bits", "binomial"],
)
def test_few_different_values_are_refused_with_a_reason(values: np.ndarray) -> None:
    with pytest.raises(NothingAuditableError, match="distinct values"):
        upper(values)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.minimum(PARETO, 8.0), "clipped or censored"),
        (np.minimum(np.random.default_rng(3).zipf(2.0, 2000), 20), "clipped or censored"),
        (np.repeat(PARETO, 2), "are distinct"),
    ],
    ids=["clipped", "clipped counts", "pairs"],
)
def test_tied_values_are_said_first_and_no_law_is_judged(values: np.ndarray, words: str) -> None:
    found = upper(values)
    assert words in found["warnings"][0]  # type: ignore[index]
    verdict = found["verdict"]
    assert verdict["status"] == "tied"  # type: ignore[index]
    assert verdict["winner"] is None  # type: ignore[index]
    assert verdict["plausible"] == []  # type: ignore[index]


def test_a_heap_inside_the_tail_is_found() -> None:
    x = np.sort(np.r_[PARETO, np.full(60, 2.34567891234)])
    found = tied(x, "continuous")
    assert found is not None
    assert (found.kind, found.value, found.count) == ("heap", 2.34567891234, 60)
    assert tied(np.sort(PARETO), "continuous") is None


def test_a_distance_that_no_sample_shows_leaves_no_law() -> None:
    # two narrow lumps, wide apart, with a tail that no law of the five follows
    rng = np.random.default_rng(4)
    values = np.concatenate((1 + 0.001 * rng.random(3000), 50 + rng.random(3000)))
    document = study_values(torch.from_numpy(values), TailSettings(side="upper", min_tail=5900))
    found = document["upper"]
    assert found["verdict"]["status"] == "none fits"
    assert found["verdict"]["plausible"] == []
    assert "None of the five laws fits" in found["warnings"][0]
    assert not any(law["possible"] for law in found["laws"])


@pytest.mark.parametrize("exponent", [-1030, -900, 700, 1000])
def test_laws_have_no_scale(exponent: int) -> None:
    values = np.ldexp(PARETO, exponent)
    plain = study_values(torch.from_numpy(PARETO), TailSettings())
    moved = study_values(torch.from_numpy(values), TailSettings())
    dumps(moved)
    for side in ("upper", "lower"):
        assert moved[side]["verdict"]["plausible"] == plain[side]["verdict"]["plausible"]
        for one, other in zip(plain[side]["laws"], moved[side]["laws"], strict=True):
            assert other["gain"] == pytest.approx(one["gain"], abs=1e-3)
    assert moved["upper"]["alpha"]["value"] == pytest.approx(plain["upper"]["alpha"]["value"], rel=1e-6)
    expected = math.ldexp(plain["upper"]["xmin"]["value"], exponent)
    assert moved["upper"]["xmin"]["value"] == pytest.approx(expected, rel=1e-6)


def test_values_too_far_apart_are_refused() -> None:
    values = torch.tensor([5e-324, 1e308] * 20, dtype=torch.float64)
    with pytest.raises(NothingAuditableError, match="more than floating-point numbers"):
        study_values(values, TailSettings())
