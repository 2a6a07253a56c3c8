"""Approximations from columns and rows of the matrix itself: interpolative decomposition and CUR."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.linalg import qr, solve_triangular

from rmtaudit.kernels.operators import Linear, linear
from rmtaudit.kernels.randnla.norms import NormBounds, norm_bounds
from rmtaudit.kernels.randnla.sketch import Sketch


@dataclass(frozen=True, slots=True)
class Interpolative:
    """``A ≈ A[:, columns] X``.

    Attributes
    ----------
    columns
        The columns chosen, shape ``(k,)``, most important first.
    coefficients
        ``X``, shape ``(k, cols)``, float64; the identity on the chosen columns.
    error
        Bounds of the spectral norm of the difference.
    """

    columns: torch.Tensor
    coefficients: torch.Tensor
    error: NormBounds


@dataclass(frozen=True, slots=True)
class CUR:
    """``A ≈ C U R`` with ``C = A[:, columns]`` and ``R = A[rows]``.

    Attributes
    ----------
    columns, rows
        Indices, shape ``(k,)`` each.
    core
        ``U = C⁺ A R⁺``, shape ``(k, k)``, float64: the best for these columns and rows.
    error
        Bounds of the spectral norm of the difference.
    """

    columns: torch.Tensor
    rows: torch.Tensor
    core: torch.Tensor
    error: NormBounds


def interpolative(
    matrix: torch.Tensor, rank: int, seed: int, *, oversample: int = 10, failure: float = 1e-3
) -> Interpolative:
    """Return an interpolative decomposition of the columns (Voronin, Martinsson 2017).

    By pivoted QR of a sketch: SciPy's, on the CPU.

    Parameters
    ----------
    matrix
        Shape ``(rows, cols)``, floating.
    rank
        Columns chosen.
    oversample
        Rows of the Gaussian sketch beyond the rank.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import randnla
    >>> matrix = torch.outer(torch.arange(1.0, 9.0), torch.arange(1.0, 6.0)).double()  # of rank 1
    >>> result = randnla.interpolative(matrix, 1, seed=0)
    >>> torch.allclose(matrix[:, result.columns] @ result.coefficients, matrix)
    True
    """
    rows, cols = matrix.shape
    if not 1 <= rank <= min(rows, cols):
        raise ValueError(f"the rank must lie between 1 and {min(rows, cols)}, not {rank}")
    height = min(rank + oversample, rows)
    sketched = Sketch(rows=height, size=rows, seed=seed, kind="gaussian").apply(matrix)
    R, order = qr(sketched.cpu().numpy(), mode="r", pivoting=True)
    with_rest = torch.zeros(rank, cols, dtype=torch.float64)
    order_ = torch.from_numpy(order.astype("int64"))
    with_rest[:, order_[:rank]] = torch.eye(rank, dtype=torch.float64)
    if rank < cols:
        if abs(R[rank - 1, rank - 1]) <= 1e-14 * abs(R[0, 0]):
            raise ArithmeticError(f"the matrix has fewer than {rank} independent columns")
        solved = solve_triangular(R[:rank, :rank], R[:rank, rank:])
        with_rest[:, order_[rank:]] = torch.from_numpy(solved)
    columns = order_[:rank].to(matrix.device)
    coefficients = with_rest.to(matrix.device)
    chosen = matrix[:, columns].to(torch.float64)
    return Interpolative(columns, coefficients, _error(matrix, chosen, coefficients, seed, failure))


def cur(matrix: torch.Tensor, rank: int, seed: int, *, failure: float = 1e-3) -> CUR:
    """Return a CUR decomposition: columns, then rows of those columns (Voronin, Martinsson 2017).

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import randnla
    >>> matrix = torch.outer(torch.arange(1.0, 9.0), torch.arange(1.0, 6.0)).double()  # of rank 1
    >>> parts = randnla.cur(matrix, 1, seed=0)
    >>> rebuilt = matrix[:, parts.columns] @ parts.core @ matrix[parts.rows]
    >>> torch.allclose(rebuilt, matrix)
    True
    """
    columns = interpolative(matrix, rank, seed).columns
    C = matrix[:, columns].to(torch.float64)
    _, order = qr(C.T.cpu().numpy(), mode="r", pivoting=True)
    rows = torch.from_numpy(order[:rank].astype("int64")).to(matrix.device)
    R = matrix[rows].to(torch.float64)
    left, first = torch.linalg.qr(C)
    right, second = torch.linalg.qr(R.T)
    # C⁺ A R⁺ by the two triangles: no pseudo-inverse is formed
    inner = left.T @ linear(matrix).matmul(right)
    core = torch.linalg.solve_triangular(first, inner, upper=True)
    core = torch.linalg.solve_triangular(second, core.T, upper=True).T
    return CUR(columns, rows, core, _error(matrix, left @ inner, right.T, seed, failure))


def _error(
    matrix: torch.Tensor, left: torch.Tensor, right: torch.Tensor, seed: int, failure: float
) -> NormBounds:
    whole = linear(matrix)
    rest = Linear(
        rows=whole.rows,
        cols=whole.cols,
        matmul=lambda X: whole.matmul(X) - left @ (right @ X),
        transposed=lambda Y: whole.transposed(Y) - right.T @ (left.T @ Y),
        device=matrix.device,
    )
    return norm_bounds(rest, seed, failure=failure)
