"""``kappa`` from the eigenvalues of a matrix of known shape: exact maximum likelihood, and moments.

Both take the shape as given and the scale as free, and both are those of the finite ensemble, so square
matrices and ``kappa`` as large as ``N`` (a Gaussian matrix) need no limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from rmtaudit.kernels.htmp.ensemble import Ensemble
from rmtaudit.kernels.htmp.vandermonde import log_vandermonde

Estimator = Literal["moment", "joint", "marginal", "ks"]

LEAST, MOST = 1e-6, 1e9
"""Estimates of kappa beyond these are none: a convention, far beyond what a spectrum can tell apart."""
_STEPS, _ACCURACY = 100, 1e-12  # of Newton's method in log kappa: more steps than bisection needs
_START = 0.05, 10.0  # Newton starts from the moment estimate, kept between the first and the second times N


@dataclass(frozen=True, slots=True, kw_only=True)
class KappaFit:
    """An estimate of ``kappa``, with gamma fixed.

    Attributes
    ----------
    kappa
        The estimate.
    se
        Its standard error if the model holds; ``None`` where the estimator has none.
    size, longer
        ``N`` and ``M`` of the matrix (what is left of them, where spikes were taken off).
    mean
        Mean eigenvalue, the maximum-likelihood estimate of the scale in every one of the methods.
    method
        How it was estimated.
    censored
        Number of eigenvalues that were only known to lie below a floor
        (:func:`~rmtaudit.kernels.htmp.censored.fit_joint_censored`).
    """

    kappa: float
    se: float | None
    size: int
    longer: int
    mean: float
    method: Estimator
    censored: int = 0

    @property
    def gamma(self) -> float:
        """``N/M``."""
        return self.size / self.longer

    @property
    def log_se(self) -> float | None:
        """Standard error of ``log kappa``."""
        return None if self.se is None else self.se / self.kappa

    @property
    def dyson_index(self) -> float:
        """``kappa/N``: 1 for a real Gaussian matrix."""
        return self.kappa / self.size

    @property
    def a(self) -> float:
        """``kappa/(2 gamma)``, what stays identified when gamma is not known."""
        return self.kappa / (2 * self.gamma)

    @property
    def ensemble(self) -> Ensemble:
        """The fitted ensemble."""
        return Ensemble(self.kappa, self.size, self.longer)


def fit_joint(eigenvalues: torch.Tensor, rows: int, cols: int) -> KappaFit:
    """Estimate ``kappa`` by exact maximum likelihood of all eigenvalues together.

    The normaliser of the beta-Laguerre ensemble is Selberg's integral, so the likelihood is explicit. With
    ``h = kappa/(2N)`` and the scale at its best value ``mean/(h M)``, up to a constant,

        log L = h T + N M h (log(h M) - 1) + N log G(1+h)
                - sum_{j=1..N} log G(1+jh) - sum_{m=M-N+1..M} log G(hm),
        T = (M-N+1) sum log l + 2 sum_{i<j} log|l_i - l_j| - N M log mean(l).

    It is concave in ``h``; the standard error is from its curvature, which depends on the data through the
    estimate alone.

    Parameters
    ----------
    eigenvalues
        Shape ``(N,)``, ``N = min(rows, cols) >= 3``, those of ``WᵀW``, ascending, positive, finite. The unit
        does not matter. With ``k`` spikes taken off, give the others and ``rows - k, cols - k``.
    rows, cols
        Shape of ``W``.

    Raises
    ------
    ValueError
        For eigenvalues that are not as described.
    ArithmeticError
        If two eigenvalues are equal, or no ``kappa`` between 1e-6 and 1e9 is best.

    References
    ----------
    Forrester, *Log-gases and Random Matrices*, 2010, proposition 4.7.3, for the normaliser. It depends on the
    smallest eigenvalues through their logarithms and spacings: they must be resolved.

    Examples
    --------
    >>> import math
    >>> import torch
    >>> from rmtaudit.linalg import htmp
    >>> X = torch.randn(60, 120, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> fit = htmp.fit_joint(torch.linalg.eigvalsh(X @ X.T), 60, 120)
    >>> abs(math.log(fit.kappa / 60)) < 4 * fit.log_se  # Gaussian noise: kappa is the smaller side
    True
    """
    values, size, longer = checked(eigenvalues, rows, cols)
    if not values[0] > 0:
        raise ValueError("eigenvalues must be positive")
    mean = float(values.mean())
    scaled = values / mean
    vandermonde = log_vandermonde(scaled)
    if math.isinf(vandermonde):
        raise ArithmeticError("two eigenvalues are equal: the likelihood is 0 for every kappa")
    statistic = (longer - size + 1) * float(np.log(scaled).sum()) + 2 * vandermonde
    score = _Score(size, longer, statistic)
    h = score.solve(start=_start(scaled, rows, cols) / (2 * size))
    _, curvature = score.derivatives(h)
    return KappaFit(
        kappa=2 * size * h,
        se=2 * size / math.sqrt(-curvature),
        size=size,
        longer=longer,
        mean=mean,
        method="joint",
    )


def fit_moment(eigenvalues: torch.Tensor, rows: int, cols: int) -> KappaFit:
    """Estimate ``kappa`` from the mean and the variance of the eigenvalues: see :func:`moment_kappa`.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import htmp
    >>> X = torch.randn(60, 120, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> htmp.fit_moment(torch.linalg.eigvalsh(X @ X.T), 60, 120).method
    'moment'
    """
    values, size, _ = checked(eigenvalues, rows, cols)
    mean = float(values.mean())
    if not mean > 0:
        raise ValueError("every eigenvalue is 0")
    scaled = values / mean
    return replace(moment_kappa(float(size), float(scaled @ scaled), rows, cols), mean=mean)


def moment_kappa(trace: float, trace_square: float, rows: int, cols: int) -> KappaFit:
    """Estimate ``kappa`` from ``tr G`` and ``tr G²``, ``G = WᵀW``: no eigenvalues are needed.

    With ``CV² = N tr G²/(tr G)² - 1`` the estimate is

        kappa = 2 gamma (1 - (1 + CV²)/N) / (CV² - gamma + gamma/N),

    whose expectation of ``CV²`` is exact at every ``N``; for large ``N`` it is ``2 gamma/(CV² - gamma)``. The
    standard error is the exact standard deviation of ``CV²`` in the fitted ensemble, carried over to first
    order. A few spikes decide ``CV²``, and so this estimate.

    Parameters
    ----------
    trace, trace_square
        ``||W||_F²`` and ``||WᵀW||_F²``, positive.
    rows, cols
        Shape of ``W``; the smaller side at least 3.

    Raises
    ------
    ValueError
        For numbers that no matrix of this shape has.
    ArithmeticError
        If the eigenvalues vary less than those of any ``kappa``, or only one is not 0.
    """
    size, longer = sorted((rows, cols))
    gamma = size / longer
    if size < 3 or not (trace > 0 and 0 < trace_square < math.inf):
        raise ValueError("needs a matrix of at least 3 x 3 and positive, finite traces")
    ratio = size * trace_square / trace**2  # 1 + CV²
    excess = ratio - 1 - gamma * (1 - 1 / size)
    if not excess > 0:
        raise ArithmeticError("the eigenvalues vary less than those of any kappa")
    kappa = 2 * gamma * (1 - ratio / size) / excess
    if not LEAST < kappa < MOST:
        raise ArithmeticError(f"no kappa between {LEAST:g} and {MOST:g} has these moments")
    slope = 2 * gamma / excess / size + kappa / excess
    spread = ratio * math.sqrt(_relative_variance(Ensemble(kappa, size, longer)))
    return KappaFit(
        kappa=kappa, se=slope * spread, size=size, longer=longer, mean=trace / size, method="moment"
    )


def _relative_variance(ensemble: Ensemble) -> float:
    """Return ``Var R / (E R)²`` of ``R = tr G²/(tr G)²``, exactly.

    ``tr G²`` is a quadratic form in independent Gamma variables, and ``R`` is independent of their sum, a
    Gamma variable of shape ``K``: ``E R^n = E (tr G²)^n / E (tr G)^(2n)``.
    """
    a = ensemble.chain()
    square = a * (a + 1)
    cube = square * (a + 2)
    mean = square.sum() + 2 * (a[:-1] * a[1:]).sum()
    cross = square[:-1] * square[1:] - (a[:-1] * a[1:]) ** 2
    lean = (cube - square * a) * (np.append(0.0, a[:-1]) + np.append(a[1:], 0.0))
    chained = a[:-2] * a[2:] * a[1:-1]
    variance = (square * (4 * a + 6)).sum() + 4 * (cross.sum() + lean.sum()) + 8 * chained.sum()
    total = float(a.sum())
    lost = (4 * total + 6) / ((total + 2) * (total + 3))
    relative = float(variance / mean**2)
    return max(relative * (1 - lost) - lost, 0.0)


class _Score:
    """The derivative of the profile log-likelihood in ``h``, and its own."""

    def __init__(self, size: int, longer: int, statistic: float) -> None:
        self.size, self.longer, self.statistic = size, longer, statistic
        first = torch.arange(1, size + 1, dtype=torch.float64)
        # digamma functions of constant + h·slope, and their weights in the derivative
        self._slope = torch.cat([first, first + (longer - size), torch.ones(1, dtype=torch.float64)])
        self._constant = torch.ones_like(self._slope)
        self._constant[size : 2 * size] = 0
        self._weight = -self._slope
        self._weight[-1] = size
        self._weight_of_slope = self._weight * self._slope

    def derivatives(self, h: float) -> tuple[float, float]:
        at = self._constant + h * self._slope
        entries = float(self.size * self.longer)
        slope = self.statistic + entries * math.log(h * self.longer)
        slope += float(self._weight @ torch.digamma(at))
        curvature = entries / h + float(self._weight_of_slope @ torch.polygamma(1, at))
        return slope, curvature

    def solve(self, start: float) -> float:
        """Return the root of the slope: Newton's steps in ``log h``, halved where they leave the bracket."""
        low, high = (math.log(bound / (2 * self.size)) for bound in (LEAST, MOST))
        at = math.log(start)
        for _ in range(_STEPS):
            h = math.exp(at)
            slope, curvature = self.derivatives(h)
            low, high = (at, high) if slope > 0 else (low, at)
            # d/dlog h of h·slope; concavity in h makes the first term of it enough far from the root
            step = -slope / (h * curvature) if curvature < 0 else math.inf
            if abs(step) < _ACCURACY:
                break
            at = at + step if low < at + step < high else (low + high) / 2
            if high - low < _ACCURACY:
                break
        kappa = 2 * self.size * math.exp(at)
        if not LEAST * 1.001 < kappa < MOST / 1.001:
            raise ArithmeticError(f"no kappa between {LEAST:g} and {MOST:g} is best")
        return math.exp(at)


def _start(values: np.ndarray[tuple[int], np.dtype[np.float64]], rows: int, cols: int) -> float:
    size = values.size
    try:
        kappa = moment_kappa(float(size), float(values @ values), rows, cols).kappa
    except ArithmeticError:
        kappa = float(size)
    return min(max(kappa, _START[0]), _START[1] * size)


def checked(
    eigenvalues: torch.Tensor, rows: int, cols: int
) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], int, int]:
    """Return the eigenvalues as an array, and the smaller and the longer side of the matrix.

    Raises ``ValueError`` unless the eigenvalues fit the shape, are at least 3, finite, ascending and not
    negative.
    """
    size, longer = sorted((rows, cols))
    values = eigenvalues.detach().cpu().double().numpy()
    if values.ndim != 1 or values.size != size:
        raise ValueError(f"a {rows} x {cols} matrix has {size} eigenvalues, not {tuple(values.shape)}")
    if size < 3:
        raise ValueError(f"kappa needs at least 3 eigenvalues, not {size}")
    if not np.isfinite(values).all() or (np.diff(values) < 0).any() or values[0] < 0:
        raise ValueError("eigenvalues must be finite, ascending and not negative")
    return values, size, longer
