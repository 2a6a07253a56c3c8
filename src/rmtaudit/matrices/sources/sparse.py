"""Sparse matrices in compressed rows (scipy, so on the CPU), and Laplacians of graphs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from rmtaudit.errors import CorruptError, InputError, UsageError
from rmtaudit.matrices.sources.algebra import with_structure
from rmtaudit.matrices.sources.arrays import EVERYTHING, check_shape, declared_symmetry
from rmtaudit.matrices.sources.base import MatrixSource, Reach
from rmtaudit.matrices.sources.known import Known
from rmtaudit.matrices.sources.symmetry import BY_CONSTRUCTION, Ground, Symmetry

if TYPE_CHECKING:
    import numpy as np
    import torch

Normalisation = Literal["normalised", "combinatorial"]


class SparseMatrix(MatrixSource):
    """A sparse matrix; entries that are not stored are zero.

    Parameters
    ----------
    matrix
        Any scipy sparse matrix or array of real numbers. Entries stored twice are added, as scipy does.
    name
        Printable.
    symmetric
        ``None`` compares the whole matrix with its transpose; ``True`` takes the lower triangle as the truth
        and puts its mirror image above the diagonal.

    Raises
    ------
    CorruptError
        RA-MS-013: its indices leave the shape, or its row pointers do not rise.
    UsageError, InputError
        As :class:`~rmtaudit.matrices.sources.arrays.TensorSource`.
    """

    kind = "sparse"

    def __init__(self, matrix: Any, name: str = "<sparse>", *, symmetric: bool | None = None) -> None:
        import numpy as np
        import scipy.sparse

        check_shape(tuple(matrix.shape), name)
        if matrix.dtype.kind not in "fiub" or matrix.dtype.itemsize > 8:
            raise UsageError("RA-MS-003", f"{name} holds {matrix.dtype}, not real numbers.")
        self.dtype = matrix.dtype.newbyteorder("=").name
        rows = scipy.sparse.csr_array(matrix).astype(np.float64)
        try:
            rows.check_format(full_check=True)  # scipy's C code trusts the indices; a file must not be
        except ValueError as error:
            raise CorruptError(
                "RA-MS-013", f"{name} breaks the format of compressed rows: {error}."
            ) from error
        rows.sum_duplicates()
        if not np.isfinite(rows.data).all():
            bad = int((~np.isfinite(rows.data)).sum())
            raise InputError("RA-MS-005", f"{bad:,} stored entries of {name} are NaN or infinite.")
        self.name, self.shape = name, (int(rows.shape[0]), int(rows.shape[1]))
        self.reach = EVERYTHING if self.square else EVERYTHING - {Reach.PRINCIPAL}
        declared = declared_symmetry(symmetric, self.square, name)
        if declared is not None and declared.symmetric:
            rows = scipy.sparse.csr_array(
                scipy.sparse.tril(rows) + scipy.sparse.tril(rows, -1, format="csr").T
            )
        self.matrix = rows
        self.take_symmetry(declared or _mirrored(rows))

    @property
    def stored(self) -> int:
        """Number of stored entries."""
        return int(self.matrix.nnz)

    def known(self) -> Known:
        """Return that the entries are exact, and what their pattern tells."""
        known = Known(
            rounding=0.0,
            entry_flops=0.0,
            nonzeros=self.stored,
            product_flops=2.0 * self.stored,
            sparse=self.matrix,
        )
        return with_structure(known) if self.square else known

    def block_into(self, rows: range, cols: range, out: torch.Tensor) -> None:
        """Write a block (see :meth:`MatrixSource.block_into`)."""
        out.zero_()
        entries = self.matrix[rows.start : rows.stop, cols.start : cols.stop].tocoo()
        out.numpy()[entries.coords[0], entries.coords[1]] = entries.data

    def principal(self, indices: torch.Tensor) -> torch.Tensor:
        """Return a principal submatrix."""
        import torch

        if not self.square:
            raise self._unreachable(Reach.PRINCIPAL)
        wanted = indices.numpy()
        return torch.from_numpy(self.matrix[wanted][:, wanted].toarray())

    def matmul(self, X: torch.Tensor) -> torch.Tensor:
        """Return ``A X``."""
        import torch

        return torch.from_numpy(self.matrix @ X.to("cpu", torch.float64).contiguous().numpy())

    def rmatmul(self, X: torch.Tensor) -> torch.Tensor:
        """Return ``Aᵀ X``."""
        import torch

        return torch.from_numpy(self.matrix.T @ X.to("cpu", torch.float64).contiguous().numpy())

    def diagonal(self) -> torch.Tensor:
        """Return the main diagonal."""
        import torch

        return torch.from_numpy(self.matrix.diagonal().copy())


class Laplacian(SparseMatrix):
    """The Laplacian of an undirected graph: symmetric, positive semidefinite, with a known null space.

    ``combinatorial``: ``D - A``. ``normalised``: ``I - D^-½ A D^-½`` on vertices that have an edge; the row
    of an isolated vertex is zero. The null space has one dimension for every connected component.

    Parameters
    ----------
    edges
        Whole numbers, shape ``(m, 2)``: the ends of each edge. Vertices are the numbers that occur, in rising
        order. An edge given twice, or in both directions, counts once; a loop gives its vertex no edge.
    normalisation
        Which Laplacian.
    name
        Printable.

    Raises
    ------
    InputError
        RA-MS-014: no edge between two vertices. RA-MS-035: not two whole numbers for each edge.
    """

    kind = "laplacian"

    def __init__(
        self,
        edges: np.ndarray[Any, Any],
        normalisation: Normalisation = "normalised",
        name: str = "<graph>",
    ) -> None:
        import numpy as np
        import scipy.sparse
        from scipy.sparse.csgraph import connected_components

        edges = np.asarray(edges)
        if edges.ndim != 2 or edges.shape[1] != 2 or (edges.astype(np.int64) != edges).any():
            raise InputError("RA-MS-035", f"An edge of {name} must be two integers, its end points.")
        labels, ends = np.unique(edges.astype(np.int64), return_inverse=True)
        ends = ends.reshape(-1, 2)
        loops = int((ends[:, 0] == ends[:, 1]).sum())
        ends = np.unique(np.sort(ends[ends[:, 0] != ends[:, 1]], axis=1), axis=0)
        if not len(ends):
            raise InputError("RA-MS-014", f"{name} has no edge between two different vertices.")
        count = len(labels)
        ones = np.ones(len(ends))
        half = scipy.sparse.coo_array((ones, (ends[:, 0], ends[:, 1])), shape=(count, count))
        adjacency = scipy.sparse.csr_array(half + half.T)
        degrees: np.ndarray[Any, Any] = np.asarray(adjacency.sum(axis=1)).ravel()
        self.vertices, self.edges, self.loops = labels, len(ends), loops
        self.normalisation, self.degrees = normalisation, degrees
        self.components, self.component = connected_components(adjacency, directed=False)
        laplacian = scipy.sparse.diags_array(degrees) - adjacency
        if normalisation == "normalised":
            root = np.divide(1.0, np.sqrt(degrees), out=np.zeros(count), where=degrees > 0)
            scale = scipy.sparse.diags_array(root)
            laplacian = scale @ laplacian @ scale
            laplacian.setdiag((degrees > 0).astype(np.float64))
        rows = scipy.sparse.csr_array(laplacian)
        super().__init__(rows, f"{normalisation} Laplacian of {name}", symmetric=True)
        self.take_symmetry(BY_CONSTRUCTION)
        self.semidefinite = True

    def known(self) -> Known:
        """Return the upper end of the spectrum, the null space and the rounding of an entry.

        An entry of the normalised Laplacian takes a root, a quotient and two products.
        """
        normalised = self.normalisation == "normalised"
        return Known(
            largest=2.0 if normalised else 2.0 * float(self.degrees.max()),
            rank=self.shape[0] - int(self.components),
            singular=(
                "the Laplacian of a graph has as many zero eigenvalues as the graph has "
                f"connected components: {self.components:,}"
            ),
            sparse=self.matrix,
            laplacian=self,
            nonzeros=self.stored,
            product_flops=2.0 * self.stored,
            entry_flops=0.0,
            rounding=4.0,
        )

    def details(self) -> Mapping[str, Any]:
        """Return the numbers of edges, loops and components."""
        return {"graph": {"edges": self.edges, "loops": self.loops, "components": int(self.components)}}

    def null_weights(self) -> np.ndarray[Any, Any]:
        """Return the entries other than 0 of an orthonormal basis of the null space, float64, shape ``(n,)``.

        Of a component the vector ``1``, of the normalised Laplacian ``D^½ 1``, restricted to it; a row is of
        one component.
        """
        import numpy as np

        square = self.degrees if self.normalisation == "normalised" else np.ones(len(self.degrees))
        square = np.where(square > 0, square, 1.0)
        weights: np.ndarray[Any, Any] = np.sqrt(
            square / np.bincount(self.component, weights=square)[self.component]
        )
        return weights


class CompletedLaplacian(MatrixSource):
    """``L + V Vᵀ`` by its products, ``V`` an orthonormal basis of the null space of a Laplacian ``L``.

    Its determinant is the pseudo-determinant of ``L``: the eigenvalues 0 become ones, the others stay. ``V``
    has one entry a row, so that its products cost next to nothing whatever the number of components.

    Parameters
    ----------
    base
        The Laplacian.
    """

    kind = "laplacian"

    def __init__(self, base: Laplacian) -> None:
        import numpy as np
        import scipy.sparse

        self.base = base
        count = base.shape[0]
        self._V = scipy.sparse.csr_array(
            (base.null_weights(), base.component, np.arange(count + 1)), shape=(count, base.components)
        )
        self.name, self.shape, self.dtype = f"{base.name} + VVᵀ", base.shape, base.dtype
        self.take_symmetry(base.judgement)
        self.semidefinite = True
        self.reach = frozenset({Reach.MATMUL})

    def known(self) -> Known:
        """Return the rounding of the Laplacian, and what a product costs."""
        base = self.base.known()
        return Known(
            rounding=base.rounding,
            product_flops=2.0 * self.base.stored + 4.0 * self.shape[0],
            entry_flops=0.0,
        )

    def matmul(self, X: torch.Tensor) -> torch.Tensor:
        """Return ``L X + V (Vᵀ X)``."""
        import torch

        columns = X.to("cpu", torch.float64).contiguous().numpy()
        return self.base.matmul(X) + torch.from_numpy(self._V @ (self._V.T @ columns))

    def fingerprint(self) -> str:
        """Return the fingerprint of the Laplacian, marked."""
        return f"{self.base.fingerprint()}+null"


def _mirrored(matrix: Any) -> Symmetry:
    different = (matrix - matrix.T).tocoo()
    wrong = different.data != 0
    if wrong.any():
        i, j = int(different.coords[0][wrong][0]), int(different.coords[1][wrong][0])
        return Symmetry(False, Ground.COMPARED, f"entries ({i}, {j}) and ({j}, {i}) differ")
    return Symmetry(True, Ground.COMPARED, str(Ground.COMPARED))
