"""Stochastic Lanczos quadrature: traces of functions of matrices that are known by their products.

A sampler (random probes), an integrand (the function) and an estimator (trace, count, density) combine
freely; operators are products with blocks of vectors.
"""

from rmtaudit.kernels.operators import Gram as Gram
from rmtaudit.kernels.operators import Symmetric as Symmetric
from rmtaudit.kernels.operators import dense as dense
from rmtaudit.kernels.operators import gram as gram
from rmtaudit.kernels.operators import shifted as shifted
from rmtaudit.kernels.slq.estimate import Effort as Effort
from rmtaudit.kernels.slq.estimate import TraceEstimate as TraceEstimate
from rmtaudit.kernels.slq.estimate import count as count
from rmtaudit.kernels.slq.estimate import log_determinant as log_determinant
from rmtaudit.kernels.slq.estimate import trace as trace
from rmtaudit.kernels.slq.samplers import Sampler as Sampler
