"""Preconditioners: an easy matrix ``P`` near ``A``, so that ``log det A = log det P + log det P^-½ A P^-½ᵀ``.

The first term is exact, the second has its eigenvalues near 1: few steps bracket it and few probes find it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from rmtaudit.kernels.operators import Symmetric
from rmtaudit.kernels.slq.estimate import STANDARD, Effort, TraceEstimate, log_determinant, moved
from rmtaudit.kernels.slq.samplers import Sampler

_SHIFTS = 8
"""Tenfold shifts from the round-off of float32, 1e-7, up to the mean of the diagonal."""
_TRIALS = 4
"""A convention: random directions in which the preconditioned matrix is compared with the given one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preconditioner:
    """``P = R Rᵀ`` by the products ``R⁻¹ X`` and ``R⁻ᵀ X``.

    Attributes
    ----------
    solve, solve_transposed
        ``R⁻¹ X`` and ``R⁻ᵀ X``, on float64 columns.
    log_determinant
        ``log det P``.
    shift
        μ, where ``P`` is something that is at most ``A`` and μ on the diagonal; ``None`` where that is not
        known.
    raised
        What was added to the diagonal before a factorisation, so that it went through.
    """

    solve: Callable[[torch.Tensor], torch.Tensor]
    solve_transposed: Callable[[torch.Tensor], torch.Tensor]
    log_determinant: float
    shift: float | None = None
    raised: float = 0.0


def from_eigenvectors(vectors: torch.Tensor, eigenvalues: torch.Tensor, shift: float) -> Preconditioner:
    """Return ``U diag(λ) Uᵀ + μ I``, as of a Nyström approximation (Frangella, Tropp, Udell 2023).

    Parameters
    ----------
    vectors, eigenvalues
        ``U``, shape ``(n, k)`` with orthonormal columns, and ``λ >= 0``, shape ``(k,)``; float64.
    shift
        ``μ > 0``.

    Examples
    --------
    >>> import math
    >>> import torch
    >>> from rmtaudit.linalg import slq
    >>> vectors = torch.eye(3, 1, dtype=torch.float64)
    >>> by = slq.from_eigenvectors(vectors, torch.tensor([2.0], dtype=torch.float64), shift=1.0)
    >>> round(math.exp(by.log_determinant), 9)  # (2 + 1) x 1 x 1
    3.0
    """
    if not shift > 0:
        raise ValueError(f"the shift of a preconditioner of low rank must be positive, not {shift}")
    scale = (shift / (eigenvalues + shift)).sqrt() - 1
    root = shift**0.5

    def solve(X: torch.Tensor) -> torch.Tensor:
        solved: torch.Tensor = (X + vectors @ (scale[:, None] * (vectors.T @ X))) / root
        return solved

    n, k = vectors.shape
    value = float((eigenvalues + shift).log().sum()) + (n - k) * float(
        torch.tensor(shift, dtype=torch.float64).log()
    )
    return Preconditioner(solve=solve, solve_transposed=solve, log_determinant=value, shift=shift)


def from_factor(factor: torch.Tensor, shift: float) -> Preconditioner:
    """Return ``F Fᵀ + μ I`` for ``F`` of shape ``(n, k)``, float64.

    With pivoted Cholesky: Díaz, Epperly, Frangella, Tropp, Webber 2023.

    Examples
    --------
    >>> import math
    >>> import torch
    >>> from rmtaudit.linalg import slq
    >>> by = slq.from_factor(torch.ones(3, 1, dtype=torch.float64), shift=1.0)
    >>> round(math.exp(by.log_determinant), 9)  # det(11ᵀ + I) = 1 + 3
    4.0
    """
    vectors, sigma, _ = torch.linalg.svd(factor, full_matrices=False)
    return from_eigenvectors(vectors, sigma**2, shift)


def low_precision_cholesky(matrix: torch.Tensor, *, precision: torch.dtype = torch.float32) -> Preconditioner:
    """Return the Cholesky factor of a dense matrix computed in a lower precision.

    Where that breaks down, the diagonal is raised by a multiple of the precision's round-off times its mean,
    tenfold each time.

    Raises
    ------
    ArithmeticError
        If it breaks down with the last shift too: the matrix is far from positive definite.

    Examples
    --------
    >>> import math
    >>> import torch
    >>> from rmtaudit.linalg import slq
    >>> by = slq.low_precision_cholesky(torch.diag(torch.tensor([4.0, 9.0], dtype=torch.float64)))
    >>> round(math.exp(by.log_determinant), 4)
    36.0
    """
    rounded = matrix.to(precision)
    mean = float(matrix.diagonal().mean())
    shift = 0.0
    for k in range(_SHIFTS):
        factor, info = torch.linalg.cholesky_ex(rounded)
        if not int(info):
            break
        step = 10.0**k * torch.finfo(precision).eps * mean - shift
        rounded.diagonal().add_(step)
        shift += step
    else:
        raise ArithmeticError(
            f"the Cholesky factorisation breaks down even with {shift:.3g} added to the diagonal"
        )
    wide = factor.to(torch.float64)

    def solve(X: torch.Tensor) -> torch.Tensor:
        solved: torch.Tensor = torch.linalg.solve_triangular(wide, X, upper=False)
        return solved

    def solve_transposed(X: torch.Tensor) -> torch.Tensor:
        solved: torch.Tensor = torch.linalg.solve_triangular(wide.T, X, upper=True)
        return solved

    return Preconditioner(
        solve=solve,
        solve_transposed=solve_transposed,
        log_determinant=2 * float(wide.diagonal().log().sum()),
        raised=shift,
    )


def preconditioned(operator: Symmetric, by: Preconditioner) -> Symmetric:
    """Return ``R⁻¹ A R⁻ᵀ``.

    Its spectrum is bounded below where that of ``A`` is (by a) and ``P - μ I`` is at most ``A``: then
    ``A >= s (P - μ I) + (1 - s) a I`` for every s in [0, 1], and s = a/(a + μ) gives ``A >= s P``.
    """

    def matmul(X: torch.Tensor) -> torch.Tensor:
        return by.solve(operator.matmul(by.solve_transposed(X).to(operator.dtype)).to(torch.float64))

    smallest = None
    if operator.smallest is not None and operator.smallest > 0 and by.shift is not None:
        # but for rounding of the low-rank part
        smallest = operator.smallest / (operator.smallest + by.shift) * (1 - 1e-6)
    return Symmetric(
        size=operator.size,
        matmul=matmul,
        smallest=smallest,
        largest=None,
        dtype=torch.float64,
        device=operator.device,
        accuracy=max(operator.accuracy, _asymmetry(matmul, operator)),
    )


def preconditioned_log_determinant(
    operator: Symmetric, by: Preconditioner, sampler: Sampler, effort: Effort = STANDARD
) -> TraceEstimate:
    """Return ``log det A`` with a preconditioner; ``steps``, ``edge`` and ``rounding`` are of ``R⁻¹AR⁻ᵀ``.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import operators, slq
    >>> vector = torch.linspace(1, 5, 50, dtype=torch.float64)[:, None]
    >>> matrix = vector @ vector.T + torch.eye(50, dtype=torch.float64)
    >>> operator, by = operators.dense(matrix, smallest=1.0), slq.from_factor(vector, 1.0)
    >>> estimate = slq.preconditioned_log_determinant(operator, by, slq.Sampler(0))
    >>> abs(estimate.value - float(torch.logdet(matrix))) < 1e-9  # the preconditioner is the matrix
    True
    """
    return moved(log_determinant(preconditioned(operator, by), sampler, effort), by.log_determinant)


def _asymmetry(matmul: Callable[[torch.Tensor], torch.Tensor], operator: Symmetric) -> float:
    """Return how far from symmetric rounding makes the product: solves lose digits that only show here."""
    rows = Sampler(0, "sphere").unit(range(_TRIALS), operator.size).to(operator.device)
    inner = rows @ matmul(rows.T)
    return float((inner - inner.T).abs().max() / inner.diagonal().abs().max())
