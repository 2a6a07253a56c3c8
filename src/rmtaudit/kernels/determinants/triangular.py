r"""``log det WᵀW`` from a QR factorisation of ``W``: the condition number of ``W``, not its square, counts.

``WᵀW = RᵀR``, so the log-determinant is ``2 Σ log |r_jj|``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

UNIT = 2.0**-53
"""Unit round-off of float64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GramDeterminant:
    """A log-determinant of ``WᵀW``; by default, that of a factor with a zero column.

    Attributes
    ----------
    logdet
        In nats; ``-inf`` where a column is zero.
    bound
        How far rounding can have moved it, in nats; infinite where it can have made ``W`` lose rank.
    likely
        The same with rounding errors that are independent of each other: the size to expect.
    smallest, largest
        Extremes of ``|r_jj|``, in units of the length of the column.
    zero_columns
        Columns that are zero.
    """

    logdet: float = -math.inf
    bound: float = math.inf
    likely: float = math.inf
    smallest: float = 0.0
    largest: float = 1.0
    zero_columns: int = 0


def gram_log_determinant(W: torch.Tensor) -> GramDeterminant:
    r"""Return ``log det WᵀW`` of a tall matrix.

    Equivalent to ``2 * numpy.log(scipy.linalg.svdvals(W)).sum()`` within ``bound``.

    Parameters
    ----------
    W
        Float64, shape ``(m, n)``, ``m >= n``, finite.

    Raises
    ------
    ValueError
        If it is wide or not float64.

    Notes
    -----
    Householder QR gives the exact ``R`` of ``W + E`` with ``|e_j| <= γ |w_j|`` for every column and
    ``γ = c m n u`` (Higham 2002, theorem 19.4; ``c`` is a small constant, taken as 1: measured errors stay
    far below ``m n u``).
    With ``D`` the lengths of the columns and ``y = γ √n ‖(W D⁻¹)⁺‖_F`` (the norm is that of the inverse of
    ``R D⁻¹``, computed), the log-determinant moves by at most ``2 y + 2 y²/(1 - y)²``. With independent
    errors ``|e_j|`` is near ``√n u |w_j|``, and the log-determinant moves by
    less than ``2 u √n ‖(W D⁻¹)⁺‖_F``.
    """
    if W.ndim != 2 or W.shape[0] < W.shape[1] or W.dtype != torch.float64:
        raise ValueError(f"a tall float64 matrix is needed, not {W.dtype} of shape {tuple(W.shape)}")
    m, n = W.shape
    peaks = W.abs().amax(0)
    if not bool((peaks > 0).all()):
        return GramDeterminant(zero_columns=int((peaks == 0).sum()))
    # scaling by powers of two changes no digit of R and keeps squares in range
    powers = torch.frexp(peaks).exponent.to(torch.float64) - 1
    scaled = W / torch.exp2(powers)
    lengths = torch.linalg.vector_norm(scaled, dim=0)
    R = torch.linalg.qr(scaled, mode="r").R
    diagonal = R.diagonal().abs()
    relative = diagonal / lengths
    smallest, largest = float(relative.min()), float(relative.max())
    if smallest == 0:
        return GramDeterminant(smallest=smallest, largest=largest)
    logs = 2 * (diagonal.log() + powers * math.log(2))
    logdet = math.fsum(logs.tolist())
    eye = torch.eye(n, dtype=torch.float64, device=W.device)
    inverse = torch.linalg.solve_triangular(R / lengths, eye, upper=True)
    norm = float(torch.linalg.matrix_norm(inverse))
    y = m * n * UNIT * math.sqrt(n) * norm
    moved = 2 * y + 2 * (y / (1 - y)) ** 2 if y < 0.5 else math.inf
    sums = 4 * UNIT * float(logs.abs().sum())  # of the logarithms themselves, and of their sum
    likely = 2 * UNIT * math.sqrt(n) * norm + sums
    return GramDeterminant(
        logdet=logdet, bound=moved + sums, likely=likely, smallest=smallest, largest=largest
    )
