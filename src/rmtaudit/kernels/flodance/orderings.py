"""Averages over orderings of the points: the same law, with less noise in its coefficients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable


def ordering_average(
    matrix: torch.Tensor, *, orderings: int, generator: torch.Generator, outputs: int = 1
) -> Callable[[int], torch.Tensor]:
    """Return the function ``n -> (ℓ_1..ℓ_n)``, averaged over random orderings of the first ``n`` points.

    It looks at nothing beyond the first ``n`` points, so that a back-test with it is honest. No new entries
    of the matrix are needed; each call factors ``orderings`` matrices of ``n`` points. For points that come
    in random order all orderings have the same law. They share their points, and ``ℓ_n`` is the same for
    all, so the noise falls by less than the number of orderings suggests: the interval does not count on it.

    Parameters
    ----------
    matrix
        Shape ``(m, m)``, positive definite, in a real floating dtype; factored in float64.
    orderings
        Number of orderings, at least 1.
    generator
        Source of the orderings, which are drawn again at every call.
    outputs
        Rows of a point, which stay together.

    Raises
    ------
    ValueError
        If the matrix is not square or ``orderings`` is below 1.
    ArithmeticError
        When called: if a matrix is not positive definite to working precision.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import flodance
    >>> matrix = torch.diag(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    >>> generator = torch.Generator().manual_seed(0)
    >>> average = flodance.ordering_average(matrix, orderings=5, generator=generator)
    >>> round(float(average(3)[-1].exp()), 9)  # the whole determinant is the same in every order
    6.0
    """
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"the matrix must be square, not of shape {tuple(matrix.shape)}")
    if orderings < 1:
        raise ValueError(f"at least one ordering is needed, not {orderings}")

    def average(points: int) -> torch.Tensor:
        total = torch.zeros(points, dtype=torch.float64, device=matrix.device)
        for _ in range(orderings):
            order = torch.randperm(points, generator=generator)
            rows = (order[:, None] * outputs + torch.arange(outputs)).flatten().to(matrix.device)
            factor, failed = torch.linalg.cholesky_ex(matrix[rows][:, rows].to(torch.float64))
            if int(failed):
                raise ArithmeticError(f"{points} points: the matrix is not positive definite to float64")
            minors = 2 * factor.diagonal().log().cumsum(0)
            total += minors[outputs - 1 :: outputs]
        return total / orderings

    return average
