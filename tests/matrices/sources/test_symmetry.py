"""Symmetry: a presumption from samples is settled by comparing what is read, or by products."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import rmtaudit
from rmtaudit.engine.density.blocks import confirm_symmetry
from rmtaudit.engine.sources import SourceOptions, open_source
from rmtaudit.errors import UsageError
from rmtaudit.matrices.sources import (
    AsymmetricError,
    Gram,
    Ground,
    KernelMatrix,
    MatrixSource,
    Reach,
    Shifted,
    TensorSource,
    settle_symmetry,
)
from rmtaudit.matrices.sources.comparison import compare_products, compare_whole

N = 900


def advection(n: int) -> np.ndarray:
    """Return 2 on the diagonal, -1.5 below and -0.5 above: two bands that 64 samples seldom meet."""
    return 2 * np.eye(n) - 1.5 * np.eye(n, k=-1) - 0.5 * np.eye(n, k=1)


def hidden(n: int) -> np.ndarray:
    """Return a matrix with one entry that no sample meets."""
    A = 2.5 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
    A[n - 7, 11] = 0.5
    return A


def continuant(n: int) -> float:
    """Return the log-determinant of :func:`advection` by its recurrence."""
    ratio, total = 2.0, math.log(2.0)
    for _ in range(n - 1):
        ratio = 2.0 - 0.75 / ratio
        total += math.log(ratio)
    return total


def saved(folder: Path, array: np.ndarray, name: str = "a.npy") -> str:
    np.save(folder / name, array)
    return str(folder / name)


class Products(MatrixSource):
    """A matrix of which only products can be had."""

    def __init__(self, matrix: torch.Tensor, dtype: str = "float64") -> None:
        self.matrix = matrix
        self.name, self.shape, self.dtype = "operator", (len(matrix), len(matrix)), dtype
        self.symmetric, self.reach = True, frozenset({Reach.MATMUL})

    def matmul(self, X: torch.Tensor) -> torch.Tensor:
        return self.matrix @ X


def test_the_matrix_of_the_issue_gets_the_answer_of_lu(tmp_path: Path) -> None:
    answer = rmtaudit.logdet(saved(tmp_path, advection(3000)), threads=1)
    assert answer.logdet == pytest.approx(1216.80079, abs=5e-6)
    assert answer.logdet == pytest.approx(continuant(3000), abs=1e-9)
    assert (answer.method, answer.sign) == ("lu", 1)
    assert answer.subject["symmetric"] is False


@pytest.mark.parametrize("layout", ["f8", "F", ">f8", "f4", "zarr"])
def test_one_entry_anywhere_is_met(layout: str, tmp_path: Path) -> None:
    A = 3 * np.eye(N)
    A[N - 7, 11] = 0.5
    if layout == "zarr":
        zarr = pytest.importorskip("zarr")
        array = zarr.create_array(
            store=str(tmp_path / "a.zarr"), shape=A.shape, chunks=(100, 300), dtype="f8"
        )
        array[:] = A
        path = str(tmp_path / "a.zarr")
    else:
        path = saved(tmp_path, np.asfortranarray(A) if layout == "F" else A.astype(layout))
    source = open_source(path)
    try:
        assert source.presumed
        found = settle_symmetry(source)
        assert not found.symmetric
        assert not source.symmetric
        assert str(N - 7) in found.words
        assert "11" in found.words
    finally:
        source.close()


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 40), st.integers(0, 2**32 - 1), st.booleans())
def test_a_whole_comparison_finds_the_largest_difference(n: int, seed: int, by_columns: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    A = torch.randn(n, n, generator=generator, dtype=torch.float64)
    A = A @ A.T + torch.eye(n)
    A = A.tril() + A.tril(-1).T
    source = TensorSource(A)
    source.by_columns = by_columns
    assert compare_whole(source).pair is None
    i, j = (int(part) for part in torch.randperm(n, generator=generator)[:2])
    source.matrix[i, j] += 0.25
    seen = compare_whole(source, tolerance=math.inf)
    assert seen.pair in ((i, j), (j, i))
    assert seen.absolute == pytest.approx(0.25)
    assert seen.relative == pytest.approx(0.25 / math.sqrt(A[i, i] * A[j, j]))


@pytest.mark.parametrize("memory", [3_000_000, 100_000_000])
def test_tiles_are_compared_with_their_mirror_images(memory: int, tmp_path: Path) -> None:
    A = 2.5 * np.eye(N) - np.eye(N, k=1) - np.eye(N, k=-1)
    options: dict[str, Any] = {"memory": memory, "threads": 1, "scratch": tmp_path / "scratch"}
    answer = rmtaudit.logdet(saved(tmp_path, A), **options)
    assert (answer.method, answer.status) == ("cholesky", "ok")
    assert "every pair that was read compared" in answer.subject["symmetry"]
    A[N - 3, 5] = 0.25
    other = rmtaudit.logdet(saved(tmp_path, A), **options)
    assert other.subject["symmetric"] is False
    assert other.method == ("lu" if memory > 10**7 else "")
    assert not (tmp_path / "scratch").exists()


@pytest.mark.parametrize("method", ["slq", "ldlt", "mixed", "eigenvalues", "cholesky", "flodance"])
def test_no_method_takes_a_general_matrix_for_a_symmetric_one(method: str, tmp_path: Path) -> None:
    A = advection(N)
    options = {"size": 2 * N} if method == "flodance" else {"pseudo": True} if method == "eigenvalues" else {}
    answer = rmtaudit.logdet(saved(tmp_path, A), method=method, threads=1, **options)
    assert answer.status == "refused"
    assert answer.subject["symmetric"] is False


def test_leading_minors_are_compared_as_far_as_they_reach(tmp_path: Path) -> None:
    A = 2.5 * np.eye(N) - np.eye(N, k=1) - np.eye(N, k=-1)
    A[N - 1, 0] = 0.5
    path = saved(tmp_path, A)
    inner = rmtaudit.logdet(path, size=700, threads=1)
    assert inner.logdet == pytest.approx(np.linalg.slogdet(A[:700, :700])[1])
    assert "that was read" in inner.subject["symmetry"]
    assert rmtaudit.logdet(path, size=N, threads=1).subject["symmetric"] is False


def test_a_declaration_stands(tmp_path: Path) -> None:
    path = saved(tmp_path, advection(N))
    lower = np.tril(advection(N)) + np.tril(advection(N), -1).T
    for method in (None, "ldlt"):
        answer = rmtaudit.logdet(path, symmetric=True, method=method, threads=1)
        assert answer.subject["symmetry"] == "declared by the user"
        assert answer.logdet == pytest.approx(np.linalg.slogdet(lower)[1])
    assert rmtaudit.logdet(path, symmetric=False, threads=1).method == "lu"
    with pytest.raises(UsageError, match="RA-MS-004"):
        rmtaudit.logdet(TensorSource(torch.ones(2, 3)), symmetric=True)


def test_the_transpose_of_a_presumed_matrix_is_its_own(tmp_path: Path) -> None:
    A = hidden(N)
    source = open_source(saved(tmp_path, A))
    try:
        assert source.presumed
        X = torch.randn(N, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        expected = torch.from_numpy(A.T @ (A @ X.numpy()))
        torch.testing.assert_close(Gram(source, "columns").matmul(X), expected)
    finally:
        source.close()


def test_products_tell_symmetric_from_general() -> None:
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(300, 300, generator=generator, dtype=torch.float64)
    S = A @ A.T + 300 * torch.eye(300)
    S = S.tril() + S.tril(-1).T
    assert compare_products(Products(S)).symmetric
    single = S.clone()
    single[7, 200] += 1e-6
    found = compare_products(Products(single))
    assert not found.symmetric
    assert found.ground is Ground.PRODUCTS
    answer = rmtaudit.logdet(Products(S), smallest=200.0, threads=1)
    assert answer.status == "ok"
    assert "xᵀAy" in answer.subject["symmetry"]
    other = rmtaudit.logdet(Products(single), smallest=200.0, threads=1)
    assert other.status == "refused"
    declared = rmtaudit.logdet(Products(single), smallest=200.0, symmetric=True, threads=1)
    assert declared.status == "refused", "Lanczos looks for itself"


@pytest.mark.parametrize("n", [10, 400, 1500])
def test_rounding_of_products_is_no_asymmetry(n: int) -> None:
    W = torch.randn(n, 2 * n, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    assert compare_products(Products(W @ W.T)).symmetric
    single = (W @ W.T).float()
    single = single.tril() + single.tril(-1).T

    class InSingle(Products):
        def matmul(self, X: torch.Tensor) -> torch.Tensor:
            return (self.matrix @ X.float()).double()

    assert compare_products(InSingle(single, "float32")).symmetric


def test_a_function_in_float32_keeps_working_and_its_asymmetry_is_in_the_margin() -> None:
    points = torch.rand(200, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def rounded(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        shorter = torch.exp(-torch.cdist(a.float(), b.float()))
        return shorter.double() * (1 + 1e-7 * torch.sin(1e3 * a[:, :1] + b[:, :1].T)) + (
            (a[:, None] == b[None]).all(-1) * 1.0
        )

    answer = rmtaudit.logdet(KernelMatrix(points, rounded), threads=1)
    matrix = rounded(points, points)
    assert not torch.equal(matrix, matrix.T)
    assert answer.status == "ok"
    assert answer.method == "cholesky"
    assert answer.evidence["asymmetry"] > 1e-8
    assert answer.margin is not None
    assert answer.margin.kind == "not known"  # in which precision a function computes is not known
    truth = float(torch.linalg.slogdet(matrix).logabsdet)
    computed = answer.evidence["as_computed"]
    assert computed["low"] <= truth <= computed["high"]
    trusted = rmtaudit.logdet(KernelMatrix(points, rounded, symmetric=True), threads=1)
    assert trusted.evidence["as_computed"]["half_width"] < computed["half_width"]


def test_a_function_that_is_not_symmetric_is_no_kernel() -> None:
    points = torch.rand(60, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def skewed(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.exp(-(a - b.T).abs() + 0.3 * (a - b.T)) + (a == b.T) * 1.0

    answer = rmtaudit.logdet(points, kernel=skewed, threads=1)
    assert answer.method == "lu"
    truth = torch.linalg.slogdet(skewed(points, points))
    assert answer.logdet == pytest.approx(float(truth.logabsdet))


def test_a_shift_and_its_correction_ask_the_matrix_itself(tmp_path: Path) -> None:
    answer = rmtaudit.logdet(saved(tmp_path, advection(N)), shift=0.5, unshift=True, threads=1)
    assert answer.subject["symmetric"] is False
    truth = np.linalg.slogdet(advection(N) + 0.5 * np.eye(N))[1]
    assert answer.logdet == pytest.approx(truth)
    shifted = Shifted(open_source(saved(tmp_path, advection(N))), 0.5)
    assert not settle_symmetry(shifted).symmetric
    shifted.close()


def test_density_refuses_what_is_not_symmetric(tmp_path: Path) -> None:
    path = saved(tmp_path, hidden(N))
    source = open_source(path)
    assert source.presumed
    confirm_symmetry(source)
    assert not source.symmetric
    source.close()
    with pytest.raises(rmtaudit.errors.RmtauditError, match="not symmetric"):
        rmtaudit.density(path, options=SourceOptions(view="w"), factor=4)


def test_density_says_what_it_assumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rmtaudit.engine.density.blocks._COMPARED", 100)
    W = np.random.default_rng(0).standard_normal((N, 2 * N)) / N
    A = W @ W.T
    path = saved(tmp_path, np.tril(A) + np.tril(A, -1).T)
    source = open_source(path)
    confirm_symmetry(source)
    assert source.presumed
    assert "assumed" in source.symmetry
    source.close()


def test_rounding_is_symmetric_enough_for_density() -> None:
    W = torch.randn(700, 900, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    A = W @ W.T
    A[3, 4] *= 1 + 1e-15
    source = TensorSource(A)
    confirm_symmetry(source)
    assert source.symmetric
    A[3, 4] *= 1.01
    source = TensorSource(A)
    confirm_symmetry(source)
    assert not source.symmetric


def test_the_error_says_what_differs() -> None:
    error = AsymmetricError("K", "entries (1, 0) and (0, 1) differ")
    assert error.code == "RA-MS-006"
    assert "entries (1, 0)" in error.message
