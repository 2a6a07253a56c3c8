"""The contract of sources that is shipped, on ours and on some that break it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import scipy.sparse
import torch

from rmtaudit.matrices.sources import Gram, MaternMatrix, Product, Shifted, SparseMatrix, TensorSource
from rmtaudit.plugins import Known, MatrixSource, Reach, SourceContract

N = 24


def _dense() -> torch.Tensor:
    A = torch.randn(N, N, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return A @ A.T + N * torch.eye(N, dtype=torch.float64)


def _symmetric() -> torch.Tensor:
    A = _dense().tril()
    return A + A.tril(-1).T


class TestTensor(SourceContract):
    def source(self) -> MatrixSource:
        return TensorSource(_symmetric())

    def truth(self) -> torch.Tensor:
        return _symmetric()


class TestSparse(SourceContract):
    def source(self) -> MatrixSource:
        return SparseMatrix(scipy.sparse.csr_array(self.truth().numpy()))

    def truth(self) -> torch.Tensor:
        return _symmetric().triu(-2).tril(2)


class TestShifted(SourceContract):
    def source(self) -> MatrixSource:
        points = torch.rand(N, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        return Shifted(MaternMatrix(points, nu=0.5, length=0.3), 0.25)

    def truth(self) -> torch.Tensor:
        points = torch.rand(N, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        apart = (points[:, None] - points[None, :]).square().sum(-1).sqrt()
        return torch.exp(-apart / 0.3) + 0.25 * torch.eye(N, dtype=torch.float64)


class TestGram(SourceContract):
    def source(self) -> MatrixSource:
        return Gram(TensorSource(_dense()[:10]), "columns")

    def truth(self) -> torch.Tensor:
        return _dense()[:10].T @ _dense()[:10]


class TestProduct(SourceContract):
    def source(self) -> MatrixSource:
        return Product(TensorSource(_dense()), TensorSource(_dense()))


class Lying(MatrixSource):
    """A source of which every claim is false."""

    name, shape, symmetric, semidefinite = "lying", (N, N), True, True
    reach = frozenset({Reach.BLOCK, Reach.MATMUL})

    def known(self) -> Known:
        return Known(smallest=1e9, smallest_from="nowhere", rank=2, rounding=1.0)

    def block_into(self, rows: range, cols: range, out: torch.Tensor) -> None:
        out.copy_(_dense().triu(-1)[rows.start : rows.stop, cols.start : cols.stop].float())

    def matmul(self, X: torch.Tensor) -> torch.Tensor:
        return 1.01 * super().matmul(X)

    def principal(self, indices: torch.Tensor) -> torch.Tensor:
        return _dense()[indices][:, indices]


class _Broken(SourceContract):
    def source(self) -> MatrixSource:
        return Lying()


class _Rounded(SourceContract):
    """Float32 entries, of which it is said that they are as exact as float64 can be."""

    def source(self) -> MatrixSource:
        class Float32(Lying):
            def known(self) -> Known:
                return Known(rounding=4.0)

        return Float32()

    def truth(self) -> torch.Tensor:
        return _dense()


@pytest.mark.parametrize(
    ("test", "words"),
    [
        ("test_every_way_of_reaching_it_gives_the_same_matrix", "is not that of the entries"),
        ("test_what_it_does_not_offer_is_refused", "is not in its reach, and is offered"),
        ("test_symmetric_means_symmetric", "not symmetric"),
        ("test_what_is_known_holds", "an eigenvalue is"),
        ("test_a_declared_rounding_can_be_tested", "override truth"),
    ],
)
def test_the_contract_finds_what_is_wrong(test: str, words: str) -> None:
    check: Callable[[], None] = getattr(_Broken(), test)
    with pytest.raises(AssertionError, match=words):
        check()


def test_the_contract_finds_a_rounding_that_is_not_kept() -> None:
    with pytest.raises(AssertionError, match="more than its declared rounding"):
        _Rounded().test_what_is_known_holds()
