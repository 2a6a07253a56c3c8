"""From a matrix in memory and what is asked of it to a matrix source."""

from __future__ import annotations

import math
from typing import Any

from rmtaudit.engine.sources.options import SourceOptions, check_options
from rmtaudit.errors import UsageError
from rmtaudit.matrices.sources import (
    Gram,
    Laplacian,
    MaternMatrix,
    MatrixSource,
    Shifted,
    SparseMatrix,
    TensorSource,
)
from rmtaudit.matrices.sources.arrays import declared_symmetry


def in_memory(matrix: Any, options: SourceOptions, name: str = "<array>") -> MatrixSource:
    """Return the source of a matrix in memory, with every option that a path takes too.

    Parameters
    ----------
    matrix
        A ``MatrixSource``, a scipy sparse matrix, a torch tensor or a numpy array: the matrix itself, or with
        ``options.kernel`` the points of a kernel matrix, or with ``options.laplacian`` the edges of a graph.
    options
        The view (``wtw``, ``wwt``), the kernel, the Laplacian, the declared symmetry (it overrides that of a
        ``MatrixSource``) and the shift. ``auto`` takes the matrix as it is.
    name
        What stands for an array in messages.

    Raises
    ------
    UsageError
        RA-MS-020, RA-MS-036, RA-MS-037: options that make no sense for a matrix in memory.
    InputError, UsageError
        As the sources raise.
    """
    check_options(options)
    source = _viewed(_taken(matrix, options, name), options)
    return Shifted(source, options.shift) if options.shift else source


def _taken(matrix: Any, options: SourceOptions, name: str) -> MatrixSource:
    import numpy as np
    import scipy.sparse

    if options.dtype is not None or options.shape is not None:
        raise UsageError("RA-MS-036", "--dtype and --shape describe raw files; an array has its own.")
    if options.kernel is not None:
        if options.length is None:
            raise UsageError("RA-MS-020", "A kernel needs a length scale.")
        nu = math.inf if options.kernel == "rbf" else options.nu
        return MaternMatrix(matrix, nu=nu, length=options.length, name=name)
    if options.laplacian is not None:
        return Laplacian(np.asarray(matrix), options.laplacian, name)
    if isinstance(matrix, MatrixSource):
        told = declared_symmetry(options.symmetric, matrix.square, matrix.name)
        if told is not None:
            matrix.take_symmetry(told)
        return matrix
    if scipy.sparse.issparse(matrix):
        return SparseMatrix(matrix, name, symmetric=options.symmetric)
    return TensorSource(matrix, name, symmetric=options.symmetric)


def _viewed(source: MatrixSource, options: SourceOptions) -> MatrixSource:
    match options.view:
        case "wtw":
            return Gram(source, "columns")
        case "wwt":
            return Gram(source, "rows")
        case _:
            return source
