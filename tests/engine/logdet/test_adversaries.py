"""Matrices made to deceive: no answer outside its bound, no wrong sign, no advice that would be refused."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
import pytest
import scipy.sparse
import torch

import rmtaudit
from rmtaudit.engine.logdet.plan import kept_bytes
from rmtaudit.engine.logdet.run import log_determinant, prepare
from rmtaudit.engine.logdet.settings import LogdetSettings
from rmtaudit.engine.resources.memory_size import format_memory, parse_memory
from rmtaudit.engine.sources import open_source
from rmtaudit.errors import CorruptError, StoppedWorkError
from rmtaudit.matrices.sources import TensorSource

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "adversaries" / "logdet.py"
CASES = Path(__file__).parents[4] / "shared" / "cases"


@pytest.fixture(scope="module")
def adversaries() -> ModuleType:
    spec = importlib.util.spec_from_file_location("adversaries_logdet", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_no_adversary_gets_a_wrong_answer(adversaries: ModuleType) -> None:
    rows = adversaries.run(2 * len(adversaries.FAMILIES), seed=3)
    assert not [row for row in rows if not (row.inside_bound and row.sign_right)]
    assert not [row for row in rows if row.note.startswith("internal")]
    assert sum(row.answered for row in rows) > len(rows) // 2


def test_the_judge_of_adversaries_can_fail(adversaries: ModuleType) -> None:
    rng = np.random.default_rng(0)
    right = adversaries.small(np.array([[2.0, 1.0], [0.0, 3.0]]), method="lu")
    assert right.logabs == pytest.approx(math.log(6))
    assert adversaries.judged("x", right, rng).inside_bound
    wrong = adversaries.Case(right.source, 2, -1, right.logabs + 1e-9, {"method": "lu"})
    row = adversaries.judged("x", wrong, rng)
    assert (row.inside_bound, row.sign_right) == (False, False)


def test_poisson_in_two_dimensions_is_exact() -> None:
    m = 300
    one = scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(m, m))
    eye = scipy.sparse.eye_array(m)
    answer = rmtaudit.logdet(
        scipy.sparse.kron(eye, one) + scipy.sparse.kron(one, eye), memory="1GB", threads=1
    )
    values = 2 - 2 * np.cos(np.pi * np.arange(1, m + 1) / (m + 1))
    assert answer.method == "sparse"
    assert answer.logdet == pytest.approx(float(np.log(values[:, None] + values).sum()), abs=1e-6)
    assert "4,997,224 entries" in answer.plan.why


def test_a_general_sparse_matrix_has_a_method_and_a_sign() -> None:
    n = 50_000
    A = scipy.sparse.diags_array([-1.5, 2.0, -0.5], offsets=[-1, 0, 1], shape=(n, n)).tocsr()
    answer = rmtaudit.logdet(A[np.r_[1, 0, 2:n]], threads=1)
    assert (answer.method, answer.sign) == ("sparse", -1)
    assert answer.logdet == pytest.approx(n * math.log(1.5) + math.log(1.5), abs=1e-6)


def test_an_indefinite_sparse_matrix_too_large_for_ldlt_goes_on_with_lu() -> None:
    n = 20_000
    A = scipy.sparse.diags_array([1.0, 1e-3, 1.0], offsets=[-1, 0, 1], shape=(n, n)).tocsr()
    answer = rmtaudit.logdet(A, threads=1)
    assert answer.method == "sparse"
    assert any(each.code == "RA-LD-103" for each in answer.cautions)


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_triangle_is_the_product_of_its_diagonal(order: Literal["C", "F"]) -> None:
    rng = np.random.default_rng(0)
    A = np.tril(rng.standard_normal((200, 200)))  # its condition number is beyond float64
    answer = rmtaudit.logdet(np.asarray(A, order=order), threads=1)
    assert answer.logdet == pytest.approx(np.log(np.abs(np.diag(A))).sum(), rel=1e-13)
    assert answer.sign == int(np.sign(np.diag(A)).prod())
    assert answer.margin is not None
    assert answer.margin.half_width < 1e-10


def test_grading_is_not_singularity() -> None:
    rng = np.random.default_rng(0)
    powers = 2.0 ** rng.integers(-480, 480, 30)
    A = rng.standard_normal((30, 30))
    answer = rmtaudit.logdet(powers[:, None] * A, threads=1)
    assert answer.logdet == pytest.approx(np.linalg.slogdet(A)[1] + np.log(powers).sum(), rel=1e-12)
    S = A + A.T
    scaled = powers[:, None] ** 0.5 * S * powers**0.5
    scaled = np.tril(scaled) + np.tril(scaled, -1).T
    symmetric = rmtaudit.logdet(scaled, method="ldlt", threads=1)
    assert symmetric.logdet == pytest.approx(np.linalg.slogdet(S)[1] + np.log(powers).sum(), rel=1e-10)


def test_subnormal_entries_widen_the_margin() -> None:
    A = np.array([[2.0, 1.0], [1.0, 2.0]]) * 1e-321
    exactly = np.rint(A / 5e-324)
    truth = math.log(np.linalg.det(exactly)) + 2 * math.log(5e-324)
    answer = rmtaudit.logdet(A, threads=1)
    if answer.logdet is not None:
        assert answer.margin is not None
        assert answer.margin.low <= truth <= answer.margin.high


def test_the_least_memory_is_said(tmp_path: Path) -> None:
    A = torch.randn(400, 400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    answer = rmtaudit.logdet(A, memory=100_000, threads=1)
    assert answer.status == "refused"
    least = answer.advice.split()[1]
    assert rmtaudit.logdet(A, memory=least, threads=1).status == "ok"
    path = str(tmp_path / "k.npy")
    np.save(path, 500 * np.eye(1500) + 1)
    small = rmtaudit.logdet(path, memory=1000, threads=1, scratch=tmp_path / "s")
    least = small.advice.split()[1]
    assert rmtaudit.logdet(path, memory=least, threads=1, scratch=tmp_path / "s").place == "on disk"


@pytest.mark.parametrize("count", [1, 999, 1000, 1001, 72_864_001, 10**9 - 1, 123 * 10**12])
def test_a_size_is_read_back_as_no_less(count: int) -> None:
    assert count <= parse_memory(format_memory(count)) <= 1.01 * count + 1


def test_resuming_on_a_small_disk_counts_the_factor_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "k.npy"
    np.save(path, 500 * np.eye(1500) + 1)
    settings = LogdetSettings(memory=4_000_000, threads=1, scratch=tmp_path / "s", resume=True)
    source = open_source(path)
    looks = iter(range(10**9))
    with pytest.raises(StoppedWorkError):
        log_determinant(source, settings, stop=lambda: next(looks) > 25)
    kept = kept_bytes(tmp_path / "s")
    assert kept > 10**6
    needed = next(each.scratch for each in prepare(source, settings)[1].candidates if each.place == "on disk")
    monkeypatch.setattr("rmtaudit.engine.logdet.plan._free_disk", lambda _folder: needed - kept)
    answer = log_determinant(source, settings)
    assert answer.status == "ok"
    assert answer.work["tiles_resumed"] > 0
    monkeypatch.setattr("rmtaudit.engine.logdet.plan._free_disk", lambda _folder: needed - kept)
    fresh = prepare(source, settings)[1]
    assert fresh.taken is None or fresh.taken.place != "on disk"
    source.close()


def test_a_truncated_file_is_called_truncated(tmp_path: Path) -> None:
    path = tmp_path / "k.npy"
    np.save(path, np.eye(100))
    whole = path.read_bytes()
    path.write_bytes(whole[:-800])
    with pytest.raises(CorruptError, match=r"truncated.*80,128 bytes.*79,328"):
        open_source(path)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
def test_advice_about_a_singular_matrix_can_be_followed(sparse: bool, symmetric: bool) -> None:
    rng = np.random.default_rng(0)
    A = rng.integers(-3, 4, (20, 3)) @ rng.integers(-3, 4, (3, 20))
    A = (A @ A.T if symmetric else A).astype(float)
    matrix = scipy.sparse.csr_array(A) if sparse else A
    answer = rmtaudit.logdet(matrix, threads=1)
    assert answer.status == "refused"
    assert "--pseudo" in answer.advice
    assert ("--as wtw" in answer.advice) != symmetric
    followed = rmtaudit.logdet(matrix, pseudo=True, view="auto" if symmetric else "wtw", threads=1)
    values = np.linalg.svd(A, compute_uv=False)[:3]
    assert followed.status == "ok"
    assert followed.logdet == pytest.approx((1 if symmetric else 2) * np.log(values).sum())


def test_small_singular_values_are_not_taken_for_zeros() -> None:
    A = np.diag([1.0, 1e-9, 0.0])
    found = rmtaudit.logdet(A, view="wtw", pseudo=True, method="eigenvalues", threads=1)
    assert found.logdet == pytest.approx(2 * math.log(1e-9))
    assert found.dimension == 2


@pytest.mark.skipif(not CASES.is_dir(), reason="the collected cases are not beside the checkout")
def test_the_collected_cases() -> None:
    folder = CASES / "logdet-advice-and-mtx"
    found, read = rmtaudit.logdet(str(folder / "sprandn.npz")), rmtaudit.logdet(str(folder / "a.mtx"))
    assert found.sign == read.sign == 0
    assert "--as wtw --pseudo" in found.advice
    assert rmtaudit.logdet(str(folder / "sprandn.npz"), view="wtw", pseudo=True).status == "ok"
    folder = CASES / "ok-logdet-float32-psd"
    truth = np.linalg.slogdet(np.load(folder / "psd.npy").astype(float))
    answer = rmtaudit.logdet(str(folder / "psd.npy"))
    assert answer.logdet == pytest.approx(float(truth.logabsdet), abs=1e-6)
    assert answer.logdet == pytest.approx(530.978, abs=2e-3)  # its entries depend on the BLAS that made it
    assert answer.sign == 1
    assert rmtaudit.logdet(str(folder / "eye.npy")).logdet == pytest.approx(-6718.65005)
    assert rmtaudit.logdet(str(folder / "sing.npy")).status == "refused"


def test_a_source_in_memory_stays_as_it_was() -> None:
    A = torch.randn(30, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    source = TensorSource(A.clone())
    log_determinant(source, LogdetSettings(threads=1))
    assert torch.equal(source.matrix, A)
