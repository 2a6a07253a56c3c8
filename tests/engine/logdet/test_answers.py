"""Answers: every method against the truth, every refusal with its reason, every file that must work."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch

import rmtaudit
from rmtaudit.engine.logdet.answer import LogDeterminant, Margin
from rmtaudit.engine.logdet.run import log_determinant
from rmtaudit.engine.logdet.settings import LogdetSettings
from rmtaudit.engine.logdet.target import facts_of
from rmtaudit.engine.sources.options import View
from rmtaudit.errors import InputError, StoppedWorkError, UsageError
from rmtaudit.matrices.sources import KernelMatrix, MaternMatrix, Product, TensorSource
from rmtaudit.matrices.sources.sparse import Normalisation

MB = 10**6
logdet = partial(rmtaudit.logdet, threads=1)


def truth(matrix: torch.Tensor) -> float:
    return float(torch.linalg.slogdet(matrix).logabsdet)


def holds(answer: LogDeterminant, value: float, slack: float = 1e-9) -> None:
    """Check that an answer has a margin with the value in it, and a document of strict JSON."""
    assert answer.status == "ok", answer.reason
    assert answer.margin is not None
    assert answer.logdet is not None
    assert answer.margin.low - slack <= value <= answer.margin.high + slack
    assert answer.margin.low <= answer.logdet <= answer.margin.high
    json.dumps(answer.to_dict(), allow_nan=False)


def holds_as_computed(answer: LogDeterminant, value: float, slack: float = 1e-9) -> None:
    """Check that no margin is claimed, and that the one about the computed entries has the value in it."""
    assert answer.margin is not None
    assert answer.margin.kind == "not known"
    assert "RA-LD-102" in [each.code for each in answer.cautions]
    told = answer.to_dict()["result"]["margin"]
    assert [told[key] for key in ("low", "high", "half_width", "half_width_per_dimension")] == [None] * 4
    assert told["basis"]
    computed = Margin(**{key: item for key, item in answer.evidence["as_computed"].items()
                         if key != "half_width"})  # fmt: skip
    holds(replace(answer, margin=computed), value, slack)


def refused(answer: LogDeterminant, *words: str) -> None:
    assert answer.status == "refused"
    assert answer.logdet is None
    assert answer.margin is None
    assert all(word in answer.reason for word in words), answer.reason
    assert answer.advice
    text = json.dumps(answer.to_dict(), allow_nan=False)
    assert "NaN" not in text


@pytest.mark.parametrize("method", ["cholesky", "ldlt", "lu", "mixed", "slq"])
def test_every_method_agrees_with_the_dense_answer(method: str, easy: torch.Tensor) -> None:
    answer = logdet(easy, method=method)
    holds(answer, truth(easy))
    assert answer.method == method
    assert answer.sign == 1
    assert answer.per_dimension == pytest.approx(truth(easy) / 200, abs=0.05)


def test_more_than_memory_goes_to_disk(kernel: torch.Tensor, tmp_path: Path) -> None:
    answer = logdet(kernel, memory=2 * MB, scratch=tmp_path / "s", minors=True)
    holds(answer, truth(kernel))
    assert answer.place == "on disk"
    assert answer.work["tiles"] > 1
    assert not (tmp_path / "s").exists()
    assert answer.minors is not None
    assert float(answer.minors[99]) == pytest.approx(truth(kernel[:100, :100]))


def test_a_leading_minor(kernel: torch.Tensor) -> None:
    answer = logdet(kernel, size=100, outputs=3)
    holds(answer, truth(kernel[:300, :300]))
    assert answer.dimension == 300


def test_what_is_not_definite_goes_on_with_ldlt_and_says_so(indefinite: torch.Tensor) -> None:
    answer = logdet(indefinite)
    holds(answer, truth(indefinite))
    assert answer.method == "ldlt"
    assert answer.sign == int(torch.linalg.slogdet(indefinite).sign)
    assert answer.evidence["negative_eigenvalues"] == int((torch.linalg.eigvalsh(indefinite) < 0).sum())
    assert [each.code for each in answer.cautions] == ["RA-LD-103"]
    assert str(answer.evidence["failed_minor"]) in answer.cautions[0].message
    forced = logdet(indefinite, method="cholesky")
    refused(forced, "not positive definite", "leading minor")
    for method in ("slq", "mixed"):
        refused(logdet(indefinite, method=method))
    sparse = logdet(scipy.sparse.csr_array(indefinite.numpy()))
    assert sparse.method == "ldlt"
    holds(sparse, truth(indefinite))


def test_what_is_singular_is_refused_and_has_a_pseudo_determinant(low_rank: torch.Tensor) -> None:
    singular = logdet(low_rank)
    refused(singular, "singular to working precision")
    assert singular.evidence["negative_eigenvalues"] is None
    refused(logdet(low_rank, method="slq"))
    answer = logdet(low_rank, pseudo=True)
    values = torch.linalg.eigvalsh(low_rank)[-20:]
    holds(answer, float(values.log().sum()))
    assert answer.dimension == answer.evidence["rank"] == 20
    shifted = logdet(low_rank, shift=1e-3)
    holds(shifted, truth(low_rank + 1e-3 * torch.eye(120, dtype=torch.float64)))


def test_no_gap_no_pseudo_determinant() -> None:
    values = torch.logspace(0, -18, 60, dtype=torch.float64)
    Q = torch.linalg.qr(
        torch.randn(60, 60, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ).Q
    A = Q @ torch.diag(values) @ Q.T
    refused(logdet((A + A.T) / 2, pseudo=True), "not clear")
    refused(logdet(torch.zeros(5, 5), pseudo=True), "no eigenvalue")


def test_general_matrices() -> None:
    A = torch.randn(80, 80, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    answer = logdet(A)
    holds(answer, truth(A))
    assert answer.sign == int(torch.linalg.slogdet(A).sign)
    refused(logdet(torch.tensor([[1.0, 2.0], [2.0, 4.0]]), method="lu"), "singular to working")


def test_gram_matrices_of_either_side() -> None:
    W = torch.randn(90, 40, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    cases: list[tuple[torch.Tensor, View, View]] = [(W, "wtw", "wwt"), (W.T.contiguous(), "wwt", "wtw")]
    for matrix, small, large in cases:
        answer = logdet(matrix, view=small)
        holds(answer, truth(W.T @ W))
        assert answer.method == "qr"
        holds(logdet(matrix, view=small, method="slq"), truth(W.T @ W))
        singular = logdet(matrix, view=large)
        refused(singular, "rank of at most 40")
        assert singular.sign == 0
        pseudo = logdet(matrix, view=large, pseudo=True)
        holds(pseudo, truth(W.T @ W))
        assert pseudo.dimension == 40


def test_forming_a_gram_matrix_is_in_the_bound_of_its_cholesky_factor() -> None:
    """The entries of WᵀW are rounded too: QR of W knows better, and must lie within."""
    g = torch.Generator().manual_seed(6)
    for decades in (1, 3, 5):
        W = torch.randn(400, 30, generator=g, dtype=torch.float64)
        W = W * torch.logspace(0, -decades, 30, dtype=torch.float64)
        W = W @ torch.linalg.qr(torch.randn(30, 30, generator=g, dtype=torch.float64)).Q
        better = logdet(W, view="wtw")
        formed = logdet(W, view="wtw", method="cholesky")
        assert better.logdet is not None
        holds(formed, better.logdet, slack=0)
        assert not formed.cautions
        general = logdet(W, view="wtw", method="lu")
        assert [each.code for each in general.cautions] == ["RA-LD-102"]
        assert general.margin is not None
        assert general.margin.kind == "not known"


def test_entries_of_a_product_or_a_function_are_said_to_be_rounded(points: torch.Tensor) -> None:
    left = torch.randn(30, 30, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    product = Product(TensorSource(left), TensorSource(left))
    answer = log_determinant(product, LogdetSettings(threads=1))
    holds_as_computed(answer, 2 * truth(left))
    assert [each.code for each in answer.cautions] == ["RA-LD-102"]
    own = logdet(points[:50], kernel=lambda x, y: torch.exp(-torch.cdist(x, y)))
    assert [each.code for each in own.cautions] == ["RA-LD-102"]
    near = facts_of(MaternMatrix(points, nu=1.5, length=1.0)).rounding
    far = facts_of(MaternMatrix(points + 1e6, nu=1.5, length=1.0)).rounding
    assert near is not None
    assert far is not None
    assert near < 20
    assert far > 1e6


def test_points_far_from_the_origin_widen_the_bound(points: torch.Tensor) -> None:
    """Points that are rounded move their distances: the answer for the points near 0 lies within."""
    few = points[:150]
    moved = logdet(few + 4096.0, kernel="matern", length=0.3)
    exact_points = (few + 4096.0) - 4096.0  # what is left of the points: their differences are the same
    plain = logdet(exact_points, kernel="matern", length=0.3)
    assert plain.logdet is not None
    assert moved.margin is not None
    assert plain.margin is not None
    holds(moved, plain.logdet, slack=0)
    assert moved.margin.half_width > 10 * plain.margin.half_width


def test_a_layer_with_dead_or_dependent_columns() -> None:
    W = torch.randn(90, 40, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    W[:, 3] = W[:, 4]
    refused(logdet(W, view="wtw"), "singular to working precision")
    W[:, 3] = 0
    dead = logdet(W, view="wtw")
    refused(dead, "1 column or row of W is zero")
    assert dead.sign == 0
    holds(logdet(W, view="wtw", pseudo=True, method="eigenvalues"),
          truth(W[:, torch.arange(40) != 3].T @ W[:, torch.arange(40) != 3]))  # fmt: skip


def test_what_a_shifted_matrix_tells_of_the_one_without(points: torch.Tensor) -> None:
    plain = logdet(points, kernel="matern", length=0.1)
    answer = logdet(points, kernel="matern", length=0.1, shift=1e-9, unshift=True)
    without = answer.evidence["without_shift"]
    assert plain.logdet is not None
    assert -1e-9 <= without["logdet"] - plain.logdet <= without["at_most_lower_by"] + 1e-6
    wide = logdet(points, kernel="matern", length=0.1, shift=1.0, unshift=True)
    assert wide.status == "ok"
    assert wide.evidence["without_shift"]["logdet"] is None
    assert "not small" in wide.evidence["without_shift"]["reason"]


def test_kernels_of_points_and_of_functions(points: torch.Tensor, kernel: torch.Tensor) -> None:
    holds(logdet(points, kernel="matern", length=0.1, shift=1e-3), truth(kernel))

    def exponential(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.exp(-torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist"))

    few = points[:100]
    holds_as_computed(logdet(few, kernel=exponential), truth(exponential(few, few)))
    assert not KernelMatrix(few, exponential).semidefinite
    holds(logdet(KernelMatrix(few, exponential, rounding=16.0)), truth(exponential(few, few)))


def test_quadrature_without_a_lower_bound_is_refused(easy: torch.Tensor) -> None:
    refused(logdet(easy, method="slq", steps=5), "bounded on one side only")
    known = logdet(easy, method="slq", steps=15, smallest=0.09)
    holds(known, truth(easy))
    assert known.evidence["lower_bound_from"] == "given with --smallest"
    assert not known.cautions
    refused(logdet(easy, method="slq", smallest=0.5), "not a bound of the spectrum")


def test_a_tolerance_is_kept_by_quadrature_or_said_not_to_be(easy: torch.Tensor) -> None:
    answer = logdet(easy, method="slq", tolerance=0.03, confidence=0.999)
    holds(answer, truth(easy))
    result = answer.to_dict()["result"]
    assert result["tolerance_met"] is True
    assert result["margin"]["half_width_per_dimension"] <= 0.03
    far = logdet(easy, method="slq", tolerance=1e-6, memory=3 * MB)
    assert far.to_dict()["result"]["tolerance_met"] is False


def test_extrapolation_and_its_early_stop(kernel: torch.Tensor, tmp_path: Path) -> None:
    answer = logdet(kernel, size=700, up_to=400)
    holds(answer, truth(kernel))
    assert answer.margin is not None
    assert answer.margin.kind == "prediction interval"
    assert answer.work["rows_factored"] == 400
    early = logdet(kernel, size=700, tolerance=0.3, scratch=tmp_path / "s")
    holds(early, truth(kernel))
    assert early.work["rows_factored"] < 700
    assert early.to_dict()["result"]["tolerance_met"] is True
    assert not (tmp_path / "s").exists()
    whole = logdet(kernel, size=700, tolerance=1e-12, scratch=tmp_path / "s")
    holds(whole, truth(kernel))
    assert whole.margin is not None
    assert whole.margin.kind == "rounding bound"


def test_extrapolating_what_is_not_definite_is_refused(
    indefinite: torch.Tensor, low_rank: torch.Tensor
) -> None:
    refused(logdet(indefinite, size=1000), "not positive definite")
    refused(logdet(low_rank + 1e-15 * torch.eye(120), size=1000))


def laplacian_truth(edges: np.ndarray, kind: Normalisation) -> tuple[float, int]:
    from rmtaudit.matrices.sources import Laplacian

    graph = Laplacian(edges, kind)
    values = np.linalg.eigvalsh(graph.matrix.toarray())[graph.components :]
    return float(np.log(values).sum()), len(values)


@pytest.mark.parametrize("kind", ["normalised", "combinatorial"])
@pytest.mark.parametrize("method", [None, "slq", "cholesky", "eigenvalues"])
def test_the_laplacian_of_a_graph_with_several_components(kind: Normalisation, method: str | None) -> None:
    rng = np.random.default_rng(0)
    edges = np.concatenate(
        [rng.integers(0, 40, (90, 2)), rng.integers(50, 70, (60, 2)), [[80, 80], [81, 82], [83, 84]]]
    )
    value, rank = laplacian_truth(edges, kind)
    answer = logdet(edges, laplacian=kind, pseudo=True, method=method, seed=1)
    holds(answer, value)
    assert answer.dimension == rank
    assert answer.quantity == "log-pseudo-determinant"
    singular = logdet(edges, laplacian=kind)
    refused(singular, "connected components")
    assert singular.sign == 0


def test_leading_minors_of_singular_matrices() -> None:
    """Those of a connected Laplacian are positive definite; those of a Gram matrix up to its rank."""
    edges = np.array([(i, (i + 1) % 20) for i in range(20)])
    answer = logdet(edges, laplacian="combinatorial", size=19)
    holds(answer, math.log(20))  # spanning trees of a cycle
    W = torch.randn(5, 12, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    holds(logdet(W, view="wtw", size=4), truth(W[:, :4].T @ W[:, :4]))
    refused(logdet(W, view="wtw", size=9), "singular")


def test_spanning_trees_of_a_complete_graph() -> None:
    n = 12
    edges = np.array([(i, j) for i in range(n) for j in range(i)])
    answer = logdet(edges, laplacian="combinatorial", pseudo=True)
    holds(answer, (n - 1) * math.log(n))  # Cayley: n^(n-2) trees, times n


@pytest.mark.parametrize("kind", ["normalised", pytest.param("combinatorial", marks=pytest.mark.slow)])
def test_the_facebook_graph(shared: Callable[..., Path], kind: Normalisation) -> None:
    """Sparse factors of a grounded Laplacian, beside Lanczos on the whole one: two ways to one number."""
    path = shared("data", "facebook_graph", "edges.csv")
    exact = logdet(path, laplacian=kind, pseudo=True)
    assert exact.method == "sparse"
    assert exact.dimension == 22_469
    assert exact.logdet is not None
    assert exact.margin is not None
    assert exact.margin.half_width < 1e-2
    if kind == "normalised":
        holds(logdet(path, laplacian=kind, pseudo=True, method="slq", confidence=0.999), exact.logdet)


def test_a_layer_of_a_real_checkpoint(shared: Callable[..., Path]) -> None:
    from rmtaudit.engine.sources import open_source

    name = f"{shared('models', 'silero', 'silero_v6.2.3_16k.safetensors')}::conv1.weight"
    source = open_source(name)
    gram = source.dense()
    source.close()
    answer = logdet(name)
    holds(answer, truth(gram))
    assert answer.method == "qr"
    assert answer.dimension == 128
    holds(logdet(name, method="slq"), truth(gram))


def test_files_larger_than_the_memory(kernel: torch.Tensor, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    np.save(tmp_path / "kernel.npy", kernel.numpy())
    zarr.save(str(tmp_path / "kernel.zarr"), kernel.numpy())
    np.asfortranarray(kernel.numpy()).astype("<f4").T.tofile(tmp_path / "kernel.bin")
    for name in ("kernel.npy", "kernel.zarr"):
        answer = logdet(tmp_path / name, memory=2 * MB, scratch=tmp_path / "s")
        holds(answer, truth(kernel))
        assert answer.place == "on disk"
    raw = logdet(tmp_path / "kernel.bin", dtype="float32", shape="700x700")
    holds(raw, truth(kernel.float().double()), slack=1e-6)


def test_quadrature_reads_a_file_once_where_a_copy_fits(
    kernel: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rmtaudit.matrices.sources import MatrixSource

    zarr = pytest.importorskip("zarr")
    passes: list[MatrixSource] = []
    streamed = MatrixSource._streamed

    def counted(source: MatrixSource, X: torch.Tensor, *, transposed: bool) -> torch.Tensor:
        passes.append(source)
        return streamed(source, X, transposed=transposed)

    monkeypatch.setattr(MatrixSource, "_streamed", counted)
    zarr.save(str(tmp_path / "kernel.zarr"), kernel.numpy())
    smallest = float(torch.linalg.eigvalsh(kernel)[0])
    estimate = partial(
        logdet,
        tmp_path / "kernel.zarr",
        method="slq",
        smallest=0.99 * smallest,
        symmetric=True,
        steps=40,
        probes=4,
    )
    copied = estimate(memory=50 * MB)
    assert not passes
    again = estimate(memory=12 * MB)  # no room for a copy
    assert len(passes) >= 40
    assert copied.logdet == pytest.approx(again.logdet, rel=1e-10)
    holds(copied, truth(kernel))
    plans = [each.to_dict()["plan"]["candidates"] for each in (copied, again)]
    memory = [next(each["memory_bytes"] for each in plan if each["method"] == "slq") for plan in plans]
    assert memory[0] - memory[1] == 8 * 700 * 700


def test_a_file_with_nan_is_an_error_and_never_an_answer(kernel: torch.Tensor, tmp_path: Path) -> None:
    broken = kernel.clone()
    broken[600, 500] = broken[500, 600] = math.nan
    np.save(tmp_path / "broken.npy", broken.numpy())
    for given in ({}, {"memory": 2 * MB, "scratch": tmp_path / "s"}, {"method": "slq"}):
        with pytest.raises(InputError) as raised:
            logdet(tmp_path / "broken.npy", symmetric=True, **given)
        assert raised.value.code == "RA-MS-005"


def test_stopping_keeps_tiles_only_on_disk(kernel: torch.Tensor, tmp_path: Path) -> None:
    calls = iter(range(1000))
    settings = LogdetSettings(memory=2 * MB, threads=1, scratch=tmp_path / "s")
    with pytest.raises(StoppedWorkError) as raised:
        log_determinant(TensorSource(kernel), settings, stop=lambda: next(calls) > 30)
    assert raised.value.kept
    assert (tmp_path / "s" / "journal").stat().st_size > 0
    went_on = log_determinant(
        TensorSource(kernel), LogdetSettings(memory=2 * MB, threads=1, scratch=tmp_path / "s", resume=True)
    )
    holds(went_on, truth(kernel))
    assert went_on.work["tiles_resumed"] > 0


def test_equal_calls_give_equal_documents(easy: torch.Tensor) -> None:
    requests: list[dict[str, Any]] = [{"method": "slq", "seed": 5}, {"size": 300, "up_to": 150}, {}]
    for given in requests:
        one, two = (logdet(easy, memory="1GB", **given).to_dict() for _ in range(2))
        assert one.pop("run").keys() == two.pop("run").keys()
        assert json.dumps(one) == json.dumps(two)
    first, other = (logdet(easy, method="slq", seed=seed).logdet for seed in (0, 1))
    assert first != other


@pytest.mark.parametrize(
    "given", [{"method": "magic"}, {"memory": "much"}, {"colour": 1}, {"kernel": "matern"}, {"probes": 0}]
)
def test_arguments_that_make_no_sense(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        logdet(torch.eye(3), **given)


@pytest.mark.parametrize("value", [5e-324, 1e-310])
def test_a_pseudo_determinant_of_subnormal_numbers_is_refused(value: float) -> None:
    answer = rmtaudit.logdet(np.diag([value, 0.0]), pseudo=True)
    assert answer.logdet is None
    assert answer.reason
