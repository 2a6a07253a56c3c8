"""Covariance functions of points: Matérn with half-integer smoothness, and the Gaussian kernel (RBF)."""

from __future__ import annotations

import math

import torch

SMOOTHNESS = (0.5, 1.5, 2.5, math.inf)
_STRIP = 1 << 17
"""Entries worked on together: what is not written in place takes three times 1 MiB."""


def matern_into(
    first: torch.Tensor, second: torch.Tensor, out: torch.Tensor, *, nu: float, length: float
) -> None:
    r"""Write the Matérn covariances of two sets of points into ``out``.

    With ``s = |x - y| / length`` and ``a = √(2ν) s``: ``exp(-a)`` for ν = 1/2, ``(1 + a) exp(-a)`` for 3/2,
    ``(1 + a + a²/3) exp(-a)`` for 5/2, and ``exp(-s²/2)`` for ν = ∞, the Gaussian kernel. Distances are sums
    of squared differences: the identity ``|x|² + |y|² - 2 xᵀy`` would lose half the digits of small ones.

    Parameters
    ----------
    first, second
        Points, float64, shapes ``(n, d)`` and ``(m, d)``.
    out
        Float64, shape ``(n, m)``. Temporaries are a few MB, whatever its size.
    nu
        One of 0.5, 1.5, 2.5, ``inf``.
    length
        Length scale, above zero.

    Raises
    ------
    ValueError
        For another ``nu``, or a length scale that is not a positive finite number.

    References
    ----------
    Rasmussen, Williams, Gaussian Processes for Machine Learning (2006), eq. 4.14 to 4.17.
    """
    if nu not in SMOOTHNESS:
        raise ValueError(f"nu must be 0.5, 1.5, 2.5 or inf, not {nu}")
    if not (math.isfinite(length) and length > 0):
        raise ValueError(f"length must be a positive number, not {length}")
    scale = 1 / length if nu == math.inf else math.sqrt(2 * nu) / length
    first, second = first * scale, second * scale
    height = max(1, _STRIP // max(1, second.shape[0]))
    for top in range(0, first.shape[0], height):
        _fill(first[top : top + height], second, out[top : top + height], nu)


def _fill(first: torch.Tensor, second: torch.Tensor, out: torch.Tensor, nu: float) -> None:
    distance = torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist")
    if nu == math.inf:
        torch.exp(distance.square_().mul_(-0.5), out=distance)
        out.copy_(distance)
        return
    decay = torch.exp(-distance)
    if nu == 0.5:
        out.copy_(decay)
    elif nu == 1.5:
        torch.mul(distance.add_(1), decay, out=distance)
        out.copy_(distance)
    else:
        polynomial = distance.square().div_(3).add_(distance).add_(1)
        out.copy_(polynomial.mul_(decay))
