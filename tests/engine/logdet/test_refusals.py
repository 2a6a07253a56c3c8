"""Refusals are values, each with its name in the document; and the ladder of methods goes down once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch

import rmtaudit
from rmtaudit.engine.logdet import structured
from rmtaudit.engine.logdet.answer import LogDeterminant, Refusal
from rmtaudit.engine.logdet.plan import make_plan
from rmtaudit.engine.logdet.requests import answer_request
from rmtaudit.engine.logdet.settings import LogdetSettings, Method
from rmtaudit.engine.logdet.target import facts_of, target_of
from rmtaudit.engine.sources import SourceOptions
from rmtaudit.matrices.sources import Leading, Shifted, SparseMatrix, TensorSource


def _logdet(source: object, **settings: object) -> LogDeterminant:
    return rmtaudit.logdet(source, threads=1, **settings)  # type: ignore[arg-type]


def _no_gap() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    Q = torch.linalg.qr(torch.randn(60, 60, generator=generator, dtype=torch.float64)).Q
    A = Q @ torch.diag(torch.logspace(0, -18, 60, dtype=torch.float64)) @ Q.T
    return (A + A.T) / 2


def _sorted_points(n: int = 300) -> torch.Tensor:
    """Return a kernel matrix of points that start dense and end far apart."""
    points = torch.linspace(0, 1, n, dtype=torch.float64)[:, None] ** 3 * 50
    return torch.exp(-(points - points.T).abs()) + 1e-3 * torch.eye(n, dtype=torch.float64)


def _short_table(folder: Path) -> LogDeterminant:
    (folder / "table.csv").write_text("n,logdet\n50,-400\n100,-900\n")
    settings = LogdetSettings(size=800)
    return answer_request(str(folder / "table.csv"), SourceOptions(), settings, series=True)


def _out_of_memory(patch: pytest.MonkeyPatch) -> LogDeterminant:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    patch.setattr(structured, "sparse_log_determinant", fail)
    return _logdet(_path(40))


def _path(n: int, first: float = 2.5) -> SparseMatrix:
    diagonal = np.full(n, 2.5)
    diagonal[0] = first
    sides = -np.ones(n - 1)
    matrix = np.diag(sides, -1) + np.diag(diagonal) + np.diag(sides, 1)
    return SparseMatrix(scipy.sparse.csr_array(matrix))


@pytest.mark.parametrize("refusal", Refusal)
def test_every_refusal_has_its_name_a_reason_and_advice(
    refusal: Refusal,
    easy: torch.Tensor,
    indefinite: torch.Tensor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer = {
        Refusal.SINGULAR: lambda: _logdet(torch.zeros(4, 4)),
        Refusal.NOT_DEFINITE: lambda: _logdet(indefinite, method="cholesky"),
        Refusal.NO_METHOD: lambda: _logdet(easy, memory=1000),
        Refusal.ONE_SIDED: lambda: _logdet(easy, method="slq", steps=5),
        Refusal.UNCLEAR_RANK: lambda: _logdet(_no_gap(), pseudo=True),
        Refusal.NOT_EXTRAPOLATED: lambda: _short_table(tmp_path),
        Refusal.ORDERED_POINTS: lambda: _logdet(_sorted_points(), size=600, up_to=150),
        Refusal.OUT_OF_MEMORY: lambda: _out_of_memory(monkeypatch),
    }[refusal]()
    assert (answer.status, answer.refusal, answer.logdet, answer.margin) == ("refused", refusal, None, None)
    result = json.loads(json.dumps(answer.to_dict(), allow_nan=False))["result"]
    assert result["refusal"] == refusal.value
    assert result["reason"]
    assert result["advice"]


def test_an_answer_with_a_number_has_no_refusal(easy: torch.Tensor) -> None:
    answer = _logdet(easy)
    assert answer.refusal is None
    assert answer.to_dict()["result"]["refusal"] is None
    assert answer.advice == answer.reason == ""


@pytest.mark.parametrize(
    ("n", "memory", "method", "rung"),
    [
        (100, 10**8, None, Method.LDLT),
        (100, 10**8, Method.SPARSE, Method.SPARSE),
        (2000, 10**9, None, Method.SPARSE),  # dense LDLᵀ would take too long
        (100, 200_000, None, Method.SPARSE),  # dense LDLᵀ would not fit
    ],
)
def test_the_rung_below_sparse_factors(
    n: int, memory: int, method: Method | None, rung: Method, tmp_path: Path
) -> None:
    source, settings = _path(n, first=-1.0), LogdetSettings(method=method)
    plan = make_plan(target_of(source, settings), settings, budget=memory, threads=1, scratch=tmp_path)
    assert plan.taken is not None
    assert plan.taken.method is Method.SPARSE
    assert plan.next_rung(facts_of(source)) is rung


@pytest.mark.parametrize(
    ("method", "rung"), [(None, Method.LDLT), (Method.CHOLESKY, None), (Method.LU, None)]
)
def test_the_rung_below_a_dense_method(
    method: Method | None, rung: Method | None, indefinite: torch.Tensor, tmp_path: Path
) -> None:
    source, settings = TensorSource(indefinite), LogdetSettings(method=method)
    plan = make_plan(target_of(source, settings), settings, budget=10**8, threads=1, scratch=tmp_path)
    assert plan.next_rung(facts_of(source)) is rung


def test_a_shifted_source_says_so_and_its_minors_do_not(easy: torch.Tensor) -> None:
    source = Shifted(TensorSource(easy), 0.5)
    assert source.known().shifted is source
    assert TensorSource(easy).known().shifted is None
    assert Leading(source, 10).known().shifted is None
    facts = facts_of(source)
    assert facts.leading(facts.order) is facts
    assert facts.leading(10).shifted is None


def test_an_indefinite_sparse_matrix_keeps_the_reason_of_the_rung_above() -> None:
    for n, method in ((100, "ldlt"), (2000, "sparse")):
        answer = _logdet(_path(n, first=-1.0), memory=10**9)
        assert (answer.method, answer.sign) == (method, -1)
        (caution,) = answer.cautions
        assert caution.code == "RA-LD-103"
        assert caution.message.startswith("Not positive definite")
        pivots = [-1.0]
        for _ in range(n - 1):
            pivots.append(2.5 - 1 / pivots[-1])
        assert answer.logdet == pytest.approx(float(np.log(np.abs(pivots)).sum()))
