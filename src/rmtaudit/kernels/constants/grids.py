"""Grids of coordinates: prior boxes, anchors, meshes of positions.

Such a table has a few channels, one coordinate each, for every point of a grid. A coordinate depends on one
digit of the number of the point alone, and grows with it: by equal steps, for each of a few scales in turn,
or, where the sides of the grid are sides of the table, in any monotone way (the log-spaced coordinates of
Swin Transformer V2).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

_CHANNELS = 8
_POINTS = 64
"""Fewest points: those of the smallest maps of a detector, and more than chance makes regular."""

_SIDE = 4
_SCALES = 16
"""Most scales that follow one another; detectors have up to seven."""

_CYCLE = 32
"""Longest pattern that repeats at every place: the sizes of the boxes around it."""

_SAMPLE = 256


def is_coordinate_grid(tensor: torch.Tensor, epsilon: float) -> bool:
    """Whether a tensor holds the coordinates of the points of grids, at least two for each point.

    Parameters
    ----------
    tensor
        Without sides of length 1, finite. The channels are the last side, or the first one.
    epsilon
        Unit round-off of the stored entries.
    """
    return any(
        2 <= channels.shape[-1] <= _CHANNELS
        and channels[..., 0].numel() >= _POINTS
        and (_is_mesh(channels, epsilon) or _is_list_of_points(channels, epsilon))
        for channels in (tensor, tensor.movedim(0, -1))
    )


def _is_mesh(tensor: torch.Tensor, epsilon: float) -> bool:
    """Whether every channel is monotone along a side of its own and constant along all others, exactly."""
    if tensor.ndim < 3 or min(tensor.shape[:-1]) < _SIDE or tensor.shape[-1] > tensor.ndim - 1:
        return False
    axes = [_axis_of(tensor[..., channel], epsilon) for channel in range(tensor.shape[-1])]
    return None not in axes and len(set(axes)) == len(axes)


def _axis_of(values: torch.Tensor, epsilon: float) -> int | None:
    tolerance = 4 * epsilon * float(values.abs().amax())
    varying = [axis for axis in range(values.ndim) if float(values.diff(dim=axis).abs().amax()) > tolerance]
    if len(varying) != 1:
        return None
    steps = values.diff(dim=varying[0])
    return varying[0] if bool((steps > 0).all()) or bool((steps < 0).all()) else None


def _is_list_of_points(tensor: torch.Tensor, epsilon: float) -> bool:
    points = tensor.reshape(-1, tensor.shape[-1]).double()
    if not _begins_evenly(points, epsilon):  # most tables: weights
        return False
    columns = [points[:, channel].tolist() for channel in range(points.shape[1])]
    tolerances = [8 * epsilon * max(map(abs, column)) for column in columns]
    for period in range(1, _CYCLE + 1):
        if len(points) % period:
            continue
        kinds = [
            _kind(column, period, tolerance) for column, tolerance in zip(columns, tolerances, strict=True)
        ]
        grids = {kind for kind in kinds if kind}
        if None not in kinds and len(grids) >= 2:
            return True
    return False


def _begins_evenly(points: torch.Tensor, epsilon: float) -> bool:
    """Whether most steps among the first points occur several times: those of weights differ."""
    steps = points[:_SAMPLE].diff(dim=0)
    unit = 16 * epsilon * points.abs().amax(0).clamp_min(torch.finfo(torch.float32).tiny)
    return all(
        len(torch.unique((column / size).round())) <= len(steps) // 4
        for column, size in zip(steps.T, unit, strict=True)
    )


def _kind(column: list[float], period: int, tolerance: float) -> tuple[tuple[int, int], ...] | None:
    """Return the ramps of a column of which every ``period``-th entry is a coordinate of one kind.

    ``()`` for a column that repeats with the period alone; ``None`` for one that is neither.
    """
    if all(abs(one - other) <= tolerance for one, other in zip(column, column[period:], strict=False)):
        return ()
    scales: tuple[tuple[int, int], ...] = ()
    for first in range(period):
        found = _scales(column[first::period], tolerance)
        if found is None or (scales and found != scales):
            return None
        scales = found
    return scales


def _scales(column: list[float], tolerance: float) -> tuple[tuple[int, int], ...] | None:
    """Return the scales of a coordinate: the length of its runs and of its ramps in each.

    Every entry is in a run of equal ones, every run in a ramp of equal steps; ramps of a scale are equal.
    """
    scales: list[tuple[int, int]] = []
    before = None
    for ramp in _ramps(list(_runs(column, tolerance)), tolerance):
        if ramp.length < 2 or len(scales) > _SCALES:
            return None
        if before is None or not ramp.equals(before, tolerance):
            scales.append((ramp.run, ramp.length))
        before = ramp
    few = len(scales) <= min(_SCALES, len(column) // 16)
    return tuple(scales) if few and max(length for _, length in scales) >= _SIDE else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ramp:
    """Runs of one length whose values grow by equal steps."""

    first: float
    step: float
    run: int
    length: int

    def equals(self, other: _Ramp, tolerance: float) -> bool:
        same = (self.run, self.length) == (other.run, other.length)
        return (
            same and abs(self.first - other.first) <= tolerance and abs(self.step - other.step) <= tolerance
        )


def _runs(column: list[float], tolerance: float) -> Iterator[tuple[float, int]]:
    """Yield the values that follow one another, each with how often it occurs in a row."""
    value, count = column[0], 0
    for entry in column:
        if abs(entry - value) > tolerance:
            yield value, count
            value, count = entry, 0
        count += 1
    yield value, count


def _ramps(runs: list[tuple[float, int]], tolerance: float) -> Iterator[_Ramp]:
    at = 0
    while at < len(runs):
        first, run = runs[at]
        step = runs[at + 1][0] - first if at + 1 < len(runs) and runs[at + 1][1] == run else 0.0
        end = at + 1
        while step and end < len(runs) and runs[end][1] == run:
            if abs(runs[end][0] - runs[end - 1][0] - step) > tolerance:
                break
            end += 1
        yield _Ramp(first=first, step=step, run=run, length=end - at)
        at = end
