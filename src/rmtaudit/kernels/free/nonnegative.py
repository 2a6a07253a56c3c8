"""Non-negative least squares in batches: exchanges of active sets on a CPU, interior points on a GPU."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.optimize import nnls

Real = NDArray[np.float64]

_ITERATIONS, _TOLERANCE = 60, 1e-11
"""A convention: steps of the interior-point method at most, and the duality gap at which it ends."""
_EXCHANGES, _CHANCES = 25, 3
"""Exchanges of whole sets at most, and so many in a row without improvement before single variables move."""
_SIGN = 1e-10
"""Variables and multipliers above minus this, in units of the largest entry of the target, are positive."""
_DIAGONAL = 1e-13
"""Added to a unit diagonal, some hundreds of its roundings: equal columns stay positive definite."""


def nonnegative_least_squares(gram: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return the ``x >= 0`` that minimise ``xᵀHx/2 - fᵀx``, many problems at once, on any device.

    Equivalent to ``scipy.optimize.nnls`` on a factor of ``H``. On a CPU the problems are solved from the last
    to the first, and each starts from the active set of the one before: in the order of growing smoothness
    a few exchanges of variables between the sets suffice. On a GPU every step of an interior-point method is
    one batched Cholesky factorisation, so that a hundred problems take hardly longer than one.

    Parameters
    ----------
    gram
        Shape ``(..., K, K)``, float64: ``H = AᵀA``, positive semidefinite.
    right
        Shape ``(..., K)``, float64: ``f = Aᵀy``.

    References
    ----------
    Portugal, Júdice, Vicente, *A comparison of block pivoting and interior-point algorithms for linear least
    squares problems with nonnegative variables*, Math. Comp. 63 (1994). Mehrotra, *On the implementation of a
    primal-dual interior point method*, SIAM J. Optim. 2 (1992).
    """
    size, batch = gram.shape[-1], right.shape[:-1]
    flat_gram = gram.expand(*batch, size, size).reshape(-1, size, size)
    flat_right = right.reshape(-1, size)
    if gram.is_cuda:
        return _interior(flat_gram, flat_right).reshape(*batch, size)
    solutions = torch.empty_like(flat_right)
    free: NDArray[np.bool_] = np.ones(size, dtype=bool)
    for index in reversed(range(len(flat_gram))):
        masses = _exchanged(flat_gram[index].numpy(), flat_right[index].numpy(), free)
        if masses is None:
            solutions[index] = _interior(flat_gram[index][None], flat_right[index][None])[0]
        else:
            solutions[index], free = torch.from_numpy(masses), masses > 0
    return solutions.reshape(*batch, size)


def _exchanged(gram: Real, right: Real, free: NDArray[np.bool_]) -> Real | None:
    """Return the solution by active sets; ``None`` where rounding keeps both methods from ending."""
    tiny = np.finfo(np.float64).tiny
    unit = np.sqrt(np.maximum(gram.diagonal(), tiny))
    system = gram / unit[:, None] / unit
    system.flat[:: len(system) + 1] += _DIAGONAL
    size = max(float(np.abs(right / unit).max()), tiny)
    target = right / unit / size
    solution = _by_blocks(system, target, free)
    if solution is None:
        solution = _one_by_one(system, target)
    return None if solution is None else solution * size / unit


def _by_blocks(system: Real, target: Real, free: NDArray[np.bool_]) -> Real | None:
    """Exchange all variables and multipliers of the wrong sign; ``None`` where that does not end."""
    fewest, chances = len(target) + 1, _CHANCES
    for _ in range(_EXCHANGES):
        held = np.flatnonzero(free)
        solution = np.zeros_like(target)
        if len(held):
            _, solution[held], failed = lapack.dposv(system[np.ix_(held, held)], target[held], lower=1)
            if failed:
                return None
        multipliers = system[:, held] @ solution[held] - target
        wrong = np.where(free, solution, multipliers) < -_SIGN
        count = int(np.count_nonzero(wrong))
        if not count:
            return np.maximum(solution, 0.0)
        if count < fewest:
            fewest, chances = count, _CHANCES
        elif chances:
            chances -= 1
        else:
            last = np.flatnonzero(wrong)[-1]
            wrong[:] = False
            wrong[last] = True
        free = free ^ wrong
    return None


def _one_by_one(system: Real, target: Real) -> Real | None:
    """Solve by Lawson and Hanson's method, which adds one variable at a time, on a Cholesky factor."""
    factor, failed = lapack.dpotrf(system, lower=1)
    if failed:
        return None
    half, _ = lapack.dtrtrs(factor, target, lower=1)
    try:
        solution: Real = nnls(factor.T, half, maxiter=6 * len(target))[0]
    except RuntimeError:
        return None
    return solution


def _interior(gram: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    unit = gram.diagonal(dim1=-2, dim2=-1).clamp(min=torch.finfo(gram.dtype).tiny).sqrt()
    scaled = gram / unit[..., :, None] / unit[..., None, :]
    target = right / unit
    size = target.abs().amax(-1, keepdim=True).clamp(min=torch.finfo(gram.dtype).tiny)
    target = target / size
    own = scaled.diagonal(dim1=-2, dim2=-1) + _DIAGONAL
    system = scaled.clone()  # in which only the diagonal changes
    x, y = torch.ones_like(target), torch.ones_like(target)
    for _ in range(_ITERATIONS):
        residual = (scaled @ x[..., None])[..., 0] - target - y
        gap = (x * y).mean(-1, keepdim=True)
        if bool(gap.max() < _TOLERANCE) and bool(residual.abs().max() < 1e-9):
            break
        system.diagonal(dim1=-2, dim2=-1).copy_(own + y / x)
        factor = torch.linalg.cholesky(system)
        dx, dy = _direction(factor, x, y, residual, -x * y)
        step = _length(x, dx, y, dy)
        ahead = ((x + step * dx) * (y + step * dy)).mean(-1, keepdim=True)
        centre = (ahead / gap) ** 3 * gap
        dx, dy = _direction(factor, x, y, residual, centre - x * y - dx * dy)
        step = 0.995 * _length(x, dx, y, dy)
        x, y = x + step * dx, y + step * dy
    # below the gap a variable and its multiplier cannot be told apart
    x = torch.where(x < y, 0.0, x)
    return x * size / unit


def _direction(
    factor: torch.Tensor, x: torch.Tensor, y: torch.Tensor, residual: torch.Tensor, complement: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    dx = torch.cholesky_solve((complement / x - residual)[..., None], factor)[..., 0]
    return dx, (complement - y * dx) / x


def _length(x: torch.Tensor, dx: torch.Tensor, y: torch.Tensor, dy: torch.Tensor) -> torch.Tensor:
    both, moved = torch.cat([x, y], -1), torch.cat([dx, dy], -1)
    ratio = torch.where(moved < 0, -both / moved, torch.inf)
    return ratio.amin(-1, keepdim=True).clamp(max=1.0)
