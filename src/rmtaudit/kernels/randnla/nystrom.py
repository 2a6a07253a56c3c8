"""Low-rank approximations of positive semidefinite matrices: Nyström, and randomly pivoted Cholesky."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from rmtaudit.kernels.counter import normals
from rmtaudit.kernels.randnla.residual import ResidualNorm, residual_norm

_TEST = 3  # purpose of a random stream, see rmtaudit.kernels.counter.stream
_STALL = 8 * 2.0**-52  # share of the trace below which what is left is rounding


@dataclass(frozen=True, slots=True)
class Nystrom:
    """``A ≈ U diag(λ) Uᵀ``, never above ``A`` in the order of symmetric matrices but for rounding.

    Attributes
    ----------
    vectors, eigenvalues
        Shapes ``(n, k)`` and ``(k,)``, float64, descending.
    residual
        Bounds of the norms of ``A - U diag(λ) Uᵀ``.
    """

    vectors: torch.Tensor
    eigenvalues: torch.Tensor
    residual: ResidualNorm


def nystrom(
    matmul: Callable[[torch.Tensor], torch.Tensor],
    size: int,
    rank: int,
    seed: int,
    *,
    device: torch.device | None = None,
) -> Nystrom:
    """Return the randomised Nyström approximation (Tropp, Yurtsever, Udell, Cevher 2017, algorithm 3).

    Parameters
    ----------
    matmul
        ``X -> A X`` on float64 columns, ``A`` positive semidefinite. Called with ``rank`` columns, then with
        10 and again with 10 for the error.
    rank
        Columns of the sketch, at most ``size``.
    device
        Where ``matmul`` takes its columns; ``None`` for the CPU.

    Raises
    ------
    ArithmeticError
        If ``ΩᵀAΩ`` is not positive semidefinite: then ``A`` is not.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import randnla
    >>> vector = torch.arange(1.0, 9.0, dtype=torch.float64)[:, None]
    >>> result = randnla.nystrom(lambda block: vector @ (vector.T @ block), 8, 1, seed=0)
    >>> round(float(result.eigenvalues[0]), 6)  # |v|²
    204.0
    """
    if not 1 <= rank <= size:
        raise ValueError(f"the rank must lie between 1 and {size}, not {rank}")
    test = torch.linalg.qr(normals(seed, _TEST, range(rank), size).T)[0].to(device or "cpu")
    sketch = matmul(test)
    shift = 2.0**-52 * float(torch.linalg.matrix_norm(sketch)) * size**0.5
    sketch = sketch + shift * test
    inner = test.T @ sketch
    factor, info = torch.linalg.cholesky_ex((inner + inner.T) / 2)
    if int(info):
        raise ArithmeticError(
            "the matrix is not positive semidefinite: its compression to a random subspace is not"
        )
    half = torch.linalg.solve_triangular(factor, sketch.T, upper=False).T
    vectors, sigma, _ = torch.linalg.svd(half, full_matrices=False)
    eigenvalues: torch.Tensor = (sigma**2 - shift).clamp(min=0)

    def rest(X: torch.Tensor) -> torch.Tensor:
        left: torch.Tensor = matmul(X) - vectors @ (eigenvalues[:, None] * (vectors.T @ X))
        return left

    return Nystrom(vectors, eigenvalues, residual_norm(rest, size, seed, powers=1, device=device))


@dataclass(frozen=True, slots=True)
class PivotedCholesky:
    """``A ≈ F Fᵀ`` from the columns of a few pivots.

    Attributes
    ----------
    factor
        ``F``, shape ``(n, k)``, float64.
    pivots
        Indices, shape ``(k,)``, in the order chosen.
    residual_trace
        ``tr(A - F Fᵀ)`` by the residual's diagonal: exact but for rounding, a bound of the spectral norm and
        of the Frobenius norm of the residual, which is positive semidefinite.
    trace
        Of ``A``.
    """

    factor: torch.Tensor
    pivots: torch.Tensor
    residual_trace: float
    trace: float


def pivoted_cholesky(
    columns: Callable[[torch.Tensor], torch.Tensor],
    diagonal: torch.Tensor,
    rank: int,
    generator: torch.Generator,
    *,
    tolerance: float = 0.0,
    block: int = 64,
) -> PivotedCholesky:
    """Return the randomly pivoted Cholesky approximation (Chen, Epperly, Tropp, Webber 2025), in blocks.

    Parameters
    ----------
    columns
        From indices, shape ``(b,)``, to those columns of ``A``, shape ``(n, b)``; ``A`` is semidefinite.
        No other entry is read.
    diagonal
        Of ``A``, shape ``(n,)``.
    rank
        Most pivots.
    tolerance
        Stop where the residual's trace is below this share of the trace.

    Raises
    ------
    ArithmeticError
        If a diagonal entry is negative, or becomes so by more than rounding: then ``A`` is not positive
        semidefinite.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import randnla
    >>> vector = torch.arange(1.0, 9.0, dtype=torch.float64)
    >>> result = randnla.pivoted_cholesky(
    ...     lambda chosen: torch.outer(vector, vector[chosen]),
    ...     vector.square(),
    ...     rank=1,
    ...     generator=torch.Generator().manual_seed(0),
    ... )
    >>> torch.allclose(result.factor @ result.factor.T, torch.outer(vector, vector))
    True
    """
    left = diagonal.to(torch.float64).clone()
    n, total, largest = len(left), float(left.sum()), float(left.max())
    if float(left.min()) < 0:
        raise ArithmeticError("the matrix is not positive semidefinite: a diagonal entry is negative")
    factor = torch.empty(n, min(rank, n), dtype=torch.float64, device=left.device)
    pivots: list[torch.Tensor] = []
    count = 0
    while count < factor.shape[1] and float(left.sum()) > max(tolerance, _STALL) * total:
        size = min(block, factor.shape[1] - count, int((left > 0).sum()))
        chosen = torch.multinomial(left.cpu(), size, generator=generator).to(left.device)
        known = factor[:, :count]
        part = columns(chosen).to(torch.float64) - known @ known[chosen].T
        inner = part[chosen]
        # pivots of one block can be nearly dependent: keep a set that is not, greedily
        keep = _independent((inner + inner.T) / 2, 1e-13 * largest)
        chosen, part = chosen[keep], part[:, keep]
        inner = part[chosen]
        root = torch.linalg.cholesky((inner + inner.T) / 2)
        added = torch.linalg.solve_triangular(root, part.T, upper=False).T
        factor[:, count : count + len(keep)] = added
        count += len(keep)
        pivots.append(chosen)
        left -= (added**2).sum(dim=1)
        if float(left.min()) < -1e-8 * largest:
            raise ArithmeticError(
                "the matrix is not positive semidefinite: "
                f"a diagonal entry of a residual is {float(left.min()):.3g}"
            )
        left.clamp_(min=0)
        left[chosen] = 0
    return PivotedCholesky(
        factor[:, :count], torch.cat(pivots) if pivots else torch.empty(0, dtype=torch.long),
        float(left.sum()), total,
    )  # fmt: skip


def _independent(inner: torch.Tensor, floor: float) -> torch.Tensor:
    """Return the indices of a greedy set of pivots whose Schur complements stay above a floor."""
    work = inner.clone()
    kept: list[int] = []
    for k in range(len(work)):
        pivot = float(work[k, k])
        if pivot <= max(floor, 1e-12 * float(inner[k, k])) and kept:
            continue
        kept.append(k)
        column = work[:, k] / max(pivot, 1e-300) ** 0.5
        work -= torch.outer(column, column)
    return torch.tensor(kept, dtype=torch.long, device=inner.device)
