"""Matrices made of others without forming them: ``A + t I``, ``A B``, ``WᵀW`` and ``W Wᵀ``."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from rmtaudit.errors import UsageError
from rmtaudit.matrices.sources.base import MatrixSource, Reach
from rmtaudit.matrices.sources.known import Known
from rmtaudit.matrices.sources.symmetry import BY_CONSTRUCTION
from rmtaudit.matrices.sources.wrapper import Wrapper

if TYPE_CHECKING:
    import torch

_INNER = 1024
"""Rows of the inner side of a product that are multiplied at a time."""


class Shifted(Wrapper):
    """``A + t I``.

    Parameters
    ----------
    base
        A square source; it is closed with this one.
    shift
        ``t``, finite.

    Raises
    ------
    UsageError
        RA-MS-004: not square. RA-MS-021: ``t`` is not finite.
    """

    def __init__(self, base: MatrixSource, shift: float) -> None:
        if not base.square:
            raise UsageError("RA-MS-004", f"{base.name} is not square, so it cannot be shifted.")
        if not math.isfinite(shift):
            raise UsageError("RA-MS-021", f"A shift must be a finite number, not {shift}.")
        super().__init__(base)
        self.shift = shift
        self.name = f"{base.name} {'-' if shift < 0 else '+'} {abs(shift):g} I"
        self.semidefinite = base.semidefinite and shift >= 0

    def known(self) -> Known:
        """Move the bounds of the base; a semidefinite one has 0 as its lower bound."""
        base, shift = self.base.known(), self.shift
        floor = 0.0 if self.base.semidefinite else None
        below = base.smallest if base.smallest is not None else floor
        sparse = _plus_diagonal(base.sparse, shift) if base.sparse is not None else None
        rows, cols = self.shape
        products = 2.0 * rows * cols if base.product_flops is None else base.product_flops
        moved = Known(
            smallest=None if below is None else below + shift,
            largest=None if base.largest is None else base.largest + shift,
            smallest_from="the shift of a positive semidefinite matrix"
            if self.base.semidefinite
            else base.smallest_from,
            rounding=self._rounding(base.rounding),
            product_flops=products + 2 * rows,
            entry_flops=base.entry_flops,
            nonzeros=None if sparse is None else int(sparse.nnz),
            sparse=sparse,
            shifted=self,
        )
        return moved if sparse is None else with_structure(moved)

    def _rounding(self, base: float | None) -> float | None:
        """Return the rounding in units of the new diagonal; a smaller one says nothing of old errors."""
        if base == 0:
            return 1.0
        grown = self.base.semidefinite and self.shift >= 0
        return base + 1 if base is not None and grown else None

    def block_into(self, rows: range, cols: range, out: torch.Tensor) -> None:
        """Write a block (see :meth:`MatrixSource.block_into`)."""
        self.base.block_into(rows, cols, out)
        on_diagonal = range(max(rows.start, cols.start), min(rows.stop, cols.stop))
        if len(on_diagonal):
            out.diagonal(rows.start - cols.start).add_(self.shift)

    def principal(self, indices: torch.Tensor) -> torch.Tensor:
        """Return a principal submatrix; an index given twice is shifted where it meets itself."""
        submatrix = self.base.principal(indices).clone()
        submatrix[indices[:, None] == indices[None, :]] += self.shift
        return submatrix

    def matmul(self, X: torch.Tensor) -> torch.Tensor:
        """Return ``A X + t X``."""
        import torch

        return self.base.matmul(X) + self.shift * X.to(torch.float64)

    def rmatmul(self, X: torch.Tensor) -> torch.Tensor:
        """Return ``Aᵀ X + t X``."""
        import torch

        return self.base.rmatmul(X) + self.shift * X.to(torch.float64)

    def fingerprint(self) -> str:
        """Return the fingerprint of the base with the shift."""
        return f"{self.base.fingerprint()}+{self.shift.hex()}"


class Product(MatrixSource):
    """``A B``, never formed.

    Parameters
    ----------
    left, right
        Sources whose inner sides agree; both offer products, or both blocks. They are closed with this one.

    Raises
    ------
    UsageError
        RA-MS-022: the inner sides differ, or the two offer nothing in common.

    Notes
    -----
    Nothing is known of its rounding: that of an entry is relative to ``(|A| |B|)_ij``, which has no bound in
    terms of the diagonal of the product.
    """

    kind = "product"

    def __init__(self, left: MatrixSource, right: MatrixSource) -> None:
        if left.shape[1] != right.shape[0]:
            raise UsageError(
                "RA-MS-022",
                f"{left.name} is {left.shape[0]} x {left.shape[1]} and {right.name} is "
                f"{right.shape[0]} x {right.shape[1]}: they have no product.",
            )
        self.left, self.right = left, right
        stored = [each.stored_bytes for each in (left, right) if each.stored_bytes is not None]
        self.stored_bytes = sum(stored) if stored else None
        self.reach = left.reach & right.reach & {Reach.MATMUL, Reach.BLOCK, Reach.DENSE}
        if not self.reach:
            raise UsageError("RA-MS-022", f"{left.name} and {right.name} have no operation in common.")
        self.name, self.shape = f"{left.name} @ {right.name}", (left.shape[0], right.shape[1])
        self.symmetry = "a product of two matrices"

    def block_into(self, rows: range, cols: range, out: torch.Tensor) -> None:
        """Multiply a strip of the left by a strip of the right, a piece of the inner side at a time."""
        if Reach.BLOCK not in self.reach:
            raise self._unreachable(Reach.BLOCK)
        out.zero_()
        inner = self.left.shape[1]
        for start in range(0, inner, _INNER):
            there = range(start, min(inner, start + _INNER))
            out.addmm_(self.left.block(rows, there), self.right.block(there, cols))

    def matmul(self, X: torch.Tensor) -> torch.Tensor:
        """Return ``A (B X)``."""
        return self.left.matmul(self.right.matmul(X))

    def rmatmul(self, X: torch.Tensor) -> torch.Tensor:
        """Return ``Bᵀ (Aᵀ X)``."""
        return self.right.rmatmul(self.left.rmatmul(X))

    def fingerprint(self) -> str:
        """Return both fingerprints."""
        return f"{self.left.fingerprint()}@{self.right.fingerprint()}"

    def close(self) -> None:
        """Close both."""
        self.left.close()
        self.right.close()


class Gram(MatrixSource):
    """``WᵀW`` (``of="columns"``) or ``W Wᵀ`` (``of="rows"``), never formed as a whole.

    Parameters
    ----------
    factor
        The source of ``W``, kept as :attr:`factor` for methods that work on it (Golub-Kahan); it is closed
        with this one.
    of
        Whose inner products they are.
    """

    kind = "gram"

    def __init__(self, factor: MatrixSource, of: Literal["columns", "rows"]) -> None:
        self.factor, self.of = factor, of
        side = factor.shape[1 if of == "columns" else 0]
        self.name = f"{'WᵀW' if of == 'columns' else 'WWᵀ'} of {factor.name}"
        self.shape = (side, side)
        self.take_symmetry(BY_CONSTRUCTION)
        self.semidefinite = True
        self.stored_bytes = factor.stored_bytes
        self.reach = factor.reach & {Reach.MATMUL, Reach.BLOCK, Reach.DENSE}
        if Reach.BLOCK in self.reach:
            self.reach |= {Reach.PRINCIPAL}

    @property
    def rank_bound(self) -> int:
        """The smaller side of ``W``: no Gram matrix of it has a higher rank."""
        return min(self.factor.shape)

    def known(self) -> Known:
        """Return the rank, and the rounding of inner products of exact numbers.

        Where entries of the factor are not exact, how far that moves an inner product is not known.
        """
        rows, factor = self.shape[0], self.factor.known()
        rank, singular = self.rank_bound, ""
        if rank < rows:
            of = " x ".join(map(str, self.factor.shape))
            singular = f"the Gram matrix of order {rows:,} of a {of} matrix has a rank of at most {rank:,}"
        inner = self.factor.shape[0 if self.of == "columns" else 1]
        return Known(
            rank=rank,
            singular=singular,
            gram=self,
            product_flops=4.0 * math.prod(self.factor.shape),
            rounding=inner + 1.0 if factor.rounding == 0 else None,
        )

    def block_into(self, rows: range, cols: range, out: torch.Tensor) -> None:
        """Form the inner products of a block (see :meth:`MatrixSource.block_into`)."""
        if Reach.BLOCK not in self.reach:
            raise self._unreachable(Reach.BLOCK)
        out.zero_()
        for there in self._pieces():
            if self.of == "columns":
                out.addmm_(self.factor.block(there, rows).T, self.factor.block(there, cols))
            else:
                out.addmm_(self.factor.block(rows, there), self.factor.block(cols, there).T)

    def principal(self, indices: torch.Tensor) -> torch.Tensor:
        """Form the inner products of some columns (rows)."""
        import torch

        if Reach.PRINCIPAL not in self.reach:
            raise self._unreachable(Reach.PRINCIPAL)
        low, high = int(indices.min()), int(indices.max()) + 1
        submatrix = torch.zeros((len(indices), len(indices)), dtype=torch.float64)
        for there in self._pieces():
            if self.of == "columns":
                chosen = self.factor.block(there, range(low, high))[:, indices - low]
                submatrix.addmm_(chosen.T, chosen)
            else:
                chosen = self.factor.block(range(low, high), there)[indices - low]
                submatrix.addmm_(chosen, chosen.T)
        return submatrix

    def matmul(self, X: torch.Tensor) -> torch.Tensor:
        """Return ``Wᵀ (W X)`` or ``W (Wᵀ X)``."""
        if self.of == "columns":
            return self.factor.rmatmul(self.factor.matmul(X))
        return self.factor.matmul(self.factor.rmatmul(X))

    def fingerprint(self) -> str:
        """Return the fingerprint of the factor and the side."""
        return f"gram-of-{self.of}:{self.factor.fingerprint()}"

    def close(self) -> None:
        """Close the factor."""
        self.factor.close()

    def _pieces(self) -> list[range]:
        inner = self.factor.shape[0 if self.of == "columns" else 1]
        return [range(start, min(inner, start + _INNER)) for start in range(0, inner, _INNER)]


def with_structure(known: Known) -> Known:
    """Add what the pattern of a sparse square matrix tells, and what is certain from it."""
    from rmtaudit.kernels.determinants.sparse_general import structure_of

    structure = structure_of(known.sparse)
    if not structure.empty:
        return replace(known, structure=structure)
    singular = (
        "the positions of its entries make it singular, whatever their values: columns have no "
        "entry, or their only entry in the same row as another such column"
    )
    return replace(known, structure=structure, singular=singular)


def _plus_diagonal(sparse: Any, shift: float) -> Any:
    import scipy.sparse

    return scipy.sparse.csr_array(sparse + shift * scipy.sparse.eye_array(sparse.shape[0]))
