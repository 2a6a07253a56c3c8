"""The squared spectral norm of a matrix, differentiable: exact, or by power iteration from a kept vector."""

from __future__ import annotations

import torch


def norm_penalty(matrix: torch.Tensor) -> torch.Tensor:
    r"""Return ``σ₁(W)²``, from a singular value decomposition.

    Where ``σ₁`` is simple, its gradient is ``2 σ₁ u₁ v₁ᵀ``; where it is not, that of one of its vectors.

    Parameters
    ----------
    matrix
        Shape ``(rows, cols)``, floating, on any device.

    Returns
    -------
    torch.Tensor
        A scalar of that dtype, in (weight units)².

    References
    ----------
    Yoshida, Miyato, *Spectral Norm Regularization for Improving the Generalizability of Deep Learning*,
    arXiv 1705.10941, equation 3, without its factor 1/2.
    """
    norm: torch.Tensor = torch.linalg.matrix_norm(matrix, 2)
    return norm.square()


def power_iteration(
    matrix: torch.Tensor, start: torch.Tensor, *, steps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``‖W v‖²`` after some steps of ``v ← WᵀW v/‖WᵀW v‖``, and ``v``.

    The vector is a constant for the gradient, ``2 W v vᵀ``; where the iteration has converged that is the
    gradient of ``σ₁²``. The value is never above ``σ₁²``, and its relative error falls by
    ``(σ₂/σ₁)⁴`` a step. Training moves a matrix little from one step to the next, so the vector of the last
    call is a good start, and one step is enough.

    Parameters
    ----------
    matrix
        Shape ``(rows, cols)``, floating, on any device.
    start
        Shape ``(cols,)``, of that dtype and on that device. Not changed.
    steps
        At least 1.

    Returns
    -------
    value, vector
        A scalar that can be differentiated, and a unit vector of shape ``(cols,)`` that cannot. A matrix that
        takes ``start`` to 0 leaves it as it is.

    Raises
    ------
    ValueError
        If ``steps`` is below 1.

    References
    ----------
    Yoshida, Miyato, arXiv 1705.10941, algorithm 1.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    with torch.no_grad():
        vector = start / torch.linalg.vector_norm(start)
        for _ in range(steps):
            image = matrix.T @ (matrix @ vector)
            length = torch.linalg.vector_norm(image)
            vector = torch.where(length > 0, image / length.clamp_min(torch.finfo(image.dtype).tiny), vector)
    return (matrix @ vector).square().sum(), vector
