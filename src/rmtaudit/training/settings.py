"""How a training is watched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from rmtaudit.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorSettings:
    """How a training is watched.

    Attributes
    ----------
    share
        The most that watching may take, as a share of the time of the steps: above 0, at most 1.
    gradients
        Whether to record the norm of every gradient: at every step where that fits into half of the share,
        else as often as it does.
    updates
        Whether to record the spectra of updates. It takes a copy of the watched weights in main memory.
    include, exclude
        Patterns of a shell for the names of layers or tensors that are watched.
    least_side
        Matrices with a shorter side are not watched.
    at_ends
        Whether to look at every matrix before the first step and when the monitor is closed. That is no part
        of the share; the log says how long it took.
    append
        Whether to continue a log that exists.
    seed
        Seed of the random draws, as that of a scan.
    """

    share: float = 0.02
    gradients: bool = True
    updates: bool = True
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    least_side: int = 32
    at_ends: bool = False
    append: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise UsageError(
                "RA-TR-003", f"The setting share must be above 0 and at most 1, not {self.share}."
            )
        if self.least_side < 2:
            raise UsageError(
                "RA-TR-003", f"The setting least_side must be at least 2, not {self.least_side}."
            )
        for name in ("include", "exclude"):
            if isinstance(getattr(self, name), str):
                raise UsageError("RA-TR-003", f"The setting {name} must be a list of patterns, not a text.")


class MonitorKeywords(TypedDict, total=False):
    """The fields of :class:`MonitorSettings` as keywords of a call."""

    share: float
    gradients: bool
    updates: bool
    include: Sequence[str]
    exclude: Sequence[str]
    least_side: int
    at_ends: bool
    append: bool
    seed: int
