"""FLODANCE: the log-determinant of a matrix too large to factor, from its leading minors, with an interval.

See ``docs/flodance.md``.

>>> import torch
>>> from rmtaudit.linalg import flodance
>>> sizes = torch.arange(1, 801, dtype=torch.float64)
>>> noise = 0.05 * torch.randn(800, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
>>> increments = 1.0 - 0.2 * sizes.log() + noise
>>> estimate = flodance.extrapolate(flodance.MinorSeries.from_minors(increments.cumsum(0)), 1600)
>>> later = torch.arange(801, 1601, dtype=torch.float64)
>>> truth = float(increments.sum() + (1.0 - 0.2 * later.log()).sum())
>>> estimate.low < truth < estimate.high
True
"""

from rmtaudit.kernels.flodance import (
    Anytime,
    BackTest,
    Extrapolation,
    Flag,
    MinorSeries,
    OrderTest,
    Status,
    extrapolate,
    extrapolate_until,
    grow_minors,
    order_test,
    ordering_average,
)

__all__ = [
    "Anytime",
    "BackTest",
    "Extrapolation",
    "Flag",
    "MinorSeries",
    "OrderTest",
    "Status",
    "extrapolate",
    "extrapolate_until",
    "grow_minors",
    "order_test",
    "ordering_average",
]
