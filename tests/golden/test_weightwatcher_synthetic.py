"""WeightWatcher 0.7.7 on seeded matrices and convolutions, with its options.

``synthetic.csv`` is beside the checkout and says in its README how to draw the matrices.
``data/weightwatcher_edges.csv`` holds further runs of the same release (``WeightWatcher(model={"a.weight":
W}).analyze(...)``, numpy 2.4, 17 digits) of what it does at its edges; :data:`EDGES` draws the matrices.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from rmtaudit.analyzers.base import LayerInput, MetricValue
from rmtaudit.analyzers.weightwatcher import Options, WeightWatcher
from rmtaudit.matrices.layers import ConvPolicy

Build = Callable[..., dict[str, LayerInput]]
Compare = Callable[..., list[str]]

FULL = Options(mp_fit=True, detX=True)
OPTIONS: dict[str, tuple[Options, ConvPolicy]] = {
    "default": (FULL, "slices-pooled"),
    "clip_xmax": (Options(fix_fingers="clip_xmax"), "slices-pooled"),
    "inverse": (Options(inverse=True), "slices-pooled"),
    "pool": (FULL, "slices-pooled"),
    "pool_nonorm": (Options(conv2d_norm=False), "slices-pooled"),
    "nopool": (Options(min_evals=3), "slices"),
}

UNFITTED = frozenset(
    {"alpha", "D", "sigma", "xmin", "xmax", "num_pl_spikes", "warning", "num_fingers", "raw_alpha"}
    | {"alpha_weighted", "log_alpha_norm", "ERG_gap"}
)
"""What the peer fills with -1, or computes from that, where its fit failed."""


def draw(row: Mapping[str, str]) -> NDArray[np.float32]:
    r = np.random.default_rng(int(row["seed"]))
    n, m = int(row["rows"]), int(row["cols"])
    match row["kind"]:
        case "gauss":
            values = r.standard_normal((n, m))
        case "student_t3":
            values = r.standard_t(3, size=(n, m))
        case "uniform":
            values = r.uniform(-1, 1, size=(n, m))
        case "colscale":
            values = r.standard_normal((n, m)) * (np.arange(1, m + 1) / m)[None, :] ** -0.75
        case "lowrank5":
            values = r.standard_normal((n, 5)) @ r.standard_normal((5, m)) + 0.05 * r.standard_normal((n, m))
        case "spike":
            ones = np.outer(np.ones(n) / np.sqrt(n), np.ones(m) / np.sqrt(m))
            values = r.standard_normal((n, m)) / np.sqrt(n) + 3 * ones
        case "conv_gauss":
            kernel = int(float(row["kernel"]))
            values = r.standard_normal((n, m, kernel, kernel))
        case kind:
            raise ValueError(kind)
    return values.astype(np.float32)


def test_every_column_of_every_matrix(
    shared: Callable[..., Path], layer_inputs: Build, disagreements: Compare
) -> None:
    with shared("golden", "weightwatcher", "synthetic.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    recipe = ("kind", "rows", "cols", "kernel", "seed", "option")
    checked = 0
    for key, group in itertools.groupby(rows, key=lambda row: tuple(row[column] for column in recipe)):
        options, conv = OPTIONS[key[-1]]
        peers = list(group)
        inputs = layer_inputs({"a.weight": torch.from_numpy(draw(peers[0]))}, conv=conv)
        assert len(inputs) == len(peers)
        for given, peer in zip(inputs.values(), peers, strict=True):
            found = WeightWatcher(options).analyze(given)
            failed = peer["status"] == "failed"
            skip = frozenset({*recipe, "slice_id"}) | (UNFITTED if failed else frozenset())
            assert disagreements(found, peer, skip=skip) == [], key
            checked += 1
            assert all(
                isinstance(found[name], MetricValue) and found[name].status == "failed"  # type: ignore[union-attr]
                for name in UNFITTED & set(found)
                if failed
            )
    assert checked == len(rows) == 101


def noise(shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def heavy(n: int, m: int, seed: int) -> NDArray[np.float32]:
    columns = (np.arange(1, m + 1) / m)[None, :] ** -0.75
    return (np.random.default_rng(seed).standard_normal((n, m)) * columns).astype(np.float32)


CLIP = Options(fix_fingers="clip_xmax")
EDGES: dict[str, tuple[NDArray[np.float32], Options]] = {
    "conv_wide_2x2": (noise((8, 12, 2, 2), 30), FULL),
    "conv_wide_3x3": (noise((8, 12, 3, 3), 31), FULL),
    "conv_2x2_inverse": (noise((12, 8, 2, 2), 32), Options(inverse=True)),
    "conv_3x3_inverse": (noise((12, 8, 3, 3), 33), Options(inverse=True)),
    "conv_wide_2x2_slices": (noise((8, 12, 2, 2), 30), Options()),
    **{f"xmax_{k}": (heavy(300, 200, 5), Options(xmax=k)) for k in (1, 3, -3, 99)},
    **{
        f"small_{n}": (heavy(64, n, 40 + n), Options(min_evals=1, mp_fit=True, detX=True))
        for n in (2, 3, 7, 8, 9, 13, 16, 18)
    },
    **{f"small_clip_{n}": (heavy(64, n, 40 + n), CLIP) for n in (13, 14, 16, 20, 24)},
    "clip_thresh": (noise((300, 200), 1), Options(fix_fingers="clip_xmax", finger_thresh=3.0)),
    "clip_many": (noise((300, 30), 1), Options(fix_fingers="clip_xmax", max_fingers=20)),
    "tiny": (heavy(300, 200, 5) * np.float32(1e-4), FULL),
    "huge": (heavy(300, 200, 5) * np.float32(1e15), Options()),
}


def edge_rows(case: str) -> list[dict[str, str]]:
    path = Path(__file__).parent / "data" / "weightwatcher_edges.csv"
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["case"] == case]


@pytest.mark.parametrize("case", EDGES)
def test_every_column_at_the_edges(case: str, layer_inputs: Build, disagreements: Compare) -> None:
    weight, options = EDGES[case]
    conv: ConvPolicy = "slices" if case.endswith("slices") else "slices-pooled"
    inputs = layer_inputs({"a.weight": torch.from_numpy(weight)}, conv=conv)
    rows = edge_rows(case)
    assert len(rows) == len(inputs) > 0
    for given, row in zip(inputs.values(), rows, strict=True):
        found = WeightWatcher(options).analyze(given)
        assert disagreements(found, row, skip=frozenset({"case"})) == []


@pytest.mark.parametrize(
    ("case", "weight"),
    [("zero", np.zeros((30, 20), np.float32)), ("tinier", heavy(300, 200, 5) * np.float32(1e-6))],
)
def test_a_fit_that_fails_in_the_peer_fails_here(
    case: str, weight: NDArray[np.float32], layer_inputs: Build, disagreements: Compare
) -> None:
    (given,) = layer_inputs({"a.weight": torch.from_numpy(weight)}).values()
    (row,) = edge_rows(case)
    assert row["status"] == "failed"
    found = WeightWatcher(FULL if case == "zero" else Options()).analyze(given)
    skip = UNFITTED | {"case"}
    if case == "zero":
        # the peer reports -1, 0, NaN or infinity for these
        skip |= {"log_norm", "log_spectral_norm", "stable_rank", "entropy"}
        skip |= {metric.name for metric in WeightWatcher(FULL).active_metrics() if metric.name in found} - {
            metric.name for metric in WeightWatcher().active_metrics()
        }
    assert disagreements(found, row, skip=skip) == []
    for name in skip & set(found):
        value = found[name]
        assert isinstance(value, MetricValue), name
        assert value.status == "failed", name


def test_xmax_above_half_fails_where_the_peer_fits_something_else(layer_inputs: Build) -> None:
    """The peer logs "xmax is too large, stopping", and ends the data at the eigenvalue nearest to 101."""
    (row,) = edge_rows("xmax_101")
    assert row["status"] == "success"
    (given,) = layer_inputs({"a.weight": torch.from_numpy(heavy(300, 200, 5))}).values()
    found = WeightWatcher(Options(xmax=101)).analyze(given)
    assert found["alpha"] == MetricValue(
        value=None, status="failed", reason="xmax drops 101 of 200 eigenvalues, more than half"
    )


def test_equal_eigenvalues_fail_where_the_peer_reports_infinity(layer_inputs: Build) -> None:
    (row,) = edge_rows("identity")
    assert row["alpha"] == "inf"
    (given,) = layer_inputs({"a.weight": torch.eye(30)}).values()
    found = WeightWatcher(FULL).analyze(given)
    assert found["fit_status"] == "failed"
    assert found["alpha"] == MetricValue(
        value=None, status="failed", reason="in every tail, all values are equal"
    )
    assert found["detX_num"] == MetricValue(
        value=None, status="failed", reason="the determinant condition needs 2 distinct eigenvalues"
    )
