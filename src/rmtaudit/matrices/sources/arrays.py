"""Matrices in memory: torch tensors and numpy arrays."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rmtaudit.errors import InputError, UsageError
from rmtaudit.matrices.sources.base import MatrixSource, Reach
from rmtaudit.matrices.sources.known import Known
from rmtaudit.matrices.sources.symmetry import Ground, Symmetry
from rmtaudit.names import display_name

if TYPE_CHECKING:
    import torch

EVERYTHING = frozenset(Reach)


class TensorSource(MatrixSource):
    """A matrix in memory.

    Parameters
    ----------
    matrix
        A real two-dimensional torch tensor or numpy array, any device; not copied where it is float64 on the
        CPU. Integers and booleans are taken as the numbers they are.
    name
        What stands for it in messages.
    symmetric
        ``None`` compares every pair; ``True`` takes the lower triangle as the truth without looking.

    Raises
    ------
    UsageError
        RA-MS-002: not a matrix. RA-MS-003: not real numbers. RA-MS-004: ``symmetric`` but not square.
    InputError
        RA-MS-005: an entry is NaN or infinite.
    """

    kind = "array"

    def __init__(self, matrix: Any, name: str = "<array>", *, symmetric: bool | None = None) -> None:
        import torch

        tensor = matrix.detach() if isinstance(matrix, torch.Tensor) else _as_tensor(matrix, name)
        if tensor.layout is not torch.strided:
            raise UsageError("RA-MS-003", f"{name} is a sparse tensor.", hint="Give a scipy CSR matrix.")
        check_shape(tuple(tensor.shape), name)
        if tensor.is_complex():
            raise UsageError("RA-MS-003", f"{name} holds complex numbers; only real matrices are read.")
        self.name = name
        self.dtype = str(tensor.dtype).removeprefix("torch.")
        self.matrix = tensor.to("cpu", torch.float64)
        self.shape = (int(tensor.shape[0]), int(tensor.shape[1]))
        self.reach = EVERYTHING if self.square else EVERYTHING - {Reach.PRINCIPAL}
        check_finite(name, self.matrix)
        self.take_symmetry(declared_symmetry(symmetric, self.square, name) or whole_symmetry(self.matrix))

    def known(self) -> Known:
        """Return that the entries are exact, and in memory."""
        return Known(rounding=0.0, entry_flops=0.0)

    def dense(self) -> torch.Tensor:
        """Return a copy (see :meth:`MatrixSource.dense`)."""
        return self.matrix.clone()

    def block_into(self, rows: range, cols: range, out: torch.Tensor) -> None:
        """Copy a block (see :meth:`MatrixSource.block_into`)."""
        out.copy_(self.matrix[rows.start : rows.stop, cols.start : cols.stop])

    def principal(self, indices: torch.Tensor) -> torch.Tensor:
        """Return a principal submatrix (see :meth:`MatrixSource.principal`)."""
        if not self.square:
            raise self._unreachable(Reach.PRINCIPAL)
        return self.matrix[indices[:, None], indices[None, :]]

    def matmul(self, X: torch.Tensor) -> torch.Tensor:
        """Return ``A X``."""
        import torch

        return self.matrix @ X.to(torch.float64)

    def rmatmul(self, X: torch.Tensor) -> torch.Tensor:
        """Return ``Aᵀ X``."""
        import torch

        return self.matrix.T @ X.to(torch.float64)

    def diagonal(self) -> torch.Tensor:
        """Return the main diagonal."""
        return self.matrix.diagonal().clone()


def check_shape(shape: tuple[int, ...], name: str) -> None:
    """Raise ``UsageError`` (RA-MS-002) unless ``shape`` is that of a matrix with entries."""
    if len(shape) != 2:
        sides = " x ".join(map(str, shape[:6])) or "a number"
        raise UsageError("RA-MS-002", f"{name} has {len(shape)} dimensions ({sides}); a matrix has 2.")
    if 0 in shape:
        raise UsageError("RA-MS-002", f"{name} is empty: {shape[0]} x {shape[1]}.")


def declared_symmetry(symmetric: bool | None, square: bool, name: str) -> Symmetry | None:
    """Return what the shape and the caller say about symmetry, ``None`` where the entries must be asked.

    Raises ``UsageError`` (RA-MS-004) for a rectangular matrix that is said to be symmetric.
    """
    if not square:
        if symmetric:
            raise UsageError("RA-MS-004", f"{name} was declared symmetric, but is not square.")
        return Symmetry(False, Ground.CONSTRUCTION, "not square")
    if symmetric is None:
        return None
    return Symmetry(symmetric, Ground.DECLARED, str(Ground.DECLARED))


def whole_symmetry(matrix: torch.Tensor) -> Symmetry:
    """Compare every entry with its mirror image, in bands."""
    n = matrix.shape[0]
    band = max(1, (1 << 20) // max(1, n))
    for start in range(0, n, band):
        stop = min(n, start + band)
        different = matrix[start:stop] != matrix[:, start:stop].T
        if bool(different.any()):
            i, j = (int(part) for part in different.nonzero()[0])
            return Symmetry(
                False, Ground.COMPARED, f"entries ({start + i}, {j}) and ({j}, {start + i}) differ"
            )
    return Symmetry(True, Ground.COMPARED, str(Ground.COMPARED))


def check_finite(name: str, values: torch.Tensor) -> None:
    """Raise ``InputError`` (RA-MS-005) if a value is NaN or infinite."""
    if math.isfinite(float(values.sum())):  # a sum takes no memory; only one that overflows needs a look
        return
    bad = int((~values.isfinite()).sum())
    if bad:
        raise InputError(
            "RA-MS-005",
            f"{bad:,} of the {values.numel():,} entries of {name} that were read are NaN or infinite.",
            hint="Such a matrix has no determinant.",
        )


def _as_tensor(matrix: Any, name: str) -> torch.Tensor:
    import numpy as np
    import torch

    array = np.asarray(matrix)
    if array.dtype.kind not in "fiub":
        raise UsageError(
            "RA-MS-003", f"{name} holds {display_name(str(array.dtype), longest=60)}, not real numbers."
        )
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        raise UsageError("RA-MS-003", f"{name} holds {array.dtype}, which float64 cannot represent.")
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.float64)  # torch has no arithmetic for the wide unsigned integers
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return torch.from_numpy(np.require(native, requirements=["W"]))
