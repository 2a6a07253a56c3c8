"""Gram matrices of the smaller side, summed block by block: no second copy of a large matrix is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch

from rmtaudit.kernels.spectra import openblas
from rmtaudit.kernels.spectra.two_stage import TWO_STAGE_FROM, padded

_BLOCK_BYTES = 2 << 20  # a block and its transform stay in a core's cache
_LEAST_SUMMED = 256
"""Rows that a Gram matrix is summed from at a time, at least: every sum reads and writes all of the result.
Instead of 64 rows at a width of 4096 they save a quarter of the time."""
_FLOAT32_FROM = 768
"""Size from which the eigenvalues of a float32 matrix take less time in float32: 0.8 of it at 1024."""

Transform = Callable[[torch.Tensor, slice], torch.Tensor]
"""From a block of rows, and which rows it is, to the block that is summed; may work in place."""


def tall(matrix: torch.Tensor) -> torch.Tensor:
    """Return ``matrix`` or its transposed view, whichever has at least as many rows as columns."""
    return matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T


def row_bands(shape: torch.Size | tuple[int, int], least: int = 64) -> Iterator[slice]:
    """Yield bands of rows that stay in a core's cache as float64, with a size fixed by the shape alone.

    They have at least ``least`` rows, however many columns there are.
    """
    rows, cols = shape
    step = max(least, _BLOCK_BYTES // (8 * max(1, cols)))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def row_blocks(
    matrix: torch.Tensor, dtype: torch.dtype = torch.float64, least: int = 64
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield fresh copies of bands of rows, with a size fixed by the shape alone.

    A copy is contiguous, or transposed where the matrix is: to turn it would take longer than to copy it.
    """
    turned = not matrix.is_contiguous() and matrix.T.is_contiguous()
    for band in row_bands(matrix.shape, least):
        part = matrix[band]
        shape = part.shape[::-1] if turned else part.shape
        copy = torch.empty(shape, dtype=dtype, device=matrix.device)
        yield band, (copy.T if turned else copy).copy_(part)


def gram(
    matrix: torch.Tensor, transform: Transform | None = None, *, dtype: torch.dtype = torch.float64
) -> torch.Tensor:
    """Return ``AᵀA`` for ``A`` of at least as many rows as columns, each block passed through ``transform``.

    Parameters
    ----------
    matrix
        Shape ``(n, p)``, floating, on the CPU or a CUDA device. Not changed.
    transform
        Scales, squares or flips signs of a block of rows; ``None`` leaves it.
    dtype
        What blocks are computed and summed in: float64, or float32 at half the cost where 1e-6 of the largest
        entry is enough.

    Returns
    -------
    torch.Tensor
        Shape ``(p, p)``, of that dtype, symmetric, on the device of ``matrix``.
    """
    blocks = row_blocks(matrix, dtype, _LEAST_SUMMED)
    parts = (block if transform is None else transform(block, band) for band, block in blocks)
    return _summed(parts, torch.zeros(matrix.shape[1], matrix.shape[1], dtype=dtype, device=matrix.device))


def principal_gram(matrix: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Return ``AᵀA`` of some columns ``A`` of a matrix, which are never copied all at once.

    Parameters
    ----------
    matrix
        Shape ``(n, p)``, floating, on the CPU or a CUDA device. Not changed.
    chosen
        Shape ``(b,)``, int64, on the CPU: which columns.

    Returns
    -------
    torch.Tensor
        Shape ``(b, b)``, float64, symmetric, on the device of ``matrix``.
    """
    size = len(chosen)
    columns = chosen.to(matrix.device)
    step = max(64, _BLOCK_BYTES // (8 * max(1, size)))
    parts = (
        matrix[start : start + step].index_select(1, columns).double()
        for start in range(0, len(matrix), step)
    )
    return _summed(parts, torch.zeros(size, size, dtype=torch.float64, device=matrix.device))


def squared_norm(matrix: torch.Tensor) -> float:
    """Return the squared Frobenius norm, summed in float64 without a copy of the matrix."""
    if matrix.is_cuda or matrix.dtype == torch.float64:
        return float(torch.linalg.vector_norm(matrix, dtype=torch.float64)) ** 2
    # widened in a core's cache, which takes a fourth of the time of a norm with another dtype
    rows = matrix if matrix.is_contiguous() else matrix.T
    bands = list(row_bands(rows.shape))
    buffer = torch.empty(bands[0].stop if bands else 0, rows.shape[1], dtype=torch.float64)
    parts = [buffer[: band.stop - band.start].copy_(rows[band]).square_().sum() for band in bands]
    return float(torch.stack(parts).sum()) if parts else 0.0


def _summed(parts: Iterable[torch.Tensor], total: torch.Tensor) -> torch.Tensor:
    """Add the Gram matrix of every part to ``total`` and return it."""
    library = openblas.load() if not total.is_cuda else None
    for part in parts:
        if library is None:
            total += part.T @ part
        else:
            of_rows = part.T.is_contiguous() and not part.is_contiguous()
            block = np.ascontiguousarray((part.T if of_rows else part).numpy())
            library.accumulate_gram(block, total.numpy(), of_rows=of_rows)
    if library is not None:
        mirror(total)
    return total


def mirror(upper: torch.Tensor) -> None:
    """Copy the upper triangle, all that OpenBLAS sums, to the lower one, in bands: no second matrix."""
    step = max(64, _BLOCK_BYTES // (8 * max(1, len(upper))))
    for start in range(0, len(upper), step):
        stop = min(start + step, len(upper))
        upper[start:stop, :start] = upper[:start, start:stop].T
        corner = upper[start:stop, start:stop]
        corner.triu_().add_(corner.triu(1).T)


def eigenvalues(symmetric: torch.Tensor) -> torch.Tensor:
    """Return the ascending eigenvalues of a Gram matrix, float64 on the CPU, rounding below 0 cut off.

    Those of a float32 matrix are computed in float32 from a size of 768, where that is faster.
    """
    library = openblas.load() if not symmetric.is_cuda else None
    if library is None:
        spectrum: torch.Tensor = torch.linalg.eigvalsh(symmetric.double())
        return spectrum.cpu().clamp(min=0)
    size = len(symmetric)
    if symmetric.dtype == torch.float32 and size >= _FLOAT32_FROM:
        single = np.array(symmetric.numpy(), order="C")
        return torch.from_numpy(library.float32_eigenvalues(single)).clamp(min=0)
    staged = size >= TWO_STAGE_FROM
    copy = padded(size) if staged else np.empty((size, size))
    copy[:] = symmetric.numpy()
    values = library.symmetric_eigenvalues(copy, "dsyevd_2stage" if staged else "dsyevd")
    return torch.from_numpy(values).clamp(min=0)
