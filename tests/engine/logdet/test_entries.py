"""Sources of others: nothing is claimed of a result whose entries may be off by nobody knows how much."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import rmtaudit
from rmtaudit.engine.logdet.answer import LogDeterminant
from rmtaudit.engine.logdet.target import facts_of
from rmtaudit.engine.sources import SourceOptions
from rmtaudit.engine.sources.in_memory import in_memory
from rmtaudit.matrices.sources import (
    CompletedLaplacian,
    Gram,
    KernelMatrix,
    Known,
    Laplacian,
    Leading,
    MaternMatrix,
    MatrixSource,
    Product,
    Reach,
    Shifted,
    SparseMatrix,
    TensorSource,
)
from rmtaudit.matrices.sources.known import FLOAT32_ROUNDING

N = 400


class Decay(MatrixSource):
    """``exp(-|i - j| / 9)``, as somebody else writes it: computed in float32, and nothing is said of that."""

    def __init__(self, n: int, *, general: bool = False) -> None:
        self.name, self.shape, self.symmetric = "decay", (n, n), not general
        self.reach = frozenset({Reach.BLOCK, Reach.MATMUL, Reach.DENSE, Reach.PRINCIPAL})
        self.semidefinite = True

    def block_into(self, rows: range, cols: range, out: torch.Tensor) -> None:
        i, j = torch.tensor([*rows]), torch.tensor([*cols])
        out.copy_(torch.exp(-(i[:, None] - j[None, :]).abs().float() / 9))

    def principal(self, indices: torch.Tensor) -> torch.Tensor:
        return torch.exp(-(indices[:, None] - indices[None, :]).abs().float() / 9).double()


class Rounded(Decay):
    """The same, by an author who says how the entries are rounded: the division and the exponential."""

    def known(self) -> Known:
        return Known(rounding=3 * FLOAT32_ROUNDING)


def truth(n: int) -> float:
    """Return the log-determinant: the inverse of this matrix is tridiagonal, each step a factor 1 - r^2."""
    return (n - 1) * math.log1p(-math.exp(-2 / 9))


def claims_nothing(answer: LogDeterminant) -> None:
    assert answer.status == "ok", answer.reason
    assert answer.margin is not None
    assert answer.margin.kind == "not known"
    assert "RA-LD-102" in [each.code for each in answer.cautions]
    margin = answer.to_dict()["result"]["margin"]
    assert (margin["low"], margin["high"], margin["half_width"]) == (None, None, None)
    assert "unknown" in margin["basis"]


def test_the_matrix_of_the_issue_has_no_margin() -> None:
    """Its digits after the third are those of float32: a margin of 1e-6 would be false."""
    answer = rmtaudit.logdet(Decay(1500), threads=1)
    claims_nothing(answer)
    assert answer.logdet is not None
    assert abs(answer.logdet - truth(1500)) < 1e-2
    computed = answer.evidence["as_computed"]
    assert not computed["low"] <= truth(1500) <= computed["high"]


@pytest.mark.parametrize("method", ["cholesky", "ldlt", "lu", "mixed", "slq"])
def test_no_method_claims_an_error(method: str) -> None:
    claims_nothing(rmtaudit.logdet(Decay(N), method=method, smallest=1e-2, threads=1))


@pytest.mark.parametrize("more", [{"shift": 0.1}, {"size": 300}, {"view": "wtw"}, {"size": 2000}])
def test_nor_does_what_is_made_of_it(more: dict[str, object]) -> None:
    answer = rmtaudit.logdet(Decay(N), threads=1, **more)  # type: ignore[arg-type]
    if answer.status == "ok":
        claims_nothing(answer)
    else:
        assert more == {"size": 2000}  # the points are in no random order, and that is refused


def test_a_rounding_that_is_declared_is_in_the_margin_of_cholesky() -> None:
    answer = rmtaudit.logdet(Rounded(N), threads=1)
    assert answer.margin is not None
    assert answer.margin.kind == "rounding bound"
    assert answer.margin.low <= truth(N) <= answer.margin.high
    exact = rmtaudit.logdet(Decay(N).dense(), threads=1)
    assert exact.margin is not None
    assert answer.margin.half_width > 1000 * exact.margin.half_width


def test_where_no_bound_of_coarse_entries_holds_nothing_is_estimated() -> None:
    """Entries of one lag are all off by the same: errors of float32 that are anything but independent."""
    answer = rmtaudit.logdet(Rounded(1500), threads=1)
    assert answer.margin is not None
    assert answer.margin.kind == "not known"
    assert "need not be independent" in answer.margin.basis
    computed = answer.evidence["as_computed"]
    assert computed["kind"] == "rounding estimate"
    assert not computed["low"] <= truth(1500) <= computed["high"]


@pytest.mark.parametrize("method", ["ldlt", "lu", "slq", "mixed"])
def test_methods_that_do_not_carry_it_claim_nothing(method: str) -> None:
    answer = rmtaudit.logdet(Rounded(N), method=method, smallest=1e-2, threads=1)
    assert answer.margin is not None
    assert answer.margin.kind == "not known"
    assert "this method does not account for" in answer.margin.basis


def test_a_tolerance_is_not_met_by_a_margin_that_is_not_known() -> None:
    answer = rmtaudit.logdet(Decay(N), method="slq", smallest=1e-2, tolerance=0.5, threads=1)
    claims_nothing(answer)
    assert answer.to_dict()["result"]["tolerance_met"] is False


def test_what_is_known_of_each_source() -> None:
    W = torch.randn(40, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    A, points = (W.T @ W).tril(), W[:, :2].contiguous()
    A = A + A.tril(-1).T
    tensor, own = TensorSource(A), KernelMatrix(points, torch.cdist)
    graph = Laplacian(np.array([[0, 1], [1, 2], [3, 4]]))
    nothing = Decay(10)
    roundings = [
        (tensor, 0.0), (SparseMatrix(A.numpy()), 0.0), (graph, 4.0), (CompletedLaplacian(graph), 4.0),
        (Gram(TensorSource(W), "columns"), 41.0), (Gram(TensorSource(W), "rows"), 21.0),
        (own, None), (Product(tensor, tensor), None), (nothing, None),
        (Shifted(tensor, 1.0), 1.0), (Shifted(graph, 1.0), 5.0),
        (Shifted(graph, -1.0), None), (Shifted(tensor, -1.0), 1.0), (Leading(tensor, 5), 0.0),
        (Shifted(nothing, 1.0), None),
        (Leading(nothing, 5), None), (Gram(nothing, "columns"), None), (Gram(graph, "rows"), None),
    ]  # fmt: skip
    for source, rounding in roundings:
        assert source.known().rounding == rounding, source.name
    assert (Shifted(Leading(tensor, 5), 1.0).kind, Gram(tensor, "rows").kind) == ("array", "gram")
    assert nothing.kind == "source"
    assert graph.known().rank == 3
    assert facts_of(Gram(TensorSource(W), "rows")).singular
    matern = Shifted(MaternMatrix(points, nu=1.5, length=1.0), 0.5)
    assert (facts_of(matern).smallest, facts_of(Shifted(matern, -0.6)).smallest) == (0.5, None)
    assert facts_of(matern, smallest=0.7).smallest == 0.7


def test_a_rank_that_is_declared_makes_a_matrix_singular() -> None:
    class LowRank(Decay):
        def known(self) -> Known:
            return Known(rank=3)

    answer = rmtaudit.logdet(LowRank(10), threads=1)
    assert (answer.status, answer.sign) == ("refused", 0)
    assert "rank of at most 3" in answer.reason


def test_what_is_known_makes_sense_or_is_refused() -> None:
    several: list[dict[str, Any]] = [
        {"rounding": -1.0},
        {"rounding": math.nan},
        {"smallest": math.inf},
        {"rank": -1},
        {"smallest": 2.0, "largest": 1.0},
    ]
    for wrong in several:
        with pytest.raises(ValueError, match=r"not|bounded"):
            Known(**wrong)


def test_a_judgement_reaches_what_a_matrix_is_made_of() -> None:
    base = Decay(10)
    made = in_memory(Shifted(base, 1.0), SourceOptions(symmetric=False))
    assert (made.symmetric, base.symmetric) == (False, False)


def test_details_of_a_source_are_in_the_document_and_replace_nothing() -> None:
    class Told(Decay):
        def details(self) -> dict[str, object]:
            return {"decay": {"scale": 9}, "kind": "something else"}

    subject = rmtaudit.logdet(Shifted(Told(10), 0.1), threads=1).subject
    assert (subject["decay"], subject["kind"]) == ({"scale": 9}, "source")
