"""Penalties that pull the spectrum of a matrix to a given heaviness, differentiable and free of scale."""

from __future__ import annotations

import math

import torch


def alpha_penalty(matrix: torch.Tensor, *, alpha: float, tail: float = 0.1) -> torch.Tensor:
    r"""Return how far the tail of the eigenvalues of ``WᵀW`` is from a power law of exponent ``alpha``.

    With the ``k`` largest eigenvalues, ``k = ⌈tail·n⌉``, and Hill's estimate of the tail index
    ``ξ = 1/(alpha - 1)``,

    .. math:: \hat ξ = \frac{1}{k} \sum_{i \le k} \log \frac{λ_i}{λ_{k+1}}, \qquad
       \text{penalty} = k \left(\frac{\hat ξ}{ξ} - 1\right)^2 .

    Of independent values from a power law of exponent ``alpha`` the penalty is 1 in expectation, because
    ``k ξ̂/ξ`` then has a Gamma law of shape ``k``: below 1 nothing is left to correct. Eigenvalues repel each
    other, and theirs is smaller. The start of the tail is a fixed share, not chosen as that of ``alpha`` in a
    scan: that choice has no gradient. The result does not change with the scale of ``W``.

    Parameters
    ----------
    matrix
        Shape ``(rows, cols)``, floating, on any device; the smaller side ``n`` at least 3.
    alpha
        Exponent of the density that is aimed at, above 1.
    tail
        Share of the eigenvalues in the tail, above 0 and below 1.

    Returns
    -------
    torch.Tensor
        A scalar of that dtype, not negative. A matrix whose ``k + 1`` largest eigenvalues are equal has
        ``k``. Eigenvalues at or below 0 by rounding count as the smallest normal number, so a matrix of rank
        at most ``k`` has a large penalty, not an infinite one.

    Raises
    ------
    ValueError
        If a side is below 3, ``alpha`` is not above 1, or ``tail`` is not between 0 and 1.

    References
    ----------
    Hill, *A simple general approach to inference about the tail of a distribution*, Ann. Stat. 3 (1975).
    """
    size = _smaller_side(matrix)
    if not (math.isfinite(alpha) and alpha > 1):
        raise ValueError(f"alpha must be above 1, not {alpha}")
    if not 0 < tail < 1:
        raise ValueError(f"tail must lie between 0 and 1, not {tail}")
    count = min(math.ceil(tail * size), size - 1)
    values = torch.linalg.eigvalsh(_gram(matrix))[size - count - 1 :]
    floor = torch.finfo(values.dtype).tiny
    logs = values.clamp_min(floor).log()
    index = (logs[1:] - logs[0]).mean()
    penalty: torch.Tensor = count * (index * (alpha - 1) - 1).square()
    return penalty


def kappa_penalty(matrix: torch.Tensor, *, kappa: float) -> torch.Tensor:
    r"""Return how far the spread of the eigenvalues of ``WᵀW`` is from that of HTMP with this ``kappa``.

    With ``CV²`` of the ``n`` eigenvalues, which needs no eigenvalue but two norms, and ``γ = n/m``,

    .. math:: 1 + CV^2 = \frac{n \|W^\top W\|_F^2}{\|W\|_F^4}, \qquad
       CV_κ^2 = γ \left(1 - \frac1n\right) \frac{κ + 2}{κ + 2γ/n}, \qquad
       \text{penalty} = \log^2 \frac{1 + CV^2}{1 + CV_κ^2} .

    ``CV_κ²`` follows from the expectation of the spread in the finite ensemble; for large ``n`` it is
    ``γ + 2γ/κ``. The penalty is 0 where the moment estimate is ``kappa``. A few large eigenvalues decide it,
    as they decide the estimate. The result does not change with the scale of ``W``.

    Parameters
    ----------
    matrix
        Shape ``(rows, cols)``, floating, not zero, on any device; the smaller side ``n`` at least 3.
    kappa
        What is aimed at, positive; a matrix of independent Gaussian entries has ``kappa = n``.

    Raises
    ------
    ValueError
        If a side is below 3, or ``kappa`` is not positive and finite.

    References
    ----------
    Hodgkinson, Wang, Mahoney, arXiv 2506.03470 (2025); :func:`rmtaudit.kernels.htmp.estimate.moment_kappa`.
    """
    size = _smaller_side(matrix)
    if not (math.isfinite(kappa) and kappa > 0):
        raise ValueError(f"kappa must be positive and finite, not {kappa}")
    gamma = size / max(matrix.shape)
    aimed = gamma * (1 - 1 / size) * (kappa + 2) / (kappa + 2 * gamma / size)
    scaled = matrix / torch.linalg.vector_norm(matrix).detach()
    trace = scaled.square().sum()
    spread = size * _gram(scaled).square().sum() / trace.square()
    penalty: torch.Tensor = (spread.log() - math.log1p(aimed)).square()
    return penalty


def _smaller_side(matrix: torch.Tensor) -> int:
    if matrix.ndim != 2 or min(matrix.shape) < 3:
        raise ValueError(f"needs a matrix of at least 3 x 3, not shape {tuple(matrix.shape)}")
    return min(matrix.shape)


def _gram(matrix: torch.Tensor) -> torch.Tensor:
    return matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
