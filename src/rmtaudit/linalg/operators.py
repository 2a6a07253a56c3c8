"""Matrices that are known by their products alone: what the other modules take.

>>> import torch
>>> from rmtaudit.linalg.operators import dense, gram
>>> dense(torch.eye(3, dtype=torch.float64)).size
3
>>> gram(torch.ones(5, 2, dtype=torch.float64), "cols").size
2
"""

from rmtaudit.kernels.operators import Gram, Linear, Symmetric, dense, gram, linear, shifted, symmetric

__all__ = [
    "Gram",
    "Linear",
    "Symmetric",
    "dense",
    "gram",
    "linear",
    "shifted",
    "symmetric",
]
