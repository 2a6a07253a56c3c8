"""Exact spectra: all eigenvalues of ``WᵀW`` in float64.

Two routes, both values only. The Gram matrix of the smaller side and a symmetric solver is the fast one
(4-5 times faster than an SVD); it loses small singular values, below ``sqrt(floor)``, and says so. The
singular values of ``W`` itself resolve those too.

The absolute error of every eigenvalue of the Gram route is bounded by ``floor = c eps λ₁``: forming the
product and a backward-stable solver perturb the matrix by a small multiple of ``eps ||WᵀW||``, and Weyl's
inequality carries that to the eigenvalues. ``c = max(32, 4 sqrt(n))`` is a bound that no measured error has
passed, not a proven one: docs/spectra.md says what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from rmtaudit.kernels.spectra import openblas
from rmtaudit.kernels.spectra.gram import mirror
from rmtaudit.kernels.spectra.spectrum import Spectrum
from rmtaudit.kernels.spectra.two_stage import TWO_STAGE_FROM, padded

if TYPE_CHECKING:
    import numpy.typing as npt

Computed = TypeVar("Computed")

EPSILON = float(np.finfo(np.float64).eps)
_SMALLEST = float(np.finfo(np.float64).tiny)
_RANGE = 1e-100, 1e100
"""Largest entries between which two stages neither over- nor underflow; ``dsyevd`` scales its matrix."""

_BLOCK_BYTES = 16 << 20
"""A convention: of a block of rows that is widened to float64 at a time."""


def gram_eigenvalues(matrix: torch.Tensor) -> Spectrum:
    """Return the exact spectrum of ``WᵀW`` through the Gram matrix of the smaller side.

    Equivalent to ``scipy.linalg.svdvals(W)[::-1] ** 2`` above the resolution floor.

    Parameters
    ----------
    matrix
        ``W``, shape ``(rows, cols)``, any real floating dtype, on the CPU or a CUDA device. Not changed.

    Raises
    ------
    ValueError
        If ``W`` is not 2-D or empty, or holds a value that is not finite.
    ArithmeticError
        If the solver does not converge.
    """
    rows, cols = _shape(matrix)
    scale = _power_of_two(matrix)
    if matrix.is_cuda:
        values = torch.linalg.eigvalsh(_gram_on_device(matrix, scale)).cpu().numpy()
    else:
        values = _solve(_gram(matrix.detach(), 1 / scale))
    return _spectrum(values, scale, rows, cols, _gram_floor(values, min(rows, cols)))


def spectrum_and(matrix: torch.Tensor, look: Callable[[torch.Tensor], Computed]) -> tuple[Spectrum, Computed]:
    """Return the spectrum, and what ``look`` makes of the Gram matrix of the smaller side.

    The Gram matrix, float64, symmetric and up to a power of two, is overwritten once ``look`` has returned;
    that of a square matrix is ``WᵀW``. Parameters and errors are those of :func:`gram_eigenvalues`.
    """
    rows, cols = _shape(matrix)
    scale = _power_of_two(matrix)
    if matrix.is_cuda:
        gram = _gram_on_device(matrix, scale)
        looked = look(gram)
        values = torch.linalg.eigvalsh(gram).cpu().numpy()
    else:
        product = _gram(matrix.detach(), 1 / scale)
        mirror(torch.from_numpy(product))
        looked = look(torch.from_numpy(product))
        values = _solve(product)
    return _spectrum(values, scale, rows, cols, _gram_floor(values, min(rows, cols))), looked


def singular_values(matrix: torch.Tensor) -> Spectrum:
    """Return the exact spectrum of ``WᵀW`` from the singular values of ``W`` (float64 SVD).

    Slower than :func:`gram_eigenvalues`, but resolves σ down to a small multiple of ``eps σ₁`` instead of its
    square root. Equivalent to ``scipy.linalg.svdvals(W)[::-1] ** 2``. Same parameters and errors.
    """
    rows, cols = _shape(matrix)
    scale = _power_of_two(matrix)
    sigma = torch.linalg.svdvals(matrix.detach().to(torch.float64) * (1 / scale)).flip(0).cpu().numpy()
    smallest = 4 * math.sqrt(max(rows, cols)) * EPSILON * float(sigma[-1])
    return _spectrum(sigma**2, scale, rows, cols, smallest**2)


def symmetric_eigenvalues(matrix: torch.Tensor) -> npt.NDArray[np.float64]:
    """Return the ascending eigenvalues of a symmetric matrix; it is destroyed.

    Each is off by at most a small multiple of ``eps max |λ|``: see the module for ``c``.

    Parameters
    ----------
    matrix
        Float64, shape ``(n, n)``, contiguous, finite. That of a GPU is copied to the CPU.
    """
    return _solve(matrix.cpu().numpy())


def pool(parts: tuple[Spectrum, ...]) -> Spectrum:
    """Return the union of several spectra of matrices of one shape (the slices of a convolution)."""
    if len(parts) == 1:
        return parts[0]
    eigenvalues = torch.cat([part.eigenvalues for part in parts]).sort().values
    return Spectrum(
        eigenvalues=eigenvalues,
        rows=parts[0].rows,
        cols=parts[0].cols,
        method=parts[0].method,
        floor=max(part.floor for part in parts),
        unresolved=sum(part.unresolved for part in parts),
        parts=parts,
        precision=min(part.precision for part in parts),  # "float32" < "float64"
        error=max(part.error for part in parts),
    )


def _shape(matrix: torch.Tensor) -> tuple[int, int]:
    if matrix.ndim != 2 or not matrix.numel():
        raise ValueError(f"a matrix with at least one entry is needed, not shape {tuple(matrix.shape)}")
    if not matrix.is_floating_point():
        raise ValueError(f"a real floating matrix is needed, not {matrix.dtype}")
    return int(matrix.shape[0]), int(matrix.shape[1])


def _power_of_two(matrix: torch.Tensor) -> float:
    """Return the power of two nearest to the largest entry, so that nothing under- or overflows when squared.

    Dividing by it is exact. Entries of ordinary size are left alone.
    """
    low, high = (float(bound) for bound in torch.aminmax(matrix))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("the matrix holds a value that is not finite")
    largest = max(abs(low), abs(high))
    if largest == 0 or 1e-60 < largest < 1e60:
        return 1.0
    return math.ldexp(1.0, max(min(math.frexp(largest)[1], 1000), -1000))


def _gram_on_device(matrix: torch.Tensor, scale: float) -> torch.Tensor:
    work = matrix.detach().to(torch.float64) * (1 / scale)
    gram: torch.Tensor = work @ work.T if work.shape[0] < work.shape[1] else work.T @ work
    return gram


def _gram(matrix: torch.Tensor, factor: float) -> npt.NDArray[np.float64]:
    """Return the Gram matrix of the smaller side, upper triangle, built from float64 blocks.

    Blocks run along the longer side, with a size fixed by the shape alone: the memory beyond the result is
    small, and the sum does not depend on the number of threads.
    """
    wide = matrix.shape[0] < matrix.shape[1]
    n, long = sorted(matrix.shape)
    step = min(long, max(64, _BLOCK_BYTES // (8 * n)))
    # One buffer for all blocks: fresh memory for each would cost more in page faults than the conversion.
    buffer = torch.empty(step * n, dtype=torch.float64)
    library = openblas.load()
    gram = padded(n) if n >= TWO_STAGE_FROM else np.zeros((n, n))
    for start in range(0, long, step):
        part = matrix.narrow(1 if wide else 0, start, min(step, long - start))
        block = buffer[: part.numel()].view(part.shape).copy_(part)
        if factor != 1.0:
            block *= factor
        values = block.numpy()
        if library is not None:
            library.accumulate_gram(values, gram, of_rows=wide)
        else:
            gram += values @ values.T if wide else values.T @ values
    return gram


def _solve(gram: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    library = openblas.load()
    if library is not None:
        staged = len(gram) >= TWO_STAGE_FROM and _RANGE[0] < max(-gram.min(), gram.max()) < _RANGE[1]
        return library.symmetric_eigenvalues(gram, "dsyevd_2stage" if staged else "dsyevd")
    import scipy.linalg

    values = scipy.linalg.eigvalsh(gram, lower=False, driver="evd", overwrite_a=True, check_finite=False)
    return np.asarray(values, dtype=np.float64)


def _gram_floor(values: npt.NDArray[np.float64], n: int) -> float:
    return max(32.0, 4 * math.sqrt(n)) * EPSILON * max(float(values[-1]), 0.0)


def _spectrum(values: npt.NDArray[np.float64], scale: float, rows: int, cols: int, floor: float) -> Spectrum:
    unresolved = int(np.searchsorted(values, floor, side="right"))
    values[:unresolved] = 0.0
    with np.errstate(over="ignore", under="ignore"):
        eigenvalues = values * scale * scale
    resolved = eigenvalues[unresolved:]
    if resolved.size and not (resolved[0] >= _SMALLEST and np.isfinite(resolved[-1])):
        raise ArithmeticError("the eigenvalues of WᵀW are beyond the range of float64")
    return Spectrum(
        eigenvalues=torch.from_numpy(eigenvalues),
        rows=rows,
        cols=cols,
        method="exact",
        floor=floor * scale * scale,
        unresolved=unresolved,
    )
