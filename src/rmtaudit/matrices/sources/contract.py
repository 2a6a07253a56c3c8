"""The test that every matrix source must pass, shipped for those who write one.

In a test module of the plugin (pytest collects the inherited tests)::

    from rmtaudit.plugins import SourceContract

    class TestMine(SourceContract):
        def source(self):
            return MySource(40)

        def truth(self):
            return ...  # the matrix that is meant, as exact as float64 can hold it
"""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch

from rmtaudit.errors import UnreachableError
from rmtaudit.matrices.sources.base import MatrixSource, Reach

_SEED = 20240917
"""Any fixed number: a failure has to repeat."""
_UNIT = 2.0**-53
"""The unit round-off of float64."""
_PRODUCT = 2.0**-18
"""How far entries and products by one way may be from those by another, of their size: either may be in
float32, with 64 of its roundings."""
_SPECTRUM = 1e-6
"""Of the largest entry times the order: eight roundings of float32, and far more than those of float64."""


class SourceContract(ABC):
    """What rmtaudit relies on, as tests. Make a source with at least 8 rows, and at most a few hundred."""

    @abstractmethod
    def source(self) -> MatrixSource:
        """Return a new source; always of the same matrix."""

    def truth(self) -> torch.Tensor | None:
        """Return the matrix that is meant, float64, as exact as that can be.

        It is asked for where the source declares a ``rounding``, which its entries then keep.
        """
        return None

    def test_says_what_it_is(self) -> None:
        """It has a printable name, a kind, a shape and something to offer."""
        source = self.source()
        rows, cols = source.shape
        assert source.name, "a source needs a name"
        assert source.name.isprintable(), "the name is not printable"
        assert source.kind, "a source needs a kind"
        assert rows > 0
        assert cols > 0
        assert source.reach, "a source offers nothing"
        assert all(isinstance(each, Reach) for each in source.reach)
        source.close()

    def test_every_way_of_reaching_it_gives_the_same_matrix(self) -> None:
        """Blocks, principal submatrices and products are of one matrix: float64, finite, on the CPU."""
        source = self.source()
        rows, cols = source.shape
        whole = _whole(source)
        assert bool(whole.isfinite().all()), "an entry is not finite"
        scale = float(whole.abs().max())
        if Reach.BLOCK in source.reach:
            here, there = range(rows // 3, rows - 1), range(1, cols // 2)
            block = source.block(here, there)
            assert block.dtype == torch.float64
            difference = (block - whole[here.start : here.stop, there.start : there.stop]).abs().max()
            assert float(difference) <= _PRODUCT * scale, "a block is of another matrix than the whole"
            buffer = torch.full((len(here) + 2, len(there) + 2), math.nan, dtype=torch.float64)
            source.block_into(here, there, buffer[1:-1, 1:-1])
            assert torch.equal(buffer[1:-1, 1:-1], block), "a block is not written into a view"
        if Reach.PRINCIPAL in source.reach:
            indices = torch.tensor([5, 2, cols - 1, 3])
            submatrix = source.principal(indices)
            assert submatrix.dtype == torch.float64
            difference = (submatrix - whole[indices][:, indices]).abs().max()
            assert float(difference) <= _PRODUCT * scale, "a principal submatrix is of another matrix"
        if Reach.MATMUL in source.reach:
            X = torch.randn(cols, 3, generator=torch.Generator().manual_seed(_SEED), dtype=torch.float64)
            Y = torch.randn(rows, 3, generator=torch.Generator().manual_seed(_SEED), dtype=torch.float64)
            tolerance = _PRODUCT * float(torch.linalg.matrix_norm(whole))
            assert source.matmul(X).dtype == torch.float64
            difference = (source.matmul(X) - whole @ X).norm()
            assert float(difference) <= tolerance * float(X.norm()), "A X is not that of the entries"
            difference = (source.rmatmul(Y) - whole.T @ Y).norm()
            assert float(difference) <= tolerance * float(Y.norm()), "Aᵀ Y is not that of the entries"
        source.close()

    def test_what_it_does_not_offer_is_refused(self) -> None:
        """What is not in ``reach`` raises ``UnreachableError``: nothing is emulated."""
        source = self.source()
        tries: dict[Reach, Callable[[], torch.Tensor]] = {
            Reach.BLOCK: lambda: source.block(range(2), range(2)),
            Reach.PRINCIPAL: lambda: source.principal(torch.tensor([0, 1])),
            Reach.MATMUL: lambda: source.matmul(torch.ones(source.shape[1], 1, dtype=torch.float64)),
        }
        for reach, attempt in tries.items():
            if reach in source.reach:
                continue
            try:
                attempt()
            except UnreachableError:
                continue
            raise AssertionError(f"{reach} is not in its reach, and is offered")
        source.close()

    def test_symmetric_means_symmetric(self) -> None:
        """A source that is symmetric equals its transpose; a semidefinite one has no negative eigenvalue."""
        source = self.source()
        if source.symmetric:
            whole = _whole(source)
            assert source.square, "a symmetric matrix is square"
            scale = float(whole.abs().max())
            assert float((whole - whole.T).abs().max()) <= _PRODUCT * scale, "it is not symmetric"
            if source.semidefinite:
                least = float(torch.linalg.eigvalsh((whole + whole.T) / 2)[0])
                assert least >= -_SPECTRUM * scale * len(whole), f"an eigenvalue is {least}"
        source.close()

    def test_what_is_known_holds(self) -> None:
        """The bounds of the spectrum, the rank and the rounding that it declares are true."""
        source = self.source()
        known, whole = source.known(), _whole(source)
        slack = _SPECTRUM * float(whole.abs().max()) * max(whole.shape)
        if known.smallest is not None or known.largest is not None:
            assert source.symmetric, "bounds of the spectrum are of symmetric matrices"
            values = torch.linalg.eigvalsh((whole + whole.T) / 2)
            low, high = float(values[0]), float(values[-1])
            assert known.smallest is None or low >= known.smallest - slack, f"an eigenvalue is {low}"
            assert known.largest is None or high <= known.largest + slack, f"an eigenvalue is {high}"
            assert known.smallest is None or known.smallest_from, (
                "the origin of the lower bound is not stated"
            )
        if known.rank is not None:
            rank = int((torch.linalg.svdvals(whole) > slack).sum())
            assert rank <= known.rank, f"the rank is {rank}, not at most {known.rank}"
        truth = self.truth()
        if known.rounding is not None and truth is not None:
            diagonal = truth.diagonal().abs().sqrt()
            allowed = known.rounding * _UNIT * diagonal[:, None] * diagonal[None, :]
            worst = float(((whole - truth).abs() - allowed).max())
            assert worst <= 0, f"an entry is off by {worst:.2g} more than its declared rounding"
        source.close()

    def test_a_declared_rounding_can_be_tested(self) -> None:
        """Whoever declares how far entries may be off gives the matrix to compare them with."""
        source = self.source()
        if source.known().rounding is not None:
            assert self.truth() is not None, "a rounding is declared: override truth() to test it"
        source.close()

    def test_the_fingerprint_is_of_the_matrix(self) -> None:
        """Two sources of one matrix have the same fingerprint."""
        first, second = self.source(), self.source()
        assert first.fingerprint() == second.fingerprint()
        first.close()
        second.close()

    def test_threads_may_read_at_once(self) -> None:
        """Threads share the source: together they get what one gets alone."""
        source = self.source()
        alone = _whole(source)
        together: list[torch.Tensor] = []
        threads = [threading.Thread(target=lambda: together.append(_whole(source))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(together) == 4
        assert all(torch.equal(each, alone) for each in together)
        source.close()

    def test_closing_twice_is_no_error(self) -> None:
        """``close`` is idempotent."""
        source = self.source()
        source.close()
        source.close()


def _whole(source: MatrixSource) -> torch.Tensor:
    rows, cols = source.shape
    if Reach.BLOCK in source.reach:
        return source.block(range(rows), range(cols))
    if Reach.PRINCIPAL in source.reach:
        return source.principal(torch.arange(rows))
    return source.matmul(torch.eye(cols, dtype=torch.float64))
