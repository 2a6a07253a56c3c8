"""The Stieltjes transform of HTMP anywhere in the complex plane, its cut included.

Away from the cut it is a quadrature over the law. Near it, where a quadrature fails, it is continued from its
known values on the cut by the polynomials of degree 7 that agree with it there in three derivatives.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rmtaudit.kernels.htmp.density import hermite, horner
from rmtaudit.kernels.htmp.table import tabulate
from rmtaudit.kernels.htmp.wave import solve

_NEAR = 0.7
"""Up to this distance from the cut, in intervals of the table, the polynomial is used: a convention."""
_BLOCK = 1 << 20  # elements worked on at once


def stieltjes(t: NDArray[np.complex128], c: float, delta: float) -> NDArray[np.complex128]:
    """Return ``S(t) = E 1/(y + t)`` of the law of ``c`` and ``delta`` in the unit of mean ``c + delta``.

    ``S' = c S² - (b - t) S/t - 1/t`` with ``b = 1 - delta``. Relative accuracy 1e-9 wherever it was compared.

    Parameters
    ----------
    t
        Shape ``(n,)``. On the negative axis: the limit from above.
    """
    upper = np.where(t.imag < 0, t.conj(), t)
    table = tabulate(c, delta)
    points = table.density.u
    result = np.empty(t.shape, dtype=np.complex128)
    y = -upper  # in the lower half-plane, where log y is continuous down from the positive axis
    u = np.log(np.where(y == 0, 1.0, y))
    index = np.clip(np.searchsorted(points, u.real, side="right") - 1, 0, points.size - 2)
    width = points[index + 1] - points[index]
    inside = (u.real >= points[0]) & (u.real <= points[-1])
    near = inside & (np.abs(u.imag) < _NEAR * width)
    share = (u[near] - points[index[near]]) / width[near]
    rho = horner(_boundary(c, delta), index[near], share)
    # v'/v = c S - (delta-1)/(2y) + 1/2
    result[near] = ((rho + (delta - 1) / 2) / y[near] - 0.5) / c
    distant = np.flatnonzero(~near)
    rows = max(1, _BLOCK // table.nodes.size)
    for first in range(0, distant.size, rows):
        block = distant[first : first + rows]
        result[block] = (1 / (table.nodes + upper[block, None])) @ table.weights
    return np.where(t.imag < 0, result.conj(), result)


@lru_cache(maxsize=4)
def _boundary(c: float, delta: float) -> NDArray[np.complex128]:
    """Return the polynomials of ``y v'/v`` on the cut, shape ``(8, n-1)``."""
    wave = solve(c, delta)
    y = np.exp(wave.u)
    third = y * (y - (c + (delta - 1) / 2)) + wave.slope_2 * (1 - 2 * wave.slope) - 2 * wave.slope_1**2
    return hermite(np.diff(wave.u), wave.slope, wave.slope_1, wave.slope_2, third)
