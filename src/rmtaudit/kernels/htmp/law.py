"""The law HTMP(gamma, kappa) of eigenvalues, and its inverse, the law of the reciprocals.

With ``c = kappa/2``, ``a = c/gamma`` and ``delta = a - c`` the law of mean 1 is that of ``y/a``, where ``y``
has the density of :mod:`rmtaudit.kernels.htmp.wave`. Near 0 the density goes as ``x^(delta-1)``; far out it
falls exponentially, ``x^(a+c-1) e^(-a x)``: no power law. The inverse law has the power law,
``x^(-1-delta)``, in its upper tail.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from rmtaudit.kernels.htmp.density import Array
from rmtaudit.kernels.htmp.resolvent import stieltjes
from rmtaudit.kernels.htmp.table import Table, tabulate

if TYPE_CHECKING:
    from collections.abc import Callable

    from rmtaudit.kernels.htmp.ensemble import Ensemble

_MOST = 1e6
"""Greatest kappa: the time to tabulate a law grows with it. Above, Marchenko-Pastur is as good."""


@dataclass(frozen=True, slots=True)
class HTMP:
    """The high-temperature Marchenko-Pastur law.

    Every function of a tensor is float64, of the same shape, computed on the CPU: to 1e-10, relative, of the
    density and of both tails. The first call for a pair of parameters makes a table: about 2 ms, 6 ms at
    ``kappa = 4000``.

    Attributes
    ----------
    gamma
        Between 0 and 1, both excluded: at 1 the law is an atom at 0. For a square matrix, and for any finite
        one, use :meth:`of`.
    kappa
        Positive, at most 1e6. For ``kappa`` to infinity the law is Marchenko and Pastur's of this ratio.
    mean
        Positive; in the unit of the eigenvalues.

    References
    ----------
    Hodgkinson, Wang, Mahoney, arXiv 2506.03470 (2025); Trinh, Trinh, *Beta Laguerre ensembles in global
    regime*, Osaka J. Math. 58 (2021), for the law; Ismail, Letessier, Valent 1988 for the density.
    """

    gamma: float
    kappa: float
    mean: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.gamma < 1:
            raise ValueError(f"gamma must lie between 0 and 1, not {self.gamma}")
        if not 0 < self.kappa <= _MOST:
            raise ValueError(f"kappa must be positive and at most {_MOST:g}, not {self.kappa}")
        if not (self.mean > 0 and math.isfinite(self.mean)):
            raise ValueError(f"the mean must be positive and finite, not {self.mean}")

    @staticmethod
    def of(ensemble: Ensemble, mean: float = 1.0) -> HTMP:
        """Return the law of a finite ensemble's eigenvalues, square ones included.

        That of ``gamma (1 - 1/N)`` and ``kappa (1 - 1/N)``: its first two moments, and its exponent at 0, are
        then the ensemble's own, exactly.
        """
        less = 1 - 1 / ensemble.size
        return HTMP(ensemble.size / ensemble.longer * less, ensemble.kappa * less, mean)

    @property
    def a(self) -> float:
        """``kappa/(2 gamma)``."""
        return self.kappa / (2 * self.gamma)

    @property
    def delta(self) -> float:
        """``kappa/(2 gamma) - kappa/2``: the distribution function goes as ``x^delta`` near 0."""
        return self.kappa / 2 * ((1 - self.gamma) / self.gamma)

    def pdf(self, x: torch.Tensor) -> torch.Tensor:
        """Return the density at ``x``; 0 where ``x <= 0``."""
        return self.logpdf(x).exp()

    def logpdf(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of the density; minus infinity where ``x <= 0``.

        Where the density is below e^-200 of its peak, only its leading behaviour is kept.
        """
        return self._apply(self.table.log_density, x) + math.log(self.a / self.mean)

    def cdf(self, x: torch.Tensor) -> torch.Tensor:
        """Return the distribution function."""
        return self._apply(self.table.cdf, x)

    def sf(self, x: torch.Tensor) -> torch.Tensor:
        """Return the share above ``x``, accurate in the upper tail."""
        return self._apply(self.table.sf, x)

    def ppf(self, q: torch.Tensor) -> torch.Tensor:
        """Return the quantiles.

        Raises
        ------
        ValueError
            If a probability lies outside [0, 1].
        """
        if not bool(((q >= 0) & (q <= 1)).all()):
            raise ValueError("probabilities must lie between 0 and 1")
        levels = q.detach().cpu().double().numpy()
        quantiles = self.table.ppf(levels.ravel()).reshape(levels.shape)
        return torch.from_numpy(quantiles) * (self.mean / self.a)

    def stieltjes(self, t: torch.Tensor) -> torch.Tensor:
        """Return ``E 1/(x + t)``, for real ``t > 0`` or complex ``t`` anywhere off the negative axis.

        A complex ``t`` on the negative axis is taken as the limit from above. Real in, float64 out; complex
        in, complex128 out.
        """
        unit = self.mean / self.a
        if t.is_complex():
            given = np.asarray(t.detach().cpu().to(torch.complex128).numpy() / unit, dtype=np.complex128)
            return torch.from_numpy(stieltjes(given.ravel(), self._c, self.delta).reshape(t.shape)) / unit
        return self._mean_of(t, lambda y, at: 1 / (y + at)) / unit

    def ridge_bias(self, mu: torch.Tensor) -> torch.Tensor:
        """Return ``mu² E (x + mu)^-2``, ``mu > 0``: the bias of ridge regression with this spectrum."""
        return self._mean_of(mu, lambda y, at: (at / (y + at)) ** 2)

    def ridge_exponent(self, mu: torch.Tensor) -> torch.Tensor:
        """Return ``d log L/d log mu`` of the bias ``L``; ``min(2, delta)`` as ``mu`` goes to 0."""
        rise = self._mean_of(mu, lambda y, at: 2 * (at / (y + at)) ** 2 * (y / (y + at)))
        return rise / self.ridge_bias(mu)

    def log_potential(self, t: torch.Tensor) -> torch.Tensor:
        """Return ``E log(x + t)``, ``t > 0``: the log-determinant of ``X + t`` per dimension."""
        unit = self.mean / self.a
        return self._mean_of(t, lambda y, at: np.log(y + at)) + math.log(unit)

    @property
    def mean_log(self) -> float:
        """``E log x``, in closed form: ``(log G(a) - log G(delta))/c - log a``."""
        spread = (math.lgamma(self.a) - math.lgamma(self.delta)) / self._c
        return spread - math.log(self.a) + math.log(self.mean)

    @property
    def mean_inverse(self) -> float:
        """``E 1/x``, in closed form: ``a/(delta - 1)``, infinite for ``delta <= 1``."""
        return self.a / (self.delta - 1) / self.mean if self.delta > 1 else math.inf

    def moment(self, order: int) -> float:
        """Return ``E x^k``, ``k >= 0``: a corner of a power of the Jacobi matrix.

        The variance is ``gamma + 2 gamma/kappa`` times the mean squared.
        """
        if order < 0:
            raise ValueError(f"the order must not be negative, but is {order}")
        steps = np.arange(order + 1)
        diagonal, off_diagonal = np.sqrt(self.a + steps), np.sqrt(self._c + 1 + steps[:-1])
        factor = np.diag(diagonal) + np.diag(off_diagonal, -1)
        power = np.linalg.matrix_power(factor @ factor.T / self.a, order)
        return float(power[0, 0]) * self.mean**order

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Return independent values, shape ``(count,)``. For a whole spectrum see ``Ensemble.draw``."""
        return self.ppf(torch.rand(count, dtype=torch.float64, generator=generator))

    @property
    def table(self) -> Table:
        """The table behind the numbers, in the unit where the mean is ``a``."""
        return tabulate(self._c, self.delta)

    @property
    def _c(self) -> float:
        return self.kappa / 2

    def _apply(self, function: Callable[[Array], Array], x: torch.Tensor) -> torch.Tensor:
        values = x.detach().cpu().double().numpy() * (self.a / self.mean)
        return torch.from_numpy(function(values.ravel()).reshape(values.shape))

    def _mean_of(self, t: torch.Tensor, function: Callable[[Array, Array], Array]) -> torch.Tensor:
        if not bool((t > 0).all()):
            raise ValueError("the argument must be positive")
        at = t.detach().cpu().double().numpy() * (self.a / self.mean)
        means = self.table.mean_of(function(self.table.nodes, at.reshape(-1, 1)))
        return torch.from_numpy(means.reshape(at.shape))


@dataclass(frozen=True, slots=True)
class InverseHTMP:
    """The law of ``1/x`` for ``x`` of ``law``: density ``x^-2 rho(1/x)``, ``alpha = 1 + delta`` in its tail.

    ``InverseHTMP(HTMP(gamma, kappa, m))`` is the paper's law of the eigenvalues of features.
    """

    law: HTMP

    @property
    def alpha(self) -> float:
        """Exponent of the density's power law, ``1 + delta``."""
        return 1 + self.law.delta

    def pdf(self, x: torch.Tensor) -> torch.Tensor:
        """Return the density; 0 where ``x <= 0``."""
        return self.logpdf(x).exp()

    def logpdf(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of the density; minus infinity where ``x <= 0``."""
        values = x.detach().cpu().double()
        positive = values > 0
        safe = torch.where(positive, values, torch.ones_like(values))
        log_density = self.law.logpdf(1 / safe) - 2 * safe.log()
        return torch.where(positive, log_density, torch.full_like(log_density, -math.inf))

    def cdf(self, x: torch.Tensor) -> torch.Tensor:
        """Return the distribution function."""
        return self._of_reciprocal(x, self.law.sf, 0.0)

    def sf(self, x: torch.Tensor) -> torch.Tensor:
        """Return the share above ``x``, accurate in the upper tail."""
        return self._of_reciprocal(x, self.law.cdf, 1.0)

    def ppf(self, q: torch.Tensor) -> torch.Tensor:
        """Return the quantiles; they need ``1 - q``, so those very near 1 are coarse."""
        return 1 / self.law.ppf(1 - q.double())

    @staticmethod
    def _of_reciprocal(
        x: torch.Tensor, function: Callable[[torch.Tensor], torch.Tensor], below: float
    ) -> torch.Tensor:
        values = x.detach().cpu().double()
        positive = values > 0
        result = function(1 / torch.where(positive, values, torch.ones_like(values)))
        return torch.where(positive, result, torch.full_like(result, below))
