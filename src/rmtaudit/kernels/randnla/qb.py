"""An orthonormal basis of nearly all of a matrix's range, grown until the error is what was asked for.

``A ≈ Q B`` with ``B = QᵀA``. As ``|A|² = |B|² + |A - QB|²`` (Frobenius), the error is known without a product
where ``|A|`` is; in the spectral norm it is bounded by probes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from rmtaudit.kernels.counter import normals
from rmtaudit.kernels.operators import Linear
from rmtaudit.kernels.randnla.norms import NormBounds, norm_bounds
from rmtaudit.kernels.randnla.orthonormal import beyond

_RANGE = 8  # purpose of a random stream, see rmtaudit.kernels.counter.stream
_EPSILON = 2.0**-52
_NOISE = 1e-13  # relative norm below which a direction of a block is rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class QB:
    """``A ≈ Q B``.

    Attributes
    ----------
    basis, factor
        ``Q``, shape ``(rows, k)``, orthonormal, and ``B = QᵀA``, shape ``(k, cols)``; float64.
    error
        Frobenius norm of ``A - QB``: exact but for ``floor``. ``None`` where the operator does not know its
        energy.
    floor
        Rounding of ``error``: the root of a difference of squares, so ``~1e-8 |A|``.
    spectral
        Bounds of the spectral norm of ``A - QB``.
    reached
        Whether the tolerance was reached within the largest rank.
    """

    basis: torch.Tensor
    factor: torch.Tensor
    error: float | None
    floor: float
    spectral: NormBounds
    reached: bool


def find_range(operator: Linear, rank: int, seed: int, *, power: int = 1) -> QB:
    """Return a basis of given rank (Halko, Martinsson, Tropp 2011, algorithms 4.1 and 4.4).

    Of the whole range, where that has fewer dimensions.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import operators, randnla
    >>> matrix = torch.outer(torch.arange(1.0, 9.0), torch.arange(1.0, 6.0)).double()  # of rank 1
    >>> result = randnla.find_range(operators.linear(matrix), 1, seed=0)
    >>> torch.allclose(result.basis @ result.factor, matrix)
    True
    """
    return qb(operator, 0.0, seed, block=rank, most=rank, power=power)


def qb(
    operator: Linear,
    tolerance: float,
    seed: int,
    *,
    block: int = 16,
    most: int | None = None,
    power: int = 1,
    failure: float = 1e-3,
) -> QB:
    """Grow a basis block by block until ``|A - QB| <= tolerance |A|`` (Yu, Gu, Li 2018, algorithm 2).

    Parameters
    ----------
    operator
        With its energy, unless the tolerance is 0.
    tolerance
        Share of the Frobenius norm, above 1e-7: less is rounding of the difference of squares.
    block
        Columns added at a time.
    most
        Largest rank.
    power
        Times that ``AAᵀ`` is applied to each block of the sketch: 0 is worthless where the spectrum has no
        gap, see the page on these kernels.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import operators, randnla
    >>> matrix = torch.outer(torch.arange(1.0, 9.0), torch.arange(1.0, 6.0)).double()  # of rank 1
    >>> result = randnla.qb(operators.linear(matrix), 1e-6, seed=0)
    >>> result.reached, torch.allclose(result.basis @ result.factor, matrix)
    (True, True)
    """
    if tolerance and (operator.energy is None or tolerance < 1e-7):
        raise ValueError("a tolerance needs the operator's energy, and must be 0 or at least 1e-7")
    if block < 1 or power < 0:
        raise ValueError("a block must have at least one column, and a power must not be negative")
    limit = min(most or operator.rank, operator.rank)
    Q = torch.empty(operator.rows, 0, dtype=torch.float64, device=operator.device)
    B = torch.empty(0, operator.cols, dtype=torch.float64, device=operator.device)
    target = None if operator.energy is None else tolerance**2 * operator.energy
    left = math.inf if operator.energy is None else operator.energy
    while Q.shape[1] < limit and (target is None or left > target):
        columns = range(Q.shape[1], min(Q.shape[1] + block, limit))
        fresh = operator.matmul(normals(seed, _RANGE, columns, operator.cols).T.to(operator.device))
        scale = float(torch.linalg.matrix_norm(fresh))
        for _ in range(power):
            fresh = beyond(Q, fresh, _NOISE * scale)
            fresh = operator.matmul(torch.linalg.qr(operator.transposed(fresh))[0])
        fresh = beyond(Q, fresh, _NOISE * scale)
        if not fresh.shape[1]:
            break  # the range is exhausted
        Q = torch.cat([Q, fresh], dim=1)
        B = torch.cat([B, operator.transposed(fresh).T])
        if operator.energy is not None:
            left = max(operator.energy - float((B**2).sum()), 0.0)

    def matmul(X: torch.Tensor) -> torch.Tensor:
        return operator.matmul(X) - Q @ (B @ X)

    def transposed(Y: torch.Tensor) -> torch.Tensor:
        return operator.transposed(Y - Q @ (Q.T @ Y))

    rest = Linear(
        rows=operator.rows, cols=operator.cols, matmul=matmul, transposed=transposed, device=operator.device
    )
    scale = 0.0 if operator.energy is None else math.sqrt(operator.energy)
    return QB(
        basis=Q,
        factor=B,
        error=None if operator.energy is None else math.sqrt(left),
        floor=8 * math.sqrt(_EPSILON) * scale,
        spectral=norm_bounds(rest, seed, failure=failure),
        reached=target is not None and tolerance > 0 and left <= target,
    )
