"""The planner: what is taken for which matrix, and the reasons that it gives."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch

from rmtaudit.engine.logdet.plan import Plan, default_scratch, make_plan
from rmtaudit.engine.logdet.run import prepare
from rmtaudit.engine.logdet.settings import LogdetSettings, Method
from rmtaudit.engine.logdet.target import spectral_gap_bound, target_of
from rmtaudit.errors import UsageError
from rmtaudit.matrices.sources import (
    Gram,
    KernelMatrix,
    Laplacian,
    MatrixSource,
    Product,
    Reach,
    Shifted,
    SparseMatrix,
    TensorSource,
)

MB = 10**6


class ByProducts(MatrixSource):
    """A symmetric matrix of which only products can be had."""

    def __init__(self, n: int) -> None:
        self.name, self.shape = "operator", (n, n)
        self.symmetric, self.symmetry = True, "declared"
        self.reach = frozenset({Reach.MATMUL})

    def matmul(self, X: torch.Tensor) -> torch.Tensor:
        return 2 * X

    def fingerprint(self) -> str:
        return "operator"


def plan(source: MatrixSource, tmp_path: Path, memory: int = 100 * MB, **settings: object) -> Plan:
    asked = LogdetSettings(**settings)  # type: ignore[arg-type]
    return make_plan(target_of(source, asked), asked, budget=memory, threads=1, scratch=tmp_path / "s")


def taken(source: MatrixSource, tmp_path: Path, memory: int = 100 * MB, **settings: object) -> str:
    found = plan(source, tmp_path, memory, **settings).taken
    return "none" if found is None else f"{found.method} {found.place}"


def path_graph(n: int) -> Laplacian:
    return Laplacian(np.array([(i, i + 1) for i in range(n - 1)]))


def test_what_is_taken(
    kernel: torch.Tensor, indefinite: torch.Tensor, low_rank: torch.Tensor, tmp_path: Path
) -> None:
    dense, tall = TensorSource(kernel), TensorSource(kernel[:, :50])
    assert taken(dense, tmp_path) == "cholesky in memory"
    assert taken(dense, tmp_path, 2 * MB) == "cholesky on disk"
    assert taken(dense, tmp_path, 10_000) == "none"
    assert taken(TensorSource(indefinite), tmp_path) == "cholesky in memory"  # it will show
    assert taken(TensorSource(kernel, symmetric=False), tmp_path) == "lu in memory"
    assert taken(TensorSource(kernel, symmetric=False), tmp_path, 2 * MB) == "none"
    assert taken(Gram(tall, "columns"), tmp_path) == "qr in memory"
    assert taken(Gram(tall, "columns"), tmp_path, minors=True) == "cholesky in memory"
    assert taken(Gram(tall, "rows"), tmp_path) == "none"
    assert taken(Gram(tall, "rows"), tmp_path, pseudo=True) == "qr in memory"
    assert taken(ByProducts(500), tmp_path) == "slq by products"
    assert taken(Product(dense, dense), tmp_path) == "lu in memory"
    assert taken(TensorSource(low_rank), tmp_path, pseudo=True) == "eigenvalues in memory"
    assert taken(dense, tmp_path, size=2000) == "flodance in memory"
    assert taken(dense, tmp_path, size=500) == "cholesky in memory"
    assert taken(dense, tmp_path, size=700, up_to=300) == "flodance in memory"
    assert taken(dense, tmp_path, size=700, tolerance=0.1) == "flodance on disk"  # tile row by tile row
    assert taken(dense, tmp_path, tolerance=0.1) == "cholesky in memory"  # never extrapolated unasked


def test_what_is_taken_of_sparse_matrices(tmp_path: Path) -> None:
    half = scipy.sparse.random_array((2000, 2000), density=0.01, rng=0)
    sparse = SparseMatrix(half + half.T + 50 * scipy.sparse.eye_array(2000))
    assert taken(sparse, tmp_path) == "sparse in memory"
    assert taken(sparse, tmp_path, 40 * MB) == "cholesky in memory"
    assert taken(sparse, tmp_path, 20 * MB, probes=8) == "slq by products"  # before a dense factor on disk
    assert taken(sparse, tmp_path, 8 * MB) == "cholesky on disk"
    assert taken(sparse, tmp_path, 20 * MB, method=Method.SPARSE) == "sparse in memory"  # as its user wants
    lopsided = SparseMatrix(scipy.sparse.csr_array([[1.0, 2.0], [3.0, 4.0]]))
    assert taken(lopsided, tmp_path) == "sparse in memory"
    assert taken(lopsided, tmp_path, method=Method.LU) == "lu in memory"
    diagonal = SparseMatrix(scipy.sparse.eye_array(2000, format="csr"))
    assert taken(diagonal, tmp_path, MB) == "sparse in memory"  # triangular: whatever the memory
    path = scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(2000, 2000))
    assert taken(SparseMatrix(path), tmp_path, MB) == "sparse in memory"  # as its band predicts
    graph = path_graph(50)
    assert taken(graph, tmp_path) == "none"
    assert taken(graph, tmp_path, pseudo=True) == "sparse in memory"
    assert taken(graph, tmp_path, pseudo=True, method=Method.SLQ) == "slq by products"
    assert taken(graph, tmp_path, pseudo=True, method=Method.EIGENVALUES) == "eigenvalues in memory"
    assert taken(Shifted(graph, 0.1), tmp_path) == "sparse in memory"


def test_a_disk_that_is_too_small_leaves_products(
    kernel: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rmtaudit.engine.logdet import plan as module

    monkeypatch.setattr(module, "_free_disk", lambda _: 10)
    found = plan(TensorSource(kernel), tmp_path, 3 * MB, probes=2, steps=100)
    assert found.taken is not None
    assert found.taken.method is Method.SLQ
    on_disk = next(each for each in found.candidates if each.place == "on disk")
    assert "more than is free" in on_disk.reason


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        (Method.CHOLESKY, "not symmetric: entries"),
        (Method.LDLT, "not symmetric: entries"),
        (Method.SLQ, "not symmetric"),
        (Method.MIXED, "not symmetric"),
        (Method.QR, "not WᵀW"),
        (Method.SPARSE, "not sparse"),
        (Method.EIGENVALUES, "only for a pseudo-determinant"),
        (Method.FLODANCE, "not symmetric"),
    ],
)
def test_a_method_that_the_mathematics_does_not_allow(method: Method, reason: str, tmp_path: Path) -> None:
    general = TensorSource(torch.arange(9.0).view(3, 3) ** 2)
    found = plan(general, tmp_path, method=method)
    assert found.taken is None
    assert reason in found.why


def test_a_forced_method_says_so(kernel: torch.Tensor, tmp_path: Path) -> None:
    found = plan(TensorSource(kernel), tmp_path, method=Method.LU)
    assert found.forced
    assert found.why.startswith("requested")
    assert "twice the work" in found.why


def test_every_source_and_request_has_a_plan_or_a_reason(kernel: torch.Tensor, tmp_path: Path) -> None:
    small = kernel[:60, :60]
    sources: list[MatrixSource] = [
        TensorSource(small),
        TensorSource(small, symmetric=False),
        Shifted(TensorSource(small), 1.0),
        Gram(TensorSource(small[:, :9]), "columns"),
        Gram(TensorSource(small[:, :9]), "rows"),
        KernelMatrix(small[:, :2], lambda x, y: torch.exp(-torch.cdist(x, y))),
        path_graph(60),
        Shifted(path_graph(60), 0.1),
        ByProducts(60),
    ]
    requests: list[dict[str, Any]] = [
        {},
        {"pseudo": True},
        {"size": 90},
        {"size": 30},
        {"size": 60, "tolerance": 0.1},
        {"minors": True},
    ]
    for source, request, memory in itertools.product(sources, requests, (10 * MB, 50_000, 100)):
        found = plan(source, tmp_path, memory, **request)
        assert found.why
        assert all(each.reason for each in found.candidates)
        if found.taken is not None:
            assert found.taken.memory is None or found.taken.memory <= memory
        methods = {each.method for each in found.candidates}
        assert methods == set(Method)


def test_bounds_of_the_gap_hold() -> None:
    edges = [(i, (i + 1) % 30) for i in range(30)] + [(0, 10), (40, 41), (41, 42)]
    for kind in ("normalised", "combinatorial"):
        graph = Laplacian(np.array(edges), kind)
        eigenvalues = np.linalg.eigvalsh(graph.matrix.toarray())
        assert eigenvalues[graph.components - 1] < 1e-12
        assert 0 < spectral_gap_bound(graph) <= eigenvalues[graph.components]


def test_a_rectangle_has_no_determinant(kernel: torch.Tensor) -> None:
    for side, word in ((kernel[:, :5], "wtw"), (kernel[:5], "wwt")):
        with pytest.raises(UsageError) as raised:
            prepare(TensorSource(side), LogdetSettings())
        assert raised.value.code == "RA-MS-004"
        assert word in raised.value.hint


def test_the_scratch_of_a_matrix_is_always_the_same(kernel: torch.Tensor) -> None:
    assert default_scratch(TensorSource(kernel)) == default_scratch(TensorSource(kernel.clone()))
    assert default_scratch(TensorSource(kernel)) != default_scratch(TensorSource(kernel + 1))


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"probes": 1}, "RA-LD-030"),
        ({"size": 0}, "RA-LD-030"),
        ({"tolerance": -1.0}, "RA-LD-030"),
        ({"smallest": 0.0}, "RA-LD-030"),
        ({"confidence": 1.0}, "RA-LD-030"),
        ({"pseudo": True, "size": 3}, "RA-LD-031"),
        ({"up_to": 3}, "RA-LD-031"),
        ({"minors": True, "method": Method.LU}, "RA-LD-031"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, object], code: str) -> None:
    with pytest.raises(UsageError) as raised:
        LogdetSettings(**settings)  # type: ignore[arg-type]
    assert raised.value.code == code


def test_unshift_needs_a_shift(kernel: torch.Tensor) -> None:
    with pytest.raises(UsageError, match="--shift"):
        prepare(TensorSource(kernel), LogdetSettings(unshift=True))
