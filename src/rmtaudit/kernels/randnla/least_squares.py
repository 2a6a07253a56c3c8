"""Overdetermined least squares: a sketch makes the preconditioner, LSQR finishes in a few steps.

The error is known afterwards. With ``M = A R⁻¹`` and ``r = b - A x``, the distance of ``A x`` from the best
``A x*`` is ``|(MᵀM)^-½ Mᵀ r|``, at most ``|Mᵀ r|/σ_min(M)``, and σ_min is bounded by a few Krylov steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rmtaudit.kernels.operators import Linear, linear
from rmtaudit.kernels.randnla.leverage import eased, reduced
from rmtaudit.kernels.randnla.norms import singular_bounds

_EPSILON = 2.0**-52


@dataclass(frozen=True, slots=True, kw_only=True)
class LeastSquares:
    """The solution of ``min |A x - b|``.

    Attributes
    ----------
    solution
        Shape ``(cols,)``, float64.
    residual
        ``|b - A x|``.
    distance
        Bound of ``|A (x - x*)|``, with what rounding does to ``A x``; so
        ``|b - A x*|² >= residual² - distance²``.
    failure
        Probability that the bound is too low.
    steps
        Of LSQR.
    smallest, largest
        Bounds of the singular values of ``A R⁻¹``: near 1 for a good sketch.
    """

    solution: torch.Tensor
    residual: float
    distance: float
    failure: float
    steps: int
    smallest: float
    largest: float


def least_squares(
    matrix: torch.Tensor,
    target: torch.Tensor,
    seed: int,
    *,
    oversample: float = 4.0,
    tolerance: float = 1e-14,
    most: int = 100,
    failure: float = 1e-3,
) -> LeastSquares:
    """Solve by sketch and precondition (Rokhlin, Tygert 2008; Avron, Maymounkov, Toledo 2010).

    Equivalent to ``torch.linalg.lstsq`` of a tall matrix of full rank.

    Parameters
    ----------
    matrix, target
        Shapes ``(rows, cols)`` and ``(rows,)``, rows at least cols.
    oversample
        Rows of the sketch over the columns.
    tolerance
        LSQR ends where ``|Mᵀ r| <= tolerance |M| |r|``, or where a step changes nothing.

    Raises
    ------
    ArithmeticError
        If the columns are dependent to working precision.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import randnla
    >>> matrix = torch.randn(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> target = matrix @ torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    >>> randnla.least_squares(matrix, target, seed=0).solution.round(decimals=9)
    tensor([1., 2., 3.], dtype=torch.float64)
    """
    rows, cols = matrix.shape
    if rows < cols or target.shape != (rows,):
        raise ValueError(
            f"shapes {tuple(matrix.shape)} and {tuple(target.shape)} do not form a least-squares problem"
        )
    b = target.to(torch.float64)[:, None]
    small = reduced(torch.cat([matrix.to(torch.float64), b], dim=1), oversample, seed)
    Q, R = torch.linalg.qr(small[:, :cols])
    if float(R.diagonal().abs().min()) <= 1e-15 * float(R.diagonal().abs().max()):
        raise ArithmeticError("the columns are dependent to working precision: the solution is not unique")
    whole = linear(matrix)

    M = eased(whole, R)

    # start at the sketched solution, and once more from there: refinement makes it as stable as QR
    z, steps = Q.T @ small[:, cols:], 0
    for _ in range(2):
        correction, iterations = _lsqr(M, b - M.matmul(z), tolerance, most)
        z, steps = z + correction, steps + iterations
    low, high = singular_bounds(M, seed, failure=failure)
    x = torch.linalg.solve_triangular(R, z, upper=True)
    r = b - whole.matmul(x)
    gradient = float(torch.linalg.vector_norm(M.transposed(r)))
    # of A x itself, which no method gets below where |x| is large (Higham 2002, section 20.1)
    size = (whole.energy or 0.0) ** 0.5 * float(torch.linalg.vector_norm(x))
    rounding = 8 * _EPSILON * (size + float(torch.linalg.vector_norm(b)))
    return LeastSquares(
        solution=x[:, 0],
        residual=float(torch.linalg.vector_norm(r)),
        distance=gradient / low + rounding if low > 0 else float("inf"),
        failure=failure,
        steps=steps,
        smallest=low,
        largest=high,
    )


def _lsqr(M: Linear, b: torch.Tensor, tolerance: float, most: int) -> tuple[torch.Tensor, int]:
    """Return the solution from zero (Paige, Saunders 1982)."""
    beta = torch.linalg.vector_norm(b)
    u = b / beta.clamp(min=1e-300)
    v = M.transposed(u)
    alpha = torch.linalg.vector_norm(v)
    x = torch.zeros_like(v)
    if float(alpha * beta) == 0:
        return x, 0
    v = v / alpha
    w, phi, rho = v.clone(), beta, alpha
    for step in range(1, most + 1):
        u = M.matmul(v) - alpha * u
        beta = torch.linalg.vector_norm(u)
        u = u / beta.clamp(min=1e-300)
        v = M.transposed(u) - beta * v
        alpha = torch.linalg.vector_norm(v)
        v = v / alpha.clamp(min=1e-300)
        turned = torch.hypot(rho, beta)
        c, s = rho / turned, beta / turned
        x = x + (c * phi / turned) * w
        w = v - (s * alpha / turned) * w
        phi, rho = s * phi, -c * alpha
        if float(alpha * c.abs()) <= tolerance * 2 or float(phi) == 0:
            return x, step
    return x, most
