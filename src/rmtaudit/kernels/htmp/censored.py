"""``kappa`` where the smallest eigenvalues are only known to lie below a resolution floor.

Square matrices need it: at small ``kappa`` their smallest eigenvalues are far below what float32 entries, or
a Gram matrix in float64, can resolve, and what is computed there is rounding error.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from rmtaudit.kernels.htmp.estimate import LEAST, MOST, KappaFit, checked
from rmtaudit.kernels.htmp.vandermonde import log_vandermonde

_GRID = 69
"""Two points per unit of ``log kappa`` between the bounds; the curve bends on the scale of 1."""
_MOST_SHARE = 0.5
"""At least this share of the eigenvalues must be resolved: a convention."""
_MOST_INTERACTION = 0.25
"""Standard errors by which the neglected interaction across the floor may move the estimate: a convention."""
_STEPS, _ACCURACY = 60, 1e-12
"""Most steps of Newton's method in ``log kappa``, more than bisection needs, and the one that ends them."""


def fit_joint_censored(eigenvalues: torch.Tensor, rows: int, cols: int, *, floor: float) -> KappaFit:
    r"""Estimate ``kappa`` by maximum likelihood, eigenvalues up to ``floor`` being known only to be below it.

    The likelihood of :func:`~rmtaudit.kernels.htmp.estimate.fit_joint` is integrated over the ``k`` smallest
    eigenvalues, each between 0 and the floor ``t``. Where ``t`` is small against the ``r = N - k`` others,
    the repulsion between the two groups is ``∏ l_j^(2hk)`` and the integral is Selberg's. With
    ``s = h (M - N + 1)``, and the scale at its best value, up to a constant,

        log L = (s + 2hk) Σ log l_j + 2h Σ_{i<j} log|l_i - l_j| + k (s + h(k-1)) log t
                + Σ_{i<k} [log G(s+ih) + log G(1+ih) + log G(1+(i+1)h) - log G(s+1+(k+i-1)h)] - k log G(1+h)
                + N M h (log(hM) - 1 - log mean) - Σ_{j<N} [log G(1+(j+1)h) + log G(s+jh)] + N log G(1+h).

    Parameters
    ----------
    eigenvalues
        Shape ``(N,)``, ``N = min(rows, cols) >= 3``, those of ``WᵀW``, ascending, finite, not negative.
    rows, cols
        Shape of ``W``.
    floor
        Upper bound of what is unresolved, positive, in the unit of the eigenvalues.

    Raises
    ------
    ValueError
        For eigenvalues that are not as described, or a floor that is not positive.
    ArithmeticError
        If more than half of the eigenvalues are unresolved, two resolved ones are equal, no ``kappa`` between
        1e-6 and 1e9 is best, or the floor is too close to the resolved eigenvalues for the approximation.

    References
    ----------
    Selberg's integral: Forrester, *Log-gases and Random Matrices*, 2010, equation 4.3; its mean (Aomoto),
    equation 4.138, bounds what the approximation neglects.
    """
    values, size, longer = checked(eigenvalues, rows, cols)
    if not floor > 0:
        raise ValueError(f"the floor must be positive, not {floor}")
    small = int(np.searchsorted(values, floor, side="right"))
    if small > _MOST_SHARE * size:
        raise ArithmeticError(f"{small} of {size} eigenvalues are unresolved")
    resolved = values[small:]
    mean = float(resolved.sum()) / size
    scaled = resolved / mean
    vandermonde = log_vandermonde(scaled)
    if math.isinf(vandermonde):
        raise ArithmeticError("two eigenvalues are equal: the likelihood is 0 for every kappa")
    likelihood = _Likelihood(
        size=size,
        longer=longer,
        small=small,
        log_floor=math.log(floor / mean),
        log_sum=float(np.log(scaled).sum()),
        vandermonde=vandermonde,
    )
    at, curvature = likelihood.maximise()
    kappa, log_se = math.exp(at), 1 / math.sqrt(curvature)
    moved = likelihood.interaction(at, float((floor / resolved).sum()))
    if moved * log_se > _MOST_INTERACTION:
        raise ArithmeticError(f"{small} eigenvalues are unresolved, and the next ones are not far above them")
    return KappaFit(
        kappa=kappa, se=kappa * log_se, size=size, longer=longer, mean=mean, method="joint", censored=small
    )


class _Likelihood:
    """The profile log-likelihood in ``log kappa``; arguments in units of the mean eigenvalue.

    Sums over all, and over the smallest, are those of the formula of :func:`fit_joint_censored`.
    """

    def __init__(
        self, *, size: int, longer: int, small: int, log_floor: float, log_sum: float, vandermonde: float
    ) -> None:
        self.size, self.longer, self.small = size, longer, small
        excess = longer - size + 1
        self._per_h = (
            (excess + 2 * small) * log_sum + 2 * vandermonde + small * (excess + small - 1) * log_floor
        )
        every = torch.arange(size, dtype=torch.float64)
        few = every[:small]
        # a sum of count · log G(constant + slope h)
        terms = (
            (1.0, every + 1, -1.0),
            (0.0, every + excess, -1.0),
            (0.0, few + excess, 1.0),
            (1.0, few, 1.0),
            (1.0, few + 1, 1.0),
            (1.0, few + (excess + small - 1), -1.0),
            (1.0, every[:1] + 1, float(size - small)),
        )
        self._slope = torch.cat([slope for _, slope, _ in terms])
        self._constant = torch.cat([torch.full_like(slope, constant) for constant, slope, _ in terms])
        self._count = torch.cat([torch.full_like(slope, count) for _, slope, count in terms])

    def __call__(self, log_kappa: float) -> float:
        h = math.exp(log_kappa) / (2 * self.size)
        logs = torch.lgamma(self._constant + h * self._slope)
        degree = self.size * self.longer * h
        return h * self._per_h + float(self._count @ logs) + degree * (math.log(h * self.longer) - 1)

    def derivatives(self, log_kappa: float) -> tuple[float, float]:
        """Return the first two derivatives in ``log kappa``."""
        h = math.exp(log_kappa) / (2 * self.size)
        at, degree = self._constant + h * self._slope, self.size * self.longer
        first = (
            self._per_h
            + float((self._count * self._slope) @ torch.digamma(at))
            + degree * math.log(h * self.longer)
        )
        second = float((self._count * self._slope.square()) @ torch.polygamma(1, at)) + degree / h
        return h * first, h * first + h * h * second

    def maximise(self) -> tuple[float, float]:
        """Return the best ``log kappa`` and minus the second derivative there."""
        grid = np.linspace(math.log(LEAST), math.log(MOST), _GRID)
        best = int(np.argmax([self(point) for point in grid]))
        if best in (0, _GRID - 1):
            raise ArithmeticError(f"no kappa between {LEAST:g} and {MOST:g} is best")
        low, at, high = (float(point) for point in grid[best - 1 : best + 2])
        for _ in range(_STEPS):
            slope, bend = self.derivatives(at)
            low, high = (at, high) if slope > 0 else (low, at)
            step = -slope / bend if bend < 0 else math.inf
            if abs(step) < _ACCURACY or high - low < _ACCURACY:
                break
            at = at + step if low < at + step < high else (low + high) / 2
        curvature = -self.derivatives(at)[1]
        if not curvature > 0:
            raise ArithmeticError("the likelihood has no maximum inside the bounds")
        return at, curvature

    def interaction(self, log_kappa: float, ratios: float) -> float:
        """Return the expected ``-2h Σ log(1 - l_i/l_j)`` between the groups, to first order.

        ``ratios`` is ``Σ t/l_j`` over the resolved eigenvalues. It is also, to first order, the derivative in
        ``log kappa`` that the approximation neglects.
        """
        if not self.small:
            return 0.0
        h = math.exp(log_kappa) / (2 * self.size)
        k, shape = self.small, h * (self.longer - self.size + 1)
        mean = (shape + (k - 1) * h) / (shape + 1 + 2 * (k - 1) * h)
        return 2 * h * k * mean * ratios
