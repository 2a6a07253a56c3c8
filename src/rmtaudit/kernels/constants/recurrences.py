r"""Tables whose lines are sinusoids, plain or windowed, by the recurrences that sinusoids obey.

``x_t = A sin(ωt + φ)`` satisfies ``x_{t+1} + x_{t-1} = 2 cos(ω) x_t`` exactly. A Hann or Hamming window
makes it the sum of three sinusoids, which satisfies a symmetric recurrence of order 6 in the same way:
``x_{t+3} + x_{t-3} = a (x_{t+2} + x_{t-2}) + b (x_{t+1} + x_{t-1}) + c x_t``.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

import torch

_Test = Callable[[torch.Tensor, float], torch.Tensor]
"""From lines, shape ``(lines, length)``, and their round-off to whether each obeys a recurrence."""

_LEAST_LENGTH = 8
_LEAST_LENGTH_WINDOWED = 24
_LONGEST = 1024
"""Angles are taken to be no larger than about this, lest long lines have a tolerance that noise may meet."""

_SAMPLE, _SAMPLE_LENGTH, _SAMPLE_SHARE = 6, 256, 0.6
"""A few lines, their middle, and the share of them that must obey before all lines are looked at."""

_SHARE = 0.9
"""Share of the lines that must obey a recurrence. Of trained layers at most 3 % of the rows do."""

_POINTS = 0.7
"""Share of the points of a line where the recurrence must hold: a table over a grid starts anew at its
edge."""

_COARSE = 2.0**-12
"""Round-off above which smooth trained lines may obey a recurrence too: more is asked of those tables."""


_PEAK = 10.0
"""Largest entry of a line over the median of those that are not 0. A sinusoid has 1.4, one under a Hann or
Hamming window at most 8.2. Beside an entry that dwarfs its line every residual would be small."""


class Oscillation(Enum):
    """What the lines of a table are."""

    SINUSOID = auto()
    LINEAR = auto()
    WINDOWED = auto()


def oscillation(tensor: torch.Tensor, epsilon: float) -> Oscillation | None:
    """Return which recurrence the lines of a tensor obey along one of its axes, or ``None``.

    Parameters
    ----------
    tensor
        Any number of sides, floating, finite.
    epsilon
        Unit round-off of the stored dtype. A tensor whose values are all bfloat16 or float16 numbers
        counts as stored in that.
    """
    epsilon = _effective(tensor, epsilon)
    for axis in range(tensor.ndim):
        length = tensor.shape[axis]
        if length < _LEAST_LENGTH:
            continue
        lines = tensor.movedim(axis, -1).reshape(-1, length)
        for kind, least, test in (
            (Oscillation.SINUSOID, _LEAST_LENGTH, _obeys_order_two),
            (Oscillation.WINDOWED, _LEAST_LENGTH_WINDOWED, _obeys_order_six),
        ):
            if length < least:
                continue
            if kind is Oscillation.WINDOWED and epsilon > _COARSE:
                if _is_short_time_fourier(lines.double(), epsilon):
                    return Oscillation.WINDOWED
                continue
            if _share(test, _sample(lines), epsilon) < _SAMPLE_SHARE or _share(test, lines, epsilon) < _SHARE:
                continue
            if _holds_an_outlier(lines):
                return None
            if epsilon > _COARSE and not (_has_one_amplitude(lines) or _is_exactly_straight(lines)):
                continue
            return Oscillation.LINEAR if _is_straight(lines, epsilon) else kind
    return None


def _is_short_time_fourier(lines: torch.Tensor, epsilon: float) -> bool:
    """Whether the lines are ``w_t cos(2π k t/n)`` for k = 0 … n/2, and perhaps ``± w_t sin(2π k t/n)`` next.

    The window ``w`` is the line of k = 0, so no number is free, and half precision is enough.
    """
    count, length = lines.shape
    bands = length // 2 + 1
    if length % 2 or count not in (bands, 2 * bands):
        return False
    time = torch.arange(length, dtype=torch.float64, device=lines.device)
    angles = 2 * torch.pi / length * time[:bands, None] * time
    window, tolerance = lines[0], 4 * epsilon * float(lines.abs().amax())
    cosines, sines = lines[:bands], lines[bands:]
    if float((cosines - window * angles.cos()).abs().amax()) > tolerance:
        return False
    expected = window * angles.sin()
    return not len(sines) or any(
        float((sines - sign * expected).abs().amax()) <= tolerance for sign in (1, -1)
    )


def _effective(tensor: torch.Tensor, epsilon: float) -> float:
    for dtype, roundoff in ((torch.bfloat16, 2.0**-8), (torch.float16, 2.0**-11)):
        sample = tensor.reshape(-1)[:1024]
        if roundoff > epsilon and bool((sample.to(dtype).to(sample.dtype) == sample).all()):
            return roundoff if bool((tensor.to(dtype).to(tensor.dtype) == tensor).all()) else epsilon
    return epsilon


def _sample(lines: torch.Tensor) -> torch.Tensor:
    step = max(1, len(lines) // _SAMPLE)
    start = max(0, (lines.shape[1] - _SAMPLE_LENGTH) // 2)
    return lines[::step, start : start + _SAMPLE_LENGTH]


def _share(test: _Test, lines: torch.Tensor, epsilon: float) -> float:
    """Return the share of the lines with more than one value which pass a test.

    A line of one value obeys every recurrence: copied columns are no table.
    """
    held = lines[lines.amax(1) != lines.amin(1)].double()
    if len(held) < 2 or not (passed := test(held, epsilon)).any():
        return 0.0
    return float((passed & ~_is_peaked(held)).float().mean())


def _is_peaked(lines: torch.Tensor) -> torch.Tensor:
    """Return which lines have an entry that dwarfs the others; a line of zeros has none."""
    size = lines.abs()
    usual = torch.where(size > 0, size, torch.nan).nanmedian(1).values
    return size.amax(1) > _PEAK * usual


def _holds_an_outlier(lines: torch.Tensor) -> bool:
    """Whether a line with such an entry is also that much larger than the lines are: a broken table.

    A line of nothing but rounding errors, as the sine of multiples of π, has such entries too, and is small.
    """
    reach = lines.abs().amax(1)
    return bool((_is_peaked(lines) & (reach > _PEAK * reach[reach > 0].median())).any())


def _obeys_order_two(lines: torch.Tensor, epsilon: float) -> torch.Tensor:
    middle, sum_ = lines[:, 1:-1], lines[:, 2:] + lines[:, :-2]
    amplitude = lines.abs().amax(1, keepdim=True)
    # the median of the ratios, over points where they are well conditioned: robust to the edges of a grid
    ratio = torch.where(middle.abs() > 0.3 * amplitude, sum_ / middle, torch.nan)
    factor = ratio.nanmedian(1, keepdim=True).values.clamp(-2, 2).nan_to_num(2.0)
    residual = (sum_ - factor * middle).abs()
    counted = (lines[:, 2:] != 0) | (middle != 0) | (lines[:, :-2] != 0)
    return _holds(residual, counted, amplitude, 8 * epsilon + 4 * _angle_error(lines))


def _obeys_order_six(lines: torch.Tensor, epsilon: float) -> torch.Tensor:
    def pair(distance: int) -> torch.Tensor:
        length = lines.shape[1]
        return lines[:, 3 + distance : length - 3 + distance] + lines[:, 3 - distance : length - 3 - distance]

    middle = lines[:, 3:-3]
    known = torch.stack((pair(2), pair(1), middle), 2)
    target = pair(3)
    factors = torch.linalg.pinv(known, rtol=1e-10) @ target[:, :, None]
    residual = (target - (known @ factors)[:, :, 0]).abs()
    # coefficients of up to 15 amplify the rounding of every term, and angles go up to π times the length
    amplitude = lines.abs().amax(1, keepdim=True)
    counted = (middle != 0) | (target != 0)
    return _holds(residual, counted, amplitude, 256 * epsilon + 200 * _angle_error(lines))


def _angle_error(lines: torch.Tensor) -> float:
    """Return the error of an angle near the length of the lines: tables are computed in float32."""
    return 2.0**-24 * min(lines.shape[1], _LONGEST)


def _holds(
    residual: torch.Tensor, counted: torch.Tensor, amplitude: torch.Tensor, tolerance: float
) -> torch.Tensor:
    """Whether the residuals vanish at most of the points that count: those of which not all terms are 0."""
    met = (residual <= tolerance * amplitude) & counted
    return (met.sum(1) >= _POINTS * counted.sum(1)) & (counted.sum(1) >= _LEAST_LENGTH // 2)


def _has_one_amplitude(lines: torch.Tensor) -> bool:
    """Whether at least half of the lines reach the same largest size, and none exceeds it."""
    reach = lines.abs().amax(1)
    return float((reach >= 0.97 * reach.max()).float().mean()) >= 0.5


def _is_exactly_straight(lines: torch.Tensor) -> bool:
    """Whether every line is straight without rounding errors, with one bend at most.

    Distances times powers of 2 are (ALiBi).
    """
    wide = lines.double()
    bends = wide[:, 2:] + wide[:, :-2] != 2 * wide[:, 1:-1]
    return bool((bends.sum(1) <= 1).all())


def _is_straight(lines: torch.Tensor, epsilon: float) -> bool:
    wide = lines.double()
    second = wide[:, 2:] + wide[:, :-2] - 2 * wide[:, 1:-1]
    straight = (second.abs() <= 16 * epsilon * wide.abs().amax(1, keepdim=True)).float().mean(1) >= _POINTS
    return bool(straight.all())
