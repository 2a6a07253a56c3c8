r"""Regression on the increments of a log-determinant, and the distribution of its forecast.

NumPy on the CPU: the systems are a few columns wide, and torch's overhead would be most of the time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaln

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vector = NDArray[np.float64]

MIN_LAG_SIZE = 20  # Below, an autocorrelation cannot be told from its bias, which is about -1/size.


@dataclass(frozen=True, slots=True)
class Forecast:
    """A Student's t distribution: ``(ℓ_N - mean)/scale`` with ``dof`` degrees of freedom."""

    mean: float
    scale: float
    dof: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Regression:
    """A fit of the increments after a burn-in.

    Attributes
    ----------
    coefficients
        Of ``n``, ``log n!`` and ``n^-i log n!`` for ``i = 1..order`` in ``ℓ_n``: ``log c``, ``-ν`` and the
        corrections.
    residuals
        Of the increments, each over the root of its step: white and of variance ``omega²`` under the model.
    omega
        Root of the long-run variance of the residuals: nats per root of a point.
    dof
        Degrees of freedom of ``omega²``: observations less coefficients, less what autocorrelation takes.
    """

    coefficients: Vector
    residuals: Vector
    omega: float
    dof: float
    order: int
    last_size: float
    last_logdet: float
    _factor: Vector
    _column_scale: Vector

    def forecast(self, size: float) -> Forecast:
        r"""Return the distribution of ``ℓ_size`` for a ``size`` beyond the last that was used.

        The mean starts from the exact last value. The variance is that of the noise to come and of the
        coefficients: ``ω² [(N - n_s) + cᵀ(XᵀX)⁻¹c]`` with ``c`` the sum of the rows from ``n_s`` to ``N``.
        """
        row = basis(np.array([self.last_size, float(size)]), self.order)
        reach = row[1] - row[0]
        leverage = np.linalg.solve(self._factor.T, reach / self._column_scale)
        variance = (size - self.last_size) + float(leverage @ leverage)
        mean = self.last_logdet + float(reach @ self.coefficients)
        return Forecast(mean, self.omega * math.sqrt(variance), self.dof)


def basis(sizes: Vector, order: int) -> Vector:
    """Return the columns ``n``, ``log n!`` and ``n^-i log n!`` for ``i = 1..order``: ``(k, order + 2)``."""
    factorial = gammaln(sizes + 1)
    return np.stack([sizes, factorial, *(factorial / sizes**i for i in range(1, order + 1))], axis=1)


def fit_increments(sizes: Vector, logdets: Vector, order: int) -> Regression | None:
    """Regress the increments of ``logdets`` on those of the basis; ``None`` if no degree of freedom is left.

    Least squares on the increments is generalised least squares on ``ℓ_n`` itself, whose errors are a random
    walk. An increment over a step of ``m`` points has ``m`` times the variance, and is weighted accordingly.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the columns are dependent to working precision.
    """
    observations = len(sizes) - 1
    free = observations - (order + 2)
    if free < 1:
        return None
    step = np.sqrt(np.diff(sizes))
    rows = np.diff(basis(sizes, order), axis=0) / step[:, None]
    target = np.diff(logdets) / step
    # The columns differ by many orders of magnitude: scaled, QR loses nothing that the data hold.
    column_scale = np.linalg.norm(rows, axis=0)
    q, r = np.linalg.qr(rows / column_scale)
    projection = q.T @ target
    coefficients = np.linalg.solve(r, projection) / column_scale
    residuals = target - q @ projection
    variance = float(residuals @ residuals) / free
    ratio = long_run_ratio(residuals)
    return Regression(
        coefficients=coefficients,
        residuals=residuals,
        omega=math.sqrt(variance * ratio),
        dof=max(1.0, free / ratio),
        order=order,
        last_size=float(sizes[-1]),
        last_logdet=float(logdets[-1]),
        _factor=r,
        _column_scale=column_scale,
    )


def long_run_ratio(residuals: Vector) -> float:
    """Return the long-run variance over the variance, at least 1: Newey and West with Andrews' lag.

    The lag is that of the Bartlett kernel for a first-order autoregression with the autocorrelation found.
    Less than 1 (errors that undo each other) is not credited, since it would narrow the interval on the
    strength of an estimate. With less than 20 residuals it is 1: there is nothing to estimate it from.

    References
    ----------
    Newey, West, Econometrica 55 (1987) 703; Andrews, Econometrica 59 (1991) 817, equation 6.4.
    """
    n = len(residuals)
    power = float(residuals @ residuals)
    if n < MIN_LAG_SIZE or power == 0:
        return 1.0
    first = min(max(float(residuals[1:] @ residuals[:-1]) / power, -0.95), 0.95)
    lag = int(min(1.1447 * (4 * first**2 / (1 - first**2) ** 2 * n) ** (1 / 3), n / 4))
    correlations = (float(residuals[k:] @ residuals[:-k]) / power for k in range(1, lag + 1))
    return max(1.0, 1 + 2 * sum((1 - k / (lag + 1)) * rho for k, rho in enumerate(correlations, 1)))
