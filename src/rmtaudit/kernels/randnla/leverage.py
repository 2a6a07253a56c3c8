"""Leverage scores of the rows of a tall matrix: exact, or from a sketch with bounds of each score."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rmtaudit.kernels.operators import Linear, linear
from rmtaudit.kernels.randnla.norms import singular_bounds
from rmtaudit.kernels.randnla.sketch import Sketch
from rmtaudit.kernels.spectra.gram import gram, row_blocks


@dataclass(frozen=True, slots=True)
class Leverage:
    """``ℓ_i = |Q_i|²`` for an orthonormal basis ``Q`` of the column space; they sum to the rank.

    Attributes
    ----------
    scores
        Shape ``(rows,)``, float64.
    lower, upper
        What each score is multiplied with to give the ends of its interval: ``(1, 1)`` where it is exact.
    failure
        Probability that the intervals are wrong; 0 where the scores are exact.
    """

    scores: torch.Tensor
    lower: float
    upper: float
    failure: float


def leverage(matrix: torch.Tensor) -> Leverage:
    """Return the scores by the Cholesky factor of the Gram matrix, in float64.

    Raises
    ------
    ArithmeticError
        If the columns are dependent, to the precision of the Gram matrix (a condition of 1e7 is).

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import randnla
    >>> matrix = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
    >>> randnla.leverage(matrix).scores.round(decimals=9)
    tensor([1.0000, 0.5000, 0.5000], dtype=torch.float64)
    """
    _check(matrix)
    inner = gram(matrix)
    factor, info = torch.linalg.cholesky_ex(inner)
    pivots = factor.diagonal() ** 2
    if int(info) or float((pivots / inner.diagonal()).min()) < 1e-14:
        raise ArithmeticError("the columns are dependent to working precision: the scores are not defined")
    return Leverage(_row_norms(matrix, factor.T), 1.0, 1.0, 0.0)


def sketched_leverage(
    matrix: torch.Tensor, seed: int, *, oversample: float = 4.0, failure: float = 1e-3
) -> Leverage:
    """Return the scores by the triangle of a sketch (Drineas, Magdon-Ismail, Mahoney, Woodruff 2012).

    With ``M = A R⁻¹``, the score of a row lies between ``|m|²/σ_max²(M)`` and ``|m|²/σ_min²(M)``: both
    extremes are bounded by a few Krylov steps, for they lie near 1. Any condition below 1e15 will do.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import randnla
    >>> matrix = torch.randn(400, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> estimate = randnla.sketched_leverage(matrix, seed=0)
    >>> ratio = randnla.leverage(matrix).scores / estimate.scores
    >>> bool(((estimate.lower <= ratio) & (ratio <= estimate.upper)).all())
    True
    """
    _check(matrix)
    R = torch.linalg.qr(reduced(matrix, oversample, seed)).R
    if float(R.diagonal().abs().min()) <= 1e-15 * float(R.diagonal().abs().max()):
        raise ArithmeticError("the columns are dependent to working precision: the scores are not defined")
    low, high = singular_bounds(eased(linear(matrix), R), seed, failure=failure)
    if low == 0:
        raise ArithmeticError("the sketch is too small to bound the scores: raise the oversampling")
    return Leverage(_row_norms(matrix, R), 1 / high**2, 1 / low**2, failure)


def reduced(matrix: torch.Tensor, oversample: float, seed: int) -> torch.Tensor:
    """Return a sketch of a tall matrix, float64, or itself where that would be no smaller."""
    rows, cols = matrix.shape
    height = max(int(oversample * cols), cols + 16)
    return (
        matrix.to(torch.float64)
        if height >= rows
        else Sketch(rows=height, size=rows, seed=seed).apply(matrix)
    )


def eased(operator: Linear, R: torch.Tensor) -> Linear:
    """Return ``A R⁻¹``."""

    def matmul(X: torch.Tensor) -> torch.Tensor:
        return operator.matmul(torch.linalg.solve_triangular(R, X, upper=True))

    def transposed(Y: torch.Tensor) -> torch.Tensor:
        solved: torch.Tensor = torch.linalg.solve_triangular(R.T, operator.transposed(Y), upper=False)
        return solved

    return Linear(
        rows=operator.rows,
        cols=operator.cols,
        matmul=matmul,
        transposed=transposed,
        energy=None,
        device=operator.device,
    )


def _check(matrix: torch.Tensor) -> None:
    if matrix.ndim != 2 or matrix.shape[0] < matrix.shape[1] or not matrix.numel():
        raise ValueError(
            f"a matrix with at least as many rows as columns is needed, not {tuple(matrix.shape)}"
        )


def _row_norms(matrix: torch.Tensor, upper: torch.Tensor) -> torch.Tensor:
    parts = [
        (torch.linalg.solve_triangular(upper, block, upper=True, left=False) ** 2).sum(dim=1)
        for _, block in row_blocks(matrix)
    ]
    return torch.cat(parts)
