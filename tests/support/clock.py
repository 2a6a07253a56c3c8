"""CPU time in units of an ordinary machine, so that limits hold on slow, busy and traced ones."""

from __future__ import annotations

import time

_LOOPS, _SECONDS = 200_000, 0.013
"""A loop of plain Python, and its CPU time on the machine where the limits of the tests were set."""


class Clock:
    """CPU time since it was made, divided by how much slower than an ordinary machine this one is.

    The machine's speed is measured before and after, by a loop that a tracer such as coverage slows down like
    any other code. The slower of the two counts.
    """

    def __init__(self) -> None:
        self._slowness = _slowness()
        self._start = time.process_time()

    def seconds(self) -> float:
        """Return the scaled CPU time so far."""
        spent = time.process_time() - self._start
        return spent / max(1.0, self._slowness, _slowness())


def _slowness() -> float:
    start = time.process_time()
    total = 0
    for index in range(_LOOPS):
        total += index & 3
    return (time.process_time() - start) / _SECONDS
