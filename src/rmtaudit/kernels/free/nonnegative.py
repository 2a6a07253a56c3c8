"""Non-negative least squares in batches, by a primal-dual interior-point method."""

from __future__ import annotations

import torch

_ITERATIONS, _TOLERANCE = 60, 1e-11
_TOGETHER = 5
"""Problems a processor solves at a time: what stays in its cache. A GPU takes them all."""


def nonnegative_least_squares(gram: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return the ``x >= 0`` that minimise ``xᵀHx/2 - fᵀx``, many problems at once, on any device.

    Equivalent to ``scipy.optimize.nnls`` on a factor of ``H``. Every step is one batched Cholesky
    factorisation, so that a hundred problems take a GPU hardly longer than one.

    Parameters
    ----------
    gram
        Shape ``(..., K, K)``, float64: ``H = AᵀA``, positive semidefinite.
    right
        Shape ``(..., K)``, float64: ``f = Aᵀy``.

    References
    ----------
    Mehrotra, *On the implementation of a primal-dual interior point method*, SIAM J. Optim. 2 (1992).
    """
    size, batch = gram.shape[-1], right.shape[:-1]
    flat_gram = gram.expand(*batch, size, size).reshape(-1, size, size)
    flat_right = right.reshape(-1, size)
    share = len(flat_gram) if gram.is_cuda else _TOGETHER
    parts = zip(torch.split(flat_gram, share), torch.split(flat_right, share), strict=True)
    return torch.cat([_solve(*part) for part in parts]).reshape(*batch, size)


def _solve(gram: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    unit = gram.diagonal(dim1=-2, dim2=-1).clamp(min=torch.finfo(gram.dtype).tiny).sqrt()
    scaled = gram / unit[..., :, None] / unit[..., None, :]
    target = right / unit
    size = target.abs().amax(-1, keepdim=True).clamp(min=torch.finfo(gram.dtype).tiny)
    target = target / size
    own = scaled.diagonal(dim1=-2, dim2=-1) + 1e-13
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
