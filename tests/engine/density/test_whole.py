"""The spectrum of a whole matrix: which method runs, what it says, and what it refuses."""

from __future__ import annotations

import importlib.util
import itertools
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import rmtaudit
from rmtaudit.engine.density import DensitySettings, WholeResult
from rmtaudit.engine.density.method import Method, plan
from rmtaudit.engine.density.plot import save_plot
from rmtaudit.engine.density.settings import MethodName
from rmtaudit.engine.sources import SourceOptions
from rmtaudit.errors import InputError, RmtauditError, UsageError
from rmtaudit.matrices.sources import Gram, MaternMatrix, MatrixSource, Reach, SparseMatrix, TensorSource
from rmtaudit.report.document import dumps


def _adversaries() -> Any:
    path = Path(__file__).parents[3] / "benchmarks" / "adversaries" / "matrices.py"
    spec = importlib.util.spec_from_file_location("adversarial_matrices", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


FAMILIES = _adversaries().families()


def wishart(n: int, seed: int = 0) -> torch.Tensor:
    rows = torch.randn(n, 2 * n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = rows @ rows.T / (2 * n)
    return (found + found.T) / 2


class ProductsOnly(MatrixSource):
    """A symmetric matrix of which nothing but products is offered."""

    def __init__(self, matrix: torch.Tensor) -> None:
        self.name, self.shape, self.matrix = "products", (len(matrix), len(matrix)), matrix
        self.symmetric, self.symmetry, self.reach = True, "declared", frozenset({Reach.MATMUL})

    def matmul(self, X: torch.Tensor) -> torch.Tensor:
        return self.matrix @ X


def whole(matrix: Any, **more: Any) -> WholeResult:
    found = rmtaudit.density(matrix, **more)
    assert isinstance(found, WholeResult)
    json.loads(dumps(found.document))
    return found


def test_a_small_matrix_has_its_eigenvalues() -> None:
    matrix = wishart(60)
    found = whole(matrix, ridge=0.5)
    true = torch.linalg.eigvalsh(matrix)
    assert (found.verdict, found.document["method"]["name"]) == ("exact", "eigenvalues")
    assert torch.allclose(found.quantiles(), true)
    numbers = found.document["prediction"]["functionals"]
    assert numbers["log_det"]["value"] == pytest.approx(float(true.log().mean()))
    assert numbers["upper_edge"]["low"] == numbers["upper_edge"]["high"] == pytest.approx(float(true[-1]))
    assert found.document["ridge"]["log_det"]["value"] == pytest.approx(float((true + 0.5).log().mean()))
    assert found.complete
    assert found.answered


def test_products_alone_measure_a_matrix() -> None:
    matrix = wishart(150)
    found = whole(ProductsOnly(matrix), ridge=0.5, probes=8, steps=30)
    true = torch.linalg.eigvalsh(matrix)
    assert (found.verdict, found.document["method"]["name"]) == ("measured", "products")
    held = 0
    for one in found.document["prediction"]["quantiles"]:
        held += one["low"] <= float(true[math.ceil(one["level"] * 150) - 1]) <= one["high"]
    assert held >= 8
    # a share has a standard error of 2 %, over a range of 2.8
    assert float((found.quantiles() - true).abs().mean()) < 0.1
    ridge = found.document["ridge"]
    assert abs(ridge["log_det"]["value"] - float((true + 0.5).log().mean())) < 3 * ridge["log_det"]["se"]


def test_the_method_is_chosen_by_cost_and_by_what_is_asked() -> None:
    dense, asked = TensorSource(wishart(40)), DensitySettings
    assert plan(dense, asked()).method is Method.EIGENVALUES
    assert plan(dense, asked(method="products")).method is Method.PRODUCTS
    assert plan(dense, asked(factor=1.0)).method is Method.EIGENVALUES
    others: list[dict[str, Any]] = [
        {"factor": 2.0},
        {"sample": 20},
        {"samples": 2},
        {"kpm": True},
        {"method": "blocks"},
    ]
    for more in others:
        assert plan(dense, asked(**more)).method is Method.BLOCKS
    sparse = SparseMatrix(scipy.sparse.eye_array(9000).tocsr())
    assert plan(sparse, asked()).method is Method.PRODUCTS
    points = torch.rand(9000, 2, dtype=torch.float64)
    large = plan(MaternMatrix(points, nu=1.5, length=1.0), asked())
    assert large.method is Method.PRODUCTS
    assert large.memory == 2.5 * 8 * 60 * 9000 * large.batch
    assert large.operations > 1e10
    gram = Gram(TensorSource(torch.rand(3000, 5, dtype=torch.float64)), "rows")
    assert plan(gram, asked()).method is Method.EIGENVALUES


@pytest.mark.parametrize(
    "more",
    [
        {"method": "products", "factor": 2.0},
        {"method": "eigenvalues", "size": 80},
        {"method": "products", "sample": 20},
        {"method": "guess"},
        {"steps": 1},
        {"probes": 1},
    ],
)
def test_methods_that_contradict_what_is_asked(more: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        rmtaudit.density(wishart(40), **more)
    assert caught.value.code == "RA-US-507"


def test_a_method_that_is_not_offered() -> None:
    with pytest.raises(RmtauditError) as caught:
        rmtaudit.density(ProductsOnly(wishart(40)), method="eigenvalues")
    assert caught.value.code == "RA-MS-001"


@pytest.mark.parametrize("view", ["wwt", "wtw"])
def test_the_view_of_an_array_is_taken(view: Any) -> None:
    """``view="wwt"`` of weights in memory is their Gram matrix, as of a file."""
    rows = torch.randn(12, 30, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    gram = rows @ rows.T if view == "wwt" else rows.T @ rows
    found = whole(rows, options=SourceOptions(view=view))
    assert found.document["subject"]["order"] == len(gram)
    assert torch.allclose(found.quantiles(), torch.linalg.eigvalsh(gram), atol=1e-10)
    assert found.document["prediction"]["functionals"]["atom"]["value"] == (0 if view == "wwt" else 0.6)
    with pytest.raises(InputError) as caught:
        rmtaudit.density(rows)
    assert caught.value.code == "RA-DE-003"


def test_other_options_of_an_array_are_taken() -> None:
    points = torch.rand(20, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    kernel = whole(points, options=SourceOptions(kernel="rbf", length=0.3))
    assert kernel.document["prediction"]["functionals"]["mean"]["value"] == pytest.approx(1.0)
    edges = np.array([[0, 1], [1, 2]])
    graph = whole(edges, options=SourceOptions(laplacian="combinatorial"))
    assert graph.quantiles().tolist() == pytest.approx([0.0, 1.0, 3.0])
    moved = whole(np.eye(4), options=SourceOptions(shift=2.0))
    assert moved.quantiles().tolist() == [3.0] * 4
    sparse = whole(scipy.sparse.eye_array(30).tocsr(), method="products", probes=2)
    assert sparse.quantiles().tolist() == pytest.approx([1.0] * 30)
    for options in (SourceOptions(kernel="rbf"), SourceOptions(dtype="float32")):
        with pytest.raises(UsageError):
            rmtaudit.density(points, options=options)


@pytest.mark.parametrize("method", ["eigenvalues", "products", "auto"])
def test_a_matrix_that_is_not_symmetric_is_refused(method: Any) -> None:
    """Sampled blocks miss a band of width 1; what is read or multiplied does not."""
    matrix = 2 * np.eye(700) - 1.5 * np.eye(700, k=-1) - 0.5 * np.eye(700, k=1)
    source = TensorSource(matrix, symmetric=True)
    with pytest.raises(InputError) as caught:
        rmtaudit.density(source, method=method)
    assert caught.value.code == "RA-DE-003"


def test_the_lower_triangle_is_the_truth_where_that_is_declared() -> None:
    matrix = np.array([[1.0, 9.0], [0.5, 1.0]])
    found = whole(matrix, options=SourceOptions(symmetric=True))
    assert found.quantiles().tolist() == pytest.approx([0.5, 1.5])


@pytest.mark.parametrize("method", ["eigenvalues", "products"])
@pytest.mark.parametrize("scale", [1e150, 1e-150, 1e-300, 1e300])
def test_scale_is_only_scale(method: Any, scale: float) -> None:
    matrix = wishart(24)
    ordinary = whole(matrix, method=method, probes=4).document["prediction"]
    scaled = whole(matrix * scale, method=method, probes=4, ridge=scale).document
    numbers = scaled["prediction"]["functionals"]
    for name, power in (("mean", 1), ("upper_edge", 1), ("skewness", 0), ("effective_rank", 0)):
        expected = ordinary["functionals"][name]["value"] * scale**power
        assert numbers[name]["value"] == pytest.approx(expected, rel=1e-9, abs=0)
    expected = ordinary["functionals"]["log_det"]["value"] + math.log(scale)
    assert numbers["log_det"]["value"] == pytest.approx(expected)
    assert scaled["ridge"]["status"] == "ok"


def test_squares_out_of_range_are_refused() -> None:
    methods: tuple[MethodName, ...] = ("eigenvalues", "products")
    for method, entry in itertools.product(methods, (1e200, 1e-200)):
        weights = torch.full((5, 9), entry, dtype=torch.float64)
        with pytest.raises(InputError) as caught:
            rmtaudit.density(weights, options=SourceOptions(view="wwt"), method=method)
        assert caught.value.code == "RA-DE-006"


def test_a_projector_has_two_atoms() -> None:
    found = whole(FAMILIES["projector-rotated"](50, np.random.default_rng(0)))
    atoms = found.document["prediction"]["atoms"]
    assert [(round(one["place"], 9), one["mass"]) for one in atoms] == [(0.0, 0.4), (1.0, 0.6)]
    assert found.quantiles()[0] == 0.0


def test_rounding_makes_no_atom_below_zero() -> None:
    """A product of a matrix of half rank has negative eigenvalues of rounding size: they are zeros."""
    rows = torch.randn(40, 20, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = whole(rows @ rows.T, ridge=0.1)
    assert float(found.quantiles()[0]) == 0.0
    assert found.document["ridge"]["status"] == "ok"
    assert found.document["prediction"]["functionals"]["lower_edge"]["value"] == 0.0


def test_an_indefinite_matrix_has_no_ridge() -> None:
    for method in ("eigenvalues", "products"):
        found = whole(-wishart(20), ridge=1e-3, method=method, probes=4)
        assert found.document["ridge"]["status"] == "refused"
        assert not found.complete


def test_a_file_is_compared(tmp_path: Path) -> None:
    matrix = wishart(60)
    path = tmp_path / "true.npy"
    np.save(path, torch.linalg.eigvalsh(matrix).numpy())
    exact = whole(matrix, against=path).document["against"]
    assert exact["ks"] == 0
    assert whole(matrix, against=path, method="products", steps=20, probes=8).document["against"]["ks"] < 0.12
    pytest.importorskip("matplotlib")
    figure = tmp_path / "whole.svg"
    save_plot(whole(matrix, method="products", probes=4, steps=20), figure, truth=path)
    assert "measured" in figure.read_text(encoding="utf-8")


@given(
    family=st.sampled_from(sorted(FAMILIES)),
    n=st.integers(1, 12),
    seed=st.integers(0, 1 << 30),
    method=st.sampled_from(["auto", "products"]),
    power=st.sampled_from([0, 0, 0, -290, 150]),
)
@settings(max_examples=40, deadline=None)
def test_every_matrix_has_an_answer(family: str, n: int, seed: int, method: Any, power: int) -> None:
    matrix = FAMILIES[family](n, np.random.default_rng(seed)) * 10.0**power
    if not np.isfinite(matrix).all():
        return
    found = whole(matrix, method=method, probes=3, steps=8, ridge=1.0)
    low, high = (found.document["prediction"]["functionals"][f"{end}_edge"] for end in ("lower", "upper"))
    assert low["value"] is None or high["value"] is None or low["value"] <= high["value"]
    quantiles = [one["value"] for one in found.document["prediction"]["quantiles"]]
    assert quantiles == sorted(quantiles)
    assert len(found.quantiles()) == n


@pytest.mark.parametrize(("scale", "ridge"), [(1e-300, 1e300), (1e-305, 1e10), (1e300, 1e-300)])
def test_a_ridge_out_of_reach_of_the_eigenvalues_has_a_reason(scale: float, ridge: float) -> None:
    result = rmtaudit.density(scale * np.eye(4), method="eigenvalues", ridge=ridge)
    found = result.document["ridge"]
    assert "too far apart" in json.dumps(found)
