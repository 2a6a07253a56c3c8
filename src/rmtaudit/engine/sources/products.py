"""Products with a matrix on a device: by a copy of it there, where it has one, else by the source itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rmtaudit.errors import UsageError
from rmtaudit.matrices.sources import MatrixSource, Reach

if TYPE_CHECKING:
    import torch

    from rmtaudit.kernels.operators import Product

_BAND = 1 << 24
"""A convention: entries that are copied at once, 128 MiB."""


class Products(NamedTuple):
    """``A X`` and ``Aᵀ X`` of vectors on a device."""

    matmul: Product
    transposed: Product
    device: torch.device


def products_on(source: MatrixSource, device: torch.device, memory: int) -> Products:
    """Return the products with a matrix.

    On a CUDA device they are those of a float64 copy of the matrix there, where its entries can be read and
    take no more than the budget. A sparse matrix, and one that is only known by its products, stay on the
    CPU, and so does the work with their products. On the CPU a matrix whose every product would read a file
    or compute the entries again is copied where the copy fits (:attr:`MatrixSource.copy_bytes`).

    Parameters
    ----------
    source
        The matrix, which stays open.
    device
        Where the products are wanted.
    memory
        Bytes that the copy may take.

    Raises
    ------
    UsageError
        RA-US-203: the copy does not fit the memory of the device.
    """
    import torch

    rows, cols = source.shape
    if device.type == "cpu":
        copy = 0 < source.copy_bytes <= memory
    else:
        copy = Reach.BLOCK in source.reach and source.known().nonzeros is None and 8 * rows * cols <= memory
    if not copy:
        return Products(source.matmul, source.rmatmul, torch.device("cpu"))
    matrix = copied(source, device)
    return Products(lambda X: matrix @ X.to(torch.float64), lambda X: matrix.T @ X.to(torch.float64), device)


def copied(source: MatrixSource, device: torch.device) -> torch.Tensor:
    """Return a float64 copy of a matrix on a device, read by bands of rows. Raises as :func:`products_on`."""
    import torch

    rows, cols = source.shape
    step = max(1, _BAND // cols)
    try:
        matrix = torch.empty(rows, cols, dtype=torch.float64, device=device)
        for start in range(0, rows, step):
            band = range(start, min(start + step, rows))
            if device.type == "cpu":
                source.block_into(band, range(cols), matrix[band.start : band.stop])
            else:
                matrix[band.start : band.stop] = source.block(band, range(cols)).to(device)
    except torch.OutOfMemoryError as error:
        raise UsageError(
            "RA-US-203",
            f"{source.name} takes {8 * rows * cols:,} bytes, more than the CUDA device has left.",
            hint="Use --device cpu.",
        ) from error
    return matrix
