"""Randomised linear algebra: low rank, norms, traces and sketches, each with its error.

The error is measured after the fact and not taken from a theorem. See ``docs/randnla.md``.

>>> import torch
>>> from rmtaudit.linalg import operators, randnla
>>> matrix = torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.0], dtype=torch.float64))
>>> bounds = randnla.norm_bounds(operators.linear(matrix), seed=0, steps=4)
>>> bounds.lower <= 3.0 * (1 + 1e-12) and bounds.upper >= 3.0
True
"""

from rmtaudit.kernels.randnla.interpolative import CUR, Interpolative, cur, interpolative
from rmtaudit.kernels.randnla.krylov import Partial, top_eigenpairs, top_singular
from rmtaudit.kernels.randnla.least_squares import LeastSquares, least_squares
from rmtaudit.kernels.randnla.leverage import Leverage, leverage, sketched_leverage
from rmtaudit.kernels.randnla.norms import NormBounds, eigenvalue_bounds, norm_bounds, singular_bounds
from rmtaudit.kernels.randnla.nystrom import Nystrom, PivotedCholesky, nystrom, pivoted_cholesky
from rmtaudit.kernels.randnla.qb import QB, find_range, qb
from rmtaudit.kernels.randnla.sketch import Sketch
from rmtaudit.kernels.randnla.trace import RandomTrace, hutch_plus_plus, hutchinson, xnystrace, xtrace

__all__ = [
    "CUR",
    "QB",
    "Interpolative",
    "LeastSquares",
    "Leverage",
    "NormBounds",
    "Nystrom",
    "Partial",
    "PivotedCholesky",
    "RandomTrace",
    "Sketch",
    "cur",
    "eigenvalue_bounds",
    "find_range",
    "hutch_plus_plus",
    "hutchinson",
    "interpolative",
    "least_squares",
    "leverage",
    "norm_bounds",
    "nystrom",
    "pivoted_cholesky",
    "qb",
    "singular_bounds",
    "sketched_leverage",
    "top_eigenpairs",
    "top_singular",
    "xnystrace",
    "xtrace",
]
