"""The values that the codes of a quantised weight could stand for, in the place of each weight."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """The levels of each weight: ``origin + step * t`` for every ``t`` of a table.

    Attributes
    ----------
    origin, step
        Of each weight, float32, in the shape of the weight. A step of 0: the block has one level.
    table
        Ascending, shared by all weights.
    """

    origin: torch.Tensor
    step: torch.Tensor
    table: tuple[float, ...]


_LINEAR = 1e-3
"""Largest difference in steps of the last level from equal spacing: float32 rounds it by 1e-5 at most."""


def levels_of(decode: Callable[[int], torch.Tensor], codes: Sequence[int]) -> Levels | None:
    """Return the levels of a weight from what its decoder makes of constant codes.

    Parameters
    ----------
    decode
        Returns the weight, were every code the one given.
    codes
        All codes, lowest first if the levels are equally spaced.

    Returns
    -------
    Levels or None
        ``None`` where the levels are neither equally spaced nor one table times a scale of each weight.
    """
    import torch

    first, second, last = (decode(code) for code in (codes[0], codes[1], codes[-1]))
    step, count = second - first, len(codes) - 1
    off = (last - first - step * count).abs()
    if bool((off <= _LINEAR * step.abs() + 1e-6 * first.abs()).all()):
        return Levels(origin=first, step=step, table=tuple(float(index) for index in range(len(codes))))
    place = int(last.abs().argmax())
    unit = float(last.reshape(-1)[place])
    if unit == 0 or not torch.isfinite(last).all():
        return None
    table = [float(decode(code).reshape(-1)[place]) / unit for code in codes]
    return Levels(origin=torch.zeros_like(last), step=last, table=tuple(sorted(set(table))))
