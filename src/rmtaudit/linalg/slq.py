"""Stochastic Lanczos quadrature: traces, log-determinants, counts and densities from products alone.

Every estimate states the error of the random probes and, where bounds of the spectrum are known, the bracket
of the quadrature. See ``docs/slq.md``.

>>> import torch
>>> from rmtaudit.linalg import operators, slq
>>> matrix = torch.diag(torch.linspace(1, 2, 200, dtype=torch.float64))
>>> estimate = slq.log_determinant(operators.dense(matrix, smallest=1.0), slq.Sampler(0), slq.Effort())
>>> abs(estimate.value - float(matrix.diagonal().log().sum())) < 1e-6  # signs are exact on diagonals
True
"""

from rmtaudit.kernels.slq.density import ChebyshevDensity, kernel_polynomial, lanczos_density
from rmtaudit.kernels.slq.distribution import Distribution, distribution
from rmtaudit.kernels.slq.estimate import Effort, TraceEstimate, count, log_determinant, trace
from rmtaudit.kernels.slq.integrands import Integrand, custom, exponential, power
from rmtaudit.kernels.slq.precondition import (
    Preconditioner,
    from_eigenvectors,
    from_factor,
    low_precision_cholesky,
    preconditioned_log_determinant,
)
from rmtaudit.kernels.slq.samplers import Sampler

__all__ = [
    "ChebyshevDensity",
    "Distribution",
    "Effort",
    "Integrand",
    "Preconditioner",
    "Sampler",
    "TraceEstimate",
    "count",
    "custom",
    "distribution",
    "exponential",
    "from_eigenvectors",
    "from_factor",
    "kernel_polynomial",
    "lanczos_density",
    "log_determinant",
    "low_precision_cholesky",
    "power",
    "preconditioned_log_determinant",
    "trace",
]
