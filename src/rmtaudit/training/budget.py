"""The time that watching a training may take: a share of the time of its steps, and how it is kept."""

from __future__ import annotations

from collections import deque
from statistics import median

_FIRST = 5
"""Steps that earn nothing: the first ones compile, allocate and warm caches."""
_REMEMBERED = 31
"""Steps whose median is the typical one."""
_REFRESHED = 8
"""The median is taken anew every so many steps, so that it costs next to nothing."""
_LONGEST = 3.0
"""No step earns more than for this many typical ones: a pause for an evaluation is no step."""


class Budget:
    """What may be spent now: the share of the step time so far, less what was spent.

    Parameters
    ----------
    share
        Of the time of the steps, above 0 and at most 1.

    Attributes
    ----------
    step_seconds
        Time of all steps, without what was spent in between.
    counted_seconds
        The part of it that earns: without the first five steps, and no step longer than three typical ones.
    earned
        Seconds that all steps so far allow.
    spent
        Seconds spent.
    """

    def __init__(self, share: float) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, not {share}")
        self.share = share
        self.steps = 0
        self.step_seconds = 0.0
        self.counted_seconds = 0.0
        self.earned = 0.0
        self.spent = 0.0
        self._recent: deque[float] = deque(maxlen=_REMEMBERED)
        self._typical = 0.0

    def step(self, seconds: float) -> None:
        """Count a step of the training that took so long."""
        self.steps += 1
        self.step_seconds += seconds
        if self.steps <= _FIRST:
            return
        self._recent.append(seconds)
        if self.steps % _REFRESHED == 0 or len(self._recent) < _REFRESHED:
            self._typical = median(self._recent)
        self._count(min(seconds, _LONGEST * self._typical))

    def wait(self, seconds: float) -> None:
        """Count time of a step that passed while it was watched: the accelerator was still at work."""
        self.step_seconds += seconds
        self._count(seconds)

    def _count(self, seconds: float) -> None:
        self.counted_seconds += seconds
        self.earned = self.share * self.counted_seconds

    def spend(self, seconds: float) -> None:
        """Count time that was spent on watching."""
        self.spent += seconds

    def affords(self, seconds: float) -> bool:
        """Whether so much more can be spent without exceeding the share."""
        return self.spent + seconds <= self.earned
