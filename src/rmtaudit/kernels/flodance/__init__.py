"""FLODANCE: the log-determinant of a matrix too large to factor, from its leading minors, with an interval.

The increments of the log-determinant follow ``log c - ν log n`` plus corrections and noise. They are
regressed on the sizes that are known, anchored at the last exact value, and summed up to the size asked.
:func:`extrapolate` is the front door; :func:`extrapolate_until` grows the matrix until it knows enough.
"""

from rmtaudit.kernels.flodance.anytime import Anytime, Stop, Watch, extrapolate_until
from rmtaudit.kernels.flodance.evidence import BackTest, BackTestRow, Candidate
from rmtaudit.kernels.flodance.growing import grow_minors
from rmtaudit.kernels.flodance.order import OrderTest, order_test
from rmtaudit.kernels.flodance.orderings import ordering_average
from rmtaudit.kernels.flodance.predict import Extrapolation, extrapolate
from rmtaudit.kernels.flodance.series import MinorSeries
from rmtaudit.kernels.flodance.status import Flag, Status

__all__ = [
    "Anytime",
    "BackTest",
    "BackTestRow",
    "Candidate",
    "Extrapolation",
    "Flag",
    "MinorSeries",
    "OrderTest",
    "Status",
    "Stop",
    "Watch",
    "extrapolate",
    "extrapolate_until",
    "grow_minors",
    "order_test",
    "ordering_average",
]
