"""What becomes of an extrapolation, and what weakens it."""

from __future__ import annotations

from enum import Enum, unique


@unique
class Status(Enum):
    """What became of an extrapolation, and what to try."""

    KNOWN = "the size is among the known ones: the value is exact"
    PREDICTED = "extrapolated, with an interval"
    TOO_FEW_SIZES = "too few sizes to estimate the noise: give at least four, or every leading minor"
    ROUNDING_FLOOR = (
        "the smallest pivots or eigenvalues are at the level of rounding, so the known "
        "log-determinants are partly noise; add a nugget, drop dependent outputs or compute in "
        "higher precision"
    )
    REGIME_CHANGE = (
        "the increments do not follow one law, in any window that forecasts well; give more "
        "sizes beyond the change, or shuffle the points if their order is meaningful"
    )
    BACK_TEST_FAILED = (
        "the same method, applied to earlier sizes, failed to predict the known values; give "
        "more sizes, or shuffle the points if their order is meaningful"
    )
    ORDER = (
        "the points do not come in random order, so the first ones are not representative of the "
        "others; shuffle the points (rows and columns together)"
    )
    TOO_WIDE = "the interval is wider than the tolerance; give more sizes"


@unique
class Flag(Enum):
    """What an extrapolation could not check, or what weakens it."""

    FLOOR_UNCHECKED = "the rounding floor was not checked: no extreme eigenvalues or pivots were given"
    ORDER_UNCHECKED = "whether the points come in random order was not tested, which needs the matrix"
    BACK_TEST_EMPTY = "no interval could be back-tested, because there are too few sizes"
    FACTOR_UNTESTED = "the back-test covers a smaller ratio of sizes than the extrapolation"
    REGIME_UNCHECKED = "a change of law was not tested: fewer than 20 increments remain"
    FEW_DEGREES = (
        "the noise is estimated with fewer than five degrees of freedom, which makes the interval wide"
    )
